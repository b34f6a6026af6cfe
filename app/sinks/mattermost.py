"""Mattermost sink: posts as a bot (API v4) with files, or to an incoming webhook without.

API: https://developers.mattermost.com/api-documentation/ ; message attachments:
https://developers.mattermost.com/integrate/reference/message-attachments/
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Self
from urllib.parse import quote

import httpx
import msgspec
import structlog
from pydantic import Field, HttpUrl, Secret, model_validator
from typing_extensions import override

from app.core.finding import Notification
from app.sinks import _markdown as markdown
from app.sinks import _text
from app.sinks._attachment import NAME, attachment
from app.sinks._http import JSON_TYPE, NO_HEADERS, Answer, Failure, HttpSink, HttpSinkConfig, below
from app.sinks._secrets import HeaderSecret
from app.sinks.base import Pace, PermanentError, Rendering, TemporaryError

TEXT_LIMIT: Final = 16_383
"""Characters of a post: `PostMessageMaxRunesV2` in the server's public/model/post.go."""

MARKUP: Final = markdown.markup(markdown.escaping("\\*_`~|[]"))

ADVICE: Final = {
    401: "make a new token for the bot (Integrations, Bot Accounts) and set it as `token`",
    403: "add the bot to the channel, and to its team",
    404: "look at `channel`, `team` and `url`: the channel's name is the last part of its URL",
    413: "files are larger than the server takes: set send_files: false",
}
WEBHOOK_ADVICE: Final = "make a new incoming webhook (Integrations) and set it as `webhook_url`"

_log = structlog.get_logger(__name__)
_ID: Final = re.compile(r"[a-z0-9]{26}")
_SLUG: Final = re.compile(r"[^a-z0-9_.-]+")


class MattermostConfig(HttpSinkConfig):
    """Options of the Mattermost sink: `url`, `token` and `channel`, or `webhook_url`."""

    url: Annotated[HttpUrl | None, Field(description="The server, such as https://chat.example.com.")] = None
    token: Annotated[HeaderSecret | None, Field(min_length=1, description="The bot's access token.")] = None
    token_id: Annotated[str, Field(description="Accepted for Robusta's sake; the bot's name and picture are kept.")] = (
        ""
    )
    channel: Annotated[
        str,
        Field(description="The channel's name, as in its URL; also its display name or id. Webhooks have their own."),
    ] = ""
    team: Annotated[str, Field(description="Name of the channel's team, as in its URL.")] = ""
    team_id: Annotated[
        str, Field(description="Id of the channel's team; a bot that is no admin needs this or `team`.")
    ] = ""
    webhook_url: Annotated[
        Secret[HttpUrl] | None, Field(description="An incoming webhook; shown nowhere but for its host.")
    ] = None
    send_files: Annotated[
        bool, Field(description="Attach what the message cannot hold, and whole logs, as a text file; bots only.")
    ] = True

    @model_validator(mode="after")
    def _check(self) -> Self:
        missing = [name for name in ("url", "token", "channel") if not getattr(self, name)]
        if self.webhook_url and not (self.url or self.token):
            return self
        if self.webhook_url:
            raise ValueError("takes url, token and channel of a bot, or webhook_url, not both")
        if missing:
            raise ValueError(f"needs {' and '.join(missing)} for a bot, or webhook_url for an incoming webhook")
        return self


class MattermostSink(HttpSink[MattermostConfig]):
    """Success is a 2xx. Posts carry the delivery's id, by which the server drops repeats that come within seconds."""

    Config = MattermostConfig
    # The default of the server's RateLimitSettings: 10 a second.
    # https://docs.mattermost.com/configure/rate-limiting-configuration-settings.html
    pace: ClassVar[Pace | None] = Pace(10, 1.0)

    def __init__(self, config: MattermostConfig, **more: Any) -> None:
        super().__init__(config, **more)
        self._configured_id = config.channel if _ID.fullmatch(config.channel) else ""
        self._channel_id = self._configured_id

    @override
    def render(self, notification: Notification) -> Rendering:
        shown = message_attachment(notification)
        if self.config.webhook_url:
            return {"attachments": [shown], **({"channel": self.config.channel} if self.config.channel else {})}
        return {"message": "", "props": {"attachments": [shown]}}

    @override
    async def send(self, notification: Notification) -> None:
        if self.config.webhook_url:
            await self.post_json(self.config.webhook_url, self.render(notification))
            return
        try:
            async with self.attempt(str(self.config.url)):
                await self._post(notification)
        except PermanentError:
            self._channel_id = self._configured_id  # it may have been made anew
            raise

    async def _post(self, notification: Notification) -> None:
        self._channel_id = self._channel_id or await self._channel()
        file_ids = await self._upload(notification)
        document = {
            "channel_id": self._channel_id,
            "message": "",
            "props": {"attachments": [message_attachment(notification)]},
            "pending_post_id": notification.delivery_id,
            "file_ids": file_ids,
        }
        await self._api("POST", "posts", msgspec.json.encode(document), JSON_TYPE)

    async def _channel(self) -> str:
        """Return the channel's id; raises `PermanentError` if there is no such channel."""
        name = _SLUG.sub("-", self.config.channel.lower().strip()).strip("-")
        if self.config.team_id:
            path = f"teams/{quote(self.config.team_id, safe='')}/channels/name/{name}"
        elif self.config.team:
            path = f"teams/name/{quote(self.config.team, safe='')}/channels/name/{name}"
        else:
            return await self._search(name)
        answer = await self._api("GET", path)
        return channel_id(answer.json, name)

    async def _search(self, name: str) -> str:
        answer = await self._api("POST", "channels/search", msgspec.json.encode({"term": name}), JSON_TYPE)
        return channel_id(answer.json, name)

    async def _upload(self, notification: Notification) -> list[str]:
        file = await asyncio.to_thread(self._file, notification)
        if file is None:
            return []
        path = f"files?channel_id={self._channel_id}&filename={NAME}"
        try:
            answer = await self._api("POST", path, file, {"Content-Type": "text/plain; charset=utf-8"})
        except PermanentError as error:
            _log.warning("file_not_attached", sink=self.config.name, reason=str(error))
            return []
        infos = answer.json.get("file_infos") if isinstance(answer.json, dict) else None
        return [info["id"] for info in infos or [] if isinstance(info, dict) and isinstance(info.get("id"), str)]

    def _file(self, notification: Notification) -> bytes | None:
        return attachment(notification, MARKUP, TEXT_LIMIT) if self.config.send_files else None

    async def _api(
        self, method: str, path: str, content: bytes = b"", headers: Mapping[str, str] = NO_HEADERS
    ) -> Answer:
        assert self.config.token  # noqa: S101  for the type: the options were checked
        authorization = {"Authorization": f"Bearer {self.config.token.get_secret_value()}"}
        url = below(str(self.config.url), f"api/v4/{path}")
        return await self.call(method, url, content, {**headers, **authorization})

    @override
    def failure(self, answer: Answer) -> Failure | None:
        failure = super().failure(answer)
        if answer.status == httpx.codes.NOT_IMPLEMENTED:  # what this server has turned off, such as attachments
            failure = Failure(temporary=False)
        if failure is None or failure.temporary:
            return failure
        message = answer.json.get("message") if isinstance(answer.json, dict) else ""
        advice = WEBHOOK_ADVICE if self.config.webhook_url else ADVICE.get(answer.status, "")
        return failure._replace(reason=str(message or ""), advice=advice)


def channel_id(found: Any, name: str) -> str:
    """Return the id of the channel in an answer, or of the one with this name in a list of them.

    Raises `PermanentError` if it is not there, `TemporaryError` if the answer cannot be read.
    """
    if found is None:
        raise TemporaryError("the answer about the channel did not come whole, or is not Mattermost's")
    channels = found if isinstance(found, list) else [found]
    for channel in channels:
        if isinstance(channel, dict) and channel.get("name", name) == name and isinstance(channel.get("id"), str):
            return str(channel["id"])
    raise PermanentError(f"there is no channel {name!r}; its name is the last part of its URL, and the bot must see it")


def message_attachment(notification: Notification) -> dict[str, Any]:
    """Return all that is shown of a notification; the title alone is in `fallback`, for telephones."""
    return {
        "fallback": markdown.inert(_text.title(notification)),
        "color": _text.COLOURS[notification.finding.severity],
        "text": _text.message(notification, MARKUP, TEXT_LIMIT),
    }
