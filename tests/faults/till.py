"""A program that takes money for the crash tests: one transaction, work and event, and then it is killed.

Run as `python till.py before|after NUMBER`: it says so and waits, before the commit or after it.
"""

from __future__ import annotations

import os
import sys
import threading

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.faults.outbox_settings")
django.setup()

from django.contrib.auth.models import User as Payment  # noqa: E402  any table will do
from django.db import transaction  # noqa: E402

import bus  # noqa: E402


def wait(line: str) -> None:
    print(line, flush=True)
    threading.Event().wait()


def main(moment: str, number: str) -> None:
    with transaction.atomic():
        Payment.objects.create(username=f"payment {number}")
        bus.publish("payments", "paid", int(number), key="o-1")
        if moment == "before":
            wait("not committed")
    wait("committed")


if __name__ == "__main__":
    main(*sys.argv[1:])
