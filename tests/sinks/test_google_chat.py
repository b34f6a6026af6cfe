from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from pydantic import ValidationError

from app.core.change import Resource
from app.core.finding import Notification, TextBlock
from app.sinks.base import PermanentError, TemporaryError
from app.sinks.google_chat import MESSAGE_BYTES, WIDGETS, GoogleChatConfig, GoogleChatSink
from tests.sinks import samples

KEY, TOKEN = "AIza-key-of-chat", "token-of-chat-1234"
SECRETS = (KEY, TOKEN)
LIMIT = MESSAGE_BYTES
SUCCESS: dict[str, Any] = {"json": {"name": "spaces/AAAA/messages/B.B", "thread": {"name": "spaces/AAAA/threads/B"}}}
BUSY: dict[str, Any] = {
    "status_code": 429,
    "json": {"error": {"code": 429, "message": "Resource has been exhausted.", "status": "RESOURCE_EXHAUSTED"}},
}
REFUSED: dict[str, Any] = {
    "status_code": 404,
    "json": {"error": {"code": 404, "message": "Requested entity was not found.", "status": "NOT_FOUND"}},
}


def options(folder: Path) -> dict[str, Any]:
    return {"webhook_url": f"https://chat.googleapis.com/v1/spaces/AAAA/messages?key={KEY}&token={TOKEN}"}


def at(url: str) -> dict[str, Any]:
    return {"webhook_url": f"{url}v1/spaces/AAAA/messages?key={KEY}&token={TOKEN}"}


def config(**more: Any) -> GoogleChatConfig:
    return GoogleChatConfig.model_validate({"name": "g", **options(Path()), **more})


def message(notification: Notification, **more: Any) -> dict[str, Any]:
    rendering = GoogleChatSink(config(**more)).render(notification)
    assert isinstance(rendering, dict)
    return rendering


def card(notification: Notification) -> dict[str, Any]:
    (only,) = message(notification)["cardsV2"]
    content: dict[str, Any] = only["card"]
    return content


def widgets(notification: Notification) -> list[dict[str, Any]]:
    (section,) = card(notification)["sections"]
    found: list[dict[str, Any]] = section["widgets"]
    return found


def paragraphs(notification: Notification) -> list[str]:
    return [each["textParagraph"]["text"] for each in widgets(notification) if "textParagraph" in each]


async def posted(notification: Notification, **more: Any) -> httpx.Request:
    requests: list[httpx.Request] = []

    def take(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, **SUCCESS)

    await GoogleChatSink(config(**more), transport=httpx.MockTransport(take)).send(notification)
    return requests[0]


async def answered(**answer: Any) -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(**answer))
    await GoogleChatSink(config(), transport=transport).send(samples.image())


def test_a_card_says_who_did_what_and_each_field_with_old_and_new() -> None:
    assert card(samples.image())["header"] == {"title": "🔵 Deployment/shop/web updated"}
    assert "\n".join(paragraphs(samples.image())).splitlines() == [
        "Updated by alice with kubectl-set.",
        "What: UPDATE Deployment/shop/web in prod at 2026-01-02T03:04:05Z",
        '<font color="#5f6368">spec.template.spec.containers[nginx].image</font>',
        "nginx:1.27 → <b>nginx:1.28</b>",
    ]


def test_the_entry_is_one_click_away() -> None:
    (button,) = widgets(samples.image())[-1]["buttonList"]["buttons"]

    assert button["onClick"]["openLink"]["url"] == samples.LINK
    assert "buttonList" not in widgets(samples.notification())[-1]


def test_tables_and_the_ends_of_logs_are_shown() -> None:
    head, table, name, log = paragraphs(samples.failed_job())

    assert head.endswith("by alice with kubectl-set.\n<b>Job Events</b>")
    assert table.splitlines()[0] == "<i>type | reason | age | message</i>"
    assert table.splitlines()[1].startswith("Warning | BackoffLimitExceeded | 2s | Job has")
    assert name == "<b>nightly-28391-x7k2p/importer.log (21 earlier lines)</b>"
    assert log.splitlines()[-1] == "FATAL: cannot connect"


@pytest.mark.parametrize("sample", [samples.hostile, samples.many_fields, samples.hostile_names])
def test_a_message_stays_within_the_limit(sample: Any) -> None:
    assert len(msgspec.json.encode(message(sample()))) <= MESSAGE_BYTES


def test_what_does_not_fit_is_counted_and_the_message_is_full() -> None:
    *_, fields, note = paragraphs(samples.many_fields(2000))

    shown = fields.count(" → ")
    assert note == f"<i>… {2000 - shown} more fields</i>"
    assert len(msgspec.json.encode(message(samples.many_fields(2000)))) > MESSAGE_BYTES - 200


def test_more_widgets_than_are_shown_are_counted() -> None:
    many = samples.failed_job().finding.blocks[1:] * 60

    told = samples.notification(*many)

    assert len(widgets(told)) <= WIDGETS
    assert re.search(r"… \d+ more", paragraphs(told)[-1])


def test_texts_are_never_read_as_tags() -> None:
    told = samples.notification(TextBlock(text='<a href="https://evil.example">x</a> <users/all> &amp;'))

    assert paragraphs(told)[0].splitlines()[-1] == (
        '&lt;a href="https://evil.example"&gt;x&lt;/a&gt; &lt;users/all&gt; &amp;amp;'
    )


def test_the_text_of_the_telephone_mentions_nobody() -> None:
    assert "<users/all>" not in message(samples.notification(title="<users/all>"))["fallbackText"]


async def test_repeats_have_the_same_id_so_that_only_one_is_posted() -> None:
    first, again = await posted(samples.image()), await posted(samples.image(attempt=2))
    other = await posted(msgspec.structs.replace(samples.image(), delivery_id="d-2"))

    assert first.url.params["requestId"] == again.url.params["requestId"] != other.url.params["requestId"]
    assert (first.url.params["key"], first.url.params["token"]) == (KEY, TOKEN)


async def test_messages_about_one_object_can_share_a_thread() -> None:
    request = await posted(samples.image(), thread_per_object=True)
    other = samples.image(resource=Resource(kind="Deployment", namespace="shop", name="api"))

    key = message(samples.image(), thread_per_object=True)["thread"]["threadKey"]
    assert msgspec.json.decode(request.content)["thread"] == {"threadKey": key}
    assert request.url.params["messageReplyOption"] == "REPLY_MESSAGE_FALLBACK_TO_NEW_THREAD"
    assert key == message(samples.folded(), thread_per_object=True)["thread"]["threadKey"]
    assert key != message(other, thread_per_object=True)["thread"]["threadKey"]
    assert "thread" not in message(samples.image())


@pytest.mark.parametrize(("status", "advice"), [(404, "is deleted"), (401, "key or token"), (403, "allows webhooks")])
async def test_a_refusal_says_why_and_what_to_do(status: int, advice: str) -> None:
    with pytest.raises(PermanentError, match=rf"answered {status} .*: Requested entity.*{advice}"):
        await answered(status_code=status, json=REFUSED["json"])


async def test_a_quota_that_is_used_up_is_temporary() -> None:
    with pytest.raises(TemporaryError, match="RESOURCE_EXHAUSTED"):
        await answered(**BUSY)


def test_what_is_no_webhook_is_an_error() -> None:
    with pytest.raises(ValidationError, match="is no webhook; it should be like"):
        config(webhook_url="https://chat.google.com/room/AAAA")
