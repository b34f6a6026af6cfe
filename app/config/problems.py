"""What is wrong with a configuration file: every problem with its place, and the nearest right thing."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

KeyPath = tuple[str | int, ...]
"""The keys and list indexes that lead to a value of the file."""


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One problem. `line` and `column` begin at 1; 0 means the file as a whole. Never quotes a value that is secret."""

    file: str
    message: str
    line: int = 0
    column: int = 0
    key: str = ""
    suggestion: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        where = f" {self.key}:" if self.key else ""
        hint = f" (did you mean {self.suggestion}?)" if self.suggestion else ""
        return f"{place}:{where} {self.message}{hint}"


class ConfigError(ValueError):
    """A configuration file cannot be used; `problems` are all that is wrong with it, from top to bottom."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: (problem.line, problem.column)))
        super().__init__(render(self.problems))


def render(problems: Iterable[Problem]) -> str:
    """Return one line per problem, as compilers write them: `file:line:column: key: message (did you mean ...?)`."""
    return "\n".join(map(str, problems))


def render_key(path: KeyPath) -> str:
    """Write a key path for people: `customPlaybooks[0].triggers[1]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")
