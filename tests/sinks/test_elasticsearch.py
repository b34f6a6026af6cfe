from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from pydantic import ValidationError

from app.core.change import Actor, FieldChange
from app.core.finding import DiffBlock
from app.sinks._search import DOCUMENT_LIMIT, VALUE_LIMIT, document, identifier, index_name
from app.sinks.base import PermanentError, TemporaryError
from app.sinks.elasticsearch import ElasticsearchConfig, ElasticsearchSink
from tests.sinks import samples

KEY = base64.b64encode(b"VuaCfGcBCdbkQm-e5aOx:ui2lp2axTNmsyakw9tvNnw").decode()
SECRETS = (KEY, "ui2lp2axTNmsyakw9tvNnw", "urlSecret")
LIMIT = DOCUMENT_LIMIT


def error(status: int, kind: str, reason: str, **more: Any) -> dict[str, Any]:
    """Return an answer as Elasticsearch writes it."""
    cause = {"type": kind, "reason": reason}
    return {"status_code": status, "json": {"error": {"root_cause": [cause], **cause, **more}, "status": status}}


SUCCESS = {"status_code": 201, "json": {"_index": "i", "_id": "d-1", "_version": 1, "result": "created"}}
BUSY = error(429, "es_rejected_execution_exception", "rejected execution of coordinating operation")
REFUSED = error(
    403,
    "security_exception",
    "action [indices:data/write/index] is unauthorized for API key id [VuaCfGcBCdbkQm-e5aOx] of user [elastic] on "
    "indices [logs-kubewitness-default], this action is granted by the index privileges [create_doc,create,index]",
)
EXISTS = error(409, "version_conflict_engine_exception", "[d-1]: version conflict, document already exists")


def options(folder: Path) -> dict[str, Any]:
    return {"url": "https://es.example.com:9200/urlSecret", "api_key": KEY}


def at(url: str) -> dict[str, Any]:
    return {"url": url}


def config(**more: Any) -> ElasticsearchConfig:
    return ElasticsearchConfig.model_validate({"name": "s", "url": "https://es.example.com:9200", **more})


async def put(answer: dict[str, Any] = SUCCESS, **more: Any) -> httpx.Request:
    requests: list[httpx.Request] = []

    def receive(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(**answer)

    await ElasticsearchSink(config(**more), transport=httpx.MockTransport(receive)).send(samples.image())
    return requests[0]


async def test_a_document_is_created_once_under_the_deliverys_id() -> None:
    request = await put(api_key=KEY)

    assert request.method == "PUT"
    assert str(request.url) == "https://es.example.com:9200/logs-kubewitness-default/_create/d-1"
    assert request.headers["authorization"] == f"ApiKey {KEY}"


def test_the_document_has_the_names_of_the_common_schema() -> None:
    made = document(samples.image(actor=Actor(kind="human")))

    assert made["@timestamp"] == "2026-01-02T03:04:05.000000Z"
    assert made["event"]["type"] == ["change"]
    assert made["event"]["url"] == samples.LINK
    assert made["user"] == {"name": "alice"}
    assert made["orchestrator"] == {
        "type": "kubernetes",
        "cluster": {"name": "prod"},
        "namespace": "shop",
        "api_version": "apps/v1",
        "resource": {"type": "Deployment", "name": "web", "label": ["app:web", "team:checkout"]},
    }
    assert made["kubewitness"]["changes"] == [
        {"path": samples.IMAGE, "op": "replace", "old": "nginx:1.27", "new": "nginx:1.28"}
    ]


def test_an_operation_that_nobody_knows_yet_is_sent_too() -> None:
    assert document(samples.notification(operation="UNKNOWN"))["event"]["type"] == ["info"]


def field_names(value: Any, path: str = "") -> set[str]:
    if isinstance(value, dict):
        return {name for key, inner in value.items() for name in field_names(inner, f"{path}.{key}")}
    if isinstance(value, list):
        return {name for inner in value for name in field_names(inner, path)}
    return {f"{path}:{type(value).__name__}"}


def test_strangers_cannot_make_the_mapping_grow_or_change_its_types() -> None:
    whole = field_names(document(samples.hostile_names()))
    values: list[Any] = [1, "x", None, {"a": 1}, [1], True, 1.5]
    changes = tuple(FieldChange(f"data.{n}", "replace", value, values[-n]) for n, value in enumerate(values))
    various = field_names(document(samples.notification(DiffBlock(changes=changes), labels={"a.b": "c", "a": "d"})))

    assert {name for name in whole | various if name.startswith(".kubewitness.changes")} == {
        f".kubewitness.changes.{part}:str" for part in ("path", "op", "old", "new")
    }
    assert not any("channel" in name or "a.b" in name for name in whole | various)


def test_a_document_of_megabytes_stays_within_the_limit_and_counts_what_is_missing() -> None:
    made = document(samples.many_fields(20_000))

    assert len(msgspec.json.encode(made)) <= DOCUMENT_LIMIT
    kept = len(made["kubewitness"]["changes"])
    assert made["kubewitness"]["missing_changes"] == 20_000 - kept > 0


def test_a_value_is_never_longer_than_a_term_may_be() -> None:
    wide = FieldChange("x", "add", new="\U0001d51e" * 100_000)
    [change] = document(samples.notification(DiffBlock(changes=(wide,))))["kubewitness"]["changes"]

    assert len(change["new"]) == VALUE_LIMIT
    assert len(change["new"].encode()) <= 32_766


async def test_a_document_that_is_there_already_has_arrived() -> None:
    await put(EXISTS)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            error(401, "security_exception", "unable to authenticate with provided credentials"),
            "security_exception: unable to authenticate with provided credentials; are the credentials those of this",
        ),
        (REFUSED, "the credentials need the privileges create_doc and auto_configure"),
        (
            error(400, "document_parsing_exception", "[1:9] failed to parse", caused_by={"reason": "not a date"}),
            r"failed to parse: not a date; the index maps a field otherwise; use an index of its own",
        ),
        (error(404, "index_not_found_exception", "no such index [x]"), "indices are not made by themselves here"),
        ({"status_code": 409, "text": "another conflict"}, "409 Conflict: another conflict"),
    ],
)
async def test_refusals_say_what_to_do(answer: dict[str, Any], said: str) -> None:
    with pytest.raises(PermanentError, match=said):
        await put(answer)


@pytest.mark.parametrize("status", [403, 429])
async def test_a_full_disk_passes(status: int) -> None:
    reason = "index [x] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark]"

    with pytest.raises(TemporaryError, match="is a disk full"):
        await put(error(status, "cluster_block_exception", reason))


@pytest.mark.parametrize(
    "answer",
    [
        BUSY,
        error(429, "circuit_breaking_exception", "[parent] Data too large"),
        error(503, "unavailable_shards_exception", "primary shard is not active"),
    ],
)
async def test_overload_is_tried_again(answer: dict[str, Any]) -> None:
    with pytest.raises(TemporaryError, match="_exception: "):
        await put(answer)


async def test_a_key_may_be_given_as_its_two_parts() -> None:
    request = await put(api_key="VuaCfGcBCdbkQm-e5aOx:ui2lp2axTNmsyakw9tvNnw")

    assert request.headers["authorization"] == f"ApiKey {KEY}"


async def test_a_user_with_a_password_and_a_pipeline() -> None:
    request = await put(username="elastic", password="changeme", pipeline="geo", index="audit-%Y.%m.%d")

    assert request.headers["authorization"] == "Basic ZWxhc3RpYzpjaGFuZ2VtZQ=="
    assert str(request.url) == "https://es.example.com:9200/audit-2026.01.02/_create/d-1?pipeline=geo"


def test_an_index_has_the_date_of_the_change() -> None:
    assert index_name("a-%Y.%m.%d-%V", datetime(2026, 1, 2, tzinfo=UTC)) == "a-2026.01.02-01"


def test_an_id_is_of_characters_that_no_proxy_touches() -> None:
    told = msgspec.structs.replace(samples.image(), delivery_id="01910000-0000-7000-8000-000000000001/12")

    assert identifier(told) == "01910000-0000-7000-8000-000000000001-12"


@pytest.mark.parametrize("index", ["Upper", "_x", "-x", "a/b", "a,b", "a*", "<x-{now/d}>", "", "a b", "x-%H"])
def test_what_is_no_index_is_an_error_that_says_what_is_right(index: str) -> None:
    with pytest.raises(ValidationError, match="is no index; right is a name of lower-case letters"):
        config(index=index)


@pytest.mark.parametrize("key", ["changeme", "bm8gY29sb24="])
def test_what_is_no_key_is_an_error_that_does_not_show_it(key: str) -> None:
    with pytest.raises(ValidationError, match="is no API key; right is the `encoded` one") as caught:
        config(api_key=key)

    assert key not in str(caught.value)


def test_two_ways_to_log_in_are_an_error() -> None:
    with pytest.raises(ValidationError, match="sets both api_key and username or password"):
        config(api_key=KEY, username="elastic")
