"""How long things take, in few bytes: counts by logarithmic classes, eight to each doubling. Pure.

A length in µs falls into a class that is at most an eighth of it wide, so a quantile is off by 6 % at worst, whatever
the spread: the classes of HdrHistogram with three bits. Only classes that hold something are kept.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import repeat
from typing import Final

import msgspec

_BITS: Final = 3
_PARTS: Final = 1 << _BITS
_pack = msgspec.msgpack.Encoder().encode
_unpack: Final = msgspec.msgpack.Decoder(list[int]).decode

Histogram = Counter[int]  # class → count


def class_of(length_us: int) -> int:
    """The class that a length falls into."""
    if length_us < _PARTS:
        return max(length_us, 0)
    shift = length_us.bit_length() - 1 - _BITS
    return (shift << _BITS) + (length_us >> shift)


def bounds(number: int) -> tuple[int, int]:
    """The shortest length of a class, and the shortest of the next one."""
    if number < _PARTS:
        return number, number + 1
    shift = (number >> _BITS) - 1
    low = (_PARTS | (number & (_PARTS - 1))) << shift
    return low, low + (1 << shift)


_ENDS: Final = [bounds(number)[1] for number in range(60 * _PARTS)]  # so many lie below a length as its class says


def classes_of(lengths_us: Iterable[int]) -> Iterator[int]:
    """The class of each length, by looking it up: `class_of` for many."""
    return map(bisect_right, repeat(_ENDS), lengths_us)


def quantile(histogram: Mapping[int, int], share: float) -> float | None:
    """The length in µs that `share` of all don't exceed; None when there are none."""
    wanted = sum(histogram.values()) * share
    if not histogram:
        return None
    for number in sorted(histogram):
        count = histogram[number]
        if wanted <= count:
            low, high = bounds(number)
            return low + (high - low) * (wanted / count)
        wanted -= count
    return float(bounds(max(histogram))[1])


def packed(histogram: Mapping[int, int]) -> bytes:
    """As bytes: class (as its distance from the one before) and count in turn; nothing for nothing."""
    flat, before = [], 0
    for number, count in sorted(histogram.items()):
        flat += number - before, count
        before = number
    return _pack(flat) if flat else b""


def unpacked(value: bytes | memoryview) -> Histogram:
    """The histogram that `packed` made."""
    found: Histogram = Counter()
    flat, number = _unpack(value) if value else [], 0
    for distance, count in zip(flat[::2], flat[1::2], strict=True):
        number += distance
        found[number] = count
    return found
