"""What commands about a group share: its topic's partitions, who acts, and the dead letters that are meant."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from django.core.management.base import CommandError, CommandParser

import bus
from bus import operations, tail
from bus.errors import TopicInvalid
from bus.event import check_topic
from bus.keys import Keys
from bus.management.base import BusCommand
from bus.operations import DeadLetter
from bus.streams import Client, connect


@dataclass
class Act:
    """What a command does by hand, for whoever keeps a record of that; `told` and `count` once it is done."""

    deed: str
    topic: str
    group: str = ""
    reason: str = ""
    filter: Mapping[str, Any] = field(default_factory=dict)
    told: str = ""
    count: int | None = None
    events: list[str] = field(default_factory=list)


class Keeper:
    """Who keeps a record of what commands do: nobody, unless an app says so (the dashboard does)."""

    keep: Callable[[Act], AbstractContextManager[None]] = staticmethod(lambda _act: nullcontext())


class GroupCommand(BusCommand):
    """A command about one group of one topic; `act` is called with every partition."""

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("topic", help="for example orders")
        parser.add_argument("group", help="for example email")

    def handle(self, **options: Any) -> None:
        with connected() as client:
            self.act(client, partitions_of(client, options["topic"]), options)

    def act(self, client: Client, partitions: list[Keys], options: dict[str, Any]) -> None:
        """Do it."""
        raise NotImplementedError


class LettersCommand(GroupCommand):
    """A command about dead letters of a group: all, or those that the options name."""

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--error", help="only those that failed with this class, for example TimeoutError")
        parser.add_argument("--fingerprint", help="only those that failed alike: as the Dead letters page names them")
        parser.add_argument("--limit", type=int, default=0, help="at most so many (default: all)")
        parser.add_argument("--dry-run", action="store_true", help="only say which")

    def batches(self, client: Client, keys: Keys, options: dict[str, Any], done: int) -> Iterator[list[DeadLetter]]:
        """Dead letters that match, in batches that one operation takes, after `done` of them; named if only shown."""
        if options["limit"] < 0:
            raise CommandError(f"expected --limit to be 0 (all) or more, got {options['limit']}")
        matching = (
            letter
            for letter in _letters(client, keys, options["group"])
            if options["error"] in (None, letter.failure.error_class)
            and options["fingerprint"] in (None, letter.failure.fingerprint)
        )
        wanted = islice(matching, options["limit"] - done if options["limit"] else None)
        while batch := list(islice(wanted, operations.MAX_BATCH)):
            for letter in batch if options["dry_run"] else ():
                self.say(f"{letter.event.id} {letter.event.type}: {ascii(letter.failure.error_class)[1:-1]}")
            yield batch


@contextmanager
def connected() -> Iterator[Client]:
    """A client of the bus of this process."""
    client = connect(bus.config())
    try:
        yield client
    finally:
        client.close()


def partitions_of(client: Client, topic: str) -> list[Keys]:
    """The keys of every partition of a topic that exists, or `TopicInvalid`."""
    check_topic(topic)
    known = client.run(tail.partitions(client.config.prefix))
    if topic not in dict(known):
        names = ", ".join(sorted(dict(known))) or "none"
        raise TopicInvalid(f"expected a topic that exists ({names}), got {topic!r}")
    return [Keys(client.config.prefix, topic, number) for name, number in known if name == topic]


def operator() -> str:
    """Who acts: the account that the command runs under."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # an account without a name, as in some containers
        return "somebody"


def _letters(client: Client, keys: Keys, group: str) -> Iterator[DeadLetter]:
    after = ""
    while letters := client.run(operations.dead_letters(keys, group, after=after)):
        yield from letters
        after = letters[-1].id
