"""A worker's whole way, on every server."""

from tests.bus.test_worker import (  # noqa: F401  # what a server could spoil; the rest is Python
    test_a_failing_delivery_is_retried_and_then_dead_lettered,
    test_a_group_gets_only_the_types_it_asked_for,
    test_a_group_that_somebody_removed_begins_again,
    test_data_that_is_not_json_is_dead_lettered_and_harms_no_neighbour,
    test_every_group_gets_every_event_once,
    test_partitions_are_all_handled_and_a_key_stays_in_one,
    test_stopping_finishes_what_runs_and_gives_back_the_rest,
)
