"""Triggers: which changes a playbook is about. Names and parameters are Robusta's where it has them.

Beyond Robusta: every built-in kind, custom resources (`on_resource_*`), CONNECT, and scopes that ask who changed what.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from app.core.fields import FieldPattern
from app.core.kinds import BY_NAME, BY_RESOURCE, KINDS
from app.core.nearest import UnknownWordError, nearest
from app.core.scope import ChangeScope
from app.core.single import Parameters, SingleKey, single_key_model

OPERATIONS: Final = ("create", "update", "delete", "all_changes")
ANY_RESOURCE: Final = "on_kubernetes_any_resource"
RESOURCE_OPERATION: Final = "on_kubernetes_resource_operation"
JOB_FAILURE: Final = "on_job_failure"


def labels_of(selector: str) -> dict[str, str]:
    """Read `k=v,k=v`; raises ValueError for anything else."""
    labels = {}
    for requirement in selector.split(","):
        key, sign, value = requirement.partition("=")
        if not sign or not key.strip() or key.strip().endswith("!") or "=" in value:
            raise ValueError(f"{requirement.strip()!r} is not a label; write key=value,key=value")
        labels[key.strip()] = value.strip()
    return labels


def _checked_labels(selector: str) -> str:
    labels_of(selector)
    return selector


class ChangeFilters(Parameters):
    """Which changed fields of an UPDATE make a trigger fire. Creations and deletions are not filtered.

    A list that is left out does not filter. Without both, every change but that of the status fires; the status
    counts only where `include` names it.
    """

    include: Annotated[
        list[FieldPattern] | None, Field(description="Field patterns of which at least one must have changed.")
    ] = None
    ignore: Annotated[list[FieldPattern] | None, Field(description="Field patterns that do not count.")] = None


class ObjectTrigger(Parameters):
    """Which objects are meant."""

    name_prefix: Annotated[str | None, Field(description="Name of the object, or its beginning.")] = None
    namespace_prefix: Annotated[str | None, Field(description="Namespace, or its beginning.")] = None
    labels_selector: Annotated[
        str | None,
        AfterValidator(lambda selector: selector and _checked_labels(selector)),
        Field(description="Labels that the object must all have: key=value,key=value."),
    ] = None
    scope: Annotated[ChangeScope | None, Field(description="Who, what and where, by regular expressions.")] = None


class FailedJobTrigger(ObjectTrigger):
    """Which failed Jobs are meant."""

    rate_limit: Annotated[
        int | None,
        Field(
            ge=0,
            description="At most one finding in so many seconds for Jobs of the same owner (its CronJob, or its name).",
        ),
    ] = None


class ChangeTrigger(ObjectTrigger):
    """Which changes are meant."""

    change_filters: Annotated[ChangeFilters | None, Field(description="Which changed fields count.")] = None


class CustomResourceTrigger(ChangeTrigger):
    """Changes of any resource by its group and kind, custom resources included."""

    group: Annotated[str, Field(description="API group such as cert-manager.io; empty for the core group.")]
    kind: Annotated[str, Field(min_length=1, description="Kind such as Certificate, in any case.")]
    version: Annotated[str | None, Field(description="API version such as v1; any if left out.")] = None


class Target(Parameters):
    """One of the `resources` of a trigger: a group and plural, and a subresource if one was named."""

    groups: tuple[str, ...]
    resource: str
    subresource: str | None


def target(text: str) -> Target:
    """Read `deployment`, `deployments`, `pods/exec` or `certificates.cert-manager.io`.

    Raises ValueError with the nearest resource for a name that Kubernetes does not have.
    """
    name, slash, subresource = text.partition("/")
    plural, dot, group = name.lower().partition(".")
    kind = BY_NAME.get(plural)
    if kind is not None:
        plural = kind.resource
    elif not dot and plural not in _PLURALS:
        near = nearest(plural, _PLURALS | set(BY_NAME))
        raise UnknownWordError(
            f"unknown resource {text!r}; write a built-in kind or plural, or <plural>.<group> of a custom resource",
            near + slash + subresource if near else "",
        )
    groups = (group,) if dot else tuple(group for group, resource in BY_RESOURCE if resource == plural)
    return Target(groups=groups, resource=plural, subresource=subresource if slash else None)


def _checked_target(text: str) -> str:
    target(text)
    return text


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


_PLURALS: Final = frozenset(resource for _, resource in BY_RESOURCE)
ResourceName = Annotated[str, AfterValidator(_checked_target)]
OperationName = Annotated[Literal["create", "update", "delete", "connect"], BeforeValidator(_lower)]


class OperationTrigger(ChangeTrigger):
    """Changes of several resources at once, and connections to Pods (`kubectl exec`)."""

    resources: Annotated[
        tuple[ResourceName, ...],
        BeforeValidator(lambda value: () if value is None else value),
        Field(description="Such as deployment, pods/exec, certificates.cert-manager.io; empty means every resource."),
    ] = ()
    operations: Annotated[
        tuple[OperationName, ...],
        BeforeValidator(lambda value: () if value is None else value),
        Field(description="Empty means create, update and delete; connect fires only if it is named."),
    ] = ()


def _choices() -> Iterator[tuple[str, tuple[type[Parameters], str]]]:
    for kind in KINDS:
        for operation in OPERATIONS:
            yield f"on_{kind.kind.lower()}_{operation}", (ChangeTrigger, _says(f"A {kind.kind}", operation))
    for operation in OPERATIONS:
        yield f"{ANY_RESOURCE}_{operation}", (ChangeTrigger, _says("Any resource (but upkeep like leases)", operation))
        yield f"on_resource_{operation}", (CustomResourceTrigger, _says("A resource of this kind", operation))
    yield RESOURCE_OPERATION, (OperationTrigger, "One of these operations was done to one of these resources.")
    yield JOB_FAILURE, (FailedJobTrigger, "A Job failed for good; fires once per Job.")


def _says(subject: str, operation: str) -> str:
    past = {"create": "created", "update": "updated", "delete": "deleted"}
    return f"{subject} was {past.get(operation, 'created, updated or deleted')}."


TRIGGERS: Final = dict(_choices())
"""Every trigger by name: the model of its parameters, and when it fires."""


class ChosenTrigger(SingleKey):
    """One trigger with its parameters."""

    NOUN: ClassVar[str] = "trigger"


if TYPE_CHECKING:
    TriggerItem = ChosenTrigger
else:
    TriggerItem: Any = single_key_model("TriggerItem", ChosenTrigger, TRIGGERS)
