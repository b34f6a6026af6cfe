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

from app.cli.examples import EXAMPLES
from app.cli.lazy import LazyGroup
from app.cli.main import app
from app.cli.source_options import SourceOptions
from app.config.model import Config, GlobalConfig, Redact
from app.core.actions import ACTIONS, JobEnricher
from app.core.flapping import Flapping
from app.core.grouping import ATTRIBUTES, Grouping, RegularMode, SummaryMode
from app.core.kinds import BY_NAME
from app.core.noise import NoiseOptions
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
from app.core.windows import Activity, ActivityHours, ActivityInterval, MuteInterval
from app.settings import PREFIX, CommonSettings, Settings, WatchSettings
from app.sinks._http import HttpSinkConfig
from app.sinks.base import ACCEPTED, SinkConfig
from app.sinks.registry import SINKS
from app.telemetry.metrics import Metrics
from tests.receivers import RECEIVERS

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
    """Return the model's fields, but for those that are as in a model that it inherits from."""
    known = {name: field for base in inherited for name, field in base.model_fields.items()}
    return [
        (name, field)
        for name, field in model.model_fields.items()
        if name not in known or (field.default, field.description) != (known[name].default, known[name].description)
    ]


def first_paragraph(documented: object) -> str:
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


def sink_options() -> str:
    attributes = ", ".join(f"`{name}`" for name in ATTRIBUTES)
    return "\n\n".join(
        [
            "Every sink:",
            options(own(SinkConfig)),
            "`activity`:",
            options(own(Activity)),
            "Each of its `intervals`:",
            options(own(ActivityInterval)),
            "Each of their `hours`:",
            options(own(ActivityHours)),
            "Each of `mute_intervals`:",
            options(own(MuteInterval)),
            "`grouping`:",
            options(own(Grouping)),
            "`notification_mode` has one of two; `summary`:",
            options(own(SummaryMode)),
            "`regular`:",
            options(own(RegularMode)),
            f"`group_by` and `by` take {attributes}, `labels: [...]` and `annotations: [...]`.",
        ]
    )


def sinks() -> str:
    rows = ((f"[`{key}`](sinks.md#{key})", receiver(key), what_it_sends(key)) for key in SINKS)
    return table(("sink", "receiver", "what"), rows)


def receiver(key: str) -> str:
    """Return the receiver's name for people, with which the module's docstring begins."""
    return _headline(key).partition(" sink: ")[0]


def what_it_sends(key: str) -> str:
    return _headline(key).partition(" sink: ")[2]


def _headline(key: str) -> str:
    return first_paragraph(inspect.getmodule(SINKS[key]))


def receivers() -> str:
    rows = ((f"[`{key}`](sinks.md#{key})", RECEIVERS[key].limits, _pace(key), RECEIVERS[key].repeats) for key in SINKS)
    return table(("sink", "what fits into one message", "messages at most", "a repeat"), rows)


def records() -> str:
    return ", ".join(f"`{key}`" for key in SINKS if SINKS[key].Config.keeps_records)


def _pace(key: str) -> str:
    pace, by = SINKS[key].pace, RECEIVERS[key].lane
    if pace is None:
        return ""
    each = f", for each {by}" if by else ""
    return f"{pace.messages} in {pace.seconds:g} s{each}"


def http_options() -> str:
    return options(own(HttpSinkConfig, SinkConfig))


def sink_reference() -> str:
    return "\n\n".join(_sink(key) for key in SINKS)


def _sink(key: str) -> str:
    sink, name = SINKS[key], key.removesuffix("_sink")
    speaks_http = issubclass(sink.Config, HttpSinkConfig)
    inherited = (SinkConfig, HttpSinkConfig) if speaks_http else (SinkConfig,)
    parts = [
        f"## {key}",
        f"{receiver(key)}: {what_it_sends(key)}",
        first_paragraph(sink),
        f"Example: [{name}.yaml](../config/sinks/{name}.yaml)." + (" [HTTP](#http)." if speaks_http else ""),
        options(own(sink.Config, *inherited)),
        *(text for name, field in sink.Config.model_fields.items() for text in _inner(name, field)),
    ]
    return "\n\n".join(parts)


def _inner(name: str, field: FieldInfo) -> Iterator[str]:
    if isinstance(field.default, BaseModel):
        yield f"`{name}`:"
        yield options(own(type(field.default)))


def accepted() -> str:
    common = [("every sink", name, field) for name, field in SinkConfig.model_fields.items()]
    others = [
        (f"[`{key}`](sinks.md#{key})", name, field)
        for key in SINKS
        for name, field in all_options(SINKS[key].Config)
        if name not in SinkConfig.model_fields
    ]
    rows = (
        (where, f"`{name}`", _reason(field.description or ""))
        for where, name, field in common + others
        if (field.description or "").startswith(ACCEPTED)
    )
    return table(("sink", "option", "why"), rows)


def all_options(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    """Yield every option, those of options as `auth.acks`."""
    for name, field in model.model_fields.items():
        yield name, field
        if isinstance(field.default, BaseModel):
            yield from ((f"{name}.{inner}", each) for inner, each in all_options(type(field.default)))


def _reason(description: str) -> str:
    reason = description.removeprefix(ACCEPTED).lstrip(";:. ")
    return reason[:1].upper() + reason[1:]


def all_metrics() -> CollectorRegistry:
    """Return the registry of a process that does everything."""
    metrics = Metrics()
    metrics.watching()
    metrics.signing()
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
    reads_ledger = any(each.name == "console" for each in command.params)
    own = [each for each in command.params if not (reads_ledger and each.name in SOURCE)]
    parts = [text, _parameters(own) if own else "", _SOURCES if reads_ledger else "", _examples(path)]
    return "\n\n".join(filter(None, parts))


def _parameters(parameters: Iterable[Any]) -> str:
    rows = ((_spelling(each), _default_of(each), each.help or "") for each in parameters)
    return table(("option", "default", "what"), rows)


SOURCE: Final = SourceOptions.__struct_fields__
_SOURCES: Final = "It reads [the ledger that is named](#which-ledger)."


def _examples(path: str) -> str:
    examples = EXAMPLES.get(path.removeprefix("kubewitness "), ())
    lines = [f"$ {path} {example}" for example in examples]
    return "\n".join(["```console", *lines, "```"]) if lines else ""


def source_options() -> str:
    listing = next(command for path, command in all_commands() if path == "kubewitness entries list")
    rows = (
        (_spelling(each), ", ".join(f"`{name}`" for name in [each.envvar] if name), each.help or "")
        for each in listing.params
        if each.name in SOURCE
    )
    return table(("option", "variable", "what"), rows)


def _spelling(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.metavar or parameter.name.upper()}`"
    return ", ".join(f"`{name}`" for name in parameter.opts)


def _default_of(parameter: Any) -> str:
    if parameter.required:
        return "required"
    shown = parameter.show_default if isinstance(parameter.show_default, str) else parameter.default
    return "" if shown is None or shown is False or shown in ("", [], ()) else f"`{shown}`"


def global_options() -> str:
    models: dict[str, type[BaseModel]] = {"redact": Redact, "noise": NoiseOptions, "flapping": Flapping}
    inner = (f"`{name}`:\n\n{options(own(model))}" for name, model in models.items())
    return "\n\n".join([options(own(GlobalConfig)), *inner])


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
    "sink options": sink_options,
    "sinks": sinks,
    "http": http_options,
    "sink reference": sink_reference,
    "receivers": receivers,
    "accepted": accepted,
    "records": records,
    "record": lambda: options(own(Record)),
    "global": global_options,
    "metrics": metrics,
    "commands": commands,
    "sources": source_options,
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
