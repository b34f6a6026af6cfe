"""Field changes side by side: which lines differ, and which parts of a line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Any, Final, Literal

import msgspec
import yaml

from app.core import text as plain
from app.core.change import FieldChange

Tone = Literal["same", "old", "new", "both", "gap"]
Pieces = tuple[tuple[str, bool], ...]
"""A line in parts, each with whether it is marked as different."""

_LINES: Final = 400
_CHARACTERS: Final = 1000
"""What is compared in full: comparing takes time that grows with the square, and reading does, too."""

_CONTEXT: Final = 3
_WORTH_HIDING: Final = 4
_WORD: Final = re.compile(r"\w+|\s+|[^\w\s]")
_ALIKE: Final = 0.3
"""Lines that have less in common than this are different as a whole: marking each letter would only confuse."""

_FINGERPRINT: Final = re.compile(r"redacted:[0-9a-f]{16}")


class Pair(msgspec.Struct, frozen=True):
    """Two lines that stand beside each other; None where there is none. Of a gap, `old` says how long it is."""

    tone: Tone
    old: Pieces | None
    new: Pieces | None


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """One field's change: its path, and old and new value as lines beside each other."""

    path: str
    op: str
    is_secret: bool
    pairs: tuple[Pair, ...]


def shown(change: FieldChange) -> Shown:
    """Return a field change, compared."""
    old, new = written(change.old), written(change.new)
    return Shown(
        path=plain.one_line(change.path, 1000),
        op=change.op,
        is_secret=any(isinstance(each, str) and bool(_FINGERPRINT.search(each)) for each in (change.old, change.new)),
        pairs=tuple(paired(old, new)),
    )


def written(value: Any) -> list[str]:
    """Return a value as harmless lines: a text as it is, a map or list as YAML; none for what is absent."""
    if value is msgspec.UNSET:
        return []
    if isinstance(value, str) and "\n" in value:
        return _cut(plain.lines(value, _CHARACTERS))
    if isinstance(value, dict | list) and value:
        return _cut(plain.lines(yaml_of(value), _CHARACTERS))
    return [plain.value(value, _CHARACTERS)]


def yaml_of(value: Any) -> str:
    """Return a document as YAML."""
    return yaml.dump(msgspec.to_builtins(value), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks, and nothing as an alias: people read this."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def _cut(lines: list[str]) -> list[str]:
    left_out = len(lines) - _LINES
    return lines if left_out <= 0 else [*lines[:_LINES], f"… {left_out} more lines"]


def paired(old: Sequence[str], new: Sequence[str]) -> Iterator[Pair]:
    """Yield the lines beside each other; long runs of equal lines become a gap."""
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    for tag, first, last, start, end in matcher.get_opcodes():
        if tag == "equal":
            yield from _equal(old[first:last], is_first=first == 0, is_last=last == len(old))
        else:
            yield from _different(old[first:last], new[start:end])


def _equal(lines: Sequence[str], *, is_first: bool, is_last: bool) -> Iterator[Pair]:
    before = 0 if is_first else _CONTEXT
    after = 0 if is_last else _CONTEXT
    hidden = len(lines) - before - after
    if hidden < _WORTH_HIDING:
        yield from map(_same, lines)
        return
    yield from map(_same, lines[:before])
    yield Pair("gap", ((f"{hidden} equal lines", False),), None)
    yield from map(_same, lines[len(lines) - after :])


def _same(line: str) -> Pair:
    pieces = ((line, False),)
    return Pair("same", pieces, pieces)


def _different(old: Sequence[str], new: Sequence[str]) -> Iterator[Pair]:
    both = min(len(old), len(new))
    yield from (Pair("both", *marked(*lines)) for lines in zip(old, new, strict=False))
    yield from (Pair("old", ((line, False),), None) for line in old[both:])
    yield from (Pair("new", None, ((line, False),)) for line in new[both:])


def marked(old: str, new: str) -> tuple[Pieces, Pieces]:
    """Return two lines in parts, with those marked that differ; none is where the lines have little in common."""
    ours, theirs = _WORD.findall(old), _WORD.findall(new)
    matcher = SequenceMatcher(None, ours, theirs, autojunk=False)
    if matcher.ratio() < _ALIKE:
        return ((old, False),), ((new, False),)
    left, right = list[tuple[str, bool]](), list[tuple[str, bool]]()
    for tag, first, last, start, end in matcher.get_opcodes():
        left.append(("".join(ours[first:last]), tag != "equal"))
        right.append(("".join(theirs[start:end]), tag != "equal"))
    return tuple(each for each in left if each[0]), tuple(each for each in right if each[0])
