"""A projection for tests in processes of their own: a row for each event, in any table that there is."""

from __future__ import annotations

from django.contrib.auth.models import Group

import bus


def forget(version: int) -> None:
    Group.objects.filter(name__startswith=f"v{version}:").delete()


@bus.projection("names", name="name_list", version=1, types=["named"], reset=forget)
def write(event: bus.Event, version: int) -> None:
    Group.objects.create(name=f"v{version}:{event.data}")  # twice the same is refused by the table
