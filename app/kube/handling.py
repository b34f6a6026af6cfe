"""Who is told about a list and what changes in it: the handler of a watch, guarded so that its bugs stay its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, Protocol, TypeAlias

import msgspec
import structlog

ChangeKind: TypeAlias = Literal["ADDED", "MODIFIED", "DELETED"]

logger = structlog.get_logger(__name__)


class Handler(Protocol):
    """Keeps a view of the objects that a watch shows. Synchronous and fast: the event loop waits for each call.

    What it is told is each object's state, not each change: the same state may be told twice, and of several
    changes in a row only the last. Items are views into the answer, so what is kept must be decoded or copied.
    """

    def begin(self) -> None:
        """Begin a list; one that had begun before and was not complete is void."""

    def listed(self, item: msgspec.Raw) -> None:
        """Take an object of the list."""

    def end(self) -> None:
        """Complete the list: what was known before it began, and was not named by it, is gone."""

    def changed(self, event: ChangeKind, item: msgspec.Raw) -> None:
        """Take an object that was added or modified, or the last state of one that was deleted."""


class ObjectMeta(msgspec.Struct, rename="camel"):
    """What the watch itself reads of an object."""

    resource_version: str = ""
    namespace: str = ""
    name: str = ""


class _Object(msgspec.Struct):
    metadata: ObjectMeta


_OBJECT: Final = msgspec.json.Decoder(_Object)
UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError)


def metadata(item: msgspec.Raw) -> ObjectMeta:
    """Return what can be read; an object that is no object has neither a name nor a version."""
    try:
        return _OBJECT.decode(item).metadata
    except UNREADABLE:
        return ObjectMeta()


class GuardedHandler:
    """Passes everything on to a handler; what that raises is logged with the object's name, and goes no further."""

    def __init__(self, handler: Handler, watch: str) -> None:
        self._handler = handler
        self._watch = watch

    def begin(self) -> None:
        """See Handler."""
        self._guard("begin", self._handler.begin)

    def listed(self, item: msgspec.Raw) -> None:
        """See Handler."""
        self._guard("listed", lambda: self._handler.listed(item), item)

    def end(self) -> None:
        """See Handler."""
        self._guard("end", self._handler.end)

    def changed(self, event: ChangeKind, item: msgspec.Raw) -> None:
        """See Handler."""
        self._guard(event, lambda: self._handler.changed(event, item), item)

    def _guard(self, event: str, call: Callable[[], None], item: msgspec.Raw | None = None) -> None:
        try:
            call()
        except Exception:
            # A loop boundary: one object that a handler cannot take must not hide all the others.
            named = metadata(item) if item is not None else ObjectMeta()
            logger.exception(
                "object not handled",
                action="bug",
                watch=self._watch,
                on=event,
                namespace=named.namespace,
                name=named.name,
            )
