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
from typing import Final

import msgspec

IMAGES: Final = "images"
"""The pattern that means every container image of a Pod or Pod template (Robusta's word)."""

CONTAINER_LISTS: Final = frozenset({"containers", "initContainers", "ephemeralContainers"})


class Item(msgspec.Struct, frozen=True):
    """A list element as a segment: by merge key where the list has one, else by index.

    `index` is the position in the new list, or in the old one for a removed element. `hints` are strings beside the
    element that say what it is (the `name` of a keyed or unkeyed map, the flag before an argument); they are never
    shown, redaction reads them.
    """

    index: int
    key: str | None = None
    hints: tuple[str, ...] = ()

    def __str__(self) -> str:
        return str(self.index) if self.key is None else self.key


Segment = str | Item
Path = tuple[Segment, ...]

_PLAIN_KEY: Final = re.compile(r"[^.\[\]]+")
_TOKEN: Final = re.compile(r"\[([^\]]*)\]|([^.\[\]]+)")


def render(path: Path) -> str:
    """Write the path for people; `parse` reads the segments back."""
    parts: list[str] = []
    for segment in path:
        if type(segment) is str and _PLAIN_KEY.fullmatch(segment):
            parts.append("." + segment if parts else segment)
        else:
            parts.append(f"[{segment}]")
    return "".join(parts)


def parse(text: str) -> tuple[str, ...]:
    """Split a written path or pattern into its segments; raises ValueError where it is malformed."""
    segments: list[str] = []
    position = 0
    while position < len(text):
        if text[position] == "." and segments:
            position += 1
        token = _TOKEN.match(text, position)
        if token is None:
            raise ValueError(f"{text!r} is not a field pattern: unexpected {text[position:position + 1]!r}")
        segments.append(token[1] if token[1] is not None else token[2])
        position = token.end()
    if not segments or "" in segments or text.endswith("."):
        raise ValueError(f"{text!r} is not a field pattern: it has an empty segment")
    return tuple(segments)


class Pattern(msgspec.Struct, frozen=True):
    """A compiled field pattern."""

    text: str
    segments: tuple[str, ...]

    def matches(self, path: Path) -> bool:
        """Say whether the pattern stands anywhere in the path, or the changed field is a part that contains it.

        A change of a whole subtree (an added container, a removed `spec`) touches the fields inside it, so a pattern
        also matches where its beginning is the end of the path.
        """
        if self.text == IMAGES:
            return touches_image(path)
        return any(self._stands_at(path, start) for start in range(len(path)))

    def _stands_at(self, path: Path, start: int) -> bool:
        position = 0
        for segment in path[start:]:
            consumed = _consumed(self.segments, position, segment)
            if not consumed:
                return False
            position += consumed
            if position == len(self.segments):
                return True
        return False


def _consumed(pattern: tuple[str, ...], position: int, segment: Segment) -> int:
    """Count the pattern segments that this path segment answers to: 0 for none, more than 1 for a key with dots."""
    wanted = pattern[position]
    if wanted == "*":
        return 1
    if type(segment) is not str:
        return int(wanted in (str(segment.index), segment.key)) or int(wanted in segment.key_parts())  # type: ignore[attr-defined]
    if wanted == segment:
        return 1
    width = segment.count(".") + 1
    if width > 1 and ".".join(pattern[position : position + width]) == segment:
        return width
    return 0


def touches_image(path: Path) -> bool:
    """Say whether the path is a container's image, or a container or list of containers that was added or removed."""
    for position, segment in enumerate(path):
        if segment in CONTAINER_LISTS:
            rest = path[position + 1 :]
            return len(rest) < 2 or rest[1] == "image"
    return False


@functools.lru_cache(maxsize=1024)
def compile_pattern(text: str) -> Pattern:
    """Compile a field pattern as people write it; raises ValueError that says what is malformed."""
    return Pattern(text=text, segments=parse(text))
