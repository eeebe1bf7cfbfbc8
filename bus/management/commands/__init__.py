"""`manage.py publish` and `manage.py worker`."""
