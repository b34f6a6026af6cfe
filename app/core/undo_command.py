"""The lines of kubectl that undo an entry, and the requests that they make.

Everything in them comes from strangers. Each word is quoted for a POSIX shell, and JSON is written so that it holds
neither a quote of the shell nor anything that a terminal obeys or nobody sees.
"""

from __future__ import annotations

import json
import shlex
from typing import Any, Final

from app.core.api_paths import object_path
from app.core.change import Resource

FIELD_MANAGER: Final = "kubewitness-undo"
"""By this the entry of an undo is told from others."""

LONGEST_ARGUMENT: Final = 128 * 1024 - 1
"""Bytes that Linux takes as one argument of a program (MAX_ARG_STRLEN)."""

_LAST_OF_BMP: Final = 0xFFFF
_ESCAPED_BY_GO: Final = {ord(each): f"\\u{ord(each):04x}" for each in "<>&\u2028\u2029"}
"""Of encoding/json (HTMLEscape)."""


def patch_line(resource: Resource, patch: tuple[dict[str, Any], ...]) -> str:
    """Return the `kubectl patch` of a JSON Patch."""
    subresource = [f"--subresource={resource.subresource}"] if resource.subresource else []
    words = ["kubectl", "patch", *_object(resource), *subresource, _MANAGER, "--type=json", "-p", written(list(patch))]
    return _line(words)


def scale_line(resource: Resource, now: int, then: int) -> str:
    """Return the `kubectl scale` from one number of replicas to another, if that is still the number."""
    words = ["kubectl", "scale", *_object(resource), f"--current-replicas={now}", f"--replicas={then}"]
    return _line(words)


def create_line(resource: Resource, document: dict[str, Any]) -> str:
    """Return the `kubectl create` of an object."""
    return f"{_printed(document)} | {_line(['kubectl', 'create', *_namespace(resource), _MANAGER, '-f', '-'])}"


def delete_line(resource: Resource, options: dict[str, Any]) -> str:
    """Return the `kubectl delete` with DeleteOptions, which it knows only by the path of the object."""
    words = ["kubectl", "delete", f"--raw={object_path(resource)}", "-f", "-"]
    return f"{_printed(options)} | {_line(words)}"


def written(value: Any) -> str:
    """Write compact JSON that is YAML as well, on one line, without `'` and without what nobody sees.

    kubectl reads a patch that begins with `[` as YAML, which knows no pairs of surrogates: characters beyond the Basic
    Multilingual Plane stay as they are.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return "".join(each if _is_plain(each) else f"\\u{ord(each):04x}" for each in text)


def as_sent(value: Any) -> bytes:
    r"""Write compact JSON as Go does, escapes of HTML included.

    An API server compares the text of a patch's test with its own text, not what they mean: `"<"` is not `"\u003c"`.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.translate(_ESCAPED_BY_GO).encode()


def _is_plain(character: str) -> bool:
    return (character.isprintable() and character != "'") or ord(character) > _LAST_OF_BMP


_MANAGER: Final = f"--field-manager={FIELD_MANAGER}"


def _printed(document: dict[str, Any]) -> str:
    # Not `echo`, which in some shells reads backslashes.
    return _line(["printf", "%s", written(document)])


def _line(words: list[str]) -> str:
    return " ".join(map(_word, words))


def _word(text: str) -> str:
    """Quote a word; one with what nobody sees is printed by the shell, from octal numbers."""
    if text.isprintable():
        return shlex.quote(text)
    return f"\"$(printf '{''.join(map(_octal, text))}')\""


def _octal(character: str) -> str:
    # An interactive bash expands `!` there, whatever the inner quotes are.
    if character.isprintable() and character not in "'!\\%":
        return character
    return "".join(f"\\{byte:03o}" for byte in character.encode())


def _object(resource: Resource) -> list[str]:
    # With the name behind a slash, one that begins with a hyphen is no option.
    kind = f"{resource.resource}.{resource.version}.{resource.group}" if resource.group else resource.resource
    return [f"{kind}/{resource.name}", *_namespace(resource)]


def _namespace(resource: Resource) -> list[str]:
    return ["-n", resource.namespace] if resource.namespace else []
