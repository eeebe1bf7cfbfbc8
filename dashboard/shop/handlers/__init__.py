"""The shop's consumers, by topic. `manage.py worker dashboard.shop.handlers` runs all of them."""

from dashboard.shop.handlers import devices, operations, orders, payments, users

__all__ = ["devices", "operations", "orders", "payments", "users"]
