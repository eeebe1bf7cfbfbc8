"""Moving, halting and a server's clock, on every server. What an operator does while a worker runs is Python's part."""

from tests.bus.test_control import (  # noqa: F401
    keys,
    test_a_blocked_key_whose_dead_letter_somebody_removed_is_found_and_freed,
    test_a_group_that_is_not_there_can_not_be_paused,
    test_a_group_that_runs_something_is_not_moved_and_goes_on,
    test_a_worker_that_beat_in_the_future_is_not_alive_until_then,
    test_moving_a_group_back_while_its_worker_runs_delivers_anew,
    test_moving_a_group_forth_passes_events_over,
    test_names_of_owners_that_hold_nothing_are_reaped,
    test_retries_move_back_with_a_clock_that_fell,
    test_so_many_events_back_or_forth,
)
