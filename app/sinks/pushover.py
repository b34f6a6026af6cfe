"""Pushover sink: pushes each notification to the devices of a person or group."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Final
from urllib.parse import urlencode

import httpx
import msgspec
from pydantic import AfterValidator, Field, HttpUrl, SecretStr
from typing_extensions import override

from app.core import text as plain
from app.core.finding import Notification, Severity
from app.sinks import _text
from app.sinks._ends import with_last_lines
from app.sinks._http import Answer, Failure, HttpSink, HttpSinkConfig
from app.sinks.base import Pace, Rendering

MESSAGE_LIMIT: Final = 1024
"""Characters of a message, tags included: https://pushover.net/api#limits"""

TITLE_LIMIT: Final = 250
URL_LIMIT: Final = 512
"""Of the same page; a longer link would be refused with the whole message."""

PRIORITIES: Final = (
    (Severity.DEBUG, -1),
    (Severity.INFO, 0),
    (Severity.LOW, 0),
    (Severity.MEDIUM, 0),
    (Severity.HIGH, 1),
)
"""-1 makes no sound, 1 breaks quiet hours: https://pushover.net/api#priority"""

ADVICE: Final = (
    ("application token is invalid", "token is that of the application: https://pushover.net/apps"),
    ("user identifier", "user is the key that https://pushover.net shows after the login"),
    ("device", "device is the name of one of the user's devices, or leave it out for all"),
)

LOG_LINES: Final = 5
"""Lines of each log, of which Pushover takes no files."""

FORM_TYPE: Final = MappingProxyType({"Content-Type": "application/x-www-form-urlencoded"})

_MOMENT: Final = re.compile(r"\d{1,11}")
_KEY: Final = re.compile(r"[A-Za-z0-9]{30}")


def _key(key: SecretStr) -> SecretStr:
    text = key.get_secret_value().strip()
    if not _KEY.fullmatch(text):
        raise ValueError("is none: Pushover's tokens and keys are 30 letters and digits")
    return SecretStr(text)


Key = Annotated[SecretStr, AfterValidator(_key)]


class PushoverConfig(HttpSinkConfig):
    """Options of the Pushover sink."""

    token: Annotated[Key, Field(description="API token of the application.")]
    user: Annotated[Key, Field(description="Key of the user, or of a group.")]
    device: Annotated[
        str | None,
        Field(pattern=r"^[A-Za-z0-9_-]{1,25}(,[A-Za-z0-9_-]{1,25})*$", description="Only these devices, with commas."),
    ] = None
    send_files: Annotated[bool, Field(description="Show the end of files such as logs in the message.")] = True
    send_as_html: Annotated[bool, Field(description="Send bold text and links, instead of plain text.")] = True
    pushover_url: Annotated[HttpUrl, Field(description="Where to POST.")] = HttpUrl(
        "https://api.pushover.net/1/messages.json"
    )


HTML: Final = _text.HTML._replace(
    code=_text.HTML.text,
    pre=lambda lines: "\n".join(_text.HTML.text(line) for line in lines),
)
"""The tags that Pushover knows; others would be shown: https://pushover.net/api#html"""


class PushoverSink(HttpSink[PushoverConfig]):
    """One push per notification; the link to the entry is its own field, and takes no room of the message."""

    Config = PushoverConfig
    # Two requests at once are its only documented rate, and 10,000 messages a month: https://pushover.net/api#friendly
    pace: ClassVar[Pace | None] = Pace(1, 1.0)

    @override
    def render(self, notification: Notification) -> Rendering:
        entry, severity = notification.entry, notification.finding.severity
        message: dict[str, Any] = {
            "title": plain.shorten(_text.title(notification), TITLE_LIMIT),
            "message": self._message(notification),
            "priority": dict(PRIORITIES)[severity],
        }
        if self.config.send_as_html:
            message["html"] = 1
        if self.config.device:
            message["device"] = self.config.device
        if timestamp := _seconds(entry.at):
            message["timestamp"] = timestamp
        if _fits(notification.link):
            message |= {"url": notification.link, "url_title": "Open the entry"}
        return message

    @override
    async def send(self, notification: Notification) -> None:
        message = self.render(notification)
        assert isinstance(message, dict)  # noqa: S101  for the type
        keys = {"token": self.config.token.get_secret_value(), "user": self.config.user.get_secret_value()}
        await self.post(str(self.config.pushover_url), urlencode({**keys, **message}).encode(), FORM_TYPE)

    def _message(self, notification: Notification) -> str:
        shown = with_last_lines(notification, LOG_LINES if self.config.send_files else 0)
        if _fits(notification.link):
            shown = msgspec.structs.replace(shown, link="")
        markup = HTML if self.config.send_as_html else _text.PLAIN
        return _text.message(shown, markup, MESSAGE_LIMIT, titled=False)

    @override
    def failure(self, answer: Answer) -> Failure | None:
        found, errors = super().failure(answer), _errors(answer.json)
        if found is None:
            return Failure(temporary=False, reason=errors, advice=_advice(errors)) if errors else None
        pause = found.retry_after or self._until_reset(answer)
        return found._replace(reason=errors, advice=_advice(errors), retry_after=pause)

    def _until_reset(self, answer: Answer) -> timedelta | None:
        """Return how long it is until the application has messages again, where it has used up the month's."""
        remaining, reset = (answer.headers.get(f"x-limit-app-{word}", "") for word in ("remaining", "reset"))
        if answer.status != httpx.codes.TOO_MANY_REQUESTS or remaining != "0" or not _MOMENT.fullmatch(reset):
            return None
        return max(datetime.fromtimestamp(int(reset), UTC) - self.clock(), timedelta(0))


def _fits(link: str) -> bool:
    return 0 < len(link) <= URL_LIMIT


def _seconds(at: str) -> int:
    try:
        return int(datetime.fromisoformat(at).timestamp())
    except (ValueError, OverflowError):
        return 0


def _errors(said: Any) -> str:
    errors = said.get("errors") if isinstance(said, dict) else None
    return "; ".join(map(str, errors)) if isinstance(errors, list) else ""


def _advice(errors: str) -> str:
    return next((advice for words, advice in ADVICE if words in errors.lower()), "")
