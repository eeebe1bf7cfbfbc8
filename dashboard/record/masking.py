"""Secrets never reach the database or a screen: what looks like one is masked before anything is stored or shown.

By the name that a value has (`password`, `X-Api-Key`, `stripeSecret`), in JSON and in any text, and by what it looks
like (a JWT, a private key, a card number). All that is not masked stays as it was, byte for byte: no number is written
anew, no key sorted. Pure but for the setting `MASKED_NAMES`. Every pattern here is linear: possessive, or bounded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from typing import Final, NamedTuple

import msgspec
from django.conf import settings

MARK: Final = "•••"
NAMES: Final = (
    "password", "passwords", "passwd", "passphrase", "passcode", "pwd", "password_hash",
    "secret", "secrets", "secret_key", "client_secret", "private_key", "signing_key", "encryption_key",
    "token", "access_token", "refresh_token", "id_token", "csrf_token", "session_id", "session_key",
    "api_key", "access_key", "access_key_id", "authorization", "auth", "cookie", "cookies", "set_cookie",
    "credential", "credentials", "card_number", "cc_number", "pan", "cvv", "cvc", "pin",
    "iban", "ssn", "social_security_number", "otp",
)  # fmt: skip
_SHORT: Final = 4  # names up to here count as a whole word only: `pin`, not `shipping`
_SEPARATORS: Final = "-_. \t\r\n"
_MAX_NAME: Final = 200  # characters of a name that are looked at, from its end
_NESTED: Final = 3  # JSON in a text in JSON …
_PLAIN: Final = frozenset(("null", "none", "true", "false", '""'))  # tell nothing, and programs may need them
_FOLD: Final = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ123456789", b"abcdefghijklmnopqrstuvwxyz000000000")
_DROPPED: Final = b"-_. \t\r\n"
# What a secret by its looks has in it, told by a letter that is rare; and `\u00`, behind which a letter may hide.
# (Alternatives that begin with one plain letter each are searched several times faster than others.)
_MAY_LOOK: Final = re.compile(
    rb"J(?<=eyJ)|I(?<=[KS]I)A|V(?<=PRIV)|B(?:EARER|ASIC|earer|asic)[ \t]|b(?:earer|asic)[ \t]|/(?<=:/)|\\u00"
)
_MANY_DIGITS: Final = b"0" * 13  # as folded
_MAY_COUNT: Final = re.compile(rb"[2-6](?<![0-9].)(?:[ -]?[0-9]){12}")

# Possessive groups have nothing in them that could backtrack: Python 3.11 before 3.11.5 gets others wrong (gh-106052).
_TEXT_PATTERNS: Final = (
    re.compile(
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----(?:(?!-----).)*(?:-----END [A-Z0-9 ]{0,40}-----)?", re.DOTALL
    ),
    re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{5,}+\.[A-Za-z0-9_-]{5,}+(?:\.[A-Za-z0-9_-]*+)*+"),
    re.compile(r"\b(?:BEARER|BASIC|[Bb](?:earer|asic))[ \t]{1,8}(?P<secret>[A-Za-z0-9+/=_.~-]{6,}+)"),
    re.compile(r"(?<![A-Z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])"),
    re.compile(r"://[^\s/:@\"'\\]{0,256}:(?P<secret>[^\s/@\"'\\]{1,1024})@"),
)
_CARD: Final = re.compile(r"(?<![A-Za-z0-9.])[2-6](?:[ -]?[0-9]){12,18}(?![A-Za-z0-9])")
_CARD_BEGINS: Final = re.compile(r"4|5[1-5]|2[2-7]|3[04-9]|6(?:011|2|4[4-9]|5)")
_NAMED: Final = re.compile(r"(?<![A-Za-z0-9_.-])(?P<name>[A-Za-z0-9_.-]++)[\"']?\]?[ \t]{0,8}(?:=>|[:=])[ \t]{0,8}")
_VALUE: Final = re.compile(
    r"b?\"[^\"\\]*+(?:\\.[^\"\\]*+)*+\"?+|b?'[^'\\]*+(?:\\.[^'\\]*+)*+'?+|[^\s,;&\"')}\]]++", re.DOTALL
)
_LINE_NAMES: Final = ("authorization", "cookie", "cookies")  # in a text their values are the rest of the line
_LINE: Final = re.compile(r"[^\r\n\"']++")
_TOKEN: Final = re.compile(
    r'(?P<text>"[^"\\]*+(?:\\.[^"\\]*+)*+"?+)(?P<colon>\s*+:\s*+)?+|-?[0-9][0-9.eE+-]{12,}+', re.DOTALL
)
_STEP: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?+|[{}\[\]]', re.DOTALL)
_BARE: Final = re.compile(r"[^\s,}\]]*+")
_WORDS: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class _Span(NamedTuple):
    """Characters `start` to `end` of a text, and what stands there instead."""

    start: int
    end: int
    instead: str


class Masker:
    """Masks by these names and by every pattern."""

    def __init__(self, names: Iterable[str]) -> None:
        folded = {_folded_name(name) for name in names} - {""}
        self._long = tuple(sorted(name for name in folded if len(name) > _SHORT))
        self._short = frozenset(name for name in folded if len(name) <= _SHORT)
        some = rb"[\"'\\\]>]*+0*+" + _any_of({name.encode().translate(_FOLD)[::-1] for name in folded})
        self._before_colon, self._before_equals = re.compile(b":" + some), re.compile(b"=" + some)
        self.names = lru_cache(maxsize=4096)(self._names)

    def may_hold(self, raw: bytes) -> bool:
        """Whether anything in it can be a secret; nearly always not, so this is all that most events cost.

        Names are looked for from the back, beginning where one ends: at `":` or `=`.
        """
        if _MAY_LOOK.search(raw):
            return True
        folded = raw.translate(_FOLD, _DROPPED)[::-1]
        return bool(
            self._before_colon.search(folded)
            or (b"=" in folded and self._before_equals.search(folded))
            or (_MANY_DIGITS in folded and _MAY_COUNT.search(raw))
        )

    def _names(self, name: str) -> bool:
        """Whether a value of this name is a secret: the name ends with one of ours."""
        folded = _folded_name(name)
        if folded.endswith(self._long) or folded in self._short:
            return True
        last = re.split(r"[-_ .]", _WORDS.sub("_", name))[-1]
        return _folded_name(last) in self._short

    def payload(self, raw: bytes, limit: int) -> bytes:
        """The first `limit` bytes of an event's data, masked. Read to twice as far: a secret may lie across the end."""
        if not self.may_hold(raw[: 2 * limit]):
            return raw[:limit]
        text = raw[: 2 * limit].decode("utf-8", "surrogateescape")
        spans = self._spans(text, is_json=_is_json(raw), depth=0)
        shown = len(raw[:limit].decode("utf-8", "surrogateescape"))
        return _applied(text, spans, shown).encode("utf-8", "surrogateescape")

    def text(self, text: str, name: str = "") -> str:
        """A text, masked; all of it when `name`, which it has, is a secret's."""
        if not text or (name and self.names(name[-_MAX_NAME:])):
            return MARK if text else text
        if not self.may_hold(text.encode("utf-8", "surrogatepass")):
            return text
        return self._text(text, 0)

    def _text(self, text: str, depth: int) -> str:
        is_json = depth < _NESTED and text.lstrip()[:1] in ("{", "[") and _is_json(text)
        return _applied(text, self._spans(text, is_json=is_json, depth=depth + 1), len(text))

    def _spans(self, text: str, *, is_json: bool, depth: int) -> list[_Span]:
        return list(self._json_spans(text, depth) if is_json else self._text_spans(text))

    def _json_spans(self, text: str, depth: int) -> Iterator[_Span]:
        """Values by name wherever they are nested, and secrets within any text or number."""
        at = 0
        while found := _TOKEN.search(text, at):
            at = found.end()
            token = found["text"]
            if token is None:
                if _is_card(found[0]):
                    yield _Span(found.start(), at, f'"{MARK}"')
                continue
            yield from self._string_spans(token, found.start(), depth)
            if found["colon"] and self.names(_decoded(token)[-_MAX_NAME:]):
                start, at = at, _value_end(text, at)
                if text[start:at] not in _PLAIN:
                    yield _Span(start, at, f'"{MARK}"')

    def _string_spans(self, token: str, start: int, depth: int) -> Iterator[_Span]:
        if not self.may_hold(token.encode("utf-8", "surrogatepass")):
            return
        if "\\" not in token and token[1:2] not in ("{", "["):
            for span in self._text_spans(token[1:].removesuffix('"')):
                yield _Span(start + 1 + span.start, start + 1 + span.end, span.instead)
            return
        decoded = _decoded(token)
        if decoded.lstrip()[:1] in ("{", "[") and not _is_json(
            token
        ):  # JSON in a text that is cut off: nobody can tell
            yield _Span(start, start + len(token), f'"{MARK}"')
            return
        masked = self._text(decoded, depth)
        if masked != decoded:
            yield _Span(start, start + len(token), json.dumps(masked, ensure_ascii=not _is_encodable(masked)))

    def _text_spans(self, text: str) -> Iterator[_Span]:
        """Secrets in a text that is not JSON, in order; where two overlap, both go."""
        found = sorted([*self._assigned(text), *_looks(text)])
        at = 0
        for start, end in found:
            if end > at:
                yield _Span(max(start, at), end, MARK if start >= at else "")
                at = end

    def _assigned(self, text: str) -> Iterator[tuple[int, int]]:
        """`password=…`, `'password': '…'` and the like: the value without its quotes."""
        at = 0
        while found := _NAMED.search(text, at):
            at = found.end("name")
            if self.names(found["name"][-_MAX_NAME:]) and (value := _value(found, text)):
                at = value.end()
                start, end = _within_quotes(value[0])
                if end > start and value[0].lower() not in _PLAIN:
                    yield value.start() + start, value.start() + end


def _any_of(words: set[bytes]) -> bytes:
    """A pattern for words, each letter looked at once; a word that goes on after another one adds nothing."""
    if b"" in words:
        return b""
    by_letter = {word[:1]: {other[1:] for other in words if other[:1] == word[:1]} for word in sorted(words)}
    return b"(?:" + b"|".join(re.escape(letter) + _any_of(rest) for letter, rest in by_letter.items()) + b")"


@cache
def masker() -> Masker:
    """The one for the names in the settings."""
    return Masker([*NAMES, *settings.MASKED_NAMES])


def _looks(text: str) -> Iterator[tuple[int, int]]:
    """What is a secret by its looks, whatever it is called."""
    for pattern in _TEXT_PATTERNS:
        for found in pattern.finditer(text):
            yield found.span("secret" if "secret" in pattern.groupindex else 0)
    for found in _CARD.finditer(text):
        if _is_card(found[0]):
            yield found.span()


def _value(named: re.Match[str], text: str) -> re.Match[str] | None:
    is_line = named["name"].lower().endswith(_LINE_NAMES)
    return (is_line and _LINE.match(text, named.end())) or _VALUE.match(text, named.end())


def _within_quotes(value: str) -> tuple[int, int]:
    """Where a value begins and ends without its quotes, of which the last may be missing."""
    opening = re.match(r"b?[\"']", value)
    start = opening.end() if opening else 0
    return start, len(value) - (start > 0 and len(value) > start and value[-1] == value[start - 1])


def _is_card(text: str) -> bool:
    """A card's number: 13 to 19 digits that begin as some issuer's do, with Luhn's check digit."""
    digits = text.lstrip("-").replace(" ", "").replace("-", "")
    if not (13 <= len(digits) <= 19 and digits.isdecimal() and _CARD_BEGINS.match(digits)):
        return False
    numbers = [int(digit) for digit in reversed(digits)]
    return sum(numbers[::2]) % 10 == -sum(sum(divmod(2 * number, 10)) for number in numbers[1::2]) % 10


def _value_end(text: str, start: int) -> int:
    """Where the JSON value that begins at `start` ends, or the text does."""
    if text[start : start + 1] not in ('"', "{", "["):
        found = _BARE.match(text, start)
        return found.end() if found else start
    depth, at = 0, start
    while step := _STEP.search(text, at):
        at = step.end()
        depth += (step[0] in ("{", "[")) - (step[0] in ("}", "]"))
        if depth <= 0:
            return at
    return len(text)


def _applied(text: str, spans: Iterable[_Span], limit: int) -> str:
    """The first `limit` characters of the text, with what stands instead; a span across the end goes whole."""
    pieces, at = [], 0
    for span in spans:
        if span.start >= limit:
            break
        pieces += [text[at : span.start], span.instead]
        at = span.end
    return "".join([*pieces, text[at : max(limit, at)]])


def _is_json(raw: bytes | str) -> bool:
    try:
        msgspec.json.decode(raw, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError, ValueError):
        return False
    return True


def _decoded(token: str) -> str:
    """What a JSON text says; as it stands when it can't be read."""
    if "\\" not in token:
        return token.strip('"')
    try:
        decoded: str = json.loads(token, strict=False)
    except ValueError:
        return token.strip('"')
    return decoded


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _folded_name(name: str) -> str:
    """A name without case, separators and the number at its end."""
    return "".join(c for c in name.lower() if c not in _SEPARATORS).rstrip("0123456789")
