from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from pydantic import ValidationError

from app.sinks.base import PermanentError, TemporaryError
from app.sinks.splunk_hec import EVENT_LIMIT, SplunkHecConfig, SplunkHecSink, event
from tests.sinks import samples

TOKEN = "b5a79a0b-1c2d-4e3f-8a9b-0c1d2e3f4a5b"
SECRETS = (TOKEN,)
LIMIT = 1_000_000
SUCCESS = {"status_code": 200, "json": {"text": "Success", "code": 0}}
BUSY = {"status_code": 503, "json": {"text": "Server is busy", "code": 9}}
REFUSED = {"status_code": 403, "json": {"text": "Invalid token", "code": 4}}


def options(folder: Path) -> dict[str, Any]:
    return {"url": "https://splunk.example.com:8088", "token": TOKEN, "index": "audit"}


def at(url: str) -> dict[str, Any]:
    return {"url": url}


def config(**more: Any) -> SplunkHecConfig:
    return SplunkHecConfig.model_validate({"name": "s", **options(Path()), **more})


async def posted(answer: dict[str, Any] = SUCCESS, **more: Any) -> httpx.Request:
    requests: list[httpx.Request] = []

    def receive(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(**answer)

    await SplunkHecSink(config(**more), transport=httpx.MockTransport(receive)).send(samples.image())
    return requests[0]


async def test_the_event_has_the_time_of_the_change_and_the_whole_entry() -> None:
    request = await posted()
    document = msgspec.json.decode(request.content)

    assert str(request.url) == "https://splunk.example.com:8088/services/collector/event"
    assert request.headers["authorization"] == f"Splunk {TOKEN}"
    assert (document["time"], document["index"], document["host"]) == (1767323045.0, "audit", "prod")
    assert document["event"]["entry"]["user"]["username"] == "alice"
    assert document["fields"]["entry_id"] == document["event"]["entry"]["id"]


async def test_a_channel_is_a_header() -> None:
    channel = "0f3a8c1e-52a5-4b16-9f0e-7f7b1f2f3c4d"

    assert (await posted(channel=channel)).headers["x-splunk-request-channel"] == channel


def test_an_event_of_megabytes_is_cut_at_fields() -> None:
    made = event(samples.many_fields(20_000), config())

    assert len(msgspec.json.encode(made)) <= EVENT_LIMIT + 1000
    assert made["event"]["entry"]["resource"]["name"] == "web"
    assert made["event"]["truncated"]["changes"] > 0


@pytest.mark.parametrize(
    ("status", "code", "said", "advice"),
    [
        (403, 1, "Token disabled", "the token is disabled: Settings, Data inputs"),
        (403, 4, "Invalid token", "is it a token of this Splunk's HTTP Event Collector"),
        (400, 7, "Incorrect index", "the token may not write to this index"),
        (400, 10, "Data channel is missing", "the token needs a channel: set channel to a UUID"),
    ],
)
async def test_refusals_say_what_to_do(status: int, code: int, said: str, advice: str) -> None:
    with pytest.raises(PermanentError, match=rf"{said} \(code {code}\); {advice}"):
        await posted({"status_code": status, "json": {"text": said, "code": code}})


async def test_a_busy_collector_is_tried_again() -> None:
    with pytest.raises(TemporaryError, match=r"Server is busy \(code 9\)"):
        await posted(BUSY)


def test_what_is_no_token_is_an_error() -> None:
    with pytest.raises(ValidationError, match="is no token of the HTTP Event Collector, which is a UUID"):
        config(token="changeme")
