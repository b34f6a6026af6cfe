from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from pydantic import ValidationError

from app.sinks.base import PermanentError
from app.sinks.loki import LINE_LIMIT, LokiConfig, LokiSink, line, push, stream
from tests.sinks import samples
from tests.sinks.stands import http_receiver

SECRETS = ("s3cret-token", base64.b64encode(b"123:s3cret-token").decode())
LIMIT = 600_000
BUSY = {"status_code": 429, "text": "Ingestion rate limit exceeded for user 1 (limit: 4194304 bytes/sec)\n"}
REFUSED = {
    "status_code": 400,
    "text": "entry for stream '{job=\"kubewitness\"}' has timestamp too old: 2026-01-02T03:04:05Z",
}


def options(folder: Path) -> dict[str, Any]:
    return {"url": "http://loki.example.com:3100", "tenant_id": "shop", "username": "123", "password": "s3cret-token"}


def at(url: str) -> dict[str, Any]:
    return {"url": url}


def config(**more: Any) -> LokiConfig:
    return LokiConfig.model_validate({"name": "l", "url": "http://loki.example.com:3100", **more})


async def posted(answer: dict[str, Any], **more: Any) -> httpx.Request:
    requests: list[httpx.Request] = []

    def receive(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(**answer)

    await LokiSink(config(**more), transport=httpx.MockTransport(receive)).send(samples.image())
    return requests[0]


@pytest.mark.parametrize("url", ["http://l:3100", "http://l:3100/", "http://l:3100/loki/api/v1/push"])
async def test_any_way_to_write_the_address_leads_to_the_push_api(url: str) -> None:
    assert str((await posted({"status_code": 204}, url=url)).url) == "http://l:3100/loki/api/v1/push"


async def test_tenant_and_credentials_are_headers() -> None:
    headers = (await posted({"status_code": 204}, **options(Path()))).headers

    assert headers["x-scope-orgid"] == "shop"
    assert headers["authorization"] == f"Basic {SECRETS[1]}"


def test_the_line_is_the_document_at_the_moment_of_the_change() -> None:
    [pushed] = push(samples.image(), config(labels={"env": "prod"}))["streams"]
    [[nanoseconds, text, metadata]] = pushed["values"]

    assert nanoseconds == "1767323045000000000"
    assert msgspec.json.decode(text)["entry"]["resource"]["name"] == "web"
    assert pushed["stream"] == {
        "env": "prod", "job": "kubewitness", "cluster": "prod", "kind": "Deployment", "operation": "UPDATE",
    }  # fmt: skip
    assert metadata["namespace"] == "shop"
    assert metadata["user"] == "alice"


def test_names_and_users_are_no_labels_so_that_streams_stay_few() -> None:
    assert stream(samples.image()).keys() == {"job", "cluster", "kind", "operation"}


def test_the_same_notification_is_the_same_line_which_loki_keeps_once() -> None:
    assert push(samples.image(), config()) == push(samples.image(), config())


@pytest.mark.parametrize(("form", "count"), [("json", '"truncated":{"changes":'), ("text", "more fields")])
def test_a_line_of_megabytes_is_cut_at_fields(form: Any, count: str) -> None:
    text = line(samples.many_fields(20_000), form)

    assert len(text.encode()) <= LINE_LIMIT
    assert count in text


def test_without_structured_metadata_a_line_is_time_and_text() -> None:
    [pushed] = push(samples.image(), config(structured_metadata=False))["streams"]

    assert [len(value) for value in pushed["values"]] == [2]


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("entry has timestamp too old", "takes lines of this age only if limits_config allows it"),
        ("stream disallows structured metadata", "set structured_metadata: false"),
        ("no org id", "set tenant_id"),
    ],
)
async def test_refusals_say_what_to_do(said: str, advice: str) -> None:
    with pytest.raises(PermanentError, match=advice):
        await posted({"status_code": 400, "text": said})


def test_a_bad_label_is_an_error() -> None:
    with pytest.raises(ValidationError, match="'my-env' is not a label"):
        config(labels={"my-env": "x"})


async def test_a_header_that_cannot_be_sent_is_not_quoted() -> None:
    with http_receiver(lambda _: None) as receiver:
        sink = LokiSink(config(url=receiver.url, tenant_id="shop\nsecret", password="p4ssw0rd"))
        with pytest.raises(PermanentError, match="characters that a header cannot carry") as caught:
            await sink.send(samples.image())
        await sink.aclose()

    assert "secret" not in str(caught.value)


def test_a_line_that_is_cut_is_still_the_document_and_counts_what_is_missing() -> None:
    document = msgspec.json.decode(line(samples.many_fields(20_000), "json"))

    assert document["entry"]["resource"]["name"] == "web"
    assert document["truncated"]["changes"] > 0
