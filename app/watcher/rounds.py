"""One round of reading: the logs that are wanted of one Pod now, and the room that all its logs have together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from app.core.evidence import LOGS_OF_A_POD, NOT_KEPT, Log, PodEvidence, tail, wanted_logs
from app.watcher.logs import GONE, Reading
from app.watcher.sightings import Sighting


class Round:
    """The logs that are to be read of a Pod, those of failed containers first, and what was read and is not held yet.

    What was read is to be held in steps that grow: each of them writes all that is held of the Pod.
    """

    def __init__(self, readings: Iterable[Reading] = (), logs: Iterable[Log] = (), limit: int = LOGS_OF_A_POD) -> None:
        self.readings = tuple(readings)
        self._limit = limit
        self._sizes = {(log.container, log.run): _size(log) for log in logs}
        self._read: list[Log] = []
        self._held = 0

    @property
    def is_step(self) -> bool:
        """Say whether it is time to hold what was read: as many logs as were held before in this round."""
        return len(self._read) > self._held

    def room(self, container: str, run: int) -> int:
        """Return how many bytes this log may have; one that is held already, and is read again, keeps its place."""
        return self._limit - sum(self._sizes.values()) + self._sizes.get((container, run), 0)

    def add(self, log: Log) -> None:
        """Take a log that was read, or its end where there is no room for more."""
        key, room = (log.container, log.run), self.room(log.container, log.run)
        if log.text and _size(log) > room:
            text, _ = tail(log.text, log.text.count("\n") + 1, room)
            log = msgspec.structs.replace(log, text=text, cut=True) if text else not_kept(log.container, log.run)
        self._sizes[key] = max(_size(log), self._sizes.get(key, 0))
        self._read.append(log)

    def take(self) -> tuple[Log, ...]:
        """Return what was read since the last time."""
        read, self._read = tuple(self._read), []
        self._held += len(read)
        return read


def round_of(sighting: Sighting, pod: PodEvidence) -> Round:
    """Return what is to be read of a Pod as it is held now."""
    return Round(_readings(sighting, pod), pod.logs)


def not_kept(container: str, run: int) -> Log:
    """Return what stands for a log that has no room, and is not wanted again."""
    return Log(container=container, run=run, note=NOT_KEPT, whole_run=True)


def never_read(pod: PodEvidence) -> Iterator[Log]:
    """Say of each log that was still wanted when the Pod went that it is not to be had any more."""
    for wanted in wanted_logs(msgspec.structs.replace(pod, gone=False)):
        if all((log.container, log.run) != (wanted.container, wanted.run) for log in pod.logs):
            yield Log(container=wanted.container, run=wanted.run, note=GONE)


def _readings(sighting: Sighting, pod: PodEvidence) -> Iterator[Reading]:
    if not sighting.namespace:
        return
    ended = {each.name for each in pod.containers if each.ended is not None}
    for wanted in wanted_logs(pod):
        yield Reading(
            namespace=sighting.namespace,
            pod=pod.name,
            wanted=wanted,
            ended=wanted.previous or wanted.container in ended or pod.phase == "Succeeded",
            redactor=sighting.redactor,
        )


def _size(log: Log) -> int:
    return len(log.text.encode(errors="replace"))
