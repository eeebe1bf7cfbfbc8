"""Subscriptions: topic + group + options, and the registry of what this program subscribed.

Knows nothing of Redis: a worker reads the registry.
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

from bus.errors import SubscriptionInvalid
from bus.event import GROUP_PATTERN, Event, check_text, check_topic
from bus.journal import SubscriptionRecord

Handler = Callable[[Event], object] | Callable[[Event], Awaitable[object]]
H = TypeVar("H", bound=Callable[[Event], object])
Start = Literal["latest", "earliest"]
OnDead = Literal["continue", "halt"]

MAX_ATTEMPTS: Final = 1000
MAX_CONCURRENCY: Final = 256
ONLY_GROUP: Final = "onlygroup"  # a header


@dataclass(frozen=True)
class Retry:
    """How often and how soon a failed delivery is attempted again.

    The pause before attempt n+1 is random between 0 and min(cap, base · 2ⁿ⁻¹) seconds: exponential with
    full jitter (AWS Architecture Blog, 2015). `fatal`: exceptions after which no attempt follows.
    """

    attempts: int = 5
    base_seconds: float = 1
    cap_seconds: float = 60
    fatal: tuple[type[BaseException], ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.attempts <= MAX_ATTEMPTS:
            raise SubscriptionInvalid(f"expected Retry(attempts=…) from 1 to {MAX_ATTEMPTS}, got {self.attempts!r}")
        if not 0 <= self.base_seconds <= self.cap_seconds <= 7 * 86_400:
            raise SubscriptionInvalid(
                "expected Retry with 0 ≤ base_seconds ≤ cap_seconds ≤ 7 days,"
                f" got base {self.base_seconds!r}, cap {self.cap_seconds!r}"
            )

    def delay_seconds(self, attempt: int) -> float:
        """The pause after failed attempt `attempt` (from 1)."""
        ceiling = min(self.cap_seconds, self.base_seconds * 2.0 ** min(attempt - 1, 60))
        return random.uniform(0, ceiling)


@dataclass(frozen=True)
class Subscription:
    """One handler for events of a topic (all, or some types), on behalf of a group."""

    topic: str
    group: str
    handler: Handler
    types: frozenset[str] | None = None
    ordered: bool = False
    retry: Retry = Retry()
    timeout_seconds: float = 30
    start: Start = "latest"
    concurrency: int = 1
    inbox: bool = False
    on_dead: OnDead = "continue"

    @property
    def name(self) -> str:
        """The handler as people find it: module and function."""
        named = self.handler if hasattr(self.handler, "__qualname__") else type(self.handler)
        return f"{named.__module__}.{named.__qualname__}"

    @property
    def is_async(self) -> bool:
        return inspect.iscoroutinefunction(self.handler) or inspect.iscoroutinefunction(type(self.handler).__call__)

    def admits(self, event_type: str) -> bool:
        return self.types is None or event_type in self.types


def is_meant(headers: Mapping[str, str], group: str) -> bool:
    """Whether an event is for this group: one that names a group in its header `onlygroup` is for no other."""
    return not headers or headers.get(ONLY_GROUP, group) == group


class Admission:
    """Which one of a group's subscriptions takes an event. Found out once, since it is asked with each event."""

    def __init__(self, subscriptions: Sequence[Subscription]) -> None:
        self._group = subscriptions[0].group
        self._any = next((subscription for subscription in subscriptions if subscription.types is None), None)
        self._by_type = {name: subscription for subscription in subscriptions for name in subscription.types or ()}

    def of(self, event: Event) -> Subscription | None:
        """The subscription that takes this event, if any."""
        if event.headers and not is_meant(event.headers, self._group):
            return None
        return self._by_type.get(event.type, self._any)


class Registry:
    """What was subscribed, by topic and group."""

    def __init__(self) -> None:
        self._by_group: dict[tuple[str, str], list[Subscription]] = {}

    def add(self, subscription: Subscription) -> None:
        """Add it, or raise `SubscriptionInvalid` where it contradicts another one of its group."""
        others = self._by_group.setdefault((subscription.topic, subscription.group), [])
        others[:] = [other for other in others if other.name != subscription.name]  # a module imported again
        for other in others:
            _check_compatible(other, subscription)
        others.append(subscription)

    def groups(self, wanted: Iterable[str] | None = None) -> dict[tuple[str, str], tuple[Subscription, ...]]:
        """Subscriptions by (topic, group); `wanted` names groups, and an unknown one is an error."""
        names = None if wanted is None else set(wanted)
        known = {group for _, group in self._by_group}
        if names is not None and names - known:
            raise SubscriptionInvalid(
                f"expected groups among {', '.join(sorted(known)) or 'none (nothing is subscribed)'},"
                f" got {', '.join(sorted(names - known))}; import the module that subscribes it"
            )
        return {key: tuple(subs) for key, subs in self._by_group.items() if names is None or key[1] in names}

    def clear(self) -> None:
        self._by_group.clear()


registry: Final = Registry()


def subscribe(
    topic: str,
    *,
    group: str,
    types: Iterable[str] | None = None,
    ordered: bool = False,
    retry: Retry = Retry(),  # frozen: sharing it is safe
    timeout_seconds: float = 30,
    start: Start = "latest",
    concurrency: int = 1,
    inbox: bool = False,
    on_dead: OnDead = "continue",
) -> Callable[[H], H]:
    """Decorator: `handler(event)` gets every event of the topic (of these types), at least once.

    `start`: where a new group begins, after what is there ("latest") or with it ("earliest").
    `concurrency`: how many deliveries one worker process runs at once. `inbox`: the handler's work in Django's
    default database takes effect once, however often the event is delivered. `on_dead`: whether a dead letter of an
    ordered group lets the next event of its key run ("continue"), or blocks its key until somebody replays or
    discards it ("halt").
    Raises `TopicInvalid` or `SubscriptionInvalid`.
    """

    def register(handler: H) -> H:
        subscription = Subscription(
            topic=check_topic(topic),
            group=_check_group(group),
            handler=handler,
            types=None if types is None else _check_types(types),
            ordered=ordered,
            retry=retry,
            timeout_seconds=timeout_seconds,
            start=start,
            concurrency=concurrency,
            inbox=inbox,
            on_dead=on_dead,
        )
        _check_numbers(subscription)
        if inbox and subscription.is_async:
            raise SubscriptionInvalid(
                f"expected a sync handler for inbox=True, since Django's transactions are sync, got async"
                f" {subscription.name}; write it as def"
            )
        registry.add(subscription)
        return handler

    return register


def describe(subscriptions: Sequence[Subscription]) -> SubscriptionRecord:
    """What the journal keeps of a group's subscriptions on one topic."""
    types = [subscription.types for subscription in subscriptions]
    return SubscriptionRecord(
        types=None if None in types else sorted(name for some in types for name in some or ()),
        ordered=subscriptions[0].ordered,
        attempts=max(subscription.retry.attempts for subscription in subscriptions),
        handlers=sorted(subscription.name for subscription in subscriptions),
        on_dead=subscriptions[0].on_dead,
    )


def _check_group(group: object) -> str:
    if isinstance(group, str) and GROUP_PATTERN.match(group):
        return group
    raise SubscriptionInvalid(
        "expected a group of 1 to 120 letters, digits, '.', '_' or '-', starting with a letter or digit,"
        f" got {ascii(group)[:80]}"
    )


def _check_types(types: Iterable[str]) -> frozenset[str]:
    if isinstance(types, str):
        raise SubscriptionInvalid(f"expected types to be a list of texts, got the text {types!r}; write [{types!r}]")
    return frozenset(check_text("type", value, required=True) for value in types)


def _check_numbers(subscription: Subscription) -> None:
    if subscription.start not in ("latest", "earliest"):
        raise SubscriptionInvalid(f"expected start 'latest' or 'earliest', got {subscription.start!r}")
    if not 0 < subscription.timeout_seconds <= 86_400:
        raise SubscriptionInvalid(f"expected timeout_seconds from 0 to 86,400, got {subscription.timeout_seconds!r}")
    if subscription.on_dead not in ("continue", "halt"):
        raise SubscriptionInvalid(f"expected on_dead 'continue' or 'halt', got {subscription.on_dead!r}")
    if subscription.on_dead == "halt" and not subscription.ordered:
        raise SubscriptionInvalid("expected ordered=True with on_dead='halt': without order no key can be blocked")
    if not 1 <= subscription.concurrency <= MAX_CONCURRENCY:
        raise SubscriptionInvalid(f"expected concurrency from 1 to {MAX_CONCURRENCY}, got {subscription.concurrency!r}")


def _check_compatible(one: Subscription, other: Subscription) -> None:
    """Two handlers may share a group's cursor when no event is for both."""
    same = f"topic {other.topic!r}, group {other.group!r}: {one.name} and {other.name}"
    if one.types is None or other.types is None or one.types & other.types:
        both = "every type" if one.types is None or other.types is None else ", ".join(sorted(one.types & other.types))
        raise SubscriptionInvalid(
            f"{same} would both handle {both}; use another group (each group gets every event) or disjoint types"
        )
    if _shared(one) != _shared(other):
        raise SubscriptionInvalid(f"{same} must agree on ordered, on_dead, start and concurrency")
    if (one.inbox and other.is_async) or (other.inbox and one.is_async):
        raise SubscriptionInvalid(f"{same}: an async handler can't share a group with one that has inbox=True")


def _shared(subscription: Subscription) -> tuple[object, ...]:
    return subscription.ordered, subscription.on_dead, subscription.start, subscription.concurrency
