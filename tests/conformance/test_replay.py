"""Dead letters go back to their own group, on every server."""

from tests.bus.test_replay import (  # noqa: F401
    keys,
    ordered,
    test_a_dead_letter_comes_back_with_the_next_attempt,
    test_a_letter_whose_event_has_left_the_stream_stays,
    test_a_replayed_event_waits_for_its_key,
    test_a_trimmed_stream_keeps_what_was_replayed,
    test_an_event_that_the_group_will_get_anyway_is_not_doubled,
    test_no_other_group_gets_it,
    test_replaying_again_after_a_lost_reply_doubles_nothing,
)
