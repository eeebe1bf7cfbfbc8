"""The shop's consumers, by topic, and its projection. `manage.py worker dashboard.shop.handlers` runs all of them."""

from dashboard.shop import order_list
from dashboard.shop.handlers import devices, operations, orders, payments, users

__all__ = ["devices", "operations", "order_list", "orders", "payments", "users"]
