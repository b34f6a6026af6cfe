from __future__ import annotations

import email
import email.policy
import json
from datetime import timedelta
from email.message import MIMEPart
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from pydantic import ValidationError

from app.core.finding import FileBlock, Notification, Severity, TextBlock
from app.sinks._markdown import ZERO_WIDTH
from app.sinks.base import PermanentError, TemporaryError
from app.sinks.discord import DESCRIPTION_LIMIT, TITLE_LIMIT, DiscordConfig, DiscordSink
from tests.sinks import samples

TOKEN = "webhook-token-1234"
SECRETS = (TOKEN, "998877665544332211")
SUCCESS: dict[str, Any] = {"status_code": 204}
BUSY: dict[str, Any] = {
    "status_code": 429,
    "headers": {"retry-after": "2", "x-ratelimit-reset-after": "1.9", "x-ratelimit-scope": "shared"},
    "json": {"message": "You are being rate limited.", "retry_after": 1.337, "global": False},
}
REFUSED: dict[str, Any] = {
    "status_code": 400,
    "json": {
        "message": "Invalid Form Body",
        "code": 50035,
        "errors": {"embeds": {"0": {"description": {"_errors": [{"code": "BASE_TYPE_MAX_LENGTH"}]}}}},
    },
}


def options(folder: Path) -> dict[str, Any]:
    return {"url": f"https://discord.com/api/webhooks/998877665544332211/{TOKEN}"}


def at(url: str) -> dict[str, Any]:
    return {"url": f"{url}api/webhooks/998877665544332211/{TOKEN}"}


def config(**more: Any) -> DiscordConfig:
    return DiscordConfig.model_validate({"name": "d", **options(Path()), **more})


def rendered(notification: Notification, **more: Any) -> dict[str, Any]:
    rendering = DiscordSink(config(**more)).render(notification)
    assert isinstance(rendering, dict)
    return rendering


def embed(notification: Notification, **more: Any) -> dict[str, Any]:
    (only,) = rendered(notification, **more)["embeds"]
    assert isinstance(only, dict)
    return only


async def posted(notification: Notification, **more: Any) -> httpx.Request:
    requests: list[httpx.Request] = []

    def take(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(204)

    await DiscordSink(config(**more), transport=httpx.MockTransport(take)).send(notification)
    return requests[0]


def parts(request: httpx.Request) -> dict[str, MIMEPart]:
    """Read multipart/form-data as Discord would."""
    raw = b"Content-Type: " + request.headers["content-type"].encode() + b"\r\n\r\n" + request.content
    read = email.message_from_bytes(raw, policy=email.policy.HTTP)
    return {str(part.get_param("name", header="content-disposition")): part for part in read.iter_parts()}


def content(part: MIMEPart) -> bytes:
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload


async def answered(**answer: Any) -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(**answer))
    await DiscordSink(config(), transport=transport).send(samples.image())


def test_an_embed_says_who_did_what_and_each_field_with_old_and_new() -> None:
    shown = embed(samples.image())

    assert shown["title"] == "🔵 Deployment/shop/web updated"
    assert shown["url"] == samples.LINK
    assert shown["description"].splitlines() == [
        "Updated by alice with kubectl-set.",
        "What: UPDATE Deployment/shop/web in prod at 2026-01-02T03:04:05Z",
        "• `spec.template.spec.containers[nginx].image`: `nginx:1.27` → `nginx:1.28`",
        f"[Open the entry]({samples.LINK})",
    ]


def test_the_colour_is_that_of_the_severity() -> None:
    assert embed(samples.failed_job())["color"] == 0xEB5757
    assert samples.failed_job().finding.severity is Severity.HIGH


@pytest.mark.parametrize("sample", [samples.hostile, samples.many_fields, samples.hostile_names, samples.failed_job])
def test_an_embed_stays_within_the_limits(sample: Any) -> None:
    shown = embed(sample())

    assert 0 < len(shown["title"]) <= TITLE_LIMIT
    assert 0 < len(shown["description"]) <= DESCRIPTION_LIMIT
    assert len(shown["title"]) + len(shown["description"]) <= 6000


def test_a_title_of_markup_stays_within_its_limit() -> None:
    assert len(embed(samples.notification(title="@a " * 500))["title"]) <= TITLE_LIMIT


def test_what_does_not_fit_is_counted_and_led_to() -> None:
    *_, field, note, link = embed(samples.many_fields())["description"].splitlines()

    shown = int(field.split("FEATURE_")[1][:3]) + 1
    assert note == f"… {400 - shown} more fields"
    assert link == f"[Open the entry]({samples.LINK})"


async def test_what_does_not_fit_is_attached_whole() -> None:
    request = await posted(samples.many_fields())

    by_name = parts(request)
    document = json.loads(content(by_name["payload_json"]))
    file = by_name["files[0]"]
    assert document["attachments"] == [{"id": 0, "filename": "notification.txt"}]
    assert file.get_filename() == "notification.txt"
    assert b"FEATURE_399" in content(file)


async def test_a_whole_log_is_attached() -> None:
    log = FileBlock(name="a\r\nX-Evil: 1.log", content="".join(f"row {n}\n" for n in range(1000)))

    file = parts(await posted(samples.notification(log)))["files[0]"]

    assert content(file).endswith(b"row 999\n")
    assert b"row 0\n" in content(file)


async def test_repeats_are_equal() -> None:
    assert (await posted(samples.many_fields())).content == (await posted(samples.many_fields())).content


async def test_a_short_message_is_json_alone() -> None:
    request = await posted(samples.image())

    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.content) == rendered(samples.image())


async def test_files_can_be_left_out() -> None:
    request = await posted(samples.many_fields(), send_files=False)

    assert request.headers["content-type"] == "application/json"
    assert "attachments" not in json.loads(request.content)


def test_nobody_is_pinged() -> None:
    assert rendered(samples.hostile_names())["allowed_mentions"] == {"parse": []}


def test_texts_cannot_forge_links_or_mentions() -> None:
    text = "[click](https://evil.example) @everyone <@1> **b** ||spoiler|| # h"

    shown = embed(samples.notification(TextBlock(text=text), title=text))

    line = shown["description"].splitlines()[-1]
    assert line.replace(ZERO_WIDTH, "") == (
        r"\[click\](https://evil.example) @everyone <@1> \*\*b\*\* \|\|spoiler\|\| # h"
    )
    assert all(live not in shown["description"] + shown["title"] for live in ("https://evil", "@everyone", "<@1"))


def test_values_cannot_leave_their_code() -> None:
    description = embed(samples.hostile_names())["description"]

    (line,) = (line for line in description.splitlines() if line.startswith("• "))
    assert line.count("`") == 6


async def test_a_pause_has_a_fraction_of_a_second() -> None:
    with pytest.raises(TemporaryError) as caught:
        await answered(**BUSY)

    assert caught.value.retry_after == timedelta(seconds=1.337)


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        ({"headers": {"x-ratelimit-reset-after": "0.5"}}, 0.5),
        ({"json": {"retry_after": "soon"}, "headers": {"retry-after": "4"}}, 4),
        ({"json": [1]}, None),
    ],
)
async def test_a_pause_is_read_wherever_it_stands(answer: dict[str, Any], seconds: float | None) -> None:
    with pytest.raises(TemporaryError) as caught:
        await answered(status_code=429, **answer)

    assert caught.value.retry_after == (None if seconds is None else timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("status", "code", "advice"), [(404, 10015, "the webhook is deleted"), (401, 50027, "copy the URL anew")]
)
async def test_a_refusal_says_what_to_do(status: int, code: int, advice: str) -> None:
    with pytest.raises(PermanentError, match=advice):
        await answered(status_code=status, json={"message": "Unknown Webhook", "code": code})


def test_what_is_no_webhook_is_an_error() -> None:
    with pytest.raises(ValidationError, match="is no webhook; it should be like"):
        config(url="https://discord.com/channels/1/2")


def test_a_folded_notification_says_so() -> None:
    assert "14 of these since 2026-01-02T02:59:10Z, told as one." in embed(samples.folded())["description"]


def test_without_a_link_there_is_none() -> None:
    bare = msgspec.structs.replace(samples.image(), link="")

    assert "url" not in embed(bare)
    assert "Open the entry" not in embed(bare)["description"]


async def test_discord_is_asked_to_answer_when_the_message_is_saved() -> None:
    request = await posted(samples.image(), url=f"{options(Path())['url']}?thread_id=42")

    assert dict(request.url.params) == {"thread_id": "42", "wait": "true"}
