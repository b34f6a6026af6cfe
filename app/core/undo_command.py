"""The lines of kubectl that undo an entry, and the requests that they make.

Everything in them comes from strangers. Each word is quoted for a POSIX shell, and JSON is written so that it holds
neither a quote of the shell nor anything that a terminal obeys or nobody sees.
"""

from __future__ import annotations

import json
import shlex
from typing import Any, Final
from urllib.parse import quote

from app.core.change import Resource

FIELD_MANAGER: Final = "kubewitness-undo"
"""By this the entry of an undo is told from others."""

LONGEST_ARGUMENT: Final = 128 * 1024 - 1
"""Bytes that Linux takes as one argument of a program (MAX_ARG_STRLEN)."""

_LAST_OF_BMP: Final = 0xFFFF


def patch_line(resource: Resource, patch: tuple[dict[str, Any], ...]) -> str:
    """Return the `kubectl patch` of a JSON Patch."""
    subresource = [f"--subresource={resource.subresource}"] if resource.subresource else []
    words = ["kubectl", "patch", *_object(resource), *subresource, _MANAGER, "--type=json", "-p", written(list(patch))]
    return shlex.join(words)


def scale_line(resource: Resource, now: int, then: int) -> str:
    """Return the `kubectl scale` from one number of replicas to another, if that is still the number."""
    words = ["kubectl", "scale", *_object(resource), f"--current-replicas={now}", f"--replicas={then}"]
    return shlex.join(words)


def create_line(resource: Resource, document: dict[str, Any]) -> str:
    """Return the `kubectl create` of an object."""
    return f"{_printed(document)} | {shlex.join(['kubectl', 'create', *_namespace(resource), _MANAGER, '-f', '-'])}"


def delete_line(resource: Resource, options: dict[str, Any]) -> str:
    """Return the `kubectl delete` with DeleteOptions, which it knows only by the path of the object."""
    words = ["kubectl", "delete", f"--raw={object_path(resource)}", "-f", "-"]
    return f"{_printed(options)} | {shlex.join(words)}"


def collection_path(resource: Resource) -> str:
    """Return the path at which objects like this are created."""
    base = f"/apis/{quote(resource.group)}" if resource.group else "/api"
    place = f"/namespaces/{quote(resource.namespace, safe='')}" if resource.namespace else ""
    return f"{base}/{quote(resource.version)}{place}/{quote(resource.resource)}"


def object_path(resource: Resource) -> str:
    """Return the path of an object, or of its subresource, in the Kubernetes API."""
    subresource = f"/{quote(resource.subresource)}" if resource.subresource else ""
    return f"{collection_path(resource)}/{quote(resource.name, safe='')}{subresource}"


def written(value: Any) -> str:
    """Write compact JSON that is YAML as well, on one line, without `'` and without what nobody sees.

    kubectl reads a patch that begins with `[` as YAML, which knows no pairs of surrogates: characters beyond the Basic
    Multilingual Plane stay as they are.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return "".join(each if _is_plain(each) else f"\\u{ord(each):04x}" for each in text)


def _is_plain(character: str) -> bool:
    return (character.isprintable() and character != "'") or ord(character) > _LAST_OF_BMP


_MANAGER: Final = f"--field-manager={FIELD_MANAGER}"


def _printed(document: dict[str, Any]) -> str:
    # Not `echo`, which in some shells reads backslashes.
    return shlex.join(["printf", "%s", written(document)])


def _object(resource: Resource) -> list[str]:
    # With the name behind a slash, one that begins with a hyphen is no option.
    kind = f"{resource.resource}.{resource.version}.{resource.group}" if resource.group else resource.resource
    return [f"{kind}/{resource.name}", *_namespace(resource)]


def _namespace(resource: Resource) -> list[str]:
    return ["-n", resource.namespace] if resource.namespace else []
