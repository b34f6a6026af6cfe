"""Reads Dockerfile and .dockerignore, as far as this project uses their languages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[1]
DOCKERFILE: Final = ROOT / "Dockerfile"


class Instruction(NamedTuple):
    """One instruction: its keyword, and the rest with continued lines joined."""

    keyword: str
    text: str

    @property
    def words(self) -> list[str]:
        """The rest without its options, such as `--from=build`."""
        return [word for word in self.text.split() if not word.startswith("--")]


def instructions(text: str) -> list[Instruction]:
    """Return the instructions of a Dockerfile; comments between continued lines are left out, as builders do."""
    lines = (line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [Instruction(*line.split(maxsplit=1)) for line in joined.splitlines()]


def stages(text: str) -> list[list[Instruction]]:
    """Return the instructions of each stage, FROM first; what stands before the first FROM is left out."""
    found: list[list[Instruction]] = []
    for instruction in instructions(text):
        if instruction.keyword == "FROM":
            found.append([])
        if found:
            found[-1].append(instruction)
    return found


def environment(stage: Sequence[Instruction]) -> dict[str, str]:
    """Return the variables that a stage sets."""
    words = (word for each in stage if each.keyword == "ENV" for word in each.text.split())
    return dict(word.split("=", 1) for word in words)


def ignored(path: str, patterns: Sequence[str]) -> bool:
    """Return whether .dockerignore keeps a path from the builder.

    The last pattern that matches it, or a folder that it is in, decides.
    """
    verdict = False
    for pattern in patterns:
        if any(_regex(pattern.removeprefix("!")).fullmatch(each) for each in _with_parents(path)):
            verdict = not pattern.startswith("!")
    return verdict


def dockerignore() -> list[str]:
    """Return the patterns of the project's .dockerignore."""
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def _with_parents(path: str) -> list[str]:
    pure = PurePosixPath(path)
    return [str(pure), *(str(parent) for parent in pure.parents if parent.name)]


def _regex(pattern: str) -> re.Pattern[str]:
    escaped = re.escape(pattern).replace(r"\*\*/", "(?:.*/)?").replace(r"\*", "[^/]*")
    return re.compile(escaped.replace(r"\[", "[").replace(r"\]", "]"))
