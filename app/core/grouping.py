"""Grouping: Robusta's rules by which a sink gets fewer messages. Here are the options; `app.delivery` keeps them."""

from __future__ import annotations

from typing import Annotated, Final, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from app.core.nearest import UnknownWordError, nearest

ATTRIBUTES: Final = (
    "cluster",
    "namespace",
    "name",
    "kind",
    "workload",
    "node",
    "identifier",
    "title",
    "severity",
    "type",
    "source",
    "user",
    "operation",
    "field_manager",
    "actor",
)
"""What findings can be grouped by, beside `labels: [...]` and `annotations: [...]`."""

MAPS: Final = ("labels", "annotations")

Attribute = str | dict[str, list[str]]


def _attribute(value: object) -> object:
    if isinstance(value, dict):
        unknown = [key for key in value if key not in MAPS]
        if unknown or len(value) != 1:
            raise ValueError("write one of labels: [...] and annotations: [...] for each item")
        return value
    if isinstance(value, str) and value not in ATTRIBUTES:
        near = nearest(value, (*ATTRIBUTES, *MAPS))
        raise UnknownWordError(f"nothing can be grouped by {value!r}; there are {', '.join(ATTRIBUTES)}", near)
    return value


Attributes = Annotated[
    list[Annotated[Attribute, BeforeValidator(_attribute, json_schema_input_type=Attribute)]], Field(min_length=1)
]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class RegularMode(_Section):
    """Send notifications one by one, but leave out the first ones of a group."""

    ignore_first: Annotated[int, Field(ge=1, description="So many are not sent in any interval.")]


class SummaryMode(_Section):
    """Send one message for a group, with a table of what came."""

    threaded: Annotated[
        bool, Field(description="Also send each notification, into the message's thread, where there are threads.")
    ] = True
    by: Annotated[Attributes, Field(description="What the rows of the table are.")] = ["identifier"]


class NotificationMode(_Section):
    """How a group is told: exactly one of the two."""

    regular: Annotated[RegularMode | None, Field(description="One by one, after the first ones.")] = None
    summary: Annotated[SummaryMode | None, Field(description="One message with a table.")] = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.regular is None) is (self.summary is None):
            raise ValueError("needs exactly one of regular and summary")
        return self


class Grouping(_Section):
    """Which notifications belong together, for how long, and how they are told."""

    group_by: Annotated[Attributes, Field(description="Notifications that agree in these are one group.")] = ["cluster"]
    interval: Annotated[int, Field(ge=1, le=31 * 24 * 3600, description="Seconds for which a group lasts.")] = 15 * 60
    notification_mode: Annotated[
        NotificationMode, Field(description="How a group is told; by default a summary by identifier.")
    ] = NotificationMode(summary=SummaryMode())
