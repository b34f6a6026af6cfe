"""Actions: what a playbook says about a change. Names and parameters are Robusta's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, HttpUrl, Secret, SecretStr

from app.core.fields import FieldPattern
from app.core.finding import Severity
from app.core.matching import compile_regex
from app.core.single import Parameters, SingleKey, single_key_model
from app.core.templates import compile_template

MONITORED: Final = ("spec",)
OMITTED: Final = (
    "status",
    "metadata.generation",
    "metadata.resourceVersion",
    "metadata.managedFields",
    "spec.replicas",
)
"""Robusta's defaults of `fields_to_monitor` and `omitted_fields`."""


def _checked_template(text: str) -> str:
    compile_template(text)
    return text


def _checked_regex(pattern: str) -> str:
    return compile_regex(pattern).pattern


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


TemplateText = Annotated[str, AfterValidator(_checked_template)]
NonEmptyTemplate = Annotated[str, Field(min_length=1), AfterValidator(_checked_template)]
Regex = Annotated[str, Field(min_length=1), AfterValidator(_checked_regex)]
SeverityName = Annotated[Severity, BeforeValidator(_upper)]


class ResourceBabysitter(Parameters):
    """Tell what changed in a resource, field by field; of creations and deletions, the whole object.

    Nothing is told if no field is left. What is not written here is taken from the trigger's `change_filters`; if it
    has none, from the defaults, which mean every field of an object that has no `spec`, such as a ConfigMap. A field
    that `fields_to_monitor` names is not omitted by default.
    """

    fields_to_monitor: Annotated[
        list[FieldPattern] | None,
        Field(
            description='Field patterns such as images or spec.template; by default ["spec"], and [] means every field.'
        ),
    ] = None
    omitted_fields: Annotated[
        list[FieldPattern] | None,
        Field(description=f"Field patterns that do not count; by default {', '.join(OMITTED)}."),
    ] = None
    ignored_namespaces: Annotated[tuple[str, ...], Field(description="Namespaces that nothing is told of.")] = ()


class CreateFinding(Parameters):
    """Tell that it happened, in your own words; of updates, with every change but that of the status.

    Texts may hold $name, $namespace, $kind, $user, $operation, $cluster, $node, $labels.x and $annotations.x.
    """

    title: Annotated[NonEmptyTemplate, Field(description="One line.")]
    aggregation_key: Annotated[
        NonEmptyTemplate, Field(description="Groups findings of the same sort, such as job_failure.")
    ]
    description: Annotated[TemplateText | None, Field(description="A paragraph of plain text.")] = None
    severity: Annotated[SeverityName, Field(description="DEBUG, INFO, LOW, MEDIUM or HIGH.")] = Severity.HIGH


class CustomiseFinding(Parameters):
    """Change the findings that earlier actions of the same playbook made."""

    title: Annotated[NonEmptyTemplate | None, Field(description="New title.")] = None
    description: Annotated[TemplateText | None, Field(description="New description.")] = None
    severity: Annotated[SeverityName | None, Field(description="New severity.")] = None
    aggregation_key: Annotated[NonEmptyTemplate | None, Field(description="New key.")] = None


class JsonChangeTracker(Parameters):
    """Post the changed object as JSON to a URL, with the key `operation` added, whatever sinks there are."""

    url: Annotated[Secret[HttpUrl], Field(description="Where to POST.")]
    headers: Annotated[dict[str, SecretStr] | None, Field(description="Headers of the request.")] = None


class JobEnricher(Parameters):
    """An action that attaches what is known of a failed Job."""


class JobInfoEnricher(JobEnricher):
    """Attach what the Job was to do and how far it got, where it comes from, and who changed that last."""


class JobEventsEnricher(JobEnricher):
    """Attach the Job's recent Events: warnings first, newest last."""

    max_events: Annotated[int, Field(ge=1, le=500, description="Newest events to attach.")] = 8
    included_types: Annotated[
        tuple[Literal["Normal", "Warning"], ...], Field(description="Types of events to attach.")
    ] = ("Normal", "Warning")


class Replacement(Parameters):
    """What is replaced in logs."""

    name: Annotated[str, Field(description="Stands for it, with the style NAMED.")] = "Redacted"
    regex: Annotated[Regex, Field(description="Regular expression of what to replace.")]


class JobPodEnricher(JobEventsEnricher):
    """Attach how the Job's Pods ended, their Events, and the ends of the logs of the first and last ones that failed.

    Logs are redacted before anything here is done to them. By default those of every container and of its last two
    runs are attached, whether or not the Pods are still there.
    """

    logs: Annotated[bool, Field(description="Attach the logs.")] = True
    events: Annotated[bool, Field(description="Attach the events.")] = True
    container_name: Annotated[str | None, Field(description="Attach only the logs of this container.")] = None
    previous: Annotated[
        bool | None,
        Field(description="true: only logs of the run before a restart; false: only of the last run; else both."),
    ] = None
    filter_regex: Annotated[Regex | None, Field(description="Attach only the log lines that this matches.")] = None
    regex_replacer_patterns: Annotated[
        tuple[Replacement, ...] | None, Field(description="What to replace in logs, in this order.")
    ] = None
    regex_replacement_style: Annotated[
        Literal["SAME_LENGTH_ASTERISKS", "NAMED"] | None,
        Field(description="Replace by asterisks (the default), or by the name in brackets: [EMAIL]."),
    ] = None


ACTIONS: Final[dict[str, type[Parameters]]] = {
    "resource_babysitter": ResourceBabysitter,
    "create_finding": CreateFinding,
    "customise_finding": CustomiseFinding,
    "json_change_tracker": JsonChangeTracker,
    "job_info_enricher": JobInfoEnricher,
    "job_events_enricher": JobEventsEnricher,
    "job_pod_enricher": JobPodEnricher,
}
"""Every action by name: the model of its parameters."""


class ChosenAction(SingleKey):
    """One action with its parameters."""

    NOUN: ClassVar[str] = "action"


if TYPE_CHECKING:
    ActionItem = ChosenAction
else:
    ActionItem: Any = single_key_model(
        "ActionItem",
        ChosenAction,
        {name: (model, (model.__doc__ or "").partition("\n")[0]) for name, model in ACTIONS.items()},
    )
