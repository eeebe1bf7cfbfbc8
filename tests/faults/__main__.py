"""`python -m tests.faults`: attack the bus by a seeded schedule and ask whether it kept its promises.

Exit code 0: nothing is broken. 1: something is, and the table names it. 2: it could not be tried.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.faults.report import Report
from tests.faults.run import Plan, Run, prepare
from tests.faults.schedule import FAULTS, counts_for
from tests.servers import programs


def main(words: list[str]) -> int:
    options = _parser().parse_args(words)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))  # what we started ends with us
    folder = Path(tempfile.mkdtemp(prefix="fanlight-faults-"))
    try:
        plan = _plan(options, folder)
        prepare(plan)
        with ExitStack() as stack:
            report = Report(plan, Run(plan, stack).go())
    finally:
        if options.keep:
            print(f"kept: {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    print(report.as_json() if options.json else "\n".join(report.lines()))
    return 0 if report.ok else 1


def _plan(options: argparse.Namespace, folder: Path) -> Plan:
    return Plan(
        program=options.server,
        folder=folder,
        seed=options.seed,
        seconds=options.seconds,
        counts=counts_for(options.seconds, {kind: getattr(options, kind) for kind in FAULTS}),
        without=options.without,
        relaxed=options.relaxed,
        rate=options.rate,
        patience=options.patience,
        database=options.database,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seconds", type=_positive, default=60.0, help="how long faults are done (default 60)")
    parser.add_argument("--seed", type=int, default=1, help="decides which faults come when (default 1)")
    parser.add_argument("--server", type=program_named, default="valkey-9", help=f"{', '.join(programs())} or a path")
    parser.add_argument("--without", choices=["inbox", "fence"], default="", help="leave a safety out: must be found")
    parser.add_argument(
        "--relaxed",
        action="store_true",
        help="appendfsync everysec, a disk that syncs 3 s late, power cuts: must be found",
    )
    parser.add_argument("--rate", type=_positive, default=80.0, help="events a second (default 80)")
    parser.add_argument("--patience", type=_positive, default=180.0, help="seconds for all to settle (default 180)")
    parser.add_argument("--database", default="", metavar="URL", help="postgresql://… (default: SQLite in the folder)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--keep", action="store_true", help="keep the folder with logs and data, and say where it is")
    for kind, fault in FAULTS.items():
        shown = f"--{kind.replace('_', '-')}"
        parser.add_argument(shown, type=_count, metavar="N", help=f"how many (default {fault.per_minute} a minute)")
    return parser


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number <= 86_400:
        raise argparse.ArgumentTypeError(f"expected a number above 0 and up to 86400, got {text}")
    return number


def _count(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"expected 0 or more, got {text}")
    return int(text)


def program_named(text: str) -> Path:
    path = programs().get(text, Path(text))
    if not path.is_file():
        names = ", ".join(programs()) or "none found here"
        raise argparse.ArgumentTypeError(f"expected one of {names}, or the path of a server program, got {text!r}")
    return path


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
