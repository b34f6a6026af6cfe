"""Items of `triggers` and `actions`: a mapping with one key, the name, over its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator


class Parameters(BaseModel):
    """What may be written under the name of a trigger or an action."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class SingleKey(BaseModel):
    """Exactly one name, with its parameters; none at all mean the defaults."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        json_schema_extra={"minProperties": 1, "maxProperties": 1},
    )

    NOUN: ClassVar[str] = "name"

    @model_validator(mode="before")
    @classmethod
    def _one(cls, value: object) -> object:
        if isinstance(value, str) and value in cls.model_fields:
            raise ValueError(f"needs a colon: write {value}: {{}}")
        if not isinstance(value, dict):
            raise ValueError(f"must be the name of one {cls.NOUN}, a colon and its parameters")  # noqa: TRY004 pydantic reports ValueError only
        if len(value) != 1:
            raise ValueError(
                f"must have exactly one {cls.NOUN}, found {len(value)}; "
                "begin each with a dash, and indent its parameters deeper than its name"
            )
        return {name: {} if parameters is None else parameters for name, parameters in value.items()}

    @property
    def chosen(self) -> tuple[str, Parameters]:
        """The name and its parameters."""
        name = next(iter(self.model_fields_set))
        return name, getattr(self, name)


def single_key_model(
    name: str, base: type[SingleKey], choices: Mapping[str, tuple[type[Parameters], str]]
) -> type[Any]:
    """Return a model with one optional field per choice (its parameters, and what it does), for checks and schema."""
    fields: dict[str, Any] = {
        choice: (parameters | None, Field(default=None, description=description))
        for choice, (parameters, description) in choices.items()
    }
    return create_model(name, __base__=base, __doc__=base.__doc__, **fields)
