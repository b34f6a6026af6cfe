"""What the noise rules read of a review: which object it is about, in which state, and what it says."""

from __future__ import annotations

import functools
import hashlib
import operator
from typing import Any, Final, NamedTuple

import msgspec

from app.core.diff import Delta
from app.core.paths import render
from app.core.raw import items, number, string
from app.core.review import Change, Request

_LONGEST_UID: Final = 64
"""Characters of a uid that is believed to be one: the API server makes UUIDs."""

_BINDING: Final = "binding"
_encode: Final = msgspec.json.Encoder(order="deterministic").encode


class Owner(NamedTuple):
    """An object that another one says that it belongs to."""

    uid: str
    group: str
    kind: str
    name: str


class Sighting:
    """A change with what its review says beside it, worked out only where a rule asks. `at` is in milliseconds."""

    def __init__(self, change: Change, request: Request, at: int) -> None:
        self.change = change
        self.at = at
        self._old = request.old_object
        self._current = request.object if request.object is not None else request.old_object

    @functools.cached_property
    def uid(self) -> str:
        """The uid of the object, also of the Pod that a binding is for; nothing where it is not known."""
        resource = self.change.resource
        uid = resource.uid
        if not uid and resource.subresource == _BINDING:
            uid = string(self._current, "metadata", "uid")
        return uid if len(uid) <= _LONGEST_UID else ""

    @functools.cached_property
    def place(self) -> bytes:
        """What stands for group, resource, namespace and name; nothing where the object has no name yet."""
        resource = self.change.resource
        if not resource.name or not string(self._current, "metadata", "name"):
            return b""
        return fingerprint([resource.group, resource.resource, resource.namespace, resource.name])

    @property
    def owners(self) -> list[Owner]:
        """The objects that it belongs to, as it says itself."""
        return [
            Owner(string(each, "uid"), _group(string(each, "apiVersion")), string(each, "kind"), string(each, "name"))
            for each in items(self._current, "metadata", "ownerReferences")
        ]

    @property
    def generation(self) -> int:
        """The generation before the change; 0 for objects that count none."""
        return number(self._old, "metadata", "generation") or 0

    @property
    def is_counted(self) -> bool:
        """Whether the change makes a new generation of the object."""
        return (number(self._current, "metadata", "generation") or 0) > self.generation

    @property
    def version(self) -> str:
        """The resource version of the object that the change was made to."""
        return string(self._old, "metadata", "resourceVersion")

    @property
    def is_deleting(self) -> bool:
        """Whether the object's deletion was asked for before."""
        return bool(string(self._old, "metadata", "deletionTimestamp"))

    @functools.cached_property
    def paths(self) -> list[str]:
        """The paths of the changed fields, sorted."""
        return [path for path, _ in self._deltas]

    @functools.cached_property
    def content(self) -> bytes:
        """What stands for who changes what: equal for equal changes. Raises RecursionError for what is too deep."""
        change = self.change
        said = change.new if change.operation == "CREATE" else [_said(delta) for _, delta in self._deltas]
        return fingerprint([change.user.username, change.resource.subresource, self.paths, said])

    @property
    def states(self) -> tuple[bytes, bytes]:
        """What stands for the values of the changed fields before and after; raises what `content` does."""
        old = fingerprint([_value(delta.old) for _, delta in self._deltas])
        return old, fingerprint([_value(delta.new) for _, delta in self._deltas])

    @functools.cached_property
    def _deltas(self) -> list[tuple[str, Delta]]:
        return sorted(((render(delta.path), delta) for delta in self.change.deltas), key=operator.itemgetter(0))


def fingerprint(value: Any) -> bytes:
    """Return 16 bytes that stand for a JSON value; they never leave the process."""
    return hashlib.blake2b(_encode(value), digest_size=16).digest()


def _group(api_version: str) -> str:
    return api_version.rpartition("/")[0]


def _said(delta: Delta) -> list[Any]:
    return [delta.op, _value(delta.old), _value(delta.new), delta.moves]


def _value(value: Any) -> list[Any]:
    """Return the value so that it can be encoded; absent is not null."""
    return [] if value is msgspec.UNSET else [value]
