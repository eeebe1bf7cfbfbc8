"""The traceparent header: its trace id, or a clear refusal."""

from __future__ import annotations

import pytest

from bus.errors import EventInvalid
from bus.traceparent import trace_of

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize("header", [f"00-{TRACE}-00f067aa0ba902b7-01", f"01-{TRACE}-00f067aa0ba902b7-00-more"])
def test_the_trace_id_is_read(header: str) -> None:
    assert trace_of(header) == TRACE


@pytest.mark.parametrize("header", [None, ""])
def test_no_header_is_no_trace(header: str | None) -> None:
    assert trace_of(header) is None


@pytest.mark.parametrize(
    "header",
    [
        "x",
        f"ff-{TRACE}-00f067aa0ba902b7-01",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-00f067aa0ba902b7-01",
        f"00-{TRACE}-00f067aa0ba902b7-01\n",
    ],
)
def test_a_malformed_header_is_refused(header: str) -> None:
    with pytest.raises(EventInvalid, match="expected a W3C traceparent"):
        trace_of(header)
