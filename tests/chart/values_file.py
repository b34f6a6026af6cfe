"""values.yaml as it is read by people: every value with its default and its comment."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import yaml

from tests.chart.helm import CHART

FILE: Final = CHART / "values.yaml"

_KEY: Final = re.compile(r"(?P<indent> *)(?P<key>[A-Za-z]\w*):(?: |$)")
_COMMENT: Final = re.compile(r" *# (?P<begins>-- )?(?P<text>.*)")


class Value(NamedTuple):
    """One value: `description` is empty where the file has none."""

    path: tuple[str, ...]
    default: Any
    description: str


def descriptions(text: str) -> dict[tuple[str, ...], str]:
    """Return the comment that begins with `# --` above each key."""
    found: dict[tuple[str, ...], str] = {}
    comment: list[str] = []
    path: tuple[str, ...] = ()
    for line in text.splitlines():
        if key := _KEY.match(line):
            path = (*path[: len(key["indent"]) // 2], key["key"])
            if comment:
                found[path] = " ".join(comment)
            comment = []
        elif (said := _COMMENT.fullmatch(line)) and (said["begins"] or comment):
            comment.append(said["text"])
        else:
            comment = []
    return found


def values(text: str) -> Iterator[Value]:
    """Yield the values that people set, in the order of the file."""
    said = descriptions(text)

    def below(path: tuple[str, ...], default: Any) -> Iterator[Value]:
        if isinstance(default, dict) and default and path not in said:
            for key, each in default.items():
                yield from below((*path, key), each)
        else:
            yield Value(path, default, said.get(path, ""))

    yield from below((), yaml.safe_load(text))
