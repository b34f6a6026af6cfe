"""Evidence: what is known of the Pods of a Job that fails, kept while the Pods themselves may vanish.

Every text in here is redacted already.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, TypeVar

import msgspec

from app.core.raw import items, mapping, number, string
from app.core.redact import Redactor
from app.core.text import shorten

T = TypeVar("T")
Role = Literal["init", "sidecar", "app"]

LONGEST_MESSAGE: Final = 4096
"""Characters of a message: as much as the kubelet takes from a container that ends."""

RUNS_KEPT: Final = 2
"""Runs of a container whose logs are kept: the one that decided, and the one before it."""

LOGS_OF_A_POD: Final = 512 * 1024
"""Bytes that are kept of the logs of one Pod: a finding can show half of it, and a filter may leave some out."""

NOT_KEPT: Final = "It was not kept: other logs had taken all room."
"""The note of a log for which no room was left."""

_NEWEST: Final = 2
_DECIDED: Final = frozenset({"Succeeded", "Failed"})
_NEAR: Final = 4
"""A line border is near if at most one part in so many of the text is lost to it."""


class Termination(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How one run of a container ended. Times are RFC 3339, as Kubernetes writes them."""

    exit_code: int
    reason: str = ""
    message: str = ""
    signal: int = 0
    started_at: str = ""
    finished_at: str = ""


class ContainerEvidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A container as it was last seen. `run` counts its starts from 0: it is the container's restart count.

    `ended` is the end of this run, None while it runs or waits for its start; a container that waits to be started
    again (CrashLoopBackOff) is waiting and has ended. `ended_before` is the end of the run before.
    """

    name: str
    role: Role = "app"
    image: str = ""
    state: Literal["waiting", "running", "terminated"] = "waiting"
    reason: str = ""
    message: str = ""
    run: int = 0
    ended: Termination | None = None
    ended_before: Termination | None = None


class Log(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The end of what one run of a container wrote.

    `cut` says that there was more before it; `whole_run` that the run had ended when it was read. Where nothing could
    be read, `text` is empty and `note` says why.
    """

    container: str
    run: int = 0
    text: str = ""
    cut: bool = False
    whole_run: bool = False
    note: str = ""


class PodEvidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A Pod as it was last seen. `deleted_at` is when its deletion was asked for; `gone` says that it is no more."""

    uid: str
    name: str
    node: str = ""
    phase: str = ""
    reason: str = ""
    message: str = ""
    created_at: str = ""
    deleted_at: str = ""
    gone: bool = False
    containers: tuple[ContainerEvidence, ...] = ()
    logs: tuple[Log, ...] = ()


class WantedLog(msgspec.Struct, frozen=True):
    """A log that should be read: of the container's run that is the current or, with `previous`, the one before."""

    container: str
    run: int
    previous: bool = False


def read_pod(document: Mapping[str, Any], redactor: Redactor | None) -> PodEvidence:
    """Return what a Pod's JSON says. Total: what has an odd shape is left out.

    Without a redactor it is for a first look, and must not be kept.
    """
    metadata, status = mapping(document, "metadata"), mapping(document, "status")
    return PodEvidence(
        uid=string(metadata, "uid"),
        name=string(metadata, "name"),
        node=string(document, "spec", "nodeName"),
        phase=string(status, "phase"),
        reason=_text(status, "reason", redactor),
        message=_text(status, "message", redactor),
        created_at=string(metadata, "creationTimestamp"),
        deleted_at=string(metadata, "deletionTimestamp"),
        containers=tuple(_containers(document, redactor)),
    )


def in_trouble(pod: PodEvidence) -> bool:
    """Say whether a container failed, now or in the run before, or the Pod failed or is deleted before its end."""
    if pod.phase == "Failed" or (pod.deleted_at and pod.phase != "Succeeded"):
        return True
    return any(map(has_failed, pod.containers))


def with_logs(pods: Sequence[T]) -> tuple[T, ...]:
    """Return those, of a Job's Pods in trouble, whose logs are read, held and shown; the most telling first.

    They are the two newest, and the first, which often tells why. `pods` begins with the oldest.
    """
    newest = tuple(reversed(pods[-_NEWEST:]))
    return (*newest, pods[0]) if len(pods) > _NEWEST else newest


def has_failed(container: ContainerEvidence) -> bool:
    """Say whether this run, or the one before, ended with another exit code than 0."""
    return _failed(container.ended) or _failed(container.ended_before)


def failed_first(containers: Iterable[ContainerEvidence]) -> list[ContainerEvidence]:
    """Return the containers that failed in their last run, then those that failed before, then the others."""
    return sorted(containers, key=lambda each: (not _failed(each.ended), not _failed(each.ended_before)))


def wanted_logs(pod: PodEvidence) -> tuple[WantedLog, ...]:
    """Return which logs to read of a Pod in trouble that are not held yet, those of failed containers first.

    A log that was held before its run ended is wanted again. A container that never started has none.
    """
    if pod.gone or not in_trouble(pod):
        return ()
    held = {(log.container, log.run): log.whole_run for log in pod.logs}
    is_over = pod.phase == "Succeeded"  # seen perhaps before its containers were seen to end
    return tuple(wanted for each in failed_first(pod.containers) for wanted in _wanted(each, held, is_over=is_over))


def merge(held: PodEvidence, live: PodEvidence) -> PodEvidence:
    """Return what both say of the same Pod: its newest state, and the logs of the newest runs of each container.

    An end that was seen is never forgotten, and no text is replaced by a note or a part of it. A Pod that is gone
    stays gone, unless it is seen again and nobody has asked for its deletion.
    """
    newest = held if held.phase in _DECIDED and live.phase not in _DECIDED else live
    alive = newest is live and not (live.deleted_at or held.deleted_at)
    containers = _merged(held.containers, live.containers)
    return msgspec.structs.replace(
        newest,
        node=newest.node or held.node,
        deleted_at=live.deleted_at or held.deleted_at,
        gone=live.gone or (held.gone and not alive),
        containers=containers,
        logs=_merged_logs((*live.logs, *held.logs), [each.name for each in containers]),
    )


def tail(text: str, lines: int, limit_bytes: int) -> tuple[str, bool]:
    """Return the last lines, at most `limit_bytes` of UTF-8, and whether anything was cut from the front.

    No character is cut in two; the text begins with a whole line, if there is a line border near.
    """
    kept = _last_lines(text, lines).encode(errors="replace")
    if len(kept) > limit_bytes:
        kept = _last_bytes(kept, limit_bytes)
    shown = kept.decode(errors="ignore")
    return shown, len(shown) < len(text)


def _text(value: Any, key: str, redactor: Redactor | None) -> str:
    """Return a text as it may be kept: redacted first, since half a secret is not recognised."""
    text = string(value, key)
    return shorten(redactor.text(text), LONGEST_MESSAGE) if redactor and text else text


def _containers(document: Mapping[str, Any], redactor: Redactor | None) -> Iterator[ContainerEvidence]:
    init_statuses = _by_name(items(document, "status", "initContainerStatuses"))
    statuses = _by_name(items(document, "status", "containerStatuses"))
    init_specs = _by_name(items(document, "spec", "initContainers"))
    specs = _by_name(items(document, "spec", "containers"))
    for name in init_specs | init_statuses:
        spec = init_specs.get(name, {})
        role: Role = "sidecar" if spec.get("restartPolicy") == "Always" else "init"
        yield _container(name, role, spec, init_statuses.get(name, {}), redactor)
    for name in specs | statuses:
        yield _container(name, "app", specs.get(name, {}), statuses.get(name, {}), redactor)


def _by_name(values: Iterable[Any]) -> dict[str, Mapping[str, Any]]:
    return {string(value, "name"): value for value in values if isinstance(value, dict)}


def _container(
    name: str, role: Role, spec: Mapping[str, Any], status: Mapping[str, Any], redactor: Redactor | None
) -> ContainerEvidence:
    state = mapping(status, "state")
    ended, before = _ends(status, redactor)
    now = mapping(state, "terminated") or mapping(state, "waiting")
    return ContainerEvidence(
        name=name,
        role=role,
        image=string(spec, "image") or string(status, "image"),
        state=_state(state),
        reason=_text(now, "reason", redactor),
        message=_text(now, "message", redactor),
        run=max(number(status, "restartCount") or 0, 0),
        ended=ended,
        ended_before=before,
    )


def _state(state: Mapping[str, Any]) -> Literal["waiting", "running", "terminated"]:
    if mapping(state, "terminated"):
        return "terminated"
    return "running" if isinstance(state.get("running"), dict) else "waiting"


def _ends(status: Mapping[str, Any], redactor: Redactor | None) -> tuple[Termination | None, Termination | None]:
    """Return the ends of this run and of the run before.

    While a container waits to be started again, the kubelet keeps the restart count, and moves the end of the run
    that is over to `lastState`: it is of this run if it has the status's container id.
    """
    now = _termination(mapping(status, "state", "terminated"), redactor)
    last = _termination(mapping(status, "lastState", "terminated"), redactor)
    if last is None or _state(mapping(status, "state")) != "waiting":
        return now, last
    ids = {string(status, "containerID"), string(status, "lastState", "terminated", "containerID")}
    return (last, None) if len(ids - {""}) <= 1 else (None, last)


def _termination(terminated: Mapping[str, Any], redactor: Redactor | None) -> Termination | None:
    if not terminated:
        return None
    return Termination(
        exit_code=number(terminated, "exitCode") or 0,
        reason=_text(terminated, "reason", redactor),
        message=_text(terminated, "message", redactor),
        signal=number(terminated, "signal") or 0,
        started_at=string(terminated, "startedAt"),
        finished_at=string(terminated, "finishedAt"),
    )


def _failed(end: Termination | None) -> bool:
    return end is not None and end.exit_code != 0


def _wanted(
    container: ContainerEvidence, held: Mapping[tuple[str, int], bool], *, is_over: bool
) -> Iterator[WantedLog]:
    name, run = container.name, container.run
    whole = held.get((name, run))
    has_run = container.state == "running"
    if (container.ended and not whole) or (has_run and (whole is None or (is_over and not whole))):
        yield WantedLog(name, run)
    if run and _failed(container.ended_before) and not held.get((name, run - 1)):
        yield WantedLog(name, run - 1, previous=True)


def _merged(held: Iterable[ContainerEvidence], live: Iterable[ContainerEvidence]) -> tuple[ContainerEvidence, ...]:
    before = {each.name: each for each in held}
    now = {each.name: each for each in live}
    return tuple(_newest(before.get(name), now.get(name)) for name in before | now)


def _newest(held: ContainerEvidence | None, live: ContainerEvidence | None) -> ContainerEvidence:
    if held is None or live is None:
        return held or live or ContainerEvidence(name="")
    if (held.run, held.ended is not None) > (live.run, live.ended is not None):
        return held
    seen = {held.run: held.ended, held.run - 1: held.ended_before}
    return msgspec.structs.replace(live, ended_before=live.ended_before or seen.get(live.run - 1))


def _merged_logs(logs: Iterable[Log], containers: list[str]) -> tuple[Log, ...]:
    """Return the best log of each run, in the order of the containers and runs; of equally good ones the first."""
    best: dict[str, dict[int, Log]] = {}
    for log in logs:
        runs = best.setdefault(log.container, {})
        runs[log.run] = max(runs.get(log.run, log), log, key=_worth)
    order = [*containers, *sorted(best.keys() - set(containers))]
    return tuple(best[name][run] for name in order if name in best for run in sorted(best[name])[-RUNS_KEPT:])


def _worth(log: Log) -> tuple[bool, bool, int]:
    return bool(log.text), log.whole_run, len(log.text)


def _last_lines(text: str, lines: int) -> str:
    """Return the last lines; a newline at the end ends a line, and begins none."""
    if lines <= 0:
        return ""
    end = len(text) - text.endswith("\n")
    start = end
    for _ in range(lines):
        start = text.rfind("\n", 0, start)
        if start < 0:
            return text
    return text[start + 1 :]


def _last_bytes(encoded: bytes, limit: int) -> bytes:
    """Return the last bytes from a line border, if one is near, else from the beginning of a character."""
    start = len(encoded) - max(limit, 0)
    border = encoded.find(b"\n", start - 1, start + limit // _NEAR)
    if border >= 0:
        return encoded[border + 1 :]
    while start < len(encoded) and encoded[start] & 0xC0 == 0x80:  # noqa: PLR2004  UTF-8's continuation bytes
        start += 1
    return encoded[start:]
