from __future__ import annotations

import base64
import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from pydantic import ValidationError

from app.core.finding import FileBlock, Notification, TextBlock
from app.sinks.base import PermanentError, TemporaryError
from app.sinks.zulip import CONTENT_LIMIT, TOPIC_LIMIT, ZulipConfig, ZulipSink
from tests.sinks import samples

KEY = "zulip-api-key-1234"
SECRETS = (KEY, base64.b64encode(f"bot@zulip.example.com:{KEY}".encode()).decode())
SUCCESS: dict[str, Any] = {"json": {"result": "success", "msg": "", "id": 42}}
BUSY: dict[str, Any] = {
    "status_code": 429,
    "headers": {"retry-after": "28.706807374954224"},
    "json": {
        "code": "RATE_LIMIT_HIT",
        "msg": "API usage exceeded rate limit",
        "result": "error",
        "retry-after": 28.706807374954224,
    },
}
REFUSED: dict[str, Any] = {
    "status_code": 400,
    "json": {
        "code": "STREAM_DOES_NOT_EXIST",
        "msg": "Channel 'Monitoring' does not exist",
        "result": "error",
        "stream": "Monitoring",
    },
}


def options(folder: Path) -> dict[str, Any]:
    return {"api_url": "https://zulip.example.com", "bot_email": "bot@zulip.example.com", "bot_api_key": KEY}


def at(url: str) -> dict[str, Any]:
    return {"api_url": url}


def config(**more: Any) -> ZulipConfig:
    return ZulipConfig.model_validate({"name": "z", **options(Path()), **more})


def text(notification: Notification, **more: Any) -> str:
    rendering = ZulipSink(config(**more)).render(notification)
    assert isinstance(rendering, str)
    return rendering


async def requests(
    notification: Notification, uploaded: dict[str, Any] | None = None, **more: Any
) -> list[httpx.Request]:
    taken: list[httpx.Request] = []

    def take(request: httpx.Request) -> httpx.Response:
        taken.append(request)
        return httpx.Response(200, json={**SUCCESS["json"], **(uploaded or {})})

    await ZulipSink(config(**more), transport=httpx.MockTransport(take)).send(notification)
    return taken


async def form(notification: Notification, **more: Any) -> dict[str, str]:
    *_, request = await requests(notification, **more)
    return {name: value for name, (value,) in parse_qs(request.content.decode()).items()}


async def answered(**answer: Any) -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(**answer))
    await ZulipSink(config(), transport=transport).send(samples.image())


async def test_a_message_goes_to_the_topic_of_the_channel() -> None:
    (request,) = await requests(samples.image())

    assert str(request.url) == "https://zulip.example.com/api/v1/messages"
    assert request.headers["authorization"] == f"Basic {SECRETS[1]}"
    assert await form(samples.image()) == {
        "type": "stream",
        "to": "Monitoring",
        "topic": "kubewitness",
        "content": text(samples.image()),
    }


def test_a_message_says_who_did_what_and_each_field_with_old_and_new() -> None:
    assert text(samples.image()).splitlines() == [
        "**🔵 Deployment/shop/web updated**",
        "Updated by alice with kubectl-set.",
        "What: UPDATE Deployment/shop/web in prod at 2026-01-02T03:04:05Z",
        "• `spec.template.spec.containers[nginx].image`: `nginx:1.27` → `nginx:1.28`",
        f"[Open the entry]({samples.LINK})",
    ]


@pytest.mark.parametrize("sample", [samples.hostile, samples.many_fields, samples.hostile_names])
def test_a_message_stays_within_the_limit(sample: Any) -> None:
    assert len(text(sample())) <= CONTENT_LIMIT


def test_what_does_not_fit_is_counted_and_led_to() -> None:
    *_, note, link = text(samples.many_fields()).splitlines()

    assert note == f"… {400 - text(samples.many_fields()).count('• ')} more fields"
    assert link == f"[Open the entry]({samples.LINK})"


def test_as_many_characters_of_a_log_are_shown_as_asked_for() -> None:
    log = FileBlock(name="app.log", content="x" * 100 + "\n" + "a" * 6 + "\n" + "b" * 3)

    shown = text(samples.notification(log), log_preview_char_limit=10).splitlines()

    assert shown[-5:] == ["**app.log (1 earlier lines)**", "```", "aaaaaa", "bbb", "```"]


async def test_with_0_characters_a_log_comes_as_a_file() -> None:
    uploaded = {"url": "/user_uploads/1/4e/notification.txt"}

    upload, message = await requests(samples.failed_job(), uploaded, log_preview_char_limit=0)

    assert upload.url.path == "/api/v1/user_uploads"
    assert b"row 0 imported\n" in upload.content
    (content,) = parse_qs(message.content.decode())["content"]
    assert content.splitlines()[-1] == "[notification.txt](/user_uploads/1/4e/notification.txt)"
    assert "importer.log" not in content


async def test_a_long_message_leaves_room_for_the_link_to_the_file() -> None:
    log = FileBlock(name="app.log", content="x")
    told = samples.notification(*samples.many_fields().finding.blocks, log)

    _, message = await requests(told, {"uri": f"/user_uploads/{'x' * 900}"}, log_preview_char_limit=0)

    (content,) = parse_qs(message.content.decode())["content"]
    assert len(content) <= CONTENT_LIMIT


async def test_a_topic_can_come_from_labels_and_stays_within_its_limit() -> None:
    labelled = samples.notification(labels={"app": "web\n@**all** " + "x" * 100})

    topic = (await form(labelled, topic_override="labels.app"))["topic"]

    assert topic.startswith("web @**all** x")
    assert len(topic) <= TOPIC_LIMIT
    assert (await form(samples.image(), topic_override="labels.absent"))["topic"] == "kubewitness"
    assert (await form(samples.image(), topic_override="$cluster_name-$labels.team"))["topic"] == "prod-checkout"


def test_nobody_is_mentioned_and_no_link_is_forged() -> None:
    hostile = "@**all** @_**x** #**general>a** [x](https://evil.example) `c` $$x$$ /poll ```quote"

    told = samples.notification(TextBlock(text=hostile), title=hostile, description=f"```quote\n{hostile}")

    outside_code = text(told)
    assert not any(live in outside_code for live in ("@**", "@_**", "#**", "](https:", "`", "$$"))


async def test_a_pause_is_read() -> None:
    with pytest.raises(TemporaryError) as caught:
        await answered(**BUSY)

    assert caught.value.retry_after == timedelta(seconds=28.706807374954224)


@pytest.mark.parametrize(
    ("status", "code", "advice"),
    [
        (400, "STREAM_DOES_NOT_EXIST", "make the channel"),
        (401, "INVALID_API_KEY", "`bot_api_key`"),
        (401, "USER_DEACTIVATED", "activate the bot"),
        (404, "NONEXISTENT_SUBDOMAIN", "`api_url`"),
    ],
)
async def test_a_refusal_says_why_and_what_to_do(status: int, code: str, advice: str) -> None:
    with pytest.raises(PermanentError, match=f": it is so; .*{advice}"):
        await answered(status_code=status, content=json.dumps({"result": "error", "msg": "it is so", "code": code}))


def test_wrong_options_say_what_is_right() -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        config(log_preview_char_limit=-1)
