"""The clients' errors, on every server."""

from tests.bus.test_streams import (  # noqa: F401
    test_an_error_reply_is_refused_with_advice,
    test_an_idle_blocking_read_outlives_the_reply_time_out,
    test_one_refused_command_spoils_no_later_call,
    test_sync_and_async_clients_run_the_same_operations,
)
