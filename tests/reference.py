"""The tables of the documentation, written from the code: `python -m tests.reference` puts them in their places.

A place is what stands between `<!-- begin: NAME -->` and `<!-- end: NAME -->`. tests/test_docs.py fails while one
is out of date.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import typer.main
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase
from pydantic import BaseModel, ByteSize
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined, to_jsonable_python
from typer.core import TyperGroup

from app.cli.lazy import LazyGroup
from app.cli.main import app
from app.config.model import Config, GlobalConfig, Redact
from app.core.actions import ACTIONS, JobEnricher
from app.core.kinds import BY_NAME
from app.core.playbook import Playbook
from app.core.record import Record
from app.core.scope import ChangeScopeItem, ScopeItem
from app.core.templates import MAPS, VARIABLES
from app.core.triggers import (
    OPERATIONS,
    TRIGGERS,
    ChangeFilters,
    ChangeTrigger,
    CustomResourceTrigger,
    FailedJobTrigger,
    ObjectTrigger,
    OperationTrigger,
)
from app.settings import PREFIX, CommonSettings, Settings, WatchSettings
from app.sinks.base import SinkConfig
from app.sinks.registry import SINKS
from app.telemetry.metrics import Metrics

ROOT: Final = Path(__file__).parents[1]
DOCUMENTS: Final = tuple(sorted((ROOT / "docs").glob("*.md")))

Fields = Iterable[tuple[str, FieldInfo]]


def table(headers: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [headers, tuple("---" for _ in headers), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if value is None or value is PydanticUndefined or isinstance(value, BaseModel) or value in ("", [], ()):
        return ""
    if isinstance(value, ByteSize):
        return f"`{value.human_readable().replace('.0', '')}`"
    plain = to_jsonable_python(value)
    return f"`{plain if isinstance(plain, str) else json.dumps(plain)}`"


def options(fields: Fields) -> str:
    return table(
        ("key", "default", "what"),
        ((f"`{field.alias or name}`", default(field), field.description or "") for name, field in fields),
    )


def own(model: type[BaseModel], *inherited: type[BaseModel]) -> Fields:
    known = {name for base in inherited for name in base.model_fields}
    return [(name, field) for name, field in model.model_fields.items() if name not in known]


def first_paragraph(documented: type[Any]) -> str:
    return " ".join(inspect.getdoc(documented).split("\n\n")[0].split())  # type: ignore[union-attr]  # ruff D has them


def settings(*names: str, model: type[BaseModel] = CommonSettings) -> str:
    rows = (
        (f"`--{name.replace('_', '-')}`", f"`{PREFIX}{name.upper()}`", default(field), field.description or "")
        for name, field in model.model_fields.items()
        if name in names
    )
    return table(("option", "variable", "default", "what"), rows)


WATCHER: Final = (
    "kubeconfig",
    "lease_namespace",
    "lease_name",
    "failed_job_max_age_seconds",
    "log_lines",
    "log_bytes",
    "ledger_url",
)
"""Options that have a meaning only where Jobs are watched."""


def settings_of_both() -> str:
    return settings(*(name for name in CommonSettings.model_fields if name not in WATCHER))


def settings_of_serve() -> str:
    return settings(
        *(name for name in Settings.model_fields if name not in CommonSettings.model_fields), model=Settings
    )


def settings_of_watcher() -> str:
    differing = (name for name, field in WatchSettings.model_fields.items() if _differs(name, field))
    defaults = ", ".join(
        f"`--{name.replace('_', '-')}` {default(WatchSettings.model_fields[name])}" for name in differing
    )
    return f"{settings(*WATCHER)}\n\nDefaults of `watch` that differ: {defaults}."


def _differs(name: str, field: FieldInfo) -> bool:
    return bool(field.default != CommonSettings.model_fields[name].default)


FAMILIES: Final = (
    ("<kind>", "An object of this built-in kind was created, updated, deleted, or any of these."),
    ("kubernetes_any_resource", "The same of any resource, custom ones too, but not of upkeep such as leases."),
    ("resource", "The same of the resource with this `group` and `kind`, custom ones too."),
)
"""Triggers that differ only in their operation, and when they fire; all others have a row of their own."""


def family(words: str) -> list[str]:
    return [f"on_{words}_{operation}" for operation in OPERATIONS]


def triggers() -> str:
    rows = [(", ".join(f"`{name}`" for name in family(words)), what) for words, what in FAMILIES]
    in_families = {name for words in (*BY_NAME, *(words for words, _ in FAMILIES)) for name in family(words)}
    rows += [(f"`{name}`", str(TRIGGERS[name][1])) for name in TRIGGERS if name not in in_families]
    kinds = ", ".join(f"`{kind}`" for kind in sorted(BY_NAME))
    return f"{table(('trigger', 'fires when'), rows)}\n\n`<kind>` is one of {kinds}."


def trigger_options() -> str:
    return "\n\n".join(
        [
            "Every trigger:",
            options(own(ChangeTrigger)),
            "`change_filters`:",
            options(own(ChangeFilters)),
            "`on_resource_*` also:",
            options(own(CustomResourceTrigger, ChangeTrigger)),
            "`on_kubernetes_resource_operation` also:",
            options(own(OperationTrigger, ChangeTrigger)),
            "`on_job_failure` has no `change_filters`, and also:",
            options(own(FailedJobTrigger, ObjectTrigger)),
        ]
    )


def scope() -> str:
    described = {name: field.description or "" for name, field in ScopeItem.model_fields.items()}
    rows = (
        (f"`{name}`", "everywhere" if name in ChangeScopeItem.model_fields else "sinks", what)
        for name, what in described.items()
    )
    return table(("attribute", "in scopes of", "what"), rows)


def actions() -> str:
    return "\n\n".join(_action(name, ACTIONS[name]) for name in ACTIONS)


def _action(name: str, model: type[BaseModel]) -> str:
    note = " Needs `on_job_failure`." if issubclass(model, JobEnricher) else ""
    fields = list(own(model))
    return f"### {name}\n\n{first_paragraph(model)}{note}" + (f"\n\n{options(fields)}" if fields else "")


def variables() -> str:
    return ", ".join([*(f"`${name}`" for name in VARIABLES), *(f"`${name}.x`" for name in MAPS)])


def sinks() -> str:
    common = f"Every sink:\n\n{options(own(SinkConfig))}"
    return "\n\n".join([common, *(_sink(key) for key in SINKS)])


def _sink(key: str) -> str:
    sink = SINKS[key]
    return f"### {key}\n\n{first_paragraph(sink)}\n\n{options(own(sink.Config, SinkConfig))}"


def all_metrics() -> CollectorRegistry:
    """Return the registry of a process that does everything."""
    metrics = Metrics()
    metrics.watching()
    return metrics.registry


def metrics() -> str:
    collectors = [each for each in all_metrics()._collector_to_names if isinstance(each, MetricWrapperBase)]
    rows = (
        (
            f"`{exposed(each)}`",
            each._type or "",
            ", ".join(f"`{label}`" for label in each._labelnames),
            each._documentation,
        )
        for each in collectors
    )
    return table(("metric", "type", "labels", "what"), rows)


def exposed(metric: MetricWrapperBase) -> str:
    """Return the name that a scrape shows; of a histogram, what its series begin with."""
    return f"{metric._name}_total" if metric._type == "counter" else metric._name


def commands() -> str:
    return "\n\n".join(_command(path, command) for path, command in all_commands())


def all_commands() -> Iterator[tuple[str, Any]]:
    """Yield every command that does something, with the words that call it."""

    def below(path: str, command: Any) -> Iterator[tuple[str, Any]]:
        if not isinstance(command, TyperGroup):
            yield path, command
            return
        if isinstance(command, LazyGroup):
            command.load()
        for name, each in command.commands.items():
            yield from below(f"{path} {name}", each)

    yield from below("kubewitness", typer.main.get_command(app))


def _command(path: str, command: Any) -> str:
    text = f"## {path}\n\n{' '.join((command.help or '').split())}"
    if path in ("kubewitness serve", "kubewitness watch"):
        return f"{text}\n\nIts options are in [configuration.md](configuration.md#the-process)."
    rows = [(_spelling(each), _default_of(each), each.help or "") for each in command.params]
    return f"{text}\n\n{table(('option', 'default', 'what'), rows)}" if rows else text


def _spelling(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.metavar or parameter.name.upper()}`"
    return ", ".join(f"`{name}`" for name in parameter.opts)


def _default_of(parameter: Any) -> str:
    if parameter.required:
        return "required"
    shown = parameter.show_default if isinstance(parameter.show_default, str) else parameter.default
    return "" if shown is None or shown is False or shown in ("", [], ()) else f"`{shown}`"


SECTIONS: Final[dict[str, Callable[[], str]]] = {
    "settings": settings_of_both,
    "settings of serve": settings_of_serve,
    "settings of the watcher": settings_of_watcher,
    "file": lambda: options(own(Config)),
    "playbook": lambda: options(own(Playbook)),
    "triggers": triggers,
    "trigger options": trigger_options,
    "scope": scope,
    "actions": actions,
    "variables": variables,
    "sinks": sinks,
    "record": lambda: options(own(Record)),
    "global": lambda: options(own(GlobalConfig)) + "\n\n`redact`:\n\n" + options(own(Redact)),
    "metrics": metrics,
    "commands": commands,
}

_PLACE: Final = re.compile(r"(<!-- begin: (?P<name>[\w ]+) -->\n).*?(<!-- end: (?P=name) -->)", re.DOTALL)


def sections_of(text: str) -> list[str]:
    return [match["name"] for match in _PLACE.finditer(text)]


def refreshed(text: str) -> str:
    """Return the document with its tables as the code has them now."""
    return _PLACE.sub(lambda match: f"{match[1]}\n{SECTIONS[match['name']]()}\n\n{match[3]}", text)


if __name__ == "__main__":
    for document in DOCUMENTS:
        document.write_text(refreshed(document.read_text("utf-8")), "utf-8")
