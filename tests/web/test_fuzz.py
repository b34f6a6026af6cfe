"""Whatever becomes of a review on its way, the answer is "allowed" under its uid, or a clean 400."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.telemetry.metrics import Metrics
from app.web.admission import AdmissionEndpoint, admission_app
from tests.builders import RECORDED_REVIEWS, KeptRecords, make_recorder
from tests.web.asgi import Reply, post

BODIES = [path.read_bytes() for path in sorted(RECORDED_REVIEWS.glob("*.json"))]
DOCUMENTS = [json.loads(body) for body in BODIES]
bodies = st.sampled_from(BODIES)
documents = st.sampled_from(DOCUMENTS)
any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


many = settings(max_examples=300)


def answered(body: bytes) -> tuple[Reply, KeptRecords, Metrics]:
    journal, metrics = KeptRecords(), Metrics()
    app = AdmissionEndpoint(admission_app(), make_recorder(journal), metrics, max_body=100_000)
    return asyncio.run(post(app, body)), journal, metrics


def uid_of(body: bytes) -> Any:
    """Return the uid that a body has for a reader who knows nothing else."""
    try:
        return json.loads(body)["request"]["uid"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None


def check(body: bytes) -> None:
    reply, journal, metrics = answered(body)
    faults = metrics.registry.get_sample_value("kubewitness_review_errors_total")

    assert faults == 0
    if reply.status == 200:
        assert reply.response["allowed"] is True
        assert uid_of(body) in (reply.response["uid"], None)
        assert all(isinstance(entry.id, str) for entry in journal.entries)
    else:
        assert reply.status == 400
        assert reply.document["error"]
        assert journal.records == []


@given(body=bodies, position=st.integers(0), values=st.binary(max_size=4), cut=st.integers(0, 4))
@example(body=b'{"request":{"uid":"a","options":' + b"[" * 5000 + b',"object":1}}', position=0, values=b"", cut=0)
@example(body=b'{"request":{"uid":"a","name":5,"options":' + b"[" * 5000, position=0, values=b"", cut=0)
@many
def test_changed_bytes(body: bytes, position: int, values: bytes, cut: int) -> None:
    position %= len(body)

    check(body[:position] + values + body[position + cut :])


@given(body=bodies, length=st.integers(0))
def test_a_cut_body(body: bytes, length: int) -> None:
    check(body[: length % len(body)])


@given(st.binary(max_size=200))
def test_any_bytes(body: bytes) -> None:
    check(body)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of everything inside a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, each in inner for place in places(each, (*path, key)))]


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copied = dict(value) if isinstance(value, dict) else list(value)
    copied[path[0]] = replaced(value[path[0]], path[1:], new)
    return copied


@given(document=documents, new=any_json, data=st.data())
@many
def test_any_part_of_a_review_replaced_by_any_json(document: Any, new: Any, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(places(document)))

    check(json.dumps(replaced(document, path, new)).encode())


@given(
    document=documents,
    new=any_json,
    field=st.sampled_from(sorted({key for each in DOCUMENTS for key in each["request"]})),
)
def test_any_field_of_the_request_replaced_by_any_json(document: Any, new: Any, field: str) -> None:
    check(json.dumps(replaced(document, ("request",), document["request"] | {field: new})).encode())


@given(old=any_json, new=any_json, document=documents)
@many
def test_any_two_objects(old: Any, new: Any, document: Any) -> None:
    request = document["request"] | {"operation": "UPDATE", "oldObject": {"spec": old}, "object": {"spec": new}}

    check(json.dumps(document | {"request": request}).encode())


@given(body=bodies, size=st.integers(100_001, 300_000), position=st.floats(0, 1))
def test_an_oversized_review(body: bytes, size: int, position: float) -> None:
    place = int(position * len(body))

    check(body[:place] + b" " * (size - len(body)) + body[place:])
