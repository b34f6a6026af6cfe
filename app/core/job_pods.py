"""The Pods of a failed Job: how each of them ended, and the ends of the logs of those that failed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence, Set
from typing import Final

import msgspec

from app.core.actions import JobPodEnricher
from app.core.evidence import (
    NOT_KEPT,
    ContainerEvidence,
    Log,
    PodEvidence,
    Termination,
    failed_first,
    in_trouble,
    tail,
    with_logs,
)
from app.core.finding import Block, FileBlock, TableBlock, TextBlock
from app.core.job_events import CELL_LIMIT
from app.core.text import one_line

PODS_SHOWN: Final = 20
LOGS_LIMIT: Final = 256 * 1024
"""Bytes of all the logs of one finding: enough to see what happened, and little enough for every sink."""

DETAIL_LIMIT: Final = 300
"""Characters of a reason or message: one long message must not hide the other containers."""

_HEADROOM: Final = 512
"""Bytes that are kept free for the first lines that say what was cut."""

HEADERS: Final = ("pod", "phase", "containers", "node", "restarts", "started", "ended")
_CUT: Final = "(earlier lines were cut)"
_RUNNING: Final = "(this run was still going when its log was read)"


_Key = tuple[str, str, int]
"""Uid of the Pod, container, run."""


class PodLog(msgspec.Struct, frozen=True):
    """A log with the Pod and the container that wrote it."""

    pod: PodEvidence
    container: ContainerEvidence
    log: Log

    @property
    def key(self) -> _Key:
        """Which log it is."""
        return self.pod.uid, self.log.container, self.log.run

    @property
    def name(self) -> str:
        """The file's name; of an earlier run with its number."""
        run = f".run{self.log.run}" if self.log.run < self.container.run else ""
        return one_line(f"{self.pod.name}-{self.container.name}{run}.log").replace("/", "_")


def pods_table(pods: Sequence[PodEvidence]) -> tuple[Block, ...]:
    """Return how the Pods ended, newest last, and how many older ones are left out; nothing without Pods."""
    if not pods:
        return ()
    rows = tuple(_row(pod) for pod in pods[-PODS_SHOWN:])
    table = TableBlock(headers=HEADERS, rows=rows, title="Job Pods")
    left_out = len(pods) - len(rows)
    if not left_out:
        return (table,)
    return table, TextBlock(f"{left_out} older Pod{' is' if left_out == 1 else 's are'} not shown.")


def log_blocks(pods: Sequence[PodEvidence], parameters: JobPodEnricher) -> Iterator[Block]:
    """Yield the logs that are asked for, as files: those of the two newest Pods in trouble, then of the first.

    Of a Pod failed containers come first, and of a container the last run.

    Together they have at most LOGS_LIMIT bytes: what comes first is kept, the rest is cut from the front, and the
    number of logs for which no room was left is told. Where a log could not be read, the note says why.
    """
    room, left_out = LOGS_LIMIT, 0
    for each in _logs(pods, parameters):
        if each.log.note == NOT_KEPT:
            left_out += 1
        elif not each.log.text:
            yield TextBlock(_no_log(each))
        elif room > 2 * _HEADROOM:
            file = FileBlock(each.name, _content(each.log, parameters, room - _HEADROOM))
            room -= len(file.content.encode(errors="replace"))
            yield file
        else:
            left_out += 1
    if left_out:
        yield TextBlock(f"{left_out} more log{'' if left_out == 1 else 's'} had no room here.")


def trimmed(pods: Sequence[PodEvidence], enrichers: Sequence[JobPodEnricher]) -> tuple[PodEvidence, ...]:
    """Return the Pods without the logs that `log_blocks` would not show for any of these: few of many megabytes.

    What had no room is counted later as if it were there.
    """
    shown = {each.key for parameters in enrichers if parameters.logs for each in _with_room(pods, parameters)}
    telling = {each.key for each in _logs(pods, JobPodEnricher())}
    return tuple(_with_logs(pod, shown, telling) for pod in pods)


def _with_room(pods: Sequence[PodEvidence], parameters: JobPodEnricher) -> Iterator[PodLog]:
    room = LOGS_LIMIT
    for each in _logs(pods, parameters):
        if each.log.text and room > 2 * _HEADROOM:
            room -= len(_content(each.log, parameters, room - _HEADROOM).encode(errors="replace"))
            yield each


def _with_logs(pod: PodEvidence, shown: Set[_Key], telling: Set[_Key]) -> PodEvidence:
    """Return the Pod with the logs that are shown, and a note instead of each other one that could be."""
    logs = []
    for log in pod.logs:
        key = pod.uid, log.container, log.run
        if key in shown or (key in telling and not log.text):
            logs.append(log)
        elif key in telling:
            logs.append(msgspec.structs.replace(log, text="", note=NOT_KEPT))
    return msgspec.structs.replace(pod, logs=tuple(logs))


def _logs(pods: Sequence[PodEvidence], parameters: JobPodEnricher) -> Iterator[PodLog]:
    failed = [pod for pod in pods if in_trouble(pod)] or list(pods[-1:])
    for pod in with_logs(failed):
        for container in failed_first(pod.containers):
            logs = (log for log in pod.logs if log.container == container.name)
            for log in sorted(logs, key=lambda log: log.run, reverse=True):
                if _is_wanted(container, log, parameters):
                    yield PodLog(pod, container, log)


def _is_wanted(container: ContainerEvidence, log: Log, parameters: JobPodEnricher) -> bool:
    if parameters.container_name and container.name != parameters.container_name:
        return False
    return parameters.previous is None or parameters.previous == (log.run < container.run)


def _no_log(each: PodLog) -> str:
    which = f"{each.container.name} in Pod {each.pod.name} (run {each.log.run})"
    text = f"No log of {which}: {each.log.note}" if each.log.note else f"{which} wrote nothing."
    return one_line(text, CELL_LIMIT)


def _content(log: Log, parameters: JobPodEnricher, room: int) -> str:
    text, cut = tail(edited(log.text, parameters), log.text.count("\n") + 1, room)
    remarks = [_CUT] if cut or log.cut else []
    if not log.whole_run:
        remarks.append(_RUNNING)
    if not text:
        remarks.append("(no line matches filter_regex)")
    return "\n".join([*remarks, text]) if remarks else text


def edited(text: str, parameters: JobPodEnricher) -> str:
    """Return the lines that `filter_regex` matches somewhere, with what the replacer patterns match replaced."""
    if parameters.filter_regex:
        wanted = re.compile(parameters.filter_regex)
        text = "".join(line for line in text.splitlines(keepends=True) if wanted.search(line))
    named = parameters.regex_replacement_style == "NAMED"
    for each in parameters.regex_replacer_patterns or ():
        text = re.sub(each.regex, _replacement(f"[{each.name.upper()}]" if named else ""), text)
    return text


def _replacement(name: str) -> Callable[[re.Match[str]], str]:
    """Return what to put in place of a match: the name, or else as many asterisks."""
    return lambda match: name or "*" * len(match[0])


def _row(pod: PodEvidence) -> tuple[str, ...]:
    cells = (
        pod.name,
        _phase(pod),
        "; ".join(map(_state, pod.containers)),
        pod.node,
        str(sum(each.run for each in pod.containers)),
        _started(pod),
        _ended(pod),
    )
    return tuple(one_line(cell, CELL_LIMIT) for cell in cells)


def _phase(pod: PodEvidence) -> str:
    mark = ", gone" if pod.gone else ", being deleted" if pod.deleted_at else ""
    return f"{pod.phase or 'Unknown'}{_details(pod.reason, pod.message)}{mark}"


def _state(container: ContainerEvidence) -> str:
    """Return `main: exit 1 (Error), before: exit 137 (OOMKilled, signal 9)`, or what it waits for."""
    role = "" if container.role == "app" else f" ({container.role})"
    waits = _details(container.reason, container.message) if container.state == "waiting" else ""
    now = f"{container.state}{waits}"
    if container.ended is not None:
        now = _end(container.ended) + (f", {now}" if waits else "")
    before = f", before: {_end(container.ended_before)}" if container.ended_before else ""
    return f"{container.name}{role}: {now}{before}"


def _end(end: Termination) -> str:
    return f"exit {end.exit_code}{_details(end.reason, f'signal {end.signal}' if end.signal else '', end.message)}"


def _details(*parts: str) -> str:
    shown = ", ".join(part for part in map(_short, parts) if part)
    return f" ({shown})" if shown else ""


def _short(part: str) -> str:
    return one_line(part, DETAIL_LIMIT)


def _started(pod: PodEvidence) -> str:
    starts = [end.started_at for each in pod.containers for end in (each.ended_before, each.ended) if end]
    return min((start for start in starts if start), default=pod.created_at)


def _ended(pod: PodEvidence) -> str:
    """Return when the last container ended; nothing while one of them, which is no sidecar, has not."""
    if any(each.ended is None for each in pod.containers if each.role == "app"):
        return ""
    return max((each.ended.finished_at for each in pod.containers if each.ended), default="")
