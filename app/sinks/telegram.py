"""Telegram sink: a bot sends each notification to a chat as one message, with a text file where it is long."""

from __future__ import annotations

import asyncio
import html
import re
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Final

from pydantic import AfterValidator, BeforeValidator, Field, HttpUrl, SecretStr
from typing_extensions import override

from app.core.finding import Notification
from app.sinks import _text
from app.sinks._attachment import NAME, FormPart, has_files, multipart
from app.sinks._ends import with_last_lines
from app.sinks._http import Answer, Failure, HttpSink, HttpSinkConfig, below
from app.sinks._markdown import inert
from app.sinks.base import Pace, Rendering

MESSAGE_LIMIT: Final = 4096
"""Characters of a message after its entities are read: https://core.telegram.org/bots/api#sendmessage"""

CAPTION_LIMIT: Final = 1024
"""Characters of a file's caption after its entities are read: https://core.telegram.org/bots/api#senddocument"""

ENTITIES_LIMIT: Final = 90
"""Tags of a message. Telegram drops all after the hundredth, among them the link at the end, and what was code would be
read for mentions; it adds a few of its own: https://github.com/tdlib/telegram-bot-api/issues/820"""

CAPTION_LINES: Final = 5
"""Lines of each log in a caption; the file has all of them."""

ADVICE: Final = (
    ("unauthorized", "bot_token is wrong or was revoked: @BotFather shows it with /mybots"),
    ("not found", "bot_token is not whole: @BotFather shows it with /mybots"),
    ("chat not found", "correct chat_id, and write to the bot first, or add it to the group"),
    ("upgraded to a supergroup", "the group has a new id: set chat_id to it"),
    ("message thread not found", "correct thread_id: it is the last number of the topic's link"),
    ("blocked by the user", "that person has to start the bot again"),
    ("bot was kicked", "add the bot to the chat again"),
    ("not a member", "add the bot to the channel"),
    ("not enough rights", "allow the bot to send messages and files in the chat"),
    ("have no rights", "allow the bot to send messages and files in the chat"),
    ("can't send messages to bots", "chat_id is a bot's: set that of a person, group or channel"),
)
"""What people can do about it, by the words of `description`; more exact words come later."""

MARKUP: Final = _text.HTML._replace(
    text=lambda text: html.escape(inert(text)),
    bold=lambda text: f"<b>{html.escape(inert(text))}</b>",
)
"""HTML as https://core.telegram.org/bots/api#html-style has it. Texts are inert, since Telegram would notify those whom
they mention, and link what looks like a link; in code it does neither."""

_TAG: Final = re.compile(r"<[^>]*>")
_TOKEN: Final = re.compile(r"\d+:[A-Za-z0-9_-]{20,}")


def _token(token: SecretStr) -> SecretStr:
    text = token.get_secret_value().strip()
    if not _TOKEN.fullmatch(text):
        raise ValueError("is no bot token; right is like 123456:AAE...: @BotFather makes one with /newbot")
    return SecretStr(text)


def _chat(value: object) -> str:
    text = str(value).strip()
    if isinstance(value, bool) or not re.fullmatch(r"-?\d+|@[A-Za-z]\w{3,}", text):
        raise ValueError("is no chat; right is a number such as -1001234567890, or @name of a public channel or group")
    return text


class TelegramConfig(HttpSinkConfig):
    """Options of the Telegram sink."""

    bot_token: Annotated[SecretStr, AfterValidator(_token), Field(description="Token that @BotFather gave the bot.")]
    chat_id: Annotated[
        str,
        BeforeValidator(_chat, json_schema_input_type=int | str),
        Field(description="Chat: its number, or @name of a public channel or group."),
    ]
    thread_id: Annotated[int | None, Field(ge=1, description="Topic of a group, the last number of its link.")] = None
    send_files: Annotated[bool, Field(description="Attach as a file what a message does not hold, such as logs.")] = (
        True
    )
    api_url: Annotated[HttpUrl, Field(description="Bot API server, where an own one runs.")] = HttpUrl(
        "https://api.telegram.org"
    )


class TelegramSink(HttpSink[TelegramConfig]):
    """One message per notification: text, or a file whose caption is the beginning of the text."""

    Config = TelegramConfig
    # 20 messages a minute in a group, and not more than one a second in any chat:
    # https://core.telegram.org/bots/faq#my-bot-is-hitting-limits-how-do-i-avoid-this
    pace: ClassVar[Pace | None] = Pace(1, 3.0)

    @override
    def render(self, notification: Notification) -> Rendering:
        target: dict[str, Any] = {"chat_id": self.config.chat_id, "parse_mode": "HTML"}
        if self.config.thread_id is not None:
            target["message_thread_id"] = self.config.thread_id
        if self.config.send_files and _is_long(notification):
            caption = _text.message(with_last_lines(notification, CAPTION_LINES), MARKUP, CAPTION_LIMIT, size)
            return {**target, "caption": caption, "document": _text.whole_text(notification)}
        text = _text.message(notification, MARKUP, MESSAGE_LIMIT, size)
        return {**target, "text": text, "link_preview_options": {"is_disabled": True}}

    @override
    async def send(self, notification: Notification) -> None:
        # Long logs take a while to make, and this loop has API servers waiting.
        message = await asyncio.to_thread(self.render, notification)
        assert isinstance(message, dict)  # noqa: S101  for the type
        document = message.pop("document", None)
        if document is None:
            await self.post_json(self._url("sendMessage"), message)
            return
        fields = [FormPart(name, str(value).encode()) for name, value in message.items()]
        file = FormPart("document", document.encode(), filename=NAME)
        await self.post(self._url("sendDocument"), *multipart(notification, [*fields, file]))

    @override
    def failure(self, answer: Answer) -> Failure | None:
        found = super().failure(answer)
        said = answer.json if isinstance(answer.json, dict) else {}
        if found is None:
            return None if said.get("ok", True) else Failure(temporary=False, reason=_description(said))
        pause = _pause(said) or found.retry_after
        return found._replace(retry_after=pause, reason=_description(said), advice=_advice(_description(said)))

    def _url(self, method: str) -> str:
        return below(self.config.api_url, f"bot{self.config.bot_token.get_secret_value()}/{method}")


def shown(markup: str) -> int:
    """Return how many characters are left when entities are read, as Telegram counts: in UTF-16 code units."""
    return len(html.unescape(_TAG.sub("", markup)).encode("utf-16-le", errors="replace")) // 2


def size(markup: str) -> int:
    """Return how many characters are left when entities are read, or more than any limit if there are too many."""
    return shown(markup) if markup.count("</") <= ENTITIES_LIMIT else 2 * MESSAGE_LIMIT


def _is_long(notification: Notification) -> bool:
    if has_files(notification):
        return True
    twice = _text.message(notification, MARKUP, 2 * MESSAGE_LIMIT, shown)
    return size(twice) > MESSAGE_LIMIT


def _description(said: dict[str, Any]) -> str:
    return str(said.get("description") or "")


def _pause(said: dict[str, Any]) -> timedelta | None:
    parameters = said.get("parameters")
    seconds = parameters.get("retry_after") if isinstance(parameters, dict) else None
    return timedelta(seconds=seconds) if isinstance(seconds, int) and 0 <= seconds < 10**9 else None


def _advice(description: str) -> str:
    found = [advice for words, advice in ADVICE if words in description.lower()]
    return found[-1] if found else ""
