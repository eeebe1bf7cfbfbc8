"""The shop's own table: its list of orders, which a projection writes. The shop's one file that needs Django."""

from __future__ import annotations

from django.db import models


class OrderRow(models.Model):
    """An order as the events on `orders` tell it, in one version of the list."""

    version = models.IntegerField()
    order_id = models.CharField(max_length=512)
    customer = models.CharField(max_length=200)
    total = models.DecimalField(max_digits=12, decimal_places=2, null=True)
    state = models.CharField(max_length=40)
    placed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["version", "order_id"], name="shop_order_once"),)

    def __str__(self) -> str:
        return f"{self.order_id}, {self.state}"
