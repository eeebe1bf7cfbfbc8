"""How values look on the screen: icons, states, times, sizes, sparklines.

Turns numbers and names into escaped HTML or text; must not fetch anything.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo

from django import template
from django.http import HttpRequest
from django.templatetags.static import static
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from dashboard.queries.groups import keeps_up

register = template.Library()

SPRITE: Final = "vendor/lucide-1.62.0-cut.svg"
SPARK_LEAST: Final = 20  # events behind that fill a sparkline at least: one or two are no mountain
_LATEST_MS: Final = 253402300799000  # datetime ends with the year 9999
_AGES: Final = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"))


@register.simple_tag
def icons_url() -> str:
    """Where the sprite is, for scripts that draw icons."""
    return static(SPRITE)


@register.simple_tag
def icon(name: str) -> SafeString:
    """One icon of the sprite; a word beside it must say what it means."""
    return format_html('<svg class="icon" aria-hidden="true"><use href="{}#{}"></use></svg>', static(SPRITE), name)


@register.simple_tag
def now_ms() -> int:
    """The server's clock, in ms since 1970: what scripts count ages from."""
    return int(time.time() * 1000)


def look(state: str, label: str) -> str:
    """The name of a state's icon and colour: success after retries has its own."""
    return "succeeded-later" if state == "succeeded" and label.startswith("Succeeded after") else state


@register.simple_tag
def state(lane: Mapping[str, Any]) -> SafeString:
    """A lane's state as icon and word."""
    name = look(lane["state"], lane["label"])
    return format_html('<span class="state state-{}">{}{}</span>', name, icon(f"state-{name}"), lane["label"])


@register.simple_tag
def outcomes(lanes: Iterable[Mapping[str, Any]]) -> SafeString:
    """The outcome strip: one mark per group that should get the event."""
    return format_html_join("", *_marks(lanes))


def _marks(lanes: Iterable[Mapping[str, Any]]) -> tuple[str, Iterable[tuple[Any, ...]]]:
    mark = '<span class="state state-{0}" data-group="{1}" role="img" aria-label="{1}: {2}" title="{1}: {2}">{3}</span>'
    named = ((look(lane["state"], lane["label"]), lane) for lane in lanes)
    return mark, ((name, lane["group"], lane["label"], icon(f"state-{name}")) for name, lane in named)


@register.simple_tag
def marks(lane: Mapping[str, Any]) -> SafeString:
    """A lane's attempts as marks, the ones still allowed hollow."""
    attempts = lane.get("attempts", ())
    states = [attempt["state"] for attempt in attempts][-8:]
    left = 0 if lane["state"] == "succeeded" else max(0, min(8, int(lane.get("attempts_allowed") or 0)) - len(states))
    dots = format_html_join("", '<i class="a-{}"></i>', ((name,) for name in [*states, *["left"] * left]))
    kind = "marks dead" if lane["state"] == "dead" else "marks"
    text = f"{len(attempts)} of {lane.get('attempts_allowed') or '?'} attempts"
    return format_html('<span class="{}" role="img" aria-label="{}" title="{}">{}</span>', kind, text, text, dots)


@register.simple_tag(takes_context=True)
def when(context: Mapping[str, Any], moment_ms: float | None) -> SafeString | str:
    """A moment as `<time>`, the way the reader chose (cookies `time` and `zone`); scripts keep it current."""
    if not moment_ms:
        return "–"
    moment = datetime.fromtimestamp(min(moment_ms, _LATEST_MS) / 1000, UTC)
    return format_html(
        '<time datetime="{}" data-ms="{}" title="{} UTC">{}</time>',
        moment.isoformat(timespec="milliseconds"),
        int(moment_ms),
        moment.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3],
        _as_chosen(context.get("request"), moment, moment_ms),
    )


def _as_chosen(request: HttpRequest | None, moment: datetime, moment_ms: float) -> str:
    cookies = request.COOKIES if request else {}
    chosen = cookies.get("time")
    if chosen not in ("utc", "local"):
        return age(moment_ms)
    shown = moment.astimezone(_zone(cookies.get("zone", "")) if chosen == "local" else UTC)
    is_today = shown.date() == datetime.now(shown.tzinfo).date()
    return shown.strftime("%H:%M:%S.%f")[:-3] if is_today else shown.strftime("%Y-%m-%d %H:%M:%S")


def _zone(name: str) -> tzinfo:
    """A browser's zone; UTC when it is none that is known here, and its script then corrects the page."""
    try:
        return ZoneInfo(name[:64])
    except (KeyError, ValueError, OSError):  # not found, not a name, a folder
        return UTC


def age(moment_ms: float) -> str:
    """How long ago, in one unit: `4 s`."""
    passed = time.time() * 1000 - moment_ms
    for unit_ms, unit in _AGES:
        if passed >= unit_ms:
            return f"{int(passed // unit_ms)} {unit}"
    return "0 s"


@register.filter
def duration(value_ms: float | None) -> str:
    """Milliseconds as people say them: `41 ms`, `1.24 s`, `3 min 2 s`."""
    if value_ms is None:
        return "–"
    if 0 < value_ms < 1:
        return f"{value_ms * 1000:.0f} µs"
    if value_ms < 1_000:
        return f"{value_ms:.0f} ms" if value_ms >= 10 or not value_ms else f"{value_ms:.1f} ms"
    if value_ms < 60_000:
        return f"{value_ms / 1000:.2f} s" if value_ms < 10_000 else f"{value_ms / 1000:.1f} s"
    minutes, seconds = divmod(int(value_ms // 1000), 60)
    return f"{minutes} min {seconds} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


@register.filter
def micros(value_us: float | None) -> str:
    """Microseconds as people say them."""
    return duration(None if value_us is None else value_us / 1000)


@register.filter
def count(value: float | None) -> str:
    """A count with thousands marked; unknown is said, never 0."""
    return "unknown" if value is None else f"{value:,.0f}"


@register.filter
def rate(value: float | None) -> str:
    """Events a second: `12/s`, `0.4/s`, `idle`."""
    if not value or value < 0.05:
        return "idle"
    return f"{value:,.0f}/s" if value >= 10 else f"{value:.1f}/s"


@register.filter
def failing(value: float | None) -> str:
    """Failed attempts a second, to one decimal as rates are: `0`, `0.4/s`, `unknown`. As in static/js/words.js."""
    if value is None:
        return "unknown"
    return rate(value) if value >= 0.05 else "0"


@register.filter
def size(value: int | None) -> str:
    """Bytes as people say them."""
    if value is None:
        return "–"
    return f"{value} B" if value < 1_000 else f"{value / 1000:.1f} kB" if value < 1_000_000 else f"{value / 1e6:.1f} MB"


@register.filter
def short_id(value: str) -> str:
    """An id short enough for a row: the end tells neighbours apart."""
    return value if len(value) <= 16 else f"{value[:6]}…{value[-6:]}"


@register.filter
def spark(values: Sequence[float]) -> str:
    """Points of a sparkline in a 120 × 20 box."""
    top = max(1.0, *values) if values else 1.0
    step = 120 / max(1, len(values) - 1)
    return " ".join(f"{index * step:.1f},{19 - value / top * 18:.1f}" for index, value in enumerate(values))


@register.simple_tag
def spark_line(values: Sequence[float | None]) -> SafeString:
    """A sparkline that leaves out what nobody measured, and says so where there is nothing."""
    known = [value for value in values if value is not None]
    if not known:
        return format_html('<span class="muted" title="{}">–</span>', "Nobody has measured it in this time")
    top, step = max(float(SPARK_LEAST), *known), 120 / max(1, len(values) - 1)
    runs: list[list[str]] = [[]]
    for index, value in enumerate(values):
        if value is None:
            runs.append([])
        else:
            runs[-1].append(f"{index * step:.1f},{19 - value / top * 18:.1f}")
    lines = format_html_join("", '<polyline points="{}"/>', ((" ".join(_drawn(run)),) for run in runs if run))
    return format_html(
        '<svg class="spark" viewBox="0 0 120 20" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>',
        f"from {known[0]:,.0f} to {known[-1]:,.0f}, at most {max(known):,.0f}",
        lines,
    )


def _drawn(run: list[str]) -> list[str]:
    """A lone point as a line that can be seen."""
    return run if len(run) > 1 else [run[0], f"{float(run[0].partition(',')[0]) + 2:.1f},{run[0].partition(',')[2]}"]


@register.filter
def measured(value: float | None, unit: str) -> str:
    """A value of a chart: a count, a rate or a duration in ms. The words of static/js/words.js."""
    if unit == "duration":
        return duration(value)
    if value is None:
        return "unknown"
    return count(value) if unit == "count" else f"{value:,.0f}/s" if value >= 10 or not value else f"{value:.2g}/s"


@register.filter
def divided(value: float, by: int) -> int:
    """The whole number of times that `by` goes into the value."""
    return int(value // by)


@register.filter
def clock(moment_ms: int) -> str:
    """A moment as the time of day, UTC: `14:03:12`."""
    return datetime.fromtimestamp(min(moment_ms, _LATEST_MS) / 1000, UTC).strftime("%H:%M:%S")


@register.filter
def milliseconds(value_seconds: float) -> float:
    """Seconds as milliseconds, for `duration`."""
    return value_seconds * 1000


@register.filter
def magnitude(value: float) -> float:
    """The value without its sign."""
    return abs(value)


@register.filter
def trend(group: Mapping[str, Any]) -> str:
    """How a group's lag changes: `+3.2/s`, `steady`, `unknown`."""
    if group["waiting"] == 0:
        return "–"
    change = group["trend"]
    if change is None:
        return "unknown"
    return f"{change:+,.1f}/s" if abs(change) >= 0.05 else "steady"


@register.filter
def over(group: Mapping[str, Any]) -> str:
    """When a group will have caught up: `in ~4 min`, `falls behind`."""
    if group["lag"] == 0:
        return "caught up"
    if group["condition"] == "fine" and keeps_up(group):
        return "keeping up"
    if group["drain_seconds"] is not None:
        return f"in ~{_roughly(group['drain_seconds'])}"
    if group["paused_by"] is not None:
        return "when resumed"
    if group["waiting"] == 0:
        return "–"  # the rest is in hand
    if group["trend"] is None:
        return "unknown"
    falls = "falls behind" if group["condition"] != "fine" else "not yet"
    return falls if group["trend"] >= 0.05 else "not so soon"


@register.filter
def weekday(moment_ms: int) -> str:
    """A moment within some days of now, UTC: `Tue 12:00`."""
    return datetime.fromtimestamp(min(moment_ms, _LATEST_MS) / 1000, UTC).strftime("%a %H:%M")


@register.filter
def until(moment_ms: float) -> str:
    """How long until then, in one unit: `in about 3 h`, `now`."""
    seconds = int(moment_ms / 1000 - time.time())
    return f"in about {_roughly(seconds)}" if seconds > 60 else "now"


def _roughly(seconds: int) -> str:
    units = ((86_400, "d"), (3_600, "h"), (60, "min"))
    return next((f"{round(seconds / unit)} {name}" for unit, name in units if seconds >= unit), f"{max(seconds, 1)} s")
