"""What is asked and answered between a console and whoever reads its ledger: the API's parameters and shapes."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final, TypeVar

import msgspec

from app.core.cursors import encoded
from app.core.identity import sequence_of
from app.core.moments import written
from app.remote.transport import RemoteError
from app.store.reading import Field, Position
from app.store.search.query import Query

T = TypeVar("T")

LONGEST_POSITION: Final = 4096
"""Characters of a position: the names of some twenty replicas."""

_NAMES: Final = {
    "kind": "kind",
    "namespace": "namespace",
    "name": "name",
    "username": "user",
    "operation": "operation",
    "path": "path",
    "q": "q",
    "actor": "actor",
    "group": "group",
    "uid": "uid",
}
"""What the API calls the texts of a query."""


FIELDS: Final[dict[Field, str]] = {"kind": "kind", "namespace": "namespace", "name": "name", "username": "user"}
"""What the API calls the fields whose words can be looked up."""


class Items(msgspec.Struct, frozen=True):
    """A page of entries as JSON, or entries that came."""

    items: list[msgspec.Raw]
    next: str | None = None
    position: str = ""


class Words(msgspec.Struct, frozen=True):
    """Words in order."""

    items: list[str]


class Count(msgspec.Struct, frozen=True):
    """A span of the histogram; `at` is RFC 3339."""

    at: str
    total: int
    failed: int


class Counts(msgspec.Struct, frozen=True):
    """The spans of a histogram."""

    buckets: list[Count]


class Actor(msgspec.Struct, frozen=True):
    """Who made entries; `last` is RFC 3339."""

    user: str
    total: int
    last: str


class Actors(msgspec.Struct, frozen=True):
    """Who made entries, the busiest first."""

    items: list[Actor]


class SeenObject(msgspec.Struct, frozen=True):
    """An object that changed lately."""

    kind: str
    namespace: str
    name: str


class SeenObjects(msgspec.Struct, frozen=True):
    """Objects that changed lately."""

    items: list[SeenObject]


class Span(msgspec.Struct, frozen=True):
    """From where to where a ledger goes, as cursors; None where it is empty. `position` is where to follow from."""

    oldest: str | None
    newest: str | None
    position: str


def read(body: bytes, shape: type[T]) -> T:
    """Return an answer of the API; raises RemoteError for what is none."""
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.MsgspecError as error:
        raise not_understood(error) from None


def not_understood(error: Exception) -> RemoteError:
    """Return what is said of an answer that cannot be read."""
    reason = str(error)[:200]
    return RemoteError(f"the answer is not what this version understands ({reason}); does the console have another?")


def parameters(query: Query) -> dict[str, str]:
    """Return a query as the API takes it."""
    texts = {name: str(getattr(query, field)) for field, name in _NAMES.items()}
    times = {name: written(at) for name in ("since", "until") if (at := getattr(query, name)) is not None}
    dry_run = {} if query.dry_run is None else {"dry_run": "true" if query.dry_run else "false"}
    return {name: text for name, text in texts.items() if text} | times | dry_run


def cursor(before: int | None) -> dict[str, str]:
    """Return the parameter that continues a list below a number."""
    return {} if before is None else {"cursor": encoded(before)}


def written_position(position: Position) -> str:
    """Return a position as a caller of the API gets it: to hand back, not to read."""
    document: list[Any] = [position.sequence, position.of]
    return base64.urlsafe_b64encode(msgspec.json.encode(document)).decode("ascii").rstrip("=")


def position_of(text: str) -> Position:
    """Return the position that is meant by itself or by the id of an entry; raises ValueError for what is neither."""
    try:
        return Position(sequence_of(text))
    except ValueError:  # a position begins with a W, which is no digit of an id
        return read_position(text)


def read_position(text: str) -> Position:
    """Return the position of a text; raises ValueError for what is none."""
    if len(text) > LONGEST_POSITION:
        raise ValueError("this is no position")
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        sequence, of = msgspec.json.decode(raw, type=tuple[int, dict[str, int]])
    except (binascii.Error, msgspec.MsgspecError, ValueError) as error:
        raise ValueError("this is no position") from error
    if not all(0 <= each < 1 << 63 for each in (sequence, *of.values())):
        raise ValueError("this is no position")
    return Position(sequence, of)
