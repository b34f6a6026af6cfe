"""An entry's field changes as one YAML document with lines that go and lines that come."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Any, Final, Literal

import msgspec

from app.core import text as plain
from app.core.change import FieldChange
from app.web.ui.sides import yaml_of

_SEGMENT: Final = re.compile(r"\[((?:[^\]\\]|\\.)*)\]|([^.\[\]]+)", re.DOTALL)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_BARE: Final = re.compile(r"[A-Za-z0-9_./-]+")
_MAPS: Final = frozenset(
    "annotations labels matchLabels nodeSelector data stringData binaryData requests limits".split()
)
"""Maps whose keys people choose: what stands in brackets behind them is a key, elsewhere it is a list's element."""

_LONGEST: Final = 400


class Line(msgspec.Struct, frozen=True):
    """A line; the sign says whether it stays, goes or comes."""

    sign: Literal[" ", "-", "+"]
    text: str


class _Step(msgspec.Struct, frozen=True):
    name: str
    is_element: bool


def unified(changes: Sequence[FieldChange]) -> list[Line]:
    """Return the changed fields under the fields that they are in, each of which is written once."""
    lines, before = list[Line](), list[_Step]()
    for change in changes:
        steps = _steps(change.path)
        shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, steps[:-1], strict=False)))
        lines += [Line(" ", _head(step, depth)) for depth, step in enumerate(steps[:-1]) if depth >= shared]
        before = steps[:-1]
        lines += _leaf(steps, change)
    return lines


def _steps(path: str) -> list[_Step]:
    steps = list[_Step]()
    for found in _SEGMENT.finditer(path):
        if found[1] is None:
            steps.append(_Step(found[2], is_element=False))
        else:
            is_key = bool(steps) and steps[-1].name in _MAPS
            steps.append(_Step(_ESCAPED.sub(r"\1", found[1]), is_element=bool(steps) and not is_key))
    return steps or [_Step(path, is_element=False)]


def _head(step: _Step, depth: int) -> str:
    indent = "  " * depth
    # What an element is known by may be any of its fields: it stands beside the dash as a comment, which YAML allows.
    return f"{indent}-  # {plain.one_line(step.name, _LONGEST)}" if step.is_element else f"{indent}{_key(step.name)}:"


def _key(name: str) -> str:
    if _BARE.fullmatch(name):
        return name
    return plain.visible(msgspec.json.encode(name).decode())


def _leaf(steps: Sequence[_Step], change: FieldChange) -> Iterator[Line]:
    head = _head(steps[-1], len(steps) - 1)
    if change.old is not msgspec.UNSET:
        yield from _value("-", head, change.old, len(steps))
    if change.new is not msgspec.UNSET:
        yield from _value("+", head, change.new, len(steps))


def _value(sign: Literal["-", "+"], head: str, value: Any, depth: int) -> Iterator[Line]:
    if (isinstance(value, dict | list) and value) or (isinstance(value, str) and "\n" in value):
        is_text = isinstance(value, str)
        yield Line(sign, f"{head} |" if is_text else head)
        written = value if isinstance(value, str) else yaml_of(value)
        yield from (Line(sign, "  " * depth + line) for line in plain.lines(written, _LONGEST))
    else:
        yield Line(sign, f"{head} {plain.value(value, _LONGEST)}")
