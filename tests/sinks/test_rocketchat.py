from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from app.core.finding import Notification, TextBlock
from app.sinks.base import PermanentError, TemporaryError
from app.sinks.rocketchat import TEXT_LIMIT, RocketchatConfig, RocketchatSink
from tests.sinks import samples

TOKEN = "personal-access-token-1234"
SECRETS = (TOKEN,)
SUCCESS: dict[str, Any] = {"json": {"ts": 1, "channel": "alerts", "message": {"_id": "m"}, "success": True}}
BUSY: dict[str, Any] = {
    "status_code": 429,
    "json": {
        "success": False,
        "error": "Error, too many requests. Please slow down. You must wait 31 seconds before trying this endpoint "
        "again. [error-too-many-requests]",
    },
}
REFUSED: dict[str, Any] = {
    "status_code": 400,
    "json": {"success": False, "error": "[invalid-channel]", "errorType": "invalid-channel"},
}


def options(folder: Path) -> dict[str, Any]:
    return {
        "server_url": "https://chat.example.com",
        "user_id": "aobEdbYhXfu5hkeqG",
        "token": TOKEN,
        "channel": "alerts",
    }


def at(url: str) -> dict[str, Any]:
    return {"server_url": url}


def config(**more: Any) -> RocketchatConfig:
    return RocketchatConfig.model_validate({"name": "r", **options(Path()), **more})


def rendered(notification: Notification, **more: Any) -> dict[str, Any]:
    rendering = RocketchatSink(config(**more)).render(notification)
    assert isinstance(rendering, dict)
    return rendering


def attachment(notification: Notification, **more: Any) -> dict[str, Any]:
    (only,) = rendered(notification, **more)["attachments"]
    assert isinstance(only, dict)
    return only


async def answered(**answer: Any) -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(**answer))
    await RocketchatSink(config(), transport=transport).send(samples.image())


async def test_a_message_goes_to_the_channel_with_the_token() -> None:
    requests: list[httpx.Request] = []

    def take(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, **SUCCESS)

    await RocketchatSink(config(), transport=httpx.MockTransport(take)).send(samples.image())

    (request,) = requests
    assert str(request.url) == "https://chat.example.com/api/v1/chat.postMessage"
    assert (request.headers["x-user-id"], request.headers["x-auth-token"]) == ("aobEdbYhXfu5hkeqG", TOKEN)
    assert json.loads(request.content) == rendered(samples.image())
    assert json.loads(request.content)["channel"] == "alerts"


def test_a_message_says_who_did_what_and_each_field_with_old_and_new() -> None:
    assert rendered(samples.image())["text"] == "*🔵 Deployment/shop/web updated*"
    assert attachment(samples.image())["color"] == "#2f80ed"
    assert attachment(samples.image())["text"].splitlines() == [
        "Updated by alice with kubectl-set.",
        "What: UPDATE Deployment/shop/web in prod at 2026-01-02T03:04:05Z",
        "• `spec.template.spec.containers[nginx].image`: `nginx:1.27` → `nginx:1.28`",
        f"[Open the entry]({samples.LINK})",
    ]


@pytest.mark.parametrize("limit", [500, TEXT_LIMIT, 20_000])
@pytest.mark.parametrize("sample", [samples.hostile, samples.many_fields])
def test_a_message_stays_within_the_servers_limit(sample: Any, limit: int) -> None:
    message = rendered(sample(), message_limit=limit)

    assert len(message["text"]) + len(message["attachments"][0]["text"]) <= limit


def test_what_does_not_fit_is_counted_and_led_to() -> None:
    text = attachment(samples.many_fields())["text"]

    *_, note, link = text.splitlines()
    assert note == f"… {400 - text.count('• ')} more fields"
    assert link == f"[Open the entry]({samples.LINK})"


def test_nobody_is_mentioned_not_even_from_code() -> None:
    message = rendered(samples.hostile_names())

    shown = message["text"] + message["attachments"][0]["text"]
    assert not any(live in shown for live in ("@channel", "@here", "<@", "<!", "https://evil"))


def test_texts_cannot_forge_links_or_marks() -> None:
    hostile = "[x](https://evil.example) <https://evil.example|x> *b* _i_ ~s~ `c` # h"

    message = rendered(samples.notification(TextBlock(text=hostile), title=hostile))

    *_, line = message["attachments"][0]["text"].splitlines()
    assert not set("*_~`[]") & set(line)
    assert not set("_~`[]") & set(message["text"])
    assert message["text"].count("*") == 2


async def test_a_pause_stands_in_the_sentence() -> None:
    with pytest.raises(TemporaryError) as caught:
        await answered(**BUSY)

    assert caught.value.retry_after == timedelta(seconds=31)


@pytest.mark.parametrize(
    ("status", "body", "advice"),
    [
        (400, REFUSED["json"], "look at `channel`"),
        (400, {"success": False, "error": "Not allowed [error-not-allowed]"}, "let the user post there"),
        (400, {"success": False, "errorType": "error-message-size-exceeded"}, "set `message_limit`"),
        (401, {"status": "error", "message": "You must be logged in to do this."}, "look at `user_id` and `token`"),
    ],
)
async def test_a_refusal_says_what_to_do(status: int, body: dict[str, Any], advice: str) -> None:
    with pytest.raises(PermanentError, match=advice):
        await answered(status_code=status, json=body)


async def test_a_success_that_says_it_is_none_is_a_refusal() -> None:
    with pytest.raises(PermanentError, match="not so"):
        await answered(status_code=200, json={"success": False, "error": "not so"})


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"token": "a\nb"}, "characters that a header cannot carry"),
        ({"user_id": "a b"}, "pattern"),
        ({"server_url": "chat.example.com"}, "valid URL"),
    ],
)
def test_wrong_options_say_what_is_right(more: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        config(**more)


async def test_too_many_requests_are_temporary_under_any_status() -> None:
    with pytest.raises(TemporaryError) as caught:
        await answered(**{**BUSY, "status_code": 400})

    assert caught.value.retry_after == timedelta(seconds=31)
