"""Lives of custom resources, whose schema fixes nothing: keys that paths and pointers escape, null, any type."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Callable, Sequence
from typing import Any, Final

from hypothesis import strategies as st

from app.core.change import Entry
from app.core.history import as_recorded
from tests.builders import about
from tests.core.lives import Document, told

_keys = st.sampled_from(["a", "0", "1", "a.b", "x/y", "~", "~1", "a[b]", "]", "\\", "", " ", "é", "-", "a.b/c~d"])
_names = st.sampled_from(["na", "n0", "n.b", "n/y", "n~1", "n[b]", "n]", "n\\"])
"""None of them is a key: whose `name` is the `uid` of another would be told apart by no path."""

_scalars = st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from(["", "0", "1", "v", 0.0, 1.0, 1.5])
_loose = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=3), max_leaves=5
)


def _keyed(key: str, keys: st.SearchStrategy[Any], **optional: st.SearchStrategy[Any]) -> Any:
    element = st.fixed_dictionaries({key: keys}, optional=optional)
    return st.lists(element, max_size=3, unique_by=lambda each: each[key])


_protocols: Final = st.sampled_from(["TCP", "UDP"])
_containers: Final = _keyed(
    "name",
    _names,
    env=_keyed("name", _names, value=_scalars, valueFrom=_loose),
    args=st.lists(_keys, max_size=3),
    volumeMounts=_keyed("mountPath", _keys, name=_names, subPath=_keys),
    ports=_keyed("containerPort", st.integers(0, 2), protocol=_protocols, name=_names),
)
_spec: Final = st.fixed_dictionaries(
    {},
    optional={
        "containers": _containers,
        "tolerations": st.lists(st.fixed_dictionaries({}, optional={"key": _keys, "operator": _keys}), max_size=3),
        "taints": _keyed("key", _keys, effect=_keys),
        "ports": _keyed("port", st.integers(0, 2), protocol=_protocols, name=_names, targetPort=_scalars),
        "subjects": _keyed("name", _names, kind=st.just("User"), namespace=_keys),
        "hostAliases": _keyed("ip", _keys, hostnames=st.lists(_keys, max_size=2)),
        "conditions": _keyed("type", _keys, status=_scalars),
        "names": _keyed("name", _scalars, value=_scalars),
        "finalizers": st.lists(_keys, max_size=3),
        "rules": st.lists(_loose, max_size=3),
        "replicas": _scalars,
    },
)
_metadata: Final = st.fixed_dictionaries(
    {"name": st.just("web"), "uid": st.just("u-1")},
    optional={
        "labels": st.dictionaries(_keys, _keys, max_size=3),
        "annotations": st.dictionaries(_keys, _keys, max_size=3),
        "ownerReferences": _keyed("uid", _keys, name=_names, controller=_scalars),
    },
)
_documents: Final = st.fixed_dictionaries(
    {"kind": st.just("Widget"), "metadata": _metadata},
    optional={"spec": _spec | _loose, "data": st.dictionaries(_keys, _loose, max_size=3), "0": _loose},
)


@st.composite
def _steps(draw: Callable[[Any], Any]) -> list[Document]:
    """Return what an object was, one after another, where some of it stayed as it was."""
    documents = [draw(_documents)]
    for following in draw(st.lists(_documents, min_size=1, max_size=3)):
        kept = draw(st.sets(st.sampled_from(["metadata", "spec", "data", "0"])))
        before = {key: value for key, value in documents[-1].items() if key in kept}
        documents.append(copy.deepcopy({**following, **before}))
    return documents


odd_histories: Final = st.lists(_documents, min_size=1, max_size=4) | _steps()
"""What a custom resource was, one after another; no list of it has the same key twice."""


def odd_life_of(states: Sequence[Document | None]) -> list[Entry]:
    """Return the entries of a custom resource that was one after another, numbered by the steps."""
    kind = about("Widget", "widgets", "example.com")
    return [
        told(old, new, number=index, **kind)
        for index, (old, new) in enumerate(itertools.pairwise(states))
        if written(old) != written(new)
    ]


def written(document: Document | None) -> str:
    """Return what counts of an object as JSON, in which `1`, `1.0` and `true` are three values."""
    return json.dumps(None if document is None else as_recorded(document), sort_keys=True)
