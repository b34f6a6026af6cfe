"""Whatever is looked for, and however much is indexed, a search finds what reading every entry finds."""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.core.change import FieldChange, Resource, User
from app.store.ledger import Ledger, Query
from tests.builders import make_record
from tests.store.searches import forget, found, indexed, written

NOON = 1_767_355_200_000
WORDS = ("a", "web", "web-1", "Web", "größe", 'x"y', "a.b", "kube-system", "\n", "容器")
PATHS = ("spec.replicas", "spec.containers[web].image", "metadata.labels[a.b]", "data.web", "data[]", "spec[a]")
PATTERNS = ("", "images", "replicas", "data", "*", "spec.*.web", "containers[0]", "a.b", "ports[80]", "web.image")

words = st.sampled_from(WORDS)
values = st.recursive(
    words | st.integers(0, 9) | st.none(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words | st.just("name"), inner, max_size=2),
    max_leaves=5,
)
changes = st.builds(FieldChange, st.sampled_from(PATHS), st.just("replace"), values, values)
entries = st.fixed_dictionaries(
    {
        "resource": st.builds(Resource, group=words, kind=words, namespace=words, name=words, uid=words),
        "user": st.builds(User, username=st.sampled_from(("", "alice", "system:admin", "system:node:a"))),
        "operation": st.sampled_from(("UPDATE", "CREATE", "FAILED")),
        "dry_run": st.booleans(),
        "changes": st.lists(changes, max_size=3).map(tuple),
    }
)


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.just("") | st.just("") | strategy


queries = st.builds(
    Query,
    kind=maybe(words),
    namespace=maybe(words),
    username=maybe(st.sampled_from(("alice", "nobody"))),
    operation=maybe(st.sampled_from(("UPDATE", "FAILED"))),
    path=st.sampled_from(PATTERNS),
    dry_run=st.none() | st.booleans(),
    since=st.none() | st.integers(NOON, NOON + 12),
    until=st.none() | st.integers(NOON, NOON + 12),
    q=maybe(words | st.sampled_from(("web-", "EB-1", "replicas", '"', "größ", "image"))),
    actor=maybe(st.sampled_from(("human", "controller"))),
    group=maybe(words),
    uid=maybe(words),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(entries, max_size=12), queries, st.integers(0, 12), st.integers(0, 3), st.integers(1, 4))
def test_results_are_the_same_with_and_without_the_index(
    made: list[dict[str, Any]], query: Query, share: int, forgotten: int, limit: int
) -> None:
    rows = [make_record(at_milliseconds=NOON + place, **fields).entry for place, fields in enumerate(made)]
    with tempfile.TemporaryDirectory() as folder:
        journal = written(Path(folder), rows)
        forget(journal, *(row.seq for row in rows[:forgotten]))
        by_reading = found(journal, query)
        counts = histogram(journal, query)

        forget(journal, *(row.seq for row in rows))
        written(Path(folder), rows[:share])
        indexed(journal)
        written(Path(folder), rows[share:])
        forget(journal, *(row.seq for row in rows[:forgotten]))

        assert found(journal, query, limit) == by_reading
        assert histogram(journal, query) == counts
        assert sum(counts) == len(by_reading)


def histogram(journal: Path, query: Query) -> list[int]:
    with closing(Ledger(journal)) as ledger:
        query = msgspec.structs.replace(query)
        return [bucket.total for bucket in ledger.histogram(query, NOON, NOON + 12_000, 5)]
