"""Which sinks there are: found by module, so that a new sink is one new file and no list is kept by hand."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, create_model, model_validator

import app.sinks
from app.sinks.base import Sink, SinkConfig

NOT_SINKS: Final = frozenset({"base", "registry"})


def discover() -> dict[str, type[Sink[Any]]]:
    """Return every sink by its configuration key, `<module>_sink`, in alphabetical order.

    Raises TypeError for a public module that does not define exactly one sink.
    """
    return {f"{module.__name__.rpartition('.')[2]}_sink": sink_in(module) for module in _modules()}


def _modules() -> Iterator[ModuleType]:
    for found in sorted(pkgutil.iter_modules(app.sinks.__path__), key=lambda found: found.name):
        if not found.name.startswith("_") and found.name not in NOT_SINKS:
            yield importlib.import_module(f"{app.sinks.__name__}.{found.name}")


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


SINKS: Final[Mapping[str, type[Sink[Any]]]] = MappingProxyType(discover())
"""Every sink by its configuration key."""


class ChosenSink(BaseModel):
    """One item of `sinksConfig`: one sink key with that sink's options."""

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

    @property
    def key(self) -> str:
        """The configuration key, such as `webhook_sink`."""
        return next(iter(self.model_fields_set))

    @property
    def config(self) -> SinkConfig:
        """The options under the key."""
        config: SinkConfig = getattr(self, self.key)
        return config

    @property
    def chosen(self) -> tuple[str, SinkConfig]:
        """The key and the options."""
        return self.key, self.config


def sink_item_model(sinks: Mapping[str, type[Sink[Any]]]) -> type[ChosenSink]:
    """Return a model with one optional field per sink, of which exactly one must be given."""
    fields: dict[str, Any] = {key: (sink.Config, None) for key, sink in sinks.items()}
    return create_model("SinkItem", __base__=ChosenSink, __doc__=ChosenSink.__doc__, **fields)


if TYPE_CHECKING:
    SinkItem: TypeAlias = ChosenSink
else:
    SinkItem = sink_item_model(SINKS)


def build(config: SinkConfig) -> Sink[Any]:
    """Return a new sink for the options; the caller closes it.

    Raises `SinkSetupError` if the options cannot work on this machine, TypeError if they are no sink's.
    """
    for sink in SINKS.values():
        if sink.Config is type(config):
            return sink(config)
    raise TypeError(f"{type(config).__name__} is not the Config of any sink")


def build_all(
    configs: Iterable[SinkConfig], known: Mapping[str, Sink[Any]] = MappingProxyType({})
) -> dict[str, Sink[Any]]:
    """Return the sinks for these options by name; raises what `build` does.

    Of the known ones, a sink whose options are the same is taken again: it goes on, with the pause that its receiver
    asked for.
    """
    return {config.name: _known(config, known) or build(config) for config in configs}


def _known(config: SinkConfig, known: Mapping[str, Sink[Any]]) -> Sink[Any] | None:
    sink = known.get(config.name)
    return sink if sink is not None and sink.config == config else None
