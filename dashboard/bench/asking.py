"""The questions that people ask of a record, each with many different arguments, timed one by one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import cycle, islice
from random import Random
from typing import Any, Final, NamedTuple

from dashboard.bench.made_up import TOPICS, Samples, types_of
from dashboard.queries import dead_letters, groups, history, trace
from dashboard.queries.event import event
from dashboard.queries.language import parse
from dashboard.queries.letters import letters
from dashboard.queries.search import search

HOUR_MS: Final = 3_600_000
WARM: Final = 5  # asked before the clock runs

Ask = Callable[[], Any]


class Asked(NamedTuple):
    """How long one kind of question took, in ms, sorted; `searched`: what it looked at, where it stopped early.

    `cpu_ms`: what it took this process of the processor, whatever else the machine had to do; on SQLite that is all.
    """

    name: str
    indexed: bool
    took_ms: list[float]
    cpu_ms: list[float]
    searched: str = ""


def quantile(figures: Sequence[float], share: float) -> float:
    """Of sorted figures."""
    return figures[min(int(share * len(figures)), len(figures) - 1)]


def ask_all(samples: Samples, count: int) -> Iterator[Asked]:
    """Ask every kind of question `count` times, each time about something else."""
    for name, asks in _questions(samples).items():
        some = list(islice(asks, count + WARM))
        if len(some) <= WARM:
            continue  # a history so small that it has none of these
        for ask in some[:WARM]:
            ask()
        took, used, answers = [], [], []
        for ask in some[WARM:]:
            began, begun = time.perf_counter(), time.process_time()
            answers.append(ask())
            used.append((time.process_time() - begun) * 1000)
            took.append((time.perf_counter() - began) * 1000)
        yield Asked(name, not name.startswith("text"), sorted(took), sorted(used), _searched(answers))


def _questions(samples: Samples) -> dict[str, Iterator[Ask]]:
    random = Random(2)

    def some(values: Sequence[str]) -> Iterator[str]:
        return cycle(random.sample(values, len(values)))  # a small history has too few of some

    def found(texts: Iterator[str]) -> Iterator[Ask]:
        return (partial(_search, text) for text in texts)

    topics = _forever(random, list(TOPICS))
    pairs = _forever(random, [(topic, group) for topic, named in TOPICS.items() for group in named])
    types = _forever(random, [name for topic in TOPICS for name in types_of(topic)])
    moments = _forever(random, samples.moments)
    windows = (f"since:{at} until:{at + HOUR_MS}" for at in moments)
    return {
        "trace of 50 events": (partial(trace, one) for one in some(samples.large_traces)),
        "entity history": (partial(history, key) for key in some(samples.keys)),
        "dead letters by kind": (partial(dead_letters, topic=topic) for topic in topics),
        "dead letters by kind, one group": (partial(dead_letters, topic=t, group=g) for t, g in pairs),
        "letters of one kind": (partial(letters, f"valueerror-{random.randrange(8)}", topic=t) for t in topics),
        "event page": (partial(event, one) for one in some(samples.ids)),
        "groups with lag": (groups for _ in moments),
        "type:…": found(f"type:{name}" for name in types),
        "key:…": found(f"key:{key}" for key in some(samples.keys)),
        "id:…": found(f"id:{one}" for one in some(samples.ids)),
        "trace:…": found(f"trace:{one}" for one in some(samples.traces)),
        "state:dead": found(f"state:dead topic:{topic}" for topic in topics),
        "group:… state:dead": found(f"group:{group} state:dead topic:{topic}" for topic, group in pairs),
        "group:… state:succeeded": found(f"group:{group} state:succeeded topic:{topic}" for topic, group in pairs),
        "since:… until:…": found(windows),
        "type:… since:… until:…": found(f"type:{name} {window}" for name, window in zip(types, windows, strict=False)),
        "key:… payload…": found(f"key:{key} payload.total>500" for key in some(samples.keys)),
        "text that many have": found(f"Bremen topic:{topic}" for topic in topics),
        "text that few have": found(f'"A-{random.randrange(65_536):05d}"' for _ in moments),
        "text that none has": found(f'"nowhere {random.random()}"' for _ in moments),
    }


def _forever(random: Random, values: Sequence[Any]) -> Iterator[Any]:
    while values:
        yield random.choice(values)


def _search(text: str) -> dict[str, Any]:
    return search(parse(text))


def _searched(answers: Sequence[Any]) -> str:
    """What the answers say they looked at before they stopped, the usual one of them."""
    stopped = (answer.get("searched") for answer in answers if answer)
    counts = sorted(searched["count"] for searched in stopped if isinstance(searched, dict))
    return f"{counts[len(counts) // 2]:,} events" if counts else ""
