from __future__ import annotations

import email
import email.policy
import json
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from pydantic import ValidationError

from app.core.finding import FileBlock, Notification, TextBlock
from app.sinks.base import PermanentError
from app.sinks.webex import MESSAGE_BYTES, WebexConfig, WebexSink
from tests.sinks import samples

TOKEN = "bot-access-token-1234"
ROOM, OTHER = "Y2lzY29zcGFyazovL3VzL1JPT00vMQ", "Y2lzY29zcGFyazovL3VzL1JPT00vMg"
SECRETS = (TOKEN,)
SUCCESS: dict[str, Any] = {"json": {"id": "Y2lzY29zcGFyazovL3VzL01FU1NBR0Uv", "roomId": ROOM, "roomType": "group"}}
BUSY: dict[str, Any] = {
    "status_code": 429,
    "headers": {"retry-after": "3600"},
    "json": {"message": "Too many requests", "errors": [{"description": "x"}], "trackingId": "ROUTER_1"},
}
REFUSED: dict[str, Any] = {
    "status_code": 404,
    "json": {
        "message": "Could not find a room with provided ID.",
        "errors": [{"description": "Could not find a room with provided ID."}],
        "trackingId": "ROUTER_5C5510D1-D8A4-01BB-0055-48A302E70055",
    },
}


def options(folder: Path) -> dict[str, Any]:
    return {"bot_access_token": TOKEN, "room_id": ROOM}


def at(url: str) -> dict[str, Any]:
    return {"api_url": url}


def config(**more: Any) -> WebexConfig:
    return WebexConfig.model_validate({"name": "w", **options(Path()), **more})


def text(notification: Notification) -> str:
    rendering = WebexSink(config()).render(notification)
    assert isinstance(rendering, str)
    return rendering


def annotated(**annotations: str) -> Notification:
    told = samples.notification()
    return msgspec.structs.replace(told, finding=msgspec.structs.replace(told.finding, annotations=annotations))


async def posted(notification: Notification, **more: Any) -> httpx.Request:
    requests: list[httpx.Request] = []

    def take(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, **SUCCESS)

    await WebexSink(config(**more), transport=httpx.MockTransport(take)).send(notification)
    return requests[0]


async def answered(**answer: Any) -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(**answer))
    await WebexSink(config(), transport=transport).send(samples.image())


async def test_a_message_goes_to_the_room_with_the_token() -> None:
    request = await posted(samples.image())

    assert str(request.url) == "https://webexapis.com/v1/messages"
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert json.loads(request.content) == {"roomId": ROOM, "markdown": text(samples.image())}


def test_a_message_says_who_did_what_and_each_field_with_old_and_new() -> None:
    assert text(samples.image()).split("  \n") == [
        "**🔵 Deployment/shop/web updated**",
        "Updated by alice with kubectl-set.",
        "What: UPDATE Deployment/shop/web in prod at 2026-01-02T03:04:05Z",
        "• `spec.template.spec.containers[nginx].image`: `nginx:1.27` → `nginx:1.28`",
        f"[Open the entry]({samples.LINK})",
    ]


@pytest.mark.parametrize("sample", [samples.hostile, samples.many_fields, samples.hostile_names])
def test_a_message_stays_within_the_limit_in_bytes(sample: Any) -> None:
    assert len(text(sample()).encode()) <= MESSAGE_BYTES


def test_what_does_not_fit_is_counted_and_led_to() -> None:
    *_, note, link = text(samples.many_fields()).split("  \n")

    assert note == f"… {400 - text(samples.many_fields()).count('• ')} more fields"
    assert link == f"[Open the entry]({samples.LINK})"


async def test_a_whole_log_is_attached() -> None:
    log = FileBlock(name="app.log", content="".join(f"row {n}\n" for n in range(1000)))

    request = await posted(samples.notification(log))

    raw = b"Content-Type: " + request.headers["content-type"].encode() + b"\r\n\r\n" + request.content
    parts = list(email.message_from_bytes(raw, policy=email.policy.HTTP).iter_parts())
    names = [part.get_param("name", header="content-disposition") for part in parts]
    assert names == ["roomId", "markdown", "files"]
    assert parts[2].get_filename() == "notification.txt"
    assert b"row 0\n" in request.content


async def test_files_can_be_left_out() -> None:
    request = await posted(samples.failed_job(), send_files=False)

    assert request.headers["content-type"] == "application/json"


def test_nobody_is_mentioned_even_in_code() -> None:
    shown = text(samples.notification(TextBlock(text="<@all> <@personEmail:a@b.c|x>"))) + text(samples.hostile_names())

    assert "<@" not in shown


async def test_an_annotation_leads_to_another_room() -> None:
    override = {"room_id_override": "annotations.room"}

    assert json.loads((await posted(annotated(room=OTHER), **override)).content)["roomId"] == OTHER
    assert json.loads((await posted(annotated(), **override)).content)["roomId"] == ROOM
    assert json.loads((await posted(annotated(room="no room!"), **override)).content)["roomId"] == ROOM


async def test_without_the_default_room_a_missing_override_is_a_failure_that_people_see() -> None:
    with pytest.raises(PermanentError, match="send_to_default_if_missing is false"):
        await posted(annotated(), room_id_override="annotations.room", send_to_default_if_missing=False)


def test_each_room_has_its_lane() -> None:
    sink = WebexSink(config(room_id_override="annotations.room"))

    assert sink.lane(annotated(room=OTHER)) == OTHER
    assert sink.lane(annotated()) == ROOM


@pytest.mark.parametrize(("status", "advice"), [(404, "add the bot to the room"), (401, "make a new access token")])
async def test_a_refusal_says_why_and_what_to_do(status: int, advice: str) -> None:
    with pytest.raises(PermanentError, match=rf"Could not find a room.*; {advice}"):
        await answered(status_code=status, json=REFUSED["json"])


def test_wrong_options_say_what_is_right() -> None:
    with pytest.raises(ValidationError, match="names no value"):
        config(room_id_override="fixed")
