"""A bench's comparisons as bars in one SVG file, readable on light and dark paper. Knows tables only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from xml.sax.saxutils import escape

from dashboard.bench.report import Table

WIDTH: Final = 720
LABELS: Final = 250  # where the bars begin
ROW: Final = 26
HEAD: Final = 44
_STYLE: Final = (
    "text{font:13px system-ui,sans-serif;fill:#444}.t{font-weight:600}.b{fill:#4c7bd9}.w{stroke:#222;stroke-width:1.5}"
    ".one{stroke:#999;stroke-dasharray:4 3}"
    "@media(prefers-color-scheme:dark){text{fill:#ccc}.w{stroke:#eee}.b{fill:#5d8df0}}"
)


def drawn(table: Table, *, than: str = "the baseline") -> str:
    """Bars of each row's `ratio`, a whisker from the least to the greatest pair, and a line where both are as fast."""
    height = HEAD + ROW * len(table.raw) + 16
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
            f"<title>{escape(table.title)}</title><style>{_STYLE}</style>",
            f'<text class="t" x="8" y="22">{escape(table.title)}: times as fast as {escape(than)}</text>',
            *_bars(table),
            "</svg>\n",
        ]
    )


def _bars(table: Table) -> Iterator[str]:
    most = max(1.2, *(row["ratio"]["high"] for row in table.raw))
    scale = (WIDTH - LABELS - 60) / most
    for number, row in enumerate(table.raw):
        top, ratio = HEAD + ROW * number, row["ratio"]
        low, middle, high = (LABELS + scale * ratio[name] for name in ("low", "middle", "high"))
        y = top + 9
        yield f'<text x="8" y="{top + 14}">{escape(row["name"])}</text>'
        yield f'<rect class="b" x="{LABELS}" y="{top + 1}" width="{middle - LABELS:.1f}" height="16" rx="2"/>'
        yield f'<line class="w" x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}"/>'
        yield f'<text x="{high + 6:.1f}" y="{top + 14}">{ratio["middle"]:.2f}</text>'
    one, bottom = LABELS + scale, HEAD + ROW * len(table.raw)
    yield f'<line class="one" x1="{one:.1f}" x2="{one:.1f}" y1="{HEAD - 8}" y2="{bottom}"/>'
