"""Commands whose options are the fields of a settings model, each said once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar, get_args, get_origin

import typer
from pydantic import ByteSize
from pydantic.fields import FieldInfo

from app.cli.failures import told
from app.settings import PREFIX, CommonSettings

S = TypeVar("S", bound=CommonSettings)

_AS_WRITTEN: Final = (int, float, bool, Path, str)
"""Types that the command line reads by itself; what it does not know it hands to the model as text."""


def settings_command(model: type[S], work: Callable[[S], int]) -> Callable[..., None]:
    """Return a command with an option for every field of `model`; `work` gets the settings, returns the exit code.

    The help of the command is the docstring of `work`.
    """

    def command(**options: Any) -> None:
        given = {name: value for name, value in options.items() if value is not None}
        with told():
            settings = model(**given)
            from app.telemetry.logs import configure  # noqa: PLC0415  `--help` needs no log

            configure(settings.log_level, settings.log_format)
            code = work(settings)
        raise typer.Exit(code)

    parameters = [_parameter(name, field) for name, field in _ordered(model)]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    command.__doc__ = work.__doc__
    command.__name__ = work.__name__
    return command


def _ordered(model: type[CommonSettings]) -> list[tuple[str, FieldInfo]]:
    """Return the fields with those first that only this command has, but for the configuration and the data."""
    own = [item for item in model.model_fields.items() if item[0] not in CommonSettings.model_fields]
    common = [(name, model.model_fields[name]) for name in CommonSettings.model_fields]
    return [*common[:2], *own, *common[2:]]


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    kind: Any = _typed(field)
    annotation: Any = Annotated[kind | None, _option(name, field)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _typed(field: FieldInfo) -> Any:
    """Return the type of the option; bounds and everything else are the model's to check."""
    kinds = [each for each in get_args(field.annotation) or (field.annotation,) if each is not type(None)]
    if get_origin(field.annotation) is Literal:
        return field.annotation
    kind = kinds[0]
    if isinstance(kind, type) and issubclass(kind, _AS_WRITTEN) and not issubclass(kind, ByteSize):
        return kind
    return str


def _option(name: str, field: FieldInfo) -> Any:
    shown = field.default.human_readable() if isinstance(field.default, ByteSize) else field.default
    default = "" if shown in (None, "") else f"default: {str(shown).lower() if shown is False else shown}; "
    flag = f"--{name.replace('_', '-')}"
    return typer.Option(
        f"{flag}/--no-{flag[2:]}" if field.annotation is bool else flag,
        help=f"{field.description} ({default}env: {PREFIX}{name.upper()})",
        show_default=False,
    )
