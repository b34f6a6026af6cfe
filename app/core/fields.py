"""Which field changes are meant: patterns to include, patterns to ignore, and the status that nobody edits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Final

import msgspec
from pydantic import AfterValidator

from app.core.diff import Delta
from app.core.paths import Path, Pattern, compile_pattern, parse, subpaths

STATUS: Final = "status"
TOP: Final = frozenset({"apiVersion", "kind", "metadata", "spec", STATUS})
"""Fields at the top of an object. An ignored field that begins with one is meant from the top: `status` ignores the
status, not a ConfigMap's `data.status`, and `metadata.annotations` not those of a Pod template."""


def _checked(text: str) -> str:
    compile_pattern(text)
    return text


FieldPattern = Annotated[str, AfterValidator(_checked)]


def names_status(patterns: Iterable[str]) -> bool:
    """Say whether somebody asked for the status by name."""
    return any(STATUS in parse(pattern) for pattern in patterns)


def is_status(path: Path) -> bool:
    """Say whether a path leads into the status."""
    return bool(path) and path[0] == STATUS


class Ignored(msgspec.Struct, frozen=True):
    """A field that does not count, with all that is inside it."""

    pattern: Pattern
    top: tuple[str, ...] = ()

    def covers(self, path: Path) -> bool:
        """Say whether the path is this field or inside it."""
        if self.top:
            return path[:1] == self.top[:1] and self.pattern.matches(path[: len(self.top)])
        return self.pattern.matches(path)


def _ignored(text: str) -> Ignored:
    segments = parse(text)
    return Ignored(compile_pattern(text), segments if segments[0] in TOP else ())


class FieldSelection(msgspec.Struct, frozen=True):
    """Chooses field changes. No included pattern means every field; the status counts only with `status`."""

    include: tuple[Pattern, ...] = ()
    ignore: tuple[Ignored, ...] = ()
    status: bool = False

    @classmethod
    def compile(
        cls, include: Iterable[str] = (), ignore: Iterable[str] = (), *, status: bool = False
    ) -> FieldSelection:
        """Compile the patterns; the status counts if one of the included ones names it, or `status` says so."""
        wanted = tuple(include)
        return cls(
            tuple(map(compile_pattern, wanted)),
            tuple(map(_ignored, ignore)),
            status or names_status(wanted),
        )

    def takes(self, delta: Delta) -> bool:
        """Say whether a field that came, went or changed with this delta is included and not ignored."""
        if not self.status and is_status(delta.path):
            return False
        if not self.include and not self.ignore:
            return True
        return any(self._counts(leaf) for leaf in _leaves(delta))

    def select(self, deltas: Iterable[Delta]) -> tuple[Delta, ...]:
        """Return the deltas that are meant, in their order."""
        return tuple(delta for delta in deltas if self.takes(delta))

    def any(self, deltas: Iterable[Delta]) -> bool:
        """Say whether at least one delta is meant."""
        return any(self.takes(delta) for delta in deltas)

    def _counts(self, path: Path) -> bool:
        if self.include and not any(pattern.matches(path) for pattern in self.include):
            return False
        return not any(field.covers(path) for field in self.ignore)


def _leaves(delta: Delta) -> Iterator[Path]:
    """Yield the path of every field without fields inside it; that of the delta itself if its value has none."""
    inner = [path for value in (delta.old, delta.new) for path in subpaths(delta.path, value)]
    for here, following in zip(inner, [*inner[1:], ()], strict=False):
        if len(following) <= len(here):
            yield here
    if not inner:
        yield delta.path


NO_STATUS: Final = FieldSelection()
