"""Django's entry to the bus: management commands."""
