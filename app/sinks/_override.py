"""Overrides: a channel, room, topic or webhook that is taken from labels, annotations or the cluster's name.

The syntax is Robusta's (its `channel_override`): `cluster_name`, `labels.team`, `annotations.example.com/room`, and
composites such as `$cluster_name-alerts-$labels.env` or `${annotations.kubernetes.io/service-name}`. Our own variables
(`$namespace`, `$kind`, ...) work too. What comes out was chosen by whoever may label the object: a sink checks it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final

import msgspec
from pydantic import AfterValidator

from app.core.finding import Notification
from app.core.templates import Template, compile_template

_WHOLE: Final = re.compile(r"(?:labels|annotations)\.[^$]+")
_CLUSTER: Final = re.compile(r"\$?\{?\bcluster_name\b\}?")
# Robusta reads these characters of a key alike, so that `$labels.app_name` finds `app-name`.
_ALIKE: Final = str.maketrans("/.-", "___")


def compile_override(text: str) -> Template:
    """Compile an override; raises ValueError for an unknown variable, and if there is none at all."""
    whole = f"${{{text}}}" if _WHOLE.fullmatch(text) else text
    template = compile_template(_CLUSTER.sub("${cluster}", whole))
    if not template.variables:
        raise ValueError(
            "has no variable; write labels.NAME, annotations.NAME or cluster_name, "
            "or a text with $labels.NAME, ${annotations.NAME} or $cluster_name"
        )
    return template


def overridden(override: str, notification: Notification) -> str:
    """Return the override's value for this notification; empty if one of its variables has no value."""
    template = compile_override(override)
    values = {variable: _look(variable, notification) for variable in template.variables}
    return template.render(lambda variable: values[variable]) if all(values.values()) else ""


def _look(variable: str, notification: Notification) -> str:
    entry, annotations = notification.entry, notification.finding.annotations
    word, _, key = variable.partition(".")
    if key:
        return _by_key(entry.labels if word == "labels" else _mapping(annotations), key)
    return {
        "name": entry.resource.name,
        "namespace": entry.resource.namespace,
        "kind": entry.resource.kind,
        "user": entry.user.username,
        "operation": entry.operation,
        "cluster": entry.cluster,
        "node": entry.actor.node,
    }[word]


def _mapping(annotations: Mapping[str, str] | msgspec.UnsetType) -> Mapping[str, str]:
    return {} if annotations is msgspec.UNSET else annotations


def _by_key(values: Mapping[str, str], key: str) -> str:
    alike = (value for name, value in values.items() if name.translate(_ALIKE) == key.translate(_ALIKE))
    return values.get(key) or next(alike, "")


def _checked(text: str) -> str:
    compile_override(text)
    return text


Override = Annotated[str, AfterValidator(_checked)]
"""The text of an override, as an option."""
