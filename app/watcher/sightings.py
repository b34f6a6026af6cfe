"""What was seen of a Pod: first a cheap look, whether it matters at all; then what is kept of it, redacted."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import structlog

from app.core.evidence import LONGEST_MESSAGE, PodEvidence, in_trouble, merge, read_pod
from app.core.raw import items, mapping, string
from app.core.redact import Redactor
from app.core.text import shorten
from app.kube.handling import UNREADABLE

logger = structlog.get_logger(__name__)

UNSCHEDULABLE: Final = "Unschedulable"
_STARTING: Final = frozenset({"", "ContainerCreating", "PodInitializing"})


class Sighting(msgspec.Struct, frozen=True):
    """What was seen last of a Pod, and by which redactor; without `pod` only whether it is gone."""

    job_uid: str
    namespace: str = ""
    pod: PodEvidence | None = None
    redactor: Redactor | None = None
    gone: bool = False

    @property
    def is_last(self) -> bool:
        """Say whether the Pod is no more."""
        return self.gone if self.pod is None else self.pod.gone


class Glimpse(msgspec.Struct, frozen=True):
    """A first look at a Pod, of which nothing is redacted yet."""

    document: dict[str, Any]
    pod: PodEvidence

    @property
    def has_trouble(self) -> bool:
        """Say whether there is something to tell of this Pod."""
        return in_trouble(self.pod) or is_stuck(self.pod)

    def sighting(self, job_uid: str, redactor: Redactor) -> Sighting:
        """Return what is kept, without the values that are secret in the Pod itself. Takes half a millisecond."""
        # The rest of a Pod repeats its spec, or is no text that a container was given.
        metadata = {key: value for key, value in mapping(self.document, "metadata").items() if key != "managedFields"}
        knowing = redactor.knowing("Pod", {"metadata": metadata, "spec": self.document.get("spec")})
        pod = evidence_of(self.document, knowing, gone=self.pod.gone)
        pod = msgspec.structs.replace(pod, phase=self.pod.phase)
        return Sighting(job_uid, string(self.document, "metadata", "namespace"), pod, knowing)


def glimpse_of(item: bytes | msgspec.Raw, *, gone: bool) -> Glimpse | None:
    """Return a first look at a Pod that can be read. `gone` says that the watch showed it for the last time.

    The watch leaves out Pods that succeeded: one that does so is shown for the last time as it was before, running,
    and is not gone. Whoever deletes a Pod leaves a time in it; one that failed cannot succeed any more.
    """
    try:
        document = msgspec.json.decode(item)
    except (*UNREADABLE, RecursionError) as error:
        logger.warning("pod not understood", action="skip", error=str(error))
        return None
    pod = evidence_of(document, None, gone=gone)
    if gone and pod.phase != "Failed" and not pod.deleted_at:
        pod = msgspec.structs.replace(pod, phase="Succeeded", gone=False)
    return Glimpse(document, pod) if pod.uid else None


def evidence_of(document: dict[str, Any], redactor: Redactor | None, *, gone: bool) -> PodEvidence:
    """Return what a Pod's JSON says; that it cannot be scheduled, which only a condition says, is its reason."""
    pod = read_pod(document, redactor)
    for condition in items(document, "status", "conditions"):
        if not pod.reason and string(condition, "reason") == UNSCHEDULABLE and string(condition, "status") == "False":
            said = string(condition, "message")
            message = shorten(redactor.text(said) if redactor else said, LONGEST_MESSAGE)
            pod = msgspec.structs.replace(pod, reason=UNSCHEDULABLE, message=message)
    return msgspec.structs.replace(pod, gone=gone)


def is_stuck(pod: PodEvidence) -> bool:
    """Say whether a Pod waits for something that does not come by itself, such as its image, or a node."""
    return pod.reason == UNSCHEDULABLE or any(
        each.state == "waiting" and each.reason not in _STARTING for each in pod.containers
    )


def both(earlier: Sighting, later: Sighting) -> Sighting:
    """Return one sighting in place of two that follow each other."""
    return msgspec.structs.replace(
        later,
        namespace=later.namespace or earlier.namespace,
        pod=merged(earlier.pod, later),
        redactor=later.redactor or earlier.redactor,
        gone=later.gone or earlier.gone,
    )


def merged(held: PodEvidence | None, seen: Sighting) -> PodEvidence | None:
    """Return what is known of a Pod after it was seen."""
    if seen.pod is None:
        return held and msgspec.structs.replace(held, gone=held.gone or seen.gone)
    return seen.pod if held is None else merge(held, seen.pod)
