"""Channels that depend on what happened: templates in Robusta's syntax, whose values come from strangers.

`$cluster_name`, `$namespace`, `$labels.team` and `${annotations.kubernetes.io/service-name}` stand for values; the
value of one label, annotation or variable alone may be written without the dollar sign: `labels.team`. Where a value
is missing there is no channel.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from app.core.finding import Notification
from app.core.templates import MAPS, MISSING, VARIABLES, Look, Template, compile_template

_CLUSTER_NAME: Final = re.compile(r"\$cluster_name(?!\w)|\$\{cluster_name\}")
_ALONE: Final = re.compile(rf"(?:{'|'.join(MAPS)})\.[^\s$]+|{'|'.join(VARIABLES)}")
_SEPARATORS: Final = re.compile(r"[./-]")


def compile_channel(text: str) -> Template:
    """Compile a channel in which `$variables` may stand; raises ValueError that names what does not exist."""
    return compile_template(_CLUSTER_NAME.sub("${cluster}", text))


def compile_override(text: str) -> Template:
    """Compile a channel that must depend on something; raises ValueError if it does not."""
    alone = "cluster" if text == "cluster_name" else text
    template = compile_channel(f"${{{alone}}}" if _ALONE.fullmatch(alone) else text)
    if not template.variables:
        raise ValueError(
            "names no value; write cluster_name, labels.x or annotations.x, or a text with $cluster_name, $namespace, "
            "$labels.x or ${annotations.example.com/x} in it"
        )
    return template


def channel(template: Template, notification: Notification) -> str | None:
    """Return the channel, or None if a value is missing; the caller checks that it is one."""
    look = _look(notification)
    if not all(map(look, template.variables)):
        return None
    name = template.render(look)
    return None if MISSING in name else name


def _look(notification: Notification) -> Look:
    entry, annotations = notification.entry, notification.finding.annotations
    resource = entry.resource
    values = {
        "name": resource.name,
        "namespace": resource.namespace,
        "kind": resource.kind,
        "user": entry.user.username,
        "operation": entry.operation,
        "cluster": entry.cluster,
        "node": resource.name if resource.kind == "Node" else "",
    }
    maps = {"labels": entry.labels, "annotations": {} if annotations is msgspec.UNSET else annotations}

    def look(variable: str) -> str:
        head, _, key = variable.partition(".")
        return _value(maps[head], key) if key else values[variable]

    return look


def _value(values: Mapping[str, str], key: str) -> str:
    """Return the value of a key; as in Robusta, `_` may stand for the dots, slashes and hyphens in it."""
    if key in values:
        return values[key]
    wanted = _SEPARATORS.sub("_", key)
    return next((value for name, value in values.items() if _SEPARATORS.sub("_", name) == wanted), "")
