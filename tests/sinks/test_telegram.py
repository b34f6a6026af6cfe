from __future__ import annotations

from datetime import timedelta
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from pydantic import ValidationError

from app.core.change import FieldChange
from app.core.finding import DiffBlock, Notification, TextBlock
from app.sinks.base import PermanentError, TemporaryError
from app.sinks.telegram import CAPTION_LIMIT, MESSAGE_LIMIT, TelegramConfig, TelegramSink, shown
from tests.sinks import samples

TOKEN = "123456:AAtelegram-token-1234567890"
SECRETS = (TOKEN, TOKEN.partition(":")[2])
SUCCESS = {"json": {"ok": True, "result": {"message_id": 1}}}
BUSY = {
    "status_code": 429,
    "json": {
        "ok": False,
        "error_code": 429,
        "description": "Too Many Requests: retry after 14",
        "parameters": {"retry_after": 14},
    },
}


def refused(code: int, description: str, **more: Any) -> dict[str, Any]:
    return {"status_code": code, "json": {"ok": False, "error_code": code, "description": description, **more}}


REFUSED = refused(400, "Bad Request: chat not found")


def options(folder: Path) -> dict[str, Any]:
    return {"bot_token": TOKEN, "chat_id": -1001234567890, "thread_id": 7}


def at(url: str) -> dict[str, Any]:
    return {"api_url": url}


def config(**more: Any) -> TelegramConfig:
    return TelegramConfig.model_validate({"name": "t", "bot_token": TOKEN, "chat_id": "-100", **more})


async def posted(notification: Notification, answer: dict[str, Any] | None = None, **more: Any) -> httpx.Request:
    requests: list[httpx.Request] = []

    def receive(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(**{"status_code": 200, **(answer or SUCCESS)})

    await TelegramSink(config(**more), transport=httpx.MockTransport(receive)).send(notification)
    return requests[0]


def rendered(notification: Notification, **more: Any) -> dict[str, Any]:
    rendering = TelegramSink(config(**more)).render(notification)
    assert isinstance(rendering, dict)
    return rendering


def problem(**more: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        config(**more)
    return str(caught.value)


async def test_a_message_goes_to_the_chat_and_its_topic() -> None:
    request = await posted(samples.image(), thread_id=7)

    message = msgspec.json.decode(request.content)
    assert str(request.url) == f"https://api.telegram.org/bot{TOKEN}/sendMessage"
    assert (message["chat_id"], message["message_thread_id"], message["parse_mode"]) == ("-100", 7, "HTML")
    assert message["link_preview_options"] == {"is_disabled": True}
    assert f"• <code>{samples.IMAGE}</code>: <code>nginx:1.27</code> → <code>nginx:1.28</code>" in message["text"]
    assert f'<a href="{samples.LINK}">Open the entry</a>' in message["text"]


async def test_logs_come_as_a_file_with_the_beginning_as_its_caption() -> None:
    request = await posted(samples.failed_job())

    form = message_from_bytes(
        b"Content-Type: " + request.headers["content-type"].encode() + b"\r\n\r\n" + request.content,
        policy=policy.HTTP,
    )
    parts = {part.get_param("name", header="content-disposition"): part for part in form.iter_parts()}
    assert request.url.path.endswith("/sendDocument")
    assert parts["chat_id"].get_content().strip() == "-100"
    assert parts["caption"].get_content().startswith("<b>🔴 Job Failed</b>")
    assert "row 39 imported\nFATAL: cannot connect</pre>\n<a href" in parts["caption"].get_content()
    assert parts["document"].get_filename() == "notification.txt"
    assert "row 0 imported" in parts["document"].get_content()


def test_without_files_everything_is_in_the_message() -> None:
    message = rendered(samples.failed_job(), send_files=False)

    assert "document" not in message
    assert "row 39 imported\nFATAL: cannot connect</pre>" in message["text"]


def test_a_long_diff_is_cut_in_the_caption_with_a_count_and_is_whole_in_the_file() -> None:
    message = rendered(samples.many_fields(400))

    count = message["caption"].count("• ")
    assert f"… {400 - count} more fields\n<a href=" in message["caption"]
    assert CAPTION_LIMIT - 200 < shown(message["caption"]) <= CAPTION_LIMIT
    assert message["document"].count(" -> ") == 400


def test_a_message_is_full_before_it_is_cut() -> None:
    changes = tuple(FieldChange(f"data[{number}]", "replace", "a" * 100, "b" * 100) for number in range(100))
    message = rendered(samples.notification(DiffBlock(changes=changes)), send_files=False)

    assert MESSAGE_LIMIT - 300 < shown(message["text"]) <= MESSAGE_LIMIT
    assert "more fields" in message["text"]


@pytest.mark.parametrize(("more", "has_file"), [(0, False), (1, True)])
def test_a_file_is_attached_from_the_first_character_that_does_not_fit(more: int, has_file: bool) -> None:
    bare = shown(rendered(samples.notification(TextBlock(text="x")))["text"]) - 1
    lines = [300] * ((MESSAGE_LIMIT - bare) // 301)
    lines.append(MESSAGE_LIMIT - bare - sum(lines) - len(lines) + more)

    message = rendered(samples.notification(TextBlock(text="\n".join("x" * length for length in lines))))

    assert ("document" in message) is has_file


@pytest.mark.parametrize("sample", [samples.hostile, samples.hostile_names, samples.many_fields, samples.failed_job])
@pytest.mark.parametrize("send_files", [True, False])
def test_the_limits_hold_for_whatever_comes(sample: Any, send_files: bool) -> None:
    message = rendered(sample(), send_files=send_files)

    assert shown(message.get("text", "")) <= MESSAGE_LIMIT
    assert shown(message.get("caption", "")) <= CAPTION_LIMIT


def test_emoji_count_twice_as_telegram_counts_them() -> None:
    assert shown("<b>🔵 &lt;x&gt;</b>") == 2 + 4


def test_nobody_is_notified_and_nothing_is_linked_or_formatted_by_names() -> None:
    evil = "@everyone https://evil.example <b>x</b> <a href='https://evil.example'>here</a>"
    changed = FieldChange(evil, "replace", evil, evil)

    text = rendered(samples.notification(DiffBlock(changes=(changed,)), title=evil, description=evil))["text"]

    outside = text.replace("<code>", "\0").replace("</code>", "\0").split("\0")[::2]
    assert "<a href='" not in text
    assert text.count("<b>") == 1
    assert not any("@everyone" in part or "https://" in part for part in outside)


async def test_a_pause_that_is_asked_for_is_kept() -> None:
    with pytest.raises(TemporaryError, match="Too Many Requests: retry after 14") as caught:
        await posted(samples.image(), BUSY)

    assert caught.value.retry_after == timedelta(seconds=14)


@pytest.mark.parametrize(
    ("code", "description", "advice"),
    [
        (400, "Bad Request: chat not found", "correct chat_id, and write to the bot first"),
        (400, "Bad Request: message thread not found", "correct thread_id"),
        (400, "Bad Request: group chat was upgraded to a supergroup chat", "the group has a new id"),
        (400, "Bad Request: not enough rights to send documents to the chat", "allow the bot to send messages"),
        (401, "Unauthorized", "bot_token is wrong or was revoked"),
        (403, "Forbidden: bot was blocked by the user", "that person has to start the bot again"),
        (403, "Forbidden: bot was kicked from the supergroup chat", "add the bot to the chat again"),
        (404, "Not Found", "bot_token is not whole"),
    ],
)
async def test_refusals_are_permanent_with_advice(code: int, description: str, advice: str) -> None:
    with pytest.raises(PermanentError) as caught:
        await posted(samples.image(), refused(code, description))

    assert f": {description}; {advice}" in str(caught.value)


@pytest.mark.parametrize(
    ("more", "part"),
    [
        ({"bot_token": "hunter2"}, "is no bot token; right is like 123456:AAE"),
        ({"chat_id": "my group"}, "is no chat; right is a number such as -1001234567890"),
        ({"chat_id": True}, "is no chat"),
        ({"thread_id": 0}, "greater than or equal to 1"),
        ({"api_url": "telegram"}, "valid URL"),
    ],
)
def test_options_that_cannot_work_are_refused(more: dict[str, Any], part: str) -> None:
    assert part in problem(**more)


def test_chats_are_numbers_or_public_names() -> None:
    assert [config(chat_id=each).chat_id for each in (-100, "42", "@changes")] == ["-100", "42", "@changes"]


@pytest.mark.parametrize("send_files", [True, False])
def test_no_tag_is_beyond_those_that_telegram_reads(send_files: bool) -> None:
    changes = tuple(FieldChange(f"k{number}", "replace", "@all", number) for number in range(60))
    told = msgspec.structs.replace(samples.notification(DiffBlock(changes=changes)), link=samples.LINK)

    message = TelegramSink(config(send_files=send_files)).render(told)

    assert isinstance(message, dict)
    text = message["caption"] if send_files else message["text"]
    assert text.count("<") // 2 <= 100
    assert "more fields" in text
    assert text.endswith("Open the entry</a>")
