"""Lives of objects as the recorder would write them down: documents that follow each other, and their entries."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from hypothesis import strategies as st

from app.core.change import Actor, Entry, User
from app.core.history import as_recorded
from app.core.identity import EntryIds
from app.core.paths import Path
from app.core.places import find, identical
from tests.builders import START, entry_of, make_review

Document = dict[str, Any]

BEGINNING: Final = datetime.fromtimestamp(START / 1000, UTC)
_STEP: Final = timedelta(minutes=2)
_USERS: Final = ("alice", "bob", "system:serviceaccount:kube-system:deployment-controller")


def moment_of(number: int) -> datetime:
    """Return the time of an entry by its number; halves are between."""
    return BEGINNING + number * _STEP


def between(number: int) -> datetime:
    """Return a time right after an entry, before the next; -1 is before all."""
    return moment_of(number) + timedelta(seconds=1)


def deployment(uid: str = "u-1", **spec: Any) -> Document:
    """A Deployment with its spec."""
    metadata = {"name": "web", "namespace": "shop", "uid": uid}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def told(old: Document | None, new: Document | None, *, number: int = 0, user: str = "alice", **request: Any) -> Entry:
    """Return the entry of a change from one object to another; None is an object that is not there."""
    operation = "CREATE" if old is None else "DELETE" if new is None else "UPDATE"
    fields = {"operation": operation, "object": new, "oldObject": old, "userInfo": {"username": user}, **request}
    return placed(entry_of(make_review(**fields)), number, user)


def placed(entry: Entry, number: int, user: str) -> Entry:
    """Return the entry with the id and the time of its number."""
    at = moment_of(number)
    _, identifier = EntryIds().next(int(at.timestamp() * 1000), number)
    kind = Actor(kind="controller" if user.startswith("system:") else "human")
    written = at.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return msgspec.structs.replace(entry, id=identifier, at=written, user=User(username=user), actor=kind)


def life_of(states: Sequence[Document | None], first: int = 0) -> list[Entry]:
    """Return the entries of an object that was one after another; each by another user. Equal neighbours have none."""
    return [
        told(old, new, number=first + index, user=_USERS[index % len(_USERS)])
        for index, (old, new) in enumerate(itertools.pairwise(states))
        if _recorded(old) != _recorded(new)
    ]


def _recorded(document: Document | None) -> Document | None:
    return None if document is None else as_recorded(document)


def introduced(states: list[Document], path: Path, value: Any) -> int:
    """Return since which state a field has had the value that it has in the last one."""
    documents = [as_recorded(each) for each in states]
    number = len(documents)
    while number and identical(find(documents[number - 1], path), value):
        number -= 1
    return number


_words = st.sampled_from(["a", "b", "c", "web", "side.car", "x/y", "0", "1"])
# No number equals a truth: the types of a built-in kind's fields are fixed, and the recorder counts on it.
_scalars = st.none() | st.booleans() | st.integers(2, 4) | st.sampled_from(["", "1", "v1", "v2"])
_loose = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_words, inner, max_size=3), max_leaves=5
)


def _named(key: str, fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[list[Document]]:
    element = st.fixed_dictionaries({key: _words}, optional=fields)
    return st.lists(element, max_size=3, unique_by=lambda each: each[key])


def _documents(inner: dict[str, st.SearchStrategy[Any]], outer: dict[str, st.SearchStrategy[Any]]) -> Any:
    containers = _named("name", {"image": _words, "env": _env, "ports": _ports, **inner})
    spec = st.fixed_dictionaries({}, optional={"replicas": st.integers(0, 2), "containers": containers})
    return st.fixed_dictionaries(
        {"kind": st.just("Deployment"), "metadata": _metadata}, optional={"spec": spec, **outer}
    )


_env: Final = _named("name", {"value": _scalars})
_ports: Final = st.lists(
    st.fixed_dictionaries({"containerPort": st.integers(0, 3)}, optional={"protocol": st.sampled_from(["TCP", "UDP"])}),
    max_size=3,
    unique_by=lambda each: (each["containerPort"], each.get("protocol")),
)
_metadata: Final = st.fixed_dictionaries(
    {"name": st.just("web")},
    optional={
        "labels": st.dictionaries(_words, _words, max_size=3),
        # Ones without any are recorded as if they were not there.
        "annotations": st.dictionaries(_words, _words, min_size=1, max_size=3),
        "finalizers": st.lists(_words, max_size=3, unique=True),
    },
)


def _following(documents: st.SearchStrategy[Document]) -> st.SearchStrategy[list[Document]]:
    return st.lists(documents, min_size=1, max_size=5)


keyed_histories: Final = _following(_documents({}, {}))
"""What an object was, one after another; every element of a list has a key."""

histories: Final = _following(
    _documents(
        {"args": st.lists(_words, max_size=4), "extra": _loose},
        {"data": st.dictionaries(_words, _loose, max_size=3), "rules": st.lists(_loose, max_size=4)},
    )
)
"""What an object was, one after another, with lists of all sorts."""
