"""Which sinks there are: found by module, so that a new sink is one new file and no list is kept by hand."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, Final, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, create_model, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import core_schema

import app.sinks
from app.sinks.base import Sink, SinkConfig, SinkSetupError

NOT_SINKS: Final = frozenset({"base", "registry"})
OTHER_KEYS: Final = MappingProxyType({"service_now_sink": "servicenow_sink"})
"""Robusta's spelling of a key, and ours: its files are read as they are."""


class Sinks(Mapping[str, type[Sink[Any]]]):
    """Every sink of a package by its configuration key, `<module>_sink`, in alphabetical order.

    A module is loaded when it is asked for, which raises TypeError if it does not define exactly one sink.
    """

    def __init__(self, package: ModuleType) -> None:
        found = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
        self._modules = {
            f"{name}_sink": f"{package.__name__}.{name}"
            for name in found
            if not name.startswith("_") and name not in NOT_SINKS
        }

    def __getitem__(self, key: str) -> type[Sink[Any]]:
        return sink_in(importlib.import_module(self._modules[key]))

    def module(self, key: str) -> str:
        """Return the name of a sink's module."""
        return self._modules[key]

    def __contains__(self, key: object) -> bool:
        return key in self._modules

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)


def sink_in(module: ModuleType) -> type[Sink[Any]]:
    """Return the only sink that the module defines; raises TypeError if there is none, or more than one."""
    sinks = [
        member
        for member in vars(module).values()
        if inspect.isclass(member) and issubclass(member, Sink) and member.__module__ == module.__name__
    ]
    if len(sinks) != 1:
        names = ", ".join(sink.__name__ for sink in sinks) or "none"
        raise TypeError(f"{module.__name__} must define exactly one subclass of Sink, found: {names}")
    return sinks[0]


SINKS: Final = Sinks(app.sinks)
"""Every sink by its configuration key."""


class _OneSink(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        json_schema_extra={"minProperties": 1, "maxProperties": 1},
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.model_fields_set) != 1:
            found = " and ".join(sorted(self.model_fields_set)) or "none"
            raise ValueError(f"names exactly one sink ({', '.join(SINKS)}), found: {found}")
        return self


def _model(keys: Iterable[str]) -> type[_OneSink]:
    """Return a model with one optional field per key of a sink, of which exactly one must be given."""
    fields: dict[str, Any] = {key: (SINKS[OTHER_KEYS.get(key, key)].Config, None) for key in keys}
    return create_model("SinkItem", __base__=_OneSink, __doc__=SinkItem.__doc__, **fields)


class SinkItem:
    """One item of `sinksConfig`: one sink key with that sink's options."""

    def __init__(self, key: str, config: SinkConfig) -> None:
        self.key = key
        self.config = config

    @property
    def chosen(self) -> tuple[str, SinkConfig]:
        """The key and the options."""
        return self.key, self.config

    @classmethod
    def _validated(cls, value: object) -> Self:
        """Validate with the models of the sinks that are named: the others are not loaded, which saves memory."""
        known = SINKS.keys() | OTHER_KEYS.keys()
        keys = [key for key in value if key in known] if isinstance(value, dict) else []
        item = _model(keys).model_validate(value)
        (key,) = item.model_fields_set
        return cls(OTHER_KEYS.get(key, key), getattr(item, key))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(cls._validated)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return handler(_model([*SINKS, *OTHER_KEYS]).__pydantic_core_schema__)


def build(config: SinkConfig) -> Sink[Any]:
    """Return a new sink for the options; the caller closes it.

    Raises `SinkSetupError` if the options cannot work on this machine, TypeError if they are no sink's.
    """
    return SINKS[key_of(config)](config)


def key_of(config: SinkConfig) -> str:
    """Return the configuration key of the sink that has these options, such as `webhook_sink`.

    Raises TypeError if they are no sink's.
    """
    # Options exist only of sinks that were asked for, so no module is loaded for this.
    for key in SINKS:
        if SINKS.module(key) in sys.modules and SINKS[key].Config is type(config):
            return key
    raise TypeError(f"{type(config).__name__} is not the Config of any sink")


class Built(NamedTuple):
    """Sinks by name, and by name why a sink could not be made."""

    sinks: dict[str, Sink[Any]]
    failures: dict[str, str]


def build_all(configs: Iterable[SinkConfig], known: Mapping[str, Sink[Any]] = MappingProxyType({})) -> Built:
    """Return the sinks for these options; one that cannot be made keeps none of the others from it.

    Of the known ones, a sink whose options are the same is taken again: it goes on, with the pause that its receiver
    asked for.
    """
    built = Built({}, {})
    for config in configs:
        try:
            built.sinks[config.name] = _known(config, known) or build(config)
        except SinkSetupError as error:
            built.failures[config.name] = str(error)
        except Exception as error:  # noqa: BLE001  a sink's bug must not keep the others from being made
            built.failures[config.name] = _bug(config, error)
    return built


def _bug(config: SinkConfig, error: Exception) -> str:
    """Say where the error was raised. What it says itself is not shown: it may quote an option that is secret."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(last.filename).name}:{last.lineno}"
    return f"sink {config.name!r}: internal error ({type(error).__name__} at {place}): this is a bug of the sink"


def _known(config: SinkConfig, known: Mapping[str, Sink[Any]]) -> Sink[Any] | None:
    sink = known.get(config.name)
    return sink if sink is not None and sink.config == config else None
