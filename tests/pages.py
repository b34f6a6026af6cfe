"""The pages of the documentation, and what stands in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from app.config.model import Config
from tests import reference
from tests.reference import DOCUMENTS, ROOT

PAGES: Final = tuple(
    sorted(
        [
            *ROOT.glob("*.md"),
            *DOCUMENTS,
            *(ROOT / folder / "README.md" for folder in ("config", "certs")),
            *(ROOT / "deploy").rglob("README.md"),
        ]
    )
)
VALUES: Final[dict[str, Any]] = yaml.safe_load((ROOT / "deploy/chart/values.yaml").read_text("utf-8"))
"""The chart's values, as they are without any of the user's."""

CONFIGURATION: Final = frozenset(field.alias or name for name, field in Config.model_fields.items())
"""The keys of the configuration file, which are values of the chart, too."""

FENCE: Final = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
_PLUGIN: Final = re.compile(r"^kubectl witness\b")
_KEY: Final = re.compile(r"^(\w+):", re.MULTILINE)
_CODE: Final = re.compile(r"`([^`\n]+)`")


def text_of(page: Path) -> str:
    return page.read_text("utf-8")


def blocks(text: str, language: str) -> list[str]:
    return [match[2] for match in FENCE.finditer(text) if match[1] == language]


def inline_code(text: str) -> list[str]:
    return _CODE.findall(FENCE.sub("", text))


def yaml_blocks() -> Iterator[tuple[str, frozenset[str]]]:
    """Yield every YAML block of every page with its outermost keys."""
    for page in PAGES:
        for block in blocks(text_of(page), "yaml"):
            yield block, frozenset(_KEY.findall(block))


def configurations() -> list[str]:
    """Return the blocks that are a configuration file."""
    return [
        block for block, keys in yaml_blocks() if keys & CONFIGURATION and not keys & (VALUES.keys() - CONFIGURATION)
    ]


def values_blocks() -> list[str]:
    """Return the blocks that are values of the chart and more than a configuration file."""
    return [block for block, keys in yaml_blocks() if keys & (VALUES.keys() - CONFIGURATION)]


def console_lines(pages: Iterable[Path] = PAGES) -> Iterator[str]:
    """Yield the commands of all console blocks, without their prompt."""
    for page in pages:
        for block in blocks(text_of(page), "console"):
            lines = (line.strip() for line in block.splitlines())
            # The same program, as kubectl's plugin.
            yield from (_PLUGIN.sub("kubewitness", line.removeprefix("$ ")) for line in lines if line.startswith("$ "))


def console_commands() -> Iterator[list[str]]:
    """Yield the words of every call of this program, also within a Pod, and of make."""
    for line in console_lines():
        words = shlex.split(line.partition(" -- ")[2] if " -- kubewitness" in line else line)
        if words and Path(words[0]).name in {"kubewitness", "make"}:
            end = next((number for number, word in enumerate(words) if word.endswith(";") or word in "|>"), len(words))
            yield [Path(words[0]).name, *(word.rstrip(";") for word in words[1 : end + 1] if word not in "|>")]


def kubewitness_commands() -> dict[str, set[str]]:
    """Return the options of each command, by its words."""
    return {
        path: {option for parameter in command.params for option in parameter.opts}
        for path, command in reference.all_commands()
    }


def command_of(words: Iterable[str]) -> str:
    """Return the longest command that these words begin with, or nothing."""
    line = f"{' '.join(words)} "
    return max((path for path in kubewitness_commands() if line.startswith(f"{path} ")), key=len, default="")


def paths(mapping: object, before: str = "") -> Iterator[str]:
    """Yield the dotted path of everything in a mapping; what is below an empty one or a list is anybody's choice."""
    for key, value in mapping.items() if isinstance(mapping, dict) else ():
        yield before + key
        yield from paths(value, f"{before}{key}.")
