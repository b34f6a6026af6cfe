"""Rocket.Chat sink: posts each notification to a channel with a personal access token.

API: https://developer.rocket.chat/apidocs/post-message. Rocket.Chat's Markdown knows no escapes, so marks in prose
become look-alikes, and mentions are broken in code too.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Final

from pydantic import Field, HttpUrl
from typing_extensions import override

from app.core.finding import Notification
from app.sinks import _markdown as markdown
from app.sinks import _text
from app.sinks._http import Answer, Failure, HttpSink, HttpSinkConfig, below
from app.sinks._secrets import HeaderSecret
from app.sinks.base import Pace, Rendering

TEXT_LIMIT: Final = 5000
"""Characters: the default of the server's Message_MaxAllowedSize; see `message_limit`."""

MARKUP: Final = markdown.markup(markdown.lookalike, quiet=True, strong="*")

ADVICE: Final = {
    "error-room-not-found": "look at `channel`, and add the user to it",
    "error-invalid-room": "look at `channel`, and add the user to it",
    "invalid-channel": "look at `channel`, and add the user to it",
    "error-not-allowed": "let the user post there: channel, Members, and its role's permissions",
    "error-message-size-exceeded": "set `message_limit` to the server's Message_MaxAllowedSize",
}
"""What to do by `errorType`, or by the word in brackets at the end of `error`."""

_UNAUTHORISED: Final = "look at `user_id` and `token`: My Account, Personal Access Tokens, without two factors"
_ADVICE_BY_STATUS: Final = {401: _UNAUTHORISED, 403: _UNAUTHORISED}

_TOO_MANY: Final = "error-too-many-requests"
_WAIT: Final = re.compile(r"must wait (\d{1,6}) seconds")
_IN_BRACKETS: Final = re.compile(r"\[([a-z-]+)\]\s*$")


class RocketchatConfig(HttpSinkConfig):
    """Options of the Rocket.Chat sink."""

    server_url: Annotated[HttpUrl, Field(description="The server, such as https://chat.example.com.")]
    user_id: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9._-]+$", description="The user's id, shown once with the access token.")
    ]
    token: Annotated[HeaderSecret, Field(min_length=1, description="The user's personal access token.")]
    channel: Annotated[str, Field(min_length=1, description="The channel's name or id; `@name` is a person.")]
    message_limit: Annotated[
        int, Field(ge=500, le=100_000, description="Characters of a message, the server's Message_MaxAllowedSize.")
    ] = TEXT_LIMIT


class RocketchatSink(HttpSink[RocketchatConfig]):
    """Success is a 2xx whose body does not say otherwise. A message may come twice: repeats are not recognised."""

    Config = RocketchatConfig
    # 10 calls of an endpoint in 60 seconds by default:
    # https://developer.rocket.chat/apidocs/rate-limiter ; the permission api-bypass-rate-limit lifts it.
    pace: ClassVar[Pace | None] = Pace(10, 60.0)

    @override
    def render(self, notification: Notification) -> Rendering:
        return {"channel": self.config.channel, **message(notification, self.config.message_limit)}

    @override
    async def send(self, notification: Notification) -> None:
        url = below(self.config.server_url, "api/v1/chat.postMessage")
        headers = {"X-User-Id": self.config.user_id, "X-Auth-Token": self.config.token.get_secret_value()}
        await self.post_json(url, self.render(notification), headers)

    @override
    def failure(self, answer: Answer) -> Failure | None:
        told = answer.json if isinstance(answer.json, dict) else {}
        if answer.succeeded:
            return Failure(temporary=False, reason=_reason(told)) if told.get("success") is False else None
        failure = super().failure(answer) or Failure(temporary=False)
        if _kind(told) == _TOO_MANY:  # a 400 in older versions
            failure = failure._replace(temporary=True)
        if failure.temporary:
            return failure._replace(retry_after=failure.retry_after or _pause(_reason(told)))
        advice = ADVICE.get(_kind(told)) or _ADVICE_BY_STATUS.get(answer.status, "")
        return failure._replace(reason=_reason(told), advice=advice)


def _reason(told: dict[str, Any]) -> str:
    return str(told.get("error") or told.get("message") or "")


def _kind(told: dict[str, Any]) -> str:
    found = _IN_BRACKETS.search(_reason(told))
    return str(told.get("errorType") or (found[1] if found else ""))


def _pause(reason: str) -> timedelta | None:
    found = _WAIT.search(reason)
    return timedelta(seconds=int(found[1])) if found else None


def message(notification: Notification, limit: int) -> dict[str, Any]:
    """Return the title as text, and all else as an attachment in the severity's colour, together within the limit."""
    text = MARKUP.bold(_text.title(notification))
    shown = {
        "color": _text.COLOURS[notification.finding.severity],
        "text": _text.message(notification, MARKUP, limit - len(text), titled=False),
    }
    return {"text": text, "attachments": [shown]}
