"""YAML with the place of everything in it, so that a problem of any value can name its line and column.

Scalars are read by the core schema of YAML 1.2: only `true` and `false` are booleans, and times are text, so that
`10:30`, `no` and `2026-01-01` mean what they say. Messages never quote the file: there may be secrets in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import yaml

from app.config.problems import KeyPath

Place = tuple[int, int]
"""Line and column, from 1."""

MOST_NODES: Final = 100_000
"""Beyond this a file is taken for aliases that unfold without end."""

_QUOTED: Final = re.compile(r"'([^']*)'|\"([^\"]*)\"")
_TAB: Final = "found character '\\t' that cannot start any token"


class YamlError(ValueError):
    """The text is not YAML, or not a mapping; `place` says where, the message what, without quoting the text."""

    def __init__(self, message: str, place: Place = (1, 1)) -> None:
        super().__init__(message)
        self.place = place


class Flaw(msgspec.Struct, frozen=True):
    """What YAML allows but a person did not mean, such as a key that is written twice."""

    path: KeyPath
    place: Place
    message: str


class Document(msgspec.Struct, frozen=True):
    """A YAML document: its value, where each key and value of it stands, and its flaws."""

    value: Any
    keys: dict[KeyPath, Place]
    values: dict[KeyPath, Place]
    flaws: list[Flaw]

    def place(self, path: KeyPath, *, of_key: bool = False) -> Place:
        """Return the place of the value, or of its key; of the innermost one that exists, if the path leads further."""
        while path and path not in self.values:
            path, of_key = path[:-1], True
        places = self.keys if of_key and path in self.keys else self.values
        return places.get(path, (1, 1))


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  YAML 1.1 is not inherited


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", list("-+0123456789")),
    ("float", r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?", list("-+.0123456789")),
    ("merge", r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), _first)


def parse(content: bytes) -> Document:
    """Read one YAML document; an empty one is an empty mapping. Raises YamlError where it cannot be read."""
    loader = _Loader(_decoded(content))
    try:
        root = loader.get_single_node()
        reading = _Reading(loader)
        value = {} if root is None else reading.read(root, ())
    except yaml.MarkedYAMLError as error:
        raise _yaml_error(error) from None
    except RecursionError:
        raise YamlError("is nested too deeply") from None
    finally:
        loader.dispose()
    return Document({} if value is None else value, reading.keys, reading.values, reading.flaws)


def _decoded(content: bytes) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = _place_at(content[: error.start].decode("utf-8", "replace"))
        raise YamlError("is not UTF-8 text", place) from None
    forbidden = yaml.reader.Reader.NON_PRINTABLE.search(text)
    if forbidden:
        raise YamlError("has a control character", _place_at(text[: forbidden.start()]))
    return text


def _place_at(before: str) -> Place:
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


def _yaml_error(error: yaml.MarkedYAMLError) -> YamlError:
    mark = error.problem_mark or error.context_mark
    place = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    if error.problem == _TAB:
        return YamlError("is indented with a tab; YAML allows only spaces", place)
    problem = ", ".join(_unquoting(text) for text in (error.context, error.problem) if text)
    if problem.startswith("found undefined alias"):
        problem = "a value that begins with * is an alias; put it in quotes"
    return YamlError(f"is not valid YAML: {problem}", place)


def _unquoting(text: str) -> str:
    """Keep what YAML itself says in quotes, a character or `<a token>`; the rest comes from the file."""
    return _QUOTED.sub(lambda match: match[0] if len(match[0]) < 4 or match[0][1] == "<" else "...", text)  # noqa: PLR2004


def _place(node: yaml.Node) -> Place:
    return node.start_mark.line + 1, node.start_mark.column + 1


class _Reading:
    """One walk over the nodes of a document."""

    def __init__(self, loader: _Loader) -> None:
        self._loader = loader
        self._open: set[int] = set()
        self._count = 0
        self.keys: dict[KeyPath, Place] = {}
        self.values: dict[KeyPath, Place] = {}
        self.flaws: list[Flaw] = []

    def read(self, node: yaml.Node, path: KeyPath) -> Any:
        self._count += 1
        if id(node) in self._open or self._count > MOST_NODES:
            raise YamlError("its aliases unfold without end", _place(node))
        self.values[path] = _place(node)
        self._open.add(id(node))
        try:
            return self._value(node, path)
        finally:
            self._open.discard(id(node))

    def _value(self, node: yaml.Node, path: KeyPath) -> Any:
        if isinstance(node, yaml.MappingNode):
            return {key: self.read(value, (*path, key)) for key, value in self._entries(node, path)}
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._loader.construct_object(node)

    def _entries(self, node: yaml.MappingNode, path: KeyPath) -> Iterator[tuple[str, yaml.Node]]:
        self._note_repeats(node, path)
        self._loader.flatten_mapping(node)
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise YamlError("has a key that is no text; put {{ ... }} in quotes", _place(key))
            self.keys[*path, key.value] = _place(key)
            yield key.value, value

    def _note_repeats(self, node: yaml.MappingNode, path: KeyPath) -> None:
        seen: dict[str, Place] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                line = seen[key.value][0]
                self.flaws.append(Flaw((*path, key.value), _place(key), f"is written twice, first in line {line}"))
            elif isinstance(key, yaml.ScalarNode):
                seen[key.value] = _place(key)
