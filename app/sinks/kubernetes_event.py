"""Kubernetes Event sink: an Event on the changed object, so that `kubectl describe` of it tells who changed it.

https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import quote

import msgspec
from pydantic import AfterValidator, Field
from typing_extensions import override

from app.core import text as plain
from app.core.change import Entry, FieldChange
from app.core.finding import DiffBlock, Notification, Severity
from app.sinks._subject import is_failure
from app.sinks.base import PermanentError, Rendering, Sink, SinkConfig, SinkError, SinkSetupError, TemporaryError

if TYPE_CHECKING:
    from app.kube.client import KubernetesApi
    from app.kube.errors import ApiError

MESSAGE_LIMIT: Final = 1024
"""Bytes of a message (NoteLengthLimit):
https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/core/validation/events.go"""

COMPONENT: Final = "kubewitness"
ENTRY_ANNOTATION: Final = "kubewitness.io/entry"
WORDS: Final = {
    "CREATE": ("Created", "created it"),
    "UPDATE": ("Changed", "changed it"),
    "DELETE": ("Deleted", "deleted it"),
    "CONNECT": ("Connected", "connected to it"),
    "FAILED": ("Failed", "it failed"),
}
"""The reason of the Event for each operation, and how people are told of it."""

RULE: Final = 'its account needs a ClusterRole with apiGroups: [""], resources: ["events"], verbs: ["create"]'

_OPENING_BYTES: Final = 400
_FIELD_BYTES: Final = 400
_LINK_BYTES: Final = 300
_VALUE_CHARACTERS: Final = 120
# A message cannot hold more fields than this; the others are only counted.
_MOST_FIELDS: Final = 200


def _is_file(path: Path | None) -> Path | None:
    if path is not None and path.is_dir():
        raise ValueError(f"{path} is a folder; name the kubeconfig file in it")
    return path


class KubernetesEventConfig(SinkConfig):
    """Options of the Kubernetes Event sink."""

    kubeconfig: Annotated[
        Path | None,
        AfterValidator(_is_file),
        Field(
            description="Kubeconfig of the cluster where the objects are; by default the Pod's own service account. "
            'It needs a ClusterRole with apiGroups: [""], resources: ["events"], verbs: ["create"].'
        ),
    ] = None
    timeout_seconds: Annotated[float, Field(gt=0, le=20, description="How long the API server may take.")] = 10


class KubernetesEventSink(Sink[KubernetesEventConfig]):
    """Events are named after the delivery, so that a retry does not make a second one; the cluster keeps them an hour.

    An Event about an Event is refused: it would be seen, and told, without end.
    """

    Config = KubernetesEventConfig

    def __init__(self, config: KubernetesEventConfig) -> None:
        super().__init__(config)
        if config.kubeconfig is not None and not config.kubeconfig.is_file():
            raise SinkSetupError(f"sink {config.name!r}: kubeconfig {config.kubeconfig}: there is no such file")
        self._api: KubernetesApi | None = None
        self._lock = asyncio.Lock()

    @override
    def render(self, notification: Notification) -> Rendering:
        return event(notification)

    @override
    async def send(self, notification: Notification) -> None:
        from app.kube.errors import ApiError  # noqa: PLC0415  aiohttp, which others need not load

        document = event(notification)
        namespace = document["metadata"]["namespace"]
        path = f"/api/v1/namespaces/{quote(namespace, safe='')}/events"
        api = await self._connected()
        try:
            await api.send("POST", path, msgspec.json.encode(document), timeout=self.config.timeout_seconds)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise outcome(error, namespace) from error

    @override
    async def aclose(self) -> None:
        if self._api is not None:
            api, self._api = self._api, None
            await api.close()

    async def _connected(self) -> KubernetesApi:
        from app.kube.client import KubernetesApi  # noqa: PLC0415  aiohttp, which others need not load
        from app.kube.errors import KubernetesSetupError  # noqa: PLC0415

        async with self._lock:
            if self._api is None:
                try:
                    self._api = await KubernetesApi.connect(self.config.kubeconfig)
                except KubernetesSetupError as error:
                    option = "" if self.config.kubeconfig else "; for this sink set its option kubeconfig"
                    raise TemporaryError(plain.one_line(str(error)) + option) from error
            return self._api


def outcome(error: ApiError, namespace: str) -> SinkError:
    """Return how a refusal of the API server is to be read, with advice where people can do something."""
    said = plain.one_line(error.message, 300)
    if error.is_temporary or error.status == HTTPStatus.CONFLICT or "exceeded quota" in error.message:
        # A quota of Events is free again when older ones have expired.
        pause = None if error.retry_after is None else timedelta(seconds=error.retry_after)
        return TemporaryError(f"the API server: {said}", retry_after=pause)
    if error.is_not_found or "being terminated" in error.message:
        return PermanentError(f"the namespace {namespace} does not exist any more, and with it its Events: {said}")
    if error.is_forbidden:
        return PermanentError(f"may not create Events: {RULE}: {said}")
    if error.is_unauthorized:
        return PermanentError(f"the API server does not accept the credentials: is the token expired? {said}")
    return PermanentError(f"the API server: {said}")


def event(notification: Notification) -> dict[str, Any]:
    """Return the Event, on the changed object; raises `PermanentError` where that cannot or must not have one."""
    entry, finding = notification.entry, notification.finding
    _check(entry)
    reason, _ = _words(entry)
    warns = is_failure(notification) or finding.severity is Severity.HIGH
    # As client-go does: for objects without a namespace no other is allowed, and with an eventTime API servers disagree
    # about which.
    namespace = entry.resource.namespace or "default"
    seconds = f"{entry.at[:19]}Z"
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": name(notification.delivery_id),
            "namespace": namespace,
            "annotations": {ENTRY_ANNOTATION: entry.id},
        },
        "involvedObject": involved(entry),
        "type": "Warning" if warns else "Normal",
        "reason": reason,
        "message": message(notification),
        "firstTimestamp": seconds,
        "lastTimestamp": seconds,
        "count": 1,
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": COMPONENT,
    }


def _words(entry: Entry) -> tuple[str, str]:
    # An API server of the future may name an operation that nobody knows yet.
    return WORDS.get(entry.operation, WORDS["UPDATE"])


def _check(entry: Entry) -> None:
    resource = entry.resource
    if resource.kind == "Event" and resource.group in ("", "events.k8s.io"):
        raise PermanentError("an Event about an Event is not written: that one would be told again, without end")
    if not resource.kind or not resource.name:
        raise PermanentError("the object has no name yet to which an Event could lead")


def name(delivery_id: str) -> str:
    """Return the Event's name: the same for every attempt, and different for every delivery."""
    return f"{COMPONENT}.{hashlib.sha256(delivery_id.encode()).hexdigest()[:32]}"


def involved(entry: Entry) -> dict[str, str]:
    """Return the reference by which `kubectl describe` finds the Events of an object."""
    resource = entry.resource
    reference = {
        "apiVersion": f"{resource.group}/{resource.version}" if resource.group else resource.version,
        "kind": resource.kind,
        "namespace": resource.namespace,
        "name": resource.name,
        "uid": resource.uid,
    }
    return {key: text for key, text in reference.items() if text}


def message(notification: Notification) -> str:
    """Return `alice with kubectl-set changed image: a -> b; ...` in one line, whole fields, at most 1,024 bytes."""
    link = notification.link if len(notification.link.encode()) <= _LINK_BYTES else ""
    fields = list(_fields(notification))
    opening = _opening(notification, is_followed=bool(fields))
    kept, missing = _kept(fields[:_MOST_FIELDS], MESSAGE_LIMIT - len(opening.encode()) - len(link.encode()) - 40)
    missing += len(fields[_MOST_FIELDS:])
    counted = [f"{plain.ELLIPSIS} {missing} more field{'' if missing == 1 else 's'}"] if missing else []
    told = "; ".join([*kept, *counted, *([link] if link else [])])
    return f"{opening}{' ' if fields else '; '}{told}" if told else opening


def _opening(notification: Notification, *, is_followed: bool) -> str:
    entry, finding, folded = notification.entry, notification.finding, notification.folded
    person, (_, did) = plain.who(entry), _words(entry)
    if is_failure(notification):
        told = ": ".join(filter(None, (plain.one_line(finding.title), plain.one_line(finding.description))))
        return _short(told, _OPENING_BYTES)
    times = f" {folded.count} times since {folded.since}, lastly" if folded else ""
    return f"{_short(person, _OPENING_BYTES) or 'somebody'} {did.split()[0] if is_followed else did}{times}"


def _fields(notification: Notification) -> Iterator[str]:
    """Yield the field changes that the finding is about."""
    if is_failure(notification):
        return
    for block in plain.shown_blocks(notification):
        if isinstance(block, DiffBlock):
            yield from map(_field, block.changes)


def _field(change: FieldChange) -> str:
    return _short(plain.change(change, _VALUE_CHARACTERS), _FIELD_BYTES)


def _kept(fields: list[str], room: int) -> tuple[list[str], int]:
    """Return the first fields that fit, and how many do not."""
    for count, field in enumerate(fields):
        room -= len(field.encode()) + len("; ")
        if room < 0:
            return fields[:count], len(fields) - count
    return fields, 0


def _short(text: str, size: int) -> str:
    """Return at most so many bytes of UTF-8 of a line."""
    if len(text.encode()) <= size:
        return text
    kept = text.encode()[: size - len(plain.ELLIPSIS.encode())].decode(errors="ignore")
    return kept.rstrip() + plain.ELLIPSIS
