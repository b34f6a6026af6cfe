"""The configuration in effect as people may read it: without what is secret, or may be."""

from __future__ import annotations

from typing import Any, Final

import yaml

from app.config.model import Config
from app.sinks.base import SinkConfig

_HIDDEN: Final = frozenset({"value_patterns", "regex", "filter_regex", "headers", "url"})
"""Secret, or a regular expression that may spell the secret which it is to find."""

_MASK: Final = "**********"


def shown(config: Config) -> str:
    """Return what a configuration says as YAML, empty for the defaults; of a sink what all have, such as its scope."""
    document = config.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude={"sinks_config"})
    if config.sinks_config:
        document["sinksConfig"] = [{each.key: _options(each.config)} for each in config.sinks_config]
    return (
        yaml.safe_dump(_without_secrets(document), sort_keys=False, allow_unicode=True, width=100) if document else ""
    )


def _options(sink: SinkConfig) -> dict[str, Any]:
    """Return the options that are of no one receiver: where it is and how to get in may be read off the others."""
    return sink.model_dump(mode="json", include=set(SinkConfig.model_fields), exclude_unset=True)


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _MASK if key in _HIDDEN else _without_secrets(inner) for key, inner in value.items()}
    return [_without_secrets(inner) for inner in value] if isinstance(value, list) else value
