"""Rules about the code that no linter keeps by itself."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, Final

import grimp
import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

from app.sinks.registry import SINKS

ROOT: Final = Path(__file__).parents[1]
MODULES: Final = sorted((ROOT / "app").rglob("*.py"))
LONGEST: Final = 400

LONG_MODULES: Final = {
    "app/store/journal.py": "the event loop's half and the writer thread's half of one queue, which are read together",
}
"""Modules above that, with the reason why they are better whole."""

HEAVY: Final = {"slack_sdk", "apprise", "confluent_kafka", "dulwich", "aiosmtplib", "aiohttp", "kubernetes"}
"""Libraries that cost memory, which those who do not use the sink shall not pay."""

BROAD_HANDLERS: Final = {
    "app/audit/recorder.py": (2, "one review's fault must reach neither another review nor the cluster"),
    "app/bootstrap/process.py": (1, "a fault in one round of background work must not end all that would follow"),
    "app/cli/sinks.py": (1, "one sink's bug must not hide how the others are"),
    "app/config/reload.py": (1, "what cannot take effect must not end the watch of the file"),
    "app/delivery/dispatcher.py": (1, "a sink that cannot close must not keep the others from closing"),
    "app/delivery/planning.py": (1, "a sink that cannot tell one delivery's lane must not keep the others waiting"),
    "app/delivery/worker.py": (2, "neither a failing queue nor a sink's bug may end the worker"),
    "app/kube/client.py": (2, "a library that raises more than its ClientError; callers know one failure, ApiError"),
    "app/kube/handling.py": (1, "one object that a handler cannot take must not hide all the others"),
    "app/kube/lease.py": (1, "whatever a try meets, the next may win; without elections nobody tells"),
    "app/kube/watching.py": (1, "a bug of ours must not end the watch"),
    "app/sinks/registry.py": (1, "one sink's bug must not keep the others from being made"),
    "app/sinks/_thread.py": (1, "what a thread's work raises is raised where it is waited for"),
    "app/store/journal.py": (1, "the writer must outlive whatever one item brings"),
    "app/tls/upkeep.py": (1, "a bug of ours must not end what keeps certificates alive"),
    "app/watcher/capture.py": (1, "one Pod's fault must not keep others from being captured"),
    "app/watcher/gatherings.py": (1, "one Job's fault must not keep the others from being told"),
    "app/watcher/reports.py": (
        2,
        "a report's fault must reach neither other reports nor the news of the failure itself",
    ),
    "app/watcher/teller.py": (1, "whatever a round meets, what failed is still to be told"),
}
"""How many handlers a module has that catch everything and go on, and why. Those that raise again are not meant."""


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def is_broad(handler: ast.ExceptHandler) -> bool:
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(each is None or ast.unparse(each) in {"Exception", "BaseException"} for each in caught)


def goes_on(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return not (isinstance(last, ast.Raise) and last.exc is None)


def broad_handlers(path: Path) -> int:
    handlers = (node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.ExceptHandler))
    return sum(is_broad(handler) and goes_on(handler) for handler in handlers)


def contracts() -> list[dict[str, Any]]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        found: list[dict[str, Any]] = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    return found


def test_imports_point_downwards(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)

    status = lint_imports(no_cache=True)

    assert status == EXIT_STATUS_SUCCESS, capsys.readouterr().out


def test_every_package_has_a_layer() -> None:
    layers = {name.strip(" ()") for each in contracts() for line in each.get("layers", ()) for name in line.split("|")}
    parts = {path for path in (ROOT / "app").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}

    assert {f"app.{path.stem}" for path in parts} - {"app.__init__"} <= layers


@pytest.mark.parametrize("key", SINKS)
def test_sinks_do_not_know_each_other(key: str) -> None:
    sinks = {SINKS[each].__module__ for each in SINKS}
    module = SINKS[key].__module__

    assert grimp.build_graph("app").find_modules_directly_imported_by(module) & sinks == set()


def test_heavy_libraries_are_loaded_by_the_sinks_that_need_them_when_these_are_made() -> None:
    script = "import sys, app.sinks.registry as r; [r.SINKS[key] for key in r.SINKS]; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert HEAVY & set(done.stdout.split()) == set()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_stay_short(path: Path) -> None:
    lines = len(path.read_text("utf-8").splitlines())

    assert lines <= LONGEST or name_of(path) in LONG_MODULES, f"{lines} lines; split it, or say why not"


def test_every_broad_handler_is_listed_with_its_reason() -> None:
    found = {name_of(path): broad_handlers(path) for path in MODULES}

    assert {name: count for name, count in found.items() if count} == {
        name: count for name, (count, _) in BROAD_HANDLERS.items()
    }


@pytest.mark.parametrize(
    ("handler", "broad"),
    [
        ("except Exception: stop()", 1),
        ("except (OSError, Exception): stop()", 1),
        ("except: stop()", 1),
        ("except OSError: stop()", 0),
        ("except BaseException: stop(); raise", 0),
    ],
)
def test_broad_handlers_are_found(tmp_path: Path, handler: str, broad: int) -> None:
    path = tmp_path / "module.py"
    path.write_text(f"try: work()\n{handler}\n")

    assert broad_handlers(path) == broad


def test_no_long_module_is_excused_in_vain() -> None:
    short = {name_of(path) for path in MODULES if len(path.read_text("utf-8").splitlines()) <= LONGEST}

    assert short.isdisjoint(LONG_MODULES)
