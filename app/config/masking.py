"""Messages about values that came from `{{ env.NAME }}`: they quote the file, never what stood in the environment."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from app.config.environment import PLACEHOLDER, substitute
from app.config.problems import KeyPath

_QUOTED: Final = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")
_SHORTEST: Final = 4
"""A run of so many characters that a message shares with a variable was taken from it; fewer are any word's."""


class Filled(msgspec.Struct, frozen=True):
    """A text of the file with variables in it: as it is written, and as it is with the variables filled in."""

    path: KeyPath
    written: str
    value: str
    variables: tuple[str, ...]


def filled(document: Any, environ: Mapping[str, str]) -> list[Filled]:
    """Return every text of the file that has variables which are set."""
    return [
        Filled(path, text, substitute(text, environ, lambda *_: None), tuple(environ[name] for name in names))
        for path, text in _texts(document, ())
        if (names := [name for name in PLACEHOLDER.findall(text) if environ.get(name)])
    ]


def masked(message: str, path: KeyPath, texts: Iterable[Filled]) -> str:
    """Return the message about what stands at `path`; its quotations of filled texts are those of the file."""
    for text in texts:
        if text.path[: len(path)] == path or path[: len(text.path)] == text.path:
            message = _masked(message, text)
    return message


def _texts(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    if isinstance(value, str):
        yield path, value
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _texts(inner, (*path, key))


def _masked(message: str, text: Filled) -> str:
    parts, position = list[str](), 0
    for quotation in _QUOTED.finditer(message):
        parts += [_without_runs(message[position : quotation.start()], text), _quotation(quotation[0], text)]
        position = quotation.end()
    safe = "".join([*parts, _without_runs(message[position:], text)])
    shown = repr(text.written)
    return safe if safe == message or shown in safe else f"{safe}, in {shown}"


def _quotation(quoted: str, text: Filled) -> str:
    content = _content(quoted)
    if content in text.written:
        return quoted
    return repr(text.written) if content in text.value else _without_runs(quoted, text)


def _content(quoted: str) -> str:
    try:
        return str(ast.literal_eval(quoted))
    except (SyntaxError, ValueError):  # two apostrophes with words between them
        return quoted[1:-1]


def _without_runs(message: str, text: Filled) -> str:
    """Write `...` for every run that comes from a variable, such as a word that was split off."""
    kept, position = list[str](), 0
    while position < len(message):
        length = max(_shared(message, position, variable) for variable in text.variables)
        kept.append("..." if length else message[position])
        position += length or 1
    return "".join(kept)


def _shared(message: str, start: int, variable: str) -> int:
    """Return how many characters from `start` on occur together in the variable; 0 for fewer than mean anything."""
    length = 0
    while start + length < len(message) and message[start : start + length + 1] in variable:
        length += 1
    return length if length >= _SHORTEST else 0
