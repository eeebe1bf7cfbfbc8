"""`manage.py demo`, `up` and the processes that they run: `web`, `recorder`, `shop`; and `loginlink`."""
