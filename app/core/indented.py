"""Secrets in indented text: YAML, as it stands in ConfigMaps, annotations and scripts.

Text is read by its lines, in time linear in its length: a parser would refuse what is no YAML as a whole, and expand
what refers to itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import msgspec

from app.core.credentials import COVERS, GRADES, HOLDS, WHOLE, refers

TITLES: Final = frozenset(("name", "key", "Name", "Key"))
"""Fields that say what the ones beside them hold."""
SECRET: Final = "Secret"
"""The kind whose fields of content are secret, wherever an object of it stands."""
SECRET_FIELDS: Final = frozenset(("data", "stringData"))
CONTENTS: Final = frozenset(
    "value values default defaultValue content contents data stringData Value Values Default Content Data".split()
)
"""Fields of which something beside them says what they hold."""

_LINE: Final = re.compile(
    r"(?m)^(?P<start>[ \t]*)(?![ \t#\r\n])(?P<dashes>(?:-[ \t]+)*)"
    r"(?:(?P<quote>[\"']?)(?P<name>[\w./-]{1,128})(?P=quote)[ \t]{0,32}:(?![^\s])[ \t]{0,32})?(?P<rest>[^\n]*)"
)
_NOTHING: Final = re.compile(r"(?:[&!]\S*(?:\s+|\Z))*(?:#.*)?|[~]|null|true|false|\"\"|''", re.IGNORECASE)


class _Map(msgspec.Struct):
    """What the fields of one map say of those beside them."""

    is_secret: bool = False
    is_credential: bool = False


class _Line(msgspec.Struct):
    """A field, with the place of its value: what stands behind the colon and what is indented below."""

    name: str
    column: int
    opens: bool
    """Whether nothing stands behind the colon, so that a list may follow at the same column."""
    start: int
    end: int
    map: _Map
    inside: list[str]
    """The names of the fields anywhere below; the empty name stands for a line that has none."""


def hide_indented(text: str, replacement: Callable[[str], str]) -> str:
    """Replace the values of secret fields that reach over several lines, or that a field beside them calls secret.

    These are blocks under names of credentials, `value` beside `name: DB_PASSWORD`, and the data of Secrets.
    """
    if "\n" not in text:
        return text
    pieces, copied = [], 0
    for line in _fields(text):
        if line.start < copied or not _is_secret(line):
            continue
        value = text[line.start : line.end].rstrip()
        if _NOTHING.fullmatch(value.strip()):
            continue
        pieces += [text[copied : line.start], replacement(value.strip())]
        copied = line.start + len(value)
    return "".join([*pieces, text[copied:]]) if pieces else text


def _fields(text: str) -> list[_Line]:
    """Return the fields in their order."""
    found: list[_Line] = []
    above: list[_Line] = []
    for match in _LINE.finditer(text):
        start, column = len(match["start"]), len(match["start"]) + len(match["dashes"])
        fields = _Map()
        while above and not _is_below(above[-1], start, dashed=bool(match["dashes"])):
            if above[-1].column == column and start == column:
                fields = above[-1].map
            above.pop()
        name = match["name"] or ""
        for line in above:
            line.end = match.end()
            line.inside.append(name)
        if name:
            rest = match["rest"].strip()
            opens = _NOTHING.fullmatch(rest) is not None
            found.append(_Line(name, column, opens, match.start("rest"), match.end(), fields, []))
            above.append(found[-1])
            _note(fields, name, rest)
    return found


def _is_below(line: _Line, start: int, *, dashed: bool) -> bool:
    """Say whether a line is in the block of the other: deeper, or an element of its list."""
    return start > line.column or (dashed and line.opens and start == line.column)


def _note(fields: _Map, name: str, rest: str) -> None:
    """Note in the map what this field says of those beside it."""
    if name == "kind":
        fields.is_secret = fields.is_secret or _scalar(rest) == SECRET
    elif name in TITLES and GRADES[_scalar(rest)] & HOLDS:
        fields.is_credential = True


def _scalar(rest: str) -> str:
    return rest.split(" #", 1)[0].strip("\"', \t\r")


def _is_secret(line: _Line) -> bool:
    if line.name in SECRET_FIELDS and line.map.is_secret:
        return True
    if line.name in CONTENTS and line.map.is_credential:
        return True
    grade = GRADES[line.name]
    if not line.inside or not grade & (WHOLE | COVERS):
        return False
    return bool(grade & WHOLE) or not refers(line.inside)
