"""What `manage.py bench` measures: each bench is a module here, named in `BENCHES`, and fills a `Report`.

A bench has a docstring whose first line says what it measures, `add_arguments(parser)` and `run(options) -> Report`.
It starts servers of its own on loopback, in folders that it removes, and touches no data of the user's.
"""

from __future__ import annotations

from typing import Final

BENCHES: Final[tuple[str, ...]] = ("bus", "peers", "record", "screen", "web")
