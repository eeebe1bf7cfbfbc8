"""The demo shop: traffic of a small company, and the services that react to it.

A program that uses the bus as any other would: it imports `bus` and nothing of the dashboard.
"""
