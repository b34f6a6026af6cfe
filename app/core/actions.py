"""Actions: what a playbook says about a change. Names and parameters are Robusta's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, HttpUrl, Secret, SecretStr

from app.core.fields import FieldPattern
from app.core.finding import Severity
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


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


TemplateText = Annotated[str, AfterValidator(_checked_template)]
NonEmptyTemplate = Annotated[str, Field(min_length=1), AfterValidator(_checked_template)]
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
    """Attach the Job's spec and status."""


class JobEventsEnricher(JobEnricher):
    """Attach the Job's recent Events."""

    max_events: Annotated[int, Field(ge=1, le=500, description="Newest events to attach.")] = 8
    included_types: Annotated[
        tuple[Literal["Normal", "Warning"], ...], Field(description="Types of events to attach.")
    ] = ("Normal", "Warning")


class JobPodEnricher(JobEventsEnricher):
    """Attach the logs and Events of the Job's newest Pod."""

    logs: Annotated[bool, Field(description="Attach the logs.")] = True
    events: Annotated[bool, Field(description="Attach the events.")] = True


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
