"""FastStream on a Redis stream with a group, a list of up to a hundred events a call of the handler."""

from __future__ import annotations

from typing import Any

from faststream.redis import StreamSub

from dashboard.bench.load import TOPIC
from dashboard.bench.peers.on_faststream import GROUP, publishing, run
from dashboard.bench.peers.program import Handle, main


def work(url: str, handle: Handle) -> None:
    async def many(data: list[dict[str, Any]]) -> None:
        for one in data:
            handle(one)

    run(url, many, StreamSub(TOPIC, group=GROUP, consumer="one", batch=True, max_records=100))


if __name__ == "__main__":
    main(publishing, work)
