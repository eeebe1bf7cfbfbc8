"""One delivery: what an outcome means, and what is kept of an exception."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from bus import delivery
from bus.deadline import Deadlines
from bus.delivery import describe, judge
from bus.errors import DataInvalid, TimedOut
from bus.event import Event
from bus.journal import Step
from bus.subscription import Retry, Subscription


def event(attempt: int = 1) -> Event:
    return Event(id="e", topic="orders", type="t", raw=b"{}", key="o-1", entry="1-0", attempt=attempt)


def subscription(handler: object = print, **options: object) -> Subscription:
    return Subscription("orders", "email", handler, **options)  # type: ignore[arg-type]  # by name


def fail(_: Event) -> None:
    raise ValueError("card 4242 declined for 'ann'")


def outcome(attempt: int, error: BaseException | None, retry: Retry) -> delivery.Outcome:
    return delivery.Outcome(event(attempt), subscription(retry=retry), error, 100, time.monotonic())


@pytest.mark.parametrize(
    ("attempt", "error", "step", "verdict"),
    [
        (1, None, Step.SUCCEEDED, b"a"),
        (1, ValueError(), Step.RETRY_SCHEDULED, b"r"),
        (2, ValueError(), Step.RETRY_SCHEDULED, b"r"),
        (3, ValueError(), Step.DEAD_LETTERED, b"d"),
        (9, ValueError(), Step.DEAD_LETTERED, b"d"),
        (1, DataInvalid("x"), Step.DEAD_LETTERED, b"d"),
        (1, KeyError("x"), Step.DEAD_LETTERED, b"d"),
    ],
)
def test_an_outcome_is_judged(attempt: int, error: BaseException | None, step: Step, verdict: bytes) -> None:
    judged = judge(outcome(attempt, error, Retry(attempts=3, fatal=(KeyError,))), now=time.monotonic())
    assert (judged.record.step, judged.verdict, judged.record.attempt) == (step, verdict, attempt)
    assert (judged.record.failure is None) == (error is None)


def test_the_key_is_told_only_for_ordered_groups() -> None:
    done = outcome(1, None, Retry())
    assert judge(done, now=0).key == ""
    assert judge(done, now=0, ordered=True).key == "o-1"


def raised(text: str) -> ValueError:
    try:
        raise ValueError(text)
    except ValueError as error:
        return error


def refused(text: str) -> ValueError:
    """The same class as `raised`, from another line."""
    try:
        raise ValueError(text) from None
    except ValueError as error:
        return error


def test_one_class_at_one_line_is_one_error_whatever_it_names() -> None:
    same = {
        describe(raised(text)).fingerprint for text in ("card 1 declined", "no price for chair", "no price for sofa")
    }
    assert len(same) == 1
    assert describe(refused("no price for chair")).fingerprint not in same


def test_without_a_line_of_ones_own_errors_are_told_by_their_message_but_for_its_details() -> None:
    told = [f"card {number} declined for '{who}'" for number, who in [(1, "ann"), (22, "bob")]]
    same = {describe(ValueError(text)).fingerprint for text in told}
    assert len(same) == 1
    assert describe(ValueError("card 1 expired for 'ann'")).fingerprint not in same


@pytest.mark.parametrize("text", ["\ud800", "x" * 100_000, "\x00", "<script>"])
def test_a_hostile_message_is_kept_within_bounds(text: str) -> None:
    failure = describe(raised(text))
    failure.message.encode()
    assert len(failure.message) <= 2_000
    assert len(failure.traceback) <= 16_100


def test_an_exception_that_cannot_say_what_it_is_is_kept_all_the_same() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    assert describe(Mute()).message == "(its message can't be read)"


def test_the_innermost_line_of_the_users_code_is_named() -> None:
    ended = delivery.run(subscription(fail), event(), Deadlines())
    assert ended.error
    failure = describe(ended.error)
    assert "test_delivery.py" in failure.frame
    assert failure.frame.endswith("""in fail: raise ValueError("card 4242 declined for 'ann'")""")


def enforcing(deadlines: Deadlines, until: threading.Event) -> threading.Thread:
    def enforce() -> None:
        while not until.wait(0.005):
            deadlines.enforce()

    thread = threading.Thread(target=enforce)
    thread.start()
    return thread


def test_a_time_out_never_hits_what_runs_next() -> None:
    deadlines, over = Deadlines(), threading.Event()
    thread = enforcing(deadlines, over)

    def almost_late(_: Event) -> None:
        end = time.monotonic() + 0.01
        while time.monotonic() < end:
            pass

    try:
        for _ in range(100):
            ended = delivery.run(subscription(almost_late, timeout_seconds=0.01), event(), deadlines)
            assert ended.error is None or isinstance(ended.error, TimedOut)
            for _ in range(2_000):
                pass  # a late exception would surface here
    finally:
        over.set()
        thread.join()


def test_a_cancelled_async_handler_ends_only_its_attempt() -> None:
    async def cancels(_: Event) -> None:
        raise asyncio.CancelledError

    ended = asyncio.run(delivery.arun(subscription(cancels), event()))
    assert isinstance(ended.error, asyncio.CancelledError)


def test_a_time_out_error_of_the_handler_itself_stays_what_it_is() -> None:
    async def connects(_: Event) -> None:
        raise TimeoutError("smtp")

    ended = asyncio.run(delivery.arun(subscription(connects), event()))
    assert isinstance(ended.error, TimeoutError)
    assert str(ended.error) == "smtp"
