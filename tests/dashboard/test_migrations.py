"""Migrations on rows that are there already, on SQLite; on PostgreSQL: tests/postgres/test_periods.py."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
from django.db import connection

from bus.journal import Failure, Step
from dashboard.models import Attempt, Delivery
from tests.dashboard.recorded import Recorded

periods: Any = import_module("dashboard.migrations.0003_periods")


def test_deliveries_and_attempts_learn_the_time_of_their_event(db: None) -> None:
    recorded = Recorded()
    recorded.settle(recorded.publish(3), Step.DEAD_LETTERED, failure=Failure("ValueError", "no"))
    before = [list(model._default_manager.order_by("pk").values()) for model in (Delivery, Attempt)]
    with connection.cursor() as cursor:
        for table in ("delivery", "attempt"):
            cursor.execute(f"ALTER TABLE dashboard_{table} DROP COLUMN at_ms")
        periods.add_times(cursor)
    assert [list(model._default_manager.order_by("pk").values()) for model in (Delivery, Attempt)] == before
    assert len({row["at_ms"] for row in before[0]}) == 3


@pytest.mark.django_db
def test_a_new_database_has_the_columns_of_the_models() -> None:
    for model in (Delivery, Attempt):
        with connection.cursor() as cursor:
            columns = {
                column.name for column in connection.introspection.get_table_description(cursor, model._meta.db_table)
            }
        assert columns == {field.column for field in model._meta.concrete_fields}
