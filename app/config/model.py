"""The model of the whole configuration file; its descriptions are the reference that `config schema` prints."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, HttpUrl

from app.core.actions import JsonChangeTracker
from app.core.facts import NAMESPACE_LABELS, NamespaceLabels, unknown_namespaces
from app.core.fields import FieldPattern
from app.core.noise import NoiseOptions
from app.core.playbook import Playbook, Playbooks, trackers
from app.core.record import Record
from app.core.triggers import JOB_FAILURE, ObjectTrigger
from app.sinks.base import ACCEPTED, SinkConfig, ThreadedSink
from app.sinks.registry import SINKS, SinkItem
from app.sinks.webhook import WebhookConfig

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def _checked_regex(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        reason = error.msg.partition(" '")[0]
        # The pattern itself is not quoted: it may spell the secret that it is to find.
        raise ValueError(f"is not a regular expression: {reason} at position {error.pos}") from None
    return pattern


def _or_empty(value: object) -> object:
    return [] if value is None else value


def _or_defaults(value: object) -> object:
    return {} if value is None else value


Regex = Annotated[str, AfterValidator(_checked_regex)]
FieldPatterns = Annotated[
    list[FieldPattern], BeforeValidator(_or_empty, json_schema_input_type=list[FieldPattern] | None)
]
Regexes = Annotated[list[Regex], BeforeValidator(_or_empty, json_schema_input_type=list[Regex] | None)]
PlaybookList = Annotated[list[Playbook], BeforeValidator(_or_empty, json_schema_input_type=list[Playbook] | None)]
SinkList = Annotated[list[SinkItem], BeforeValidator(_or_empty, json_schema_input_type=list[SinkItem] | None)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Redact(_Section):
    """What is secret beside Secrets, credentials and what looks like them."""

    field_patterns: Annotated[FieldPatterns, Field(description="Fields whose whole value is secret.")] = []
    value_patterns: Annotated[
        Regexes,
        Field(description="Regular expressions; the first group, or else the whole match, is secret in any text."),
    ] = []

    def compiled_values(self) -> tuple[re.Pattern[str], ...]:
        """Return the compiled value patterns."""
        return tuple(map(re.compile, self.value_patterns))


class GlobalConfig(_Section):
    """Options of the installation."""

    cluster_name: Annotated[str | None, Field(description="Name of the cluster, shown in every entry.")] = None
    console_url: Annotated[
        HttpUrl | None, Field(description="Where people reach the console, for links in notifications.")
    ] = None
    continue_on_sink_errors: Annotated[
        bool,
        Field(description="Leave out a sink that is misconfigured or cannot be made, instead of refusing the file."),
    ] = True
    redact: Annotated[
        Redact,
        BeforeValidator(_or_defaults, json_schema_input_type=Redact | None),
        Field(description="What else is secret."),
    ] = Redact()
    noise: Annotated[
        NoiseOptions,
        BeforeValidator(_or_defaults, json_schema_input_type=NoiseOptions | None),
        Field(description="What is not told, or told together, since it says nothing new."),
    ] = NoiseOptions()


class Config(_Section):
    """The configuration of kubewitness. Everything is optional: an empty file records every change and tells nobody."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        validate_by_name=True,
        validate_by_alias=True,
        title="kubewitness configuration",
    )

    custom_playbooks: Annotated[
        PlaybookList,
        Field(alias="customPlaybooks", description="What to tell when; a change passes them in this order."),
    ] = []
    sinks_config: Annotated[
        SinkList,
        Field(alias="sinksConfig", description="Whom to tell; a finding passes them in this order."),
    ] = []
    record: Annotated[
        Record,
        BeforeValidator(_or_defaults, json_schema_input_type=Record | None),
        Field(description="What enters the ledger, told or not."),
    ] = Record()
    global_config: Annotated[
        GlobalConfig,
        BeforeValidator(_or_defaults, json_schema_input_type=GlobalConfig | None),
        Field(alias="globalConfig", description="Options of the installation."),
    ] = GlobalConfig()

    @property
    def sinks(self) -> tuple[SinkConfig, ...]:
        """The options of every sink in their order: the declared ones, then those of the json_change_trackers."""
        implicit = (tracker_sink(name, action) for name, action in dict(trackers(self.custom_playbooks)).items())
        return (*(item.config for item in self.sinks_config), *implicit)

    @property
    def noise(self) -> NoiseOptions:
        """The noise rules, which spare the sinks that keep records."""
        written = self.global_config.noise
        spared = [sink.name for sink in self.sinks if sink.keeps_records]
        return written.model_copy(update={"except_sinks": [*written.except_sinks, *spared]})

    @property
    def notes(self) -> tuple[str, ...]:
        """What is right in the file, and does less than its author may think."""
        return (*self._late_groups(), *self._idle_options())

    def _late_groups(self) -> Iterator[str]:
        for item in self.sinks_config:
            grouping = item.config.grouping
            if grouping is None or grouping.notification_mode.summary is None:
                continue
            if not issubclass(SINKS[item.key], ThreadedSink):
                yield (
                    f"{item.config.name}: a {item.key} has no threads, so its grouping tells each group in one message,"
                    f" at the end of the interval of {grouping.interval} s"
                )

    def _idle_options(self) -> Iterator[str]:
        for item in self.sinks_config:
            for name, reason in _accepted(item.config):
                yield f"{item.config.name}: {name} does nothing here{reason}"

    @property
    def wants_failed_jobs(self) -> bool:
        """Say whether a playbook needs the watcher."""
        return any(name == JOB_FAILURE for playbook in self.custom_playbooks for name, _ in playbook.chosen_triggers)

    @property
    def wants_namespace_labels(self) -> bool:
        """Say whether a scope asks for the labels of namespaces, so that they must be followed."""
        parameters = (chosen for playbook in self.custom_playbooks for _, chosen in playbook.chosen_triggers)
        scopes = [
            *(each.scope for each in parameters if isinstance(each, ObjectTrigger)),
            *(scope for sink in self.sinks for scope in (sink.scope, sink.match)),
        ]
        asked = [self.record.scope(), *(scope.compile() for scope in scopes if scope is not None)]
        return any(NAMESPACE_LABELS in scope.attributes() for scope in asked)

    def compile(self, namespaces: NamespaceLabels = unknown_namespaces) -> Playbooks:
        """Return the playbooks, ready to be evaluated, with the routing to the sinks."""
        return Playbooks.compile(self.custom_playbooks, self.sinks, namespaces)


def _accepted(options: BaseModel) -> Iterator[tuple[str, str]]:
    """Yield the options that were given and do nothing, each with the reason."""
    for name in sorted(options.model_fields_set):
        description, value = type(options).model_fields[name].description or "", getattr(options, name)
        if description.startswith(ACCEPTED) and value:
            reason = description.removeprefix(ACCEPTED).strip(" .;:")
            yield name, f": {reason}" if reason else ""
        elif isinstance(value, BaseModel):
            yield from ((f"{name}.{inner}", reason) for inner, reason in _accepted(value))


def tracker_sink(name: str, action: JsonChangeTracker) -> WebhookConfig:
    """Return the options of the sink that a json_change_tracker posts to; raises ValidationError for bad headers."""
    return WebhookConfig(name=name, url=action.url, headers=action.headers or {}, format="object", default=False)


def schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the file."""
    return {"$schema": DIALECT, **_without_formats(Config.model_json_schema(by_alias=True))}


def _without_formats(value: Any) -> Any:
    """Leave out formats such as `uri`: in place of any value there may be `{{ env.NAME }}`."""
    if isinstance(value, dict):
        return {
            key: _without_formats(inner)
            for key, inner in value.items()
            if not (key == "format" and isinstance(inner, str))
        }
    return [_without_formats(inner) for inner in value] if isinstance(value, list) else value
