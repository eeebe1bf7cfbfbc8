"""The names of all that the bus keeps on the server.

Keys (all of one partition share a hash tag, so that one script is one slot):
  <prefix>:{<topic>/<n>}              events          stream
  <prefix>:{<topic>/<n>}:journal      journal         stream
  <prefix>:{<topic>/<n>}:meta         by group        hash, `sub:<g>` → packed subscription, `paused:<g>` → who did it,
                                      `generation:<g>` → times moved, `rewinds:<g>` → where back to,
                                      `clock:<g>` → latest time seen, in ms, `hold:<g>` → packed breakpoint
  <prefix>:{<topic>/<n>}:due:<g>      retries         zset, entry → due ms
  <prefix>:{<topic>/<n>}:busy:<g>     ordered groups  hash, key → the entry that has it
  <prefix>:{<topic>/<n>}:parked:<g>   ordered groups  zset of equal scores, `<digest of key>:<padded entry>`
  <prefix>:{<topic>/<n>}:dead:<g>     dead letters    stream, each with a copy of its event
  <prefix>:{<topic>/<n>}:discarded:<g> discarded ones stream, as dead letters; kept for a month
  <prefix>:{<topic>/<n>}:halted:<g>   on_dead="halt"  hash, key → `<entry> <dead letter>` that blocks it
  <prefix>:{<topic>/<n>}:replayed:<g> replays         hash, entry → attempts before it was handed back
  <prefix>:{<topic>/<n>}:crashes:<g>  crash counts    hash, entry → times its worker died
  <prefix>:{<topic>/<n>}:held:<g>     breakpoints     hash, entry → ms in which it stopped at the breakpoint
  <prefix>:{<topic>/<n>}:seen:<id>    publish dedupe  string with a time to live
  {<prefix>}:topics                   catalogue       hash, topic → number of partitions
  {<prefix>}:workers                  heartbeats      zset, worker → last beat in ms
  {<prefix>}:workers:info             heartbeats      hash, worker → JSON
  {<prefix>}:recorded                 announcements   pub/sub
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True)
class Keys:
    """The keys of one partition of a topic."""

    prefix: str
    topic: str
    partition: int

    @property
    def events(self) -> bytes:
        return f"{self.prefix}:{{{self.topic}/{self.partition}}}".encode()

    @property
    def journal(self) -> bytes:
        return self.events + b":journal"

    @property
    def meta(self) -> bytes:
        return self.events + b":meta"

    def of_group(self, group: str) -> tuple[bytes, ...]:
        """What every script of a group gets as its keys, in the order that `scripts/_shared.lua` names them."""
        return _of_group(self, group)

    def due(self, group: str) -> bytes:
        return self.events + b":due:" + group.encode()

    def dead(self, group: str) -> bytes:
        return self.events + b":dead:" + group.encode()

    def discarded(self, group: str) -> bytes:
        return self.events + b":discarded:" + group.encode()

    def halted(self, group: str) -> bytes:
        return self.events + b":halted:" + group.encode()

    def busy(self, group: str) -> bytes:
        return self.events + b":busy:" + group.encode()

    def parked(self, group: str) -> bytes:
        return self.events + b":parked:" + group.encode()

    def replayed(self, group: str) -> bytes:
        return self.events + b":replayed:" + group.encode()

    def crashes(self, group: str) -> bytes:
        return self.events + b":crashes:" + group.encode()

    def held(self, group: str) -> bytes:
        return self.events + b":held:" + group.encode()

    def seen(self, event_id: str) -> bytes:
        return self.events + b":seen:" + event_id.encode()


@lru_cache(maxsize=4096)  # asked for with every batch
def _of_group(keys: Keys, group: str) -> tuple[bytes, ...]:
    return (
        keys.events, keys.journal, keys.meta,
        keys.due(group), keys.busy(group), keys.parked(group),
        keys.dead(group), keys.discarded(group), keys.halted(group),
        keys.crashes(group), keys.replayed(group), keys.held(group),
    )  # fmt: skip


def global_key(prefix: str, name: str) -> bytes:
    """A key that belongs to no partition."""
    return f"{{{prefix}}}:{name}".encode()
