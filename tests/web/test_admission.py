"""The endpoint always says yes, to whatever the API server can send; what is no review gets a clean 400."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from app.store.journal import Appended, Record
from app.telemetry.metrics import Metrics
from app.web.admission import AdmissionEndpoint, admission_app
from tests.builders import RECORDED_REVIEWS, KeptRecords, make_body, make_recorder, make_rules, review_document
from tests.web.asgi import JSON, Reply, post

MEBIBYTE = 1024 * 1024
MAX_BODY = 8 * MEBIBYTE
UID = review_document()["request"]["uid"]


class Endpoint:
    """The endpoint before a journal in memory, with its metrics."""

    def __init__(self, journal: KeptRecords) -> None:
        self.journal = journal
        self.metrics = Metrics()
        self.recorder = make_recorder(journal)
        self.app = AdmissionEndpoint(admission_app(), self.recorder, self.metrics, max_body=MAX_BODY)

    async def post(self, *chunks: bytes, **options: Any) -> Reply:
        return await post(self.app, *chunks, **options)

    def count(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"kubewitness_{name}_total", labels) or 0.0


@pytest.fixture
def endpoint() -> Endpoint:
    return Endpoint(KeptRecords())


async def test_a_review_is_allowed_and_told_the_id_of_its_entry(endpoint: Endpoint) -> None:
    reply = await endpoint.post(make_body())

    (entry,) = endpoint.journal.entries
    assert reply.status == 200
    assert reply.headers[b"content-type"] == b"application/json"
    assert reply.headers[b"content-length"] == str(len(reply.body)).encode()
    assert reply.document == {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": {"uid": UID, "allowed": True, "auditAnnotations": {"entry-id": entry.id}},
    }
    assert endpoint.count("reviews", operation="UPDATE", result="recorded") == 1


@pytest.mark.parametrize("path", sorted(RECORDED_REVIEWS.glob("*.json")), ids=lambda path: path.stem)
async def test_every_recorded_review_is_allowed_under_its_uid(endpoint: Endpoint, path: Any) -> None:
    body = path.read_bytes()

    reply = await endpoint.post(body)

    assert (reply.status, reply.response["allowed"]) == (200, True)
    assert reply.response["uid"] == json.loads(body)["request"]["uid"]


async def test_the_older_version_is_answered_in_its_own_words(endpoint: Endpoint) -> None:
    body = json.dumps(review_document() | {"apiVersion": "admission.k8s.io/v1beta1"}).encode()

    assert (await endpoint.post(body)).document["apiVersion"] == "admission.k8s.io/v1beta1"


async def test_what_is_not_recorded_has_no_entry_to_name(endpoint: Endpoint) -> None:
    reply = await endpoint.post(make_body(object={}, oldObject={}))

    assert reply.response == {"uid": UID, "allowed": True}
    assert endpoint.count("reviews", operation="UPDATE", result="ignored") == 1


async def test_the_answer_leaves_only_after_the_commit() -> None:
    submitted: asyncio.Future[Callable[[Appended], None]] = asyncio.get_running_loop().create_future()

    class Slow(KeptRecords):
        def submit(self, record: Record, answer: Callable[[Appended], None]) -> None:
            submitted.set_result(answer)

    endpoint = Endpoint(Slow())
    asked = asyncio.ensure_future(endpoint.post(make_body()))
    answer = await submitted
    for _turn in range(10):
        await asyncio.sleep(0)
    assert not asked.done()

    answer("recorded")

    assert (await asked).status == 200


@pytest.mark.parametrize("result", ["pending", "lost"])
async def test_an_entry_that_is_not_durable_is_allowed_and_counted(result: Appended) -> None:
    endpoint = Endpoint(KeptRecords(result))

    assert (await endpoint.post(make_body())).response["allowed"] is True
    assert endpoint.count("reviews", operation="UPDATE", result=result) == 1


async def test_the_same_review_sent_twice_gets_the_same_answer(endpoint: Endpoint) -> None:
    first, second = await asyncio.gather(endpoint.post(make_body()), endpoint.post(make_body()))

    assert first.document == second.document
    assert len(endpoint.journal.records) == 1


async def test_reviews_that_come_together_are_each_answered_under_their_own_uid(endpoint: Endpoint) -> None:
    uids = [f"u-{number}" for number in range(200)]

    replies = await asyncio.gather(*(endpoint.post(make_body(uid=uid)) for uid in uids))

    assert [reply.response["uid"] for reply in replies] == uids
    assert len(endpoint.journal.records) == 200


async def test_a_malformed_body_harms_no_review_that_came_with_it(endpoint: Endpoint) -> None:
    replies = await asyncio.gather(*(endpoint.post(body) for body in (make_body(), b"{", make_body(uid="b"))))

    assert [reply.status for reply in replies] == [200, 400, 200]


XML = ((b"content-type", b"text/xml"),)
REFUSED = [
    pytest.param({"method": "GET"}, [b""], 405, "takes POST", id="GET"),
    pytest.param({"method": "PUT"}, [make_body()], 405, "takes POST", id="PUT"),
    pytest.param({"headers": ()}, [make_body()], 400, "content type is missing", id="no content type"),
    pytest.param({"headers": XML}, [make_body()], 400, "must be application/json", id="XML"),
    pytest.param({}, [b""], 400, "not JSON", id="nothing"),
    pytest.param({}, [b"", b""], 400, "not JSON", id="nothing, twice"),
    pytest.param({}, [b'{"request":'], 400, "not JSON", id="broken JSON"),
    pytest.param({}, [make_body()[:-5]], 400, "not JSON", id="a cut body"),
    pytest.param({}, [b'{"request":{"uid":"a","name":"\xff"}}'], 400, "not JSON", id="no UTF-8"),
    pytest.param({}, [b"[]"], 400, "not an AdmissionReview", id="a list"),
    pytest.param({}, [b"{}"], 400, "not an AdmissionReview", id="no request"),
    pytest.param({}, [b'{"request":{}}'], 400, "no request.uid", id="no uid"),
    pytest.param({}, [b'{"request":{"uid":7}}'], 400, "no request.uid", id="a uid that is a number"),
    pytest.param({}, [b"[" * 100_000], 400, "nested too deeply|not JSON", id="endless nesting"),
    pytest.param({}, [b"x" * MEBIBYTE] * 9, 400, "too large", id="too large, and no review"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "chunks", "status", "message"), REFUSED)
async def test_what_is_no_review_gets_a_clean_refusal_and_leaves_nothing(
    endpoint: Endpoint, options: dict[str, Any], chunks: list[bytes], status: int, message: str
) -> None:
    reply = await endpoint.post(*chunks, **options)

    assert reply.status == status
    assert any(words in reply.document["error"] for words in message.split("|"))
    assert endpoint.journal.records == []
    assert endpoint.count("reviews", operation="unknown", result="malformed") == 1


async def test_a_wrong_method_is_told_the_right_one(endpoint: Endpoint) -> None:
    assert (await endpoint.post(method="DELETE")).headers[b"allow"] == b"POST"


@pytest.mark.parametrize(
    "content_type", [b"application/json; charset=utf-8", b"Application/JSON", b"application/json "]
)
async def test_a_content_type_may_have_parameters(endpoint: Endpoint, content_type: bytes) -> None:
    assert (await endpoint.post(make_body(), headers=((b"content-type", content_type),))).status == 200


async def test_the_body_may_come_in_any_chunks(endpoint: Endpoint) -> None:
    body = make_body()

    reply = await endpoint.post(*(body[index : index + 7] for index in range(0, len(body), 7)), b"")

    assert reply.response["uid"] == UID


def oversized(**request: Any) -> bytes:
    return make_body(object={"data": {"x": "y" * MAX_BODY}}, **request)


@pytest.mark.parametrize("size", [64 * 1024, 65_537, MEBIBYTE, 2 * MAX_BODY], ids=str)
@pytest.mark.parametrize("dry_run", [True, False])
async def test_a_review_beyond_eight_mebibytes_is_allowed_and_recorded_without_its_objects(
    endpoint: Endpoint, size: int, dry_run: bool
) -> None:
    options = {"fieldManager": "helm"} | ({"dryRun": ["All"]} if dry_run else {})
    body = oversized(dryRun=dry_run, options=options)

    reply = await endpoint.post(*(body[index : index + size] for index in range(0, len(body), size)))

    (entry,) = endpoint.journal.entries
    assert reply.response["auditAnnotations"] == {"entry-id": entry.id}
    assert (entry.truncated, entry.dry_run, entry.field_manager) == (True, dry_run, "helm")
    assert (str(entry.resource), entry.user.username) == ("Deployment/shop/web", "alice")
    assert endpoint.metrics.registry.get_sample_value("kubewitness_reviews_truncated_total") == 1


@pytest.mark.parametrize("last", [1, 3, 40])
async def test_the_end_of_an_oversized_review_is_found_also_in_a_tiny_last_chunk(endpoint: Endpoint, last: int) -> None:
    body = make_body(object="HERE", dryRun=True)
    body = body.replace(b"HERE", b"y" * (MAX_BODY + 1 - len(body) + 4))

    await endpoint.post(body[:-last], body[-last:])

    assert (endpoint.journal.entries[0].truncated, endpoint.journal.entries[0].dry_run) == (True, True)


async def test_a_review_of_exactly_eight_mebibytes_is_read_whole(endpoint: Endpoint) -> None:
    body = make_body(object={"data": "HERE"})
    body = body.replace(b"HERE", b"y" * (MAX_BODY - len(body) + 4))

    await endpoint.post(body[:1000], body[1000:])

    assert len(body) == MAX_BODY
    assert endpoint.journal.entries[0].changes


@pytest.mark.parametrize("depth", [500, 2000, 100_000])
async def test_an_object_that_is_nested_too_deeply_is_allowed_and_recorded_without_it(
    endpoint: Endpoint, depth: int
) -> None:
    body = make_body(operation="CREATE", oldObject=None, object="HERE").replace(b'"HERE"', b"[" * depth + b"]" * depth)

    reply = await endpoint.post(body)

    assert reply.response["allowed"] is True
    assert str(endpoint.journal.entries[0].resource) == "Deployment/shop/web"


async def test_a_fault_of_the_recorder_is_allowed_and_counted(endpoint: Endpoint) -> None:
    def fault(*_arguments: object) -> Any:
        raise LookupError("a bug")

    endpoint.recorder.rules = make_rules(evaluate=fault)

    reply = await endpoint.post(make_body())

    assert reply.response == {"uid": UID, "allowed": True}
    assert endpoint.count("review_errors") == 1
    assert endpoint.count("entries_unrecorded", reason="fault") == 1


async def test_a_fault_of_the_journal_is_allowed_and_counted() -> None:
    class Broken(KeptRecords):
        def submit(self, record: Record, answer: Callable[[Appended], None]) -> None:
            raise OSError("gone")

    endpoint = Endpoint(Broken())

    assert (await endpoint.post(make_body())).response["allowed"] is True
    assert endpoint.count("review_errors") == 1


async def test_a_client_that_leaves_before_its_body_is_complete_is_not_answered(endpoint: Endpoint) -> None:
    reply = await endpoint.post(make_body()[:50], leaves=True)

    assert reply.status == 0
    assert endpoint.journal.records == []


async def test_a_client_that_leaves_while_its_entry_is_written_harms_nobody(endpoint: Endpoint) -> None:
    leaving = asyncio.ensure_future(endpoint.post(make_body()))
    staying = asyncio.ensure_future(endpoint.post(make_body(uid="b")))
    await asyncio.sleep(0)

    leaving.cancel()

    assert (await asyncio.wait_for(staying, 5)).response["uid"] == "b"
    assert (await asyncio.wait_for(endpoint.post(make_body()), 5)).response["uid"] == UID


@pytest.mark.parametrize("body", [make_body(), b"{"])
async def test_connections_are_kept_until_draining_begins(endpoint: Endpoint, body: bytes) -> None:
    before = await endpoint.post(body)
    endpoint.app.draining = True
    after = await endpoint.post(body)

    assert b"connection" not in before.headers
    assert after.headers[b"connection"] == b"close"


async def test_other_paths_are_not_known(endpoint: Endpoint) -> None:
    assert (await endpoint.post(make_body(), path="/validate/x")).status == 404
    assert (await endpoint.post(path="/docs", method="GET", headers=JSON)).status == 404


async def test_operations_of_any_number_do_not_fill_the_metrics(endpoint: Endpoint) -> None:
    for number in range(300):
        await endpoint.post(make_body(uid=str(number), operation=f"O{number}"))

    assert endpoint.count("reviews", operation="unknown", result="recorded") == 300


@pytest.mark.parametrize("uid", ["ü", '"', "\\", "a b", "🦊", "\x00", "x" * 10_000, "</script>"])
async def test_an_odd_uid_is_answered_as_it_came(endpoint: Endpoint, uid: str) -> None:
    assert (await endpoint.post(make_body(uid=uid))).response["uid"] == uid
