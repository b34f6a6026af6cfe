"""Paths of fields, and the patterns that people write to mean some of them.

A path is a run of segments: map keys and list elements. It is written with dots, and with brackets for list elements
and for map keys that a dot would break: `spec.template.spec.containers[nginx].image`,
`metadata.annotations[kubectl.kubernetes.io/restartedAt]`, `spec.containers[nginx].args[2]`.

A pattern matches whole segments, as a run anywhere in the path: `image` matches the first example but not
`imagePullPolicy`. `*` is any one segment. A list element answers to its merge key and to its index.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

CONTAINER_LISTS: Final = ("containers", "initContainers", "ephemeralContainers")
IMAGES: Final = "images"
"""The pattern that means every container image of a Pod or a Pod template (Robusta's word)."""


class Item(msgspec.Struct, frozen=True):
    """A list element as a segment: named by its merge key where the list has one, else by its index.

    `index` is the position in the new list, or in the old one for a removed element.
    """

    index: int
    key: str | None = None

    def __str__(self) -> str:
        return str(self.index) if self.key is None else self.key

    def answers_to(self, wanted: str) -> bool:
        """Say whether a pattern's segment means this element; `80` also means the port with the key `80/TCP`."""
        if wanted in (self.key, str(self.index)):
            return True
        return self.key is not None and wanted.isdigit() and self.key.startswith(wanted + "/")


Segment = str | Item
Path = tuple[Segment, ...]

_PLAIN: Final = re.compile(r"[^.\[\]\\]+")
_TOKEN: Final = re.compile(r"\[((?:[^\]\\]|\\.)*)\]|([^.\[\]]+)", re.DOTALL)
_ESCAPED: Final = re.compile(r"([\]\\])")
_UNESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)


def render(path: Path) -> str:
    r"""Write the path for people. `parse` reads the segments back; inside brackets `]` and `\` are escaped by `\`."""
    parts: list[str] = []
    for segment in path:
        if type(segment) is str and (segment.isalnum() or _PLAIN.fullmatch(segment)):
            parts.append("." + segment if parts else segment)
        else:
            parts.append("[" + _ESCAPED.sub(r"\\\1", str(segment)) + "]")
    return "".join(parts)


def parse(text: str) -> tuple[str, ...]:
    """Split a written path or pattern into its segments; raises ValueError where it is malformed."""
    segments: list[str] = []
    position = 0
    while position < len(text):
        if segments and text[position] == ".":
            position += 1
            if text[position : position + 1] == "[":
                raise ValueError(f"{text!r} is not a field pattern: write the bracket without a dot before it")
        token = _TOKEN.match(text, position)
        if token is None:
            found = repr(text[position]) if position < len(text) else "the end"
            raise ValueError(f"{text!r} is not a field pattern: a field name is missing before {found}")
        segments.append(token[2] if token[1] is None else _UNESCAPED.sub(r"\1", token[1]))
        position = token.end()
    if not segments:
        raise ValueError("a field pattern cannot be empty")
    return tuple(segments)


def _consumed(wanted: tuple[str, ...], position: int, segment: Segment) -> int:
    """Count the pattern segments that this segment answers to: 0 for none, several for a key that has dots."""
    first = wanted[position]
    if first == "*":
        return 1
    if type(segment) is Item:
        return int(segment.answers_to(first))
    if first == segment:
        return 1
    width = str(segment).count(".") + 1
    return width if width > 1 and ".".join(wanted[position : position + width]) == segment else 0


def _stands_at(wanted: tuple[str, ...], path: Path, start: int) -> bool:
    position = 0
    for segment in path[start:]:
        consumed = _consumed(wanted, position, segment)
        if not consumed:
            return False
        position += consumed
        if position == len(wanted):
            return True
    return False


def subpaths(path: Path, value: Any) -> Iterator[Path]:
    """Yield the path of every field inside a value that stands at `path`, deepest last."""
    if type(value) is dict:
        for key, inner in value.items():
            yield (*path, key)
            yield from subpaths((*path, key), inner)
    elif type(value) is list:
        for index, inner in enumerate(value):
            name = inner.get("name") if type(inner) is dict else None
            here = (*path, Item(index, name if type(name) is str else None))
            yield here
            yield from subpaths(here, inner)


class Pattern(msgspec.Struct, frozen=True):
    """A compiled field pattern; `images` has an alternative for each kind of container list."""

    text: str
    alternatives: tuple[tuple[str, ...], ...]

    def matches(self, path: Path) -> bool:
        """Say whether the pattern stands anywhere in the path: the field is meant, or is inside what is meant."""
        return any(_stands_at(wanted, path, start) for wanted in self.alternatives for start in range(len(path)))

    def touches(self, path: Path, *values: Any) -> bool:
        """Say whether the pattern matches the path, or a field inside one of the values that came or went there."""
        return self.matches(path) or any(
            self.matches(inner) for value in values if type(value) in (dict, list) for inner in subpaths(path, value)
        )


@functools.lru_cache(maxsize=1024)
def compile_pattern(text: str) -> Pattern:
    """Compile a field pattern as people write it; raises ValueError that says what is malformed."""
    if text == IMAGES:
        return Pattern(text, tuple((containers, "*", "image") for containers in CONTAINER_LISTS))
    return Pattern(text, (parse(text),))
