"""Pending entries are released, skipped and given up by hand, on every server."""

from tests.bus.test_pending import (  # noqa: F401
    keys,
    test_a_retry_that_is_released_need_not_wait,
    test_a_skipped_entry_leaves_the_group_unhandled,
    test_an_entry_that_is_given_up_is_a_dead_letter_that_can_be_replayed,
    test_an_entry_that_moved_since_it_was_seen_is_passed_over,
    test_an_entry_that_waits_for_its_key_can_be_skipped_but_not_released,
    test_an_event_that_left_the_stream_is_lost_when_it_is_released_and_skipped_all_the_same,
    test_the_key_of_an_entry_that_leaves_passes_on_or_halts,
    test_what_a_worker_runs_is_taken_from_it_and_its_result_is_stale,
)
