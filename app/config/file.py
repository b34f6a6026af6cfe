"""Reading the configuration file: all of it is checked, and all that is wrong with it is told at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from pydantic import ValidationError

from app.config.environment import substitute
from app.config.explain import Complaint, complaints
from app.config.masking import Filled, filled, masked
from app.config.model import Config, tracker_sink
from app.config.problems import ConfigError, KeyPath, Problem, render_key
from app.config.yaml_lines import Document, Place, YamlError, parse
from app.core.actions import JsonChangeTracker
from app.core.nearest import nearest
from app.core.playbook import TRACKER
from app.core.raw import at

PLAYBOOKS: Final = "customPlaybooks"
SINKS: Final = "sinksConfig"
EXCEPTED: Final = ("globalConfig", "noise", "except_sinks")


def load(path: Path, environ: Mapping[str, str]) -> Config:
    """Return the checked configuration; raises ConfigError with every problem of the file."""
    return read(read_content(path), str(path), environ)


def read_content(path: Path) -> bytes:
    """Return the bytes of the file; raises ConfigError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        problem = Problem(file=str(path), message=f"cannot be read: {error.strerror or error}")
        raise ConfigError([problem]) from error


def read(content: bytes, file: str, environ: Mapping[str, str]) -> Config:
    """Return the configuration that the bytes hold; `file` is what problems call it. An empty file has the defaults."""
    checked = _check(content, file, environ)
    if checked.config is None or checked.found:
        raise checked.error(checked.found)
    return checked.config


class LeftOut(msgspec.Struct, frozen=True):
    """A declared sink that cannot be used as it is written, with all that is wrong with it.

    `key` is its type; `name` is its place in the file, such as `sinksConfig[0]`, if it has no name.
    """

    name: str
    key: str
    problems: tuple[Problem, ...]

    def __str__(self) -> str:
        return "; ".join(map(str, self.problems))


class Reading(NamedTuple):
    """A configuration without the sinks that were left out; `places` has the line and column of each by name."""

    config: Config
    left_out: tuple[LeftOut, ...]
    places: Mapping[str, Place]


def load_usable(path: Path, environ: Mapping[str, str]) -> Reading:
    """Return what can be used of the file; raises what `read_usable` does."""
    return read_usable(read_content(path), str(path), environ)


def read_usable(content: bytes, file: str, environ: Mapping[str, str]) -> Reading:
    """Return the configuration without the sinks that have problems; playbooks may still name those.

    Raises ConfigError with every problem of the file if any is not of a single sink.
    """
    checked = _check(content, file, environ)
    broken = {index for complaint in checked.found if (index := _sink_of(complaint)) is not None}
    config = checked.config
    if config is None and broken:
        config, _ = _validated(_without(checked.value, broken))
    found = [*checked.found, *(_tracker_complaints(config) if config and checked.config is None else ())]
    if config is None or any(_sink_of(complaint) is None for complaint in found):
        raise checked.error(found)
    if checked.config is not None:
        kept = [item for index, item in enumerate(config.sinks_config) if index not in broken]
        config = config.model_copy(update={"sinks_config": kept})
    return Reading(config, tuple(_left_out(checked, index) for index in sorted(broken)), checked.places())


class _Checked(NamedTuple):
    """A file that was read: its value with the variables filled in, and what is wrong with it."""

    file: str
    environ: Mapping[str, str]
    document: Document
    value: Any
    config: Config | None
    found: list[Complaint]

    def error(self, found: Iterable[Complaint]) -> ConfigError:
        """Return complaints as an error for people."""
        texts = filled(self.document.value, self.environ)
        return ConfigError(_problem(self.file, self.document, complaint, texts) for complaint in found)

    def places(self) -> dict[str, Place]:
        """Return where each sink that has a name stands."""
        return {name: self.document.place(path[:2]) for path, name in _sink_names(self.value)}


def _check(content: bytes, file: str, environ: Mapping[str, str]) -> _Checked:
    """Check all of the file; raises ConfigError if it is no YAML."""
    try:
        document = parse(content)
    except YamlError as error:
        line, column = error.place
        raise ConfigError([Problem(file=file, line=line, column=column, message=str(error))]) from None
    found: list[Complaint] = [Complaint(flaw.path, flaw.message, place=flaw.place) for flaw in document.flaws]
    value = substitute(document.value, environ, lambda path, text, near: found.append(Complaint(path, text, near)))
    config, errors = _validated(value)
    unset = {complaint.path for complaint in found}
    found.extend(each for each in (*errors, *_name_complaints(value, document.value)) if each.path not in unset)
    if config is not None and not found:
        found.extend(_tracker_complaints(config))
    return _Checked(file, environ, document, value, config, found)


def _sink_of(complaint: Complaint) -> int | None:
    """Return the index of the declared sink that a complaint is about, None if it is about anything else."""
    match complaint.path:
        case (str(section), int(index), *_) if section == SINKS:
            return index
    return None


def _without(value: dict[str, Any], broken: Collection[int]) -> dict[str, Any]:
    return value | {SINKS: [item for index, item in enumerate(value[SINKS]) if index not in broken]}


def _left_out(checked: _Checked, index: int) -> LeftOut:
    name, key = next(
        ((name, str(path[2])) for path, name in _sink_names(checked.value) if path[1] == index),
        (render_key((SINKS, index)), ""),
    )
    error = checked.error(complaint for complaint in checked.found if _sink_of(complaint) == index)
    return LeftOut(name, key, error.problems)


def _validated(value: Any) -> tuple[Config | None, list[Complaint]]:
    if not isinstance(value, dict):
        return None, [Complaint((), f"must be a mapping, such as {PLAYBOOKS}: []")]
    try:
        return Config.model_validate(value, by_alias=True, by_name=False), []
    except ValidationError as error:
        return None, list(complaints(error))


def _problem(file: str, document: Document, complaint: Complaint, texts: list[Filled]) -> Problem:
    line, column = complaint.place or document.place(complaint.path, of_key=complaint.of_key)
    return Problem(
        file=file,
        line=line,
        column=column,
        key=render_key(complaint.path),
        message=masked(complaint.message, complaint.path, texts),
        suggestion=complaint.suggestion,
    )


def _items(value: Any, key: str) -> Iterator[tuple[int, dict[str, Any]]]:
    items = value.get(key) if isinstance(value, dict) else None
    for index, item in enumerate(items if isinstance(items, list) else ()):
        if isinstance(item, dict):
            yield index, item


def _sink_names(value: Any) -> Iterator[tuple[KeyPath, str]]:
    for index, item in _items(value, SINKS):
        for kind, options in item.items():
            name = options.get("name") if isinstance(options, dict) else None
            if isinstance(name, str):
                yield (SINKS, index, kind, "name"), name


def _name_complaints(value: Any, written: Any) -> Iterator[Complaint]:
    """Say which sinks have the same name, and which names no sink has; also in a file that has other problems.

    Names of sinks that are declared elsewhere are told as they are `written` in the file.
    """
    named, names = list(_sink_names(value)), dict(_sink_names(written))
    shown = {name: names[path] for path, name in named}
    seen: Counter[str] = Counter()
    for path, name in named:
        seen[name] += 1
        if seen[name] > 1:
            yield Complaint(path, f"another sink is already named {name!r}")
        if name.startswith(f"{TRACKER}:"):
            yield Complaint(path, f"names that begin with {TRACKER}: are kept for the sinks of that action")
    for path, name in _names_of_sinks(value):
        if name not in seen:
            declared = f"there are {', '.join(shown.values())}" if seen else f"{SINKS} has none"
            yield Complaint(path, f"no sink is named {name!r}: {declared}", shown.get(nearest(name, seen), ""))


def _names_of_sinks(value: Any) -> Iterator[tuple[KeyPath, str]]:
    """Yield the names by which sinks are meant elsewhere than where they are declared."""
    lists: list[tuple[KeyPath, Any]] = [
        ((PLAYBOOKS, index, "sinks"), each.get("sinks")) for index, each in _items(value, PLAYBOOKS)
    ]
    lists.append((EXCEPTED, at(value, *EXCEPTED)))
    for path, names in lists:
        for position, name in enumerate(names if isinstance(names, list) else ()):
            if isinstance(name, str):
                yield (*path, position), name


def _tracker_complaints(config: Config) -> Iterator[Complaint]:
    for index, playbook in enumerate(config.custom_playbooks):
        for position, (name, action) in enumerate(playbook.chosen_actions):
            if isinstance(action, JsonChangeTracker):
                try:
                    tracker_sink(TRACKER, action)
                except ValidationError as error:
                    yield from complaints(error, (PLAYBOOKS, index, "actions", position, name))
