"""Slack sink: a message for each notification as an app's bot, with threads and files, or through an incoming webhook.

As a bot, what is too long for a message is uploaded as files into its thread, and the channel may depend on the
cluster, the namespace, labels and annotations. An incoming webhook posts to one channel, without threads or files.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, ClassVar, Final, Self

import msgspec
import structlog
from pydantic import AfterValidator, Field, HttpUrl, Secret, SecretStr, model_validator
from typing_extensions import override

from app.core.finding import Notification
from app.sinks._channel import channel, compile_channel, compile_override
from app.sinks._http import HttpSinkConfig, utc_now
from app.sinks._slack_api import IncomingWebhook, Posted, SlackRefusedError, WebApi
from app.sinks._slack_files import File
from app.sinks._slack_message import Body, Draft, draft, plain_body, summary_body
from app.sinks.base import Pace, PermanentError, Rendering, SinkError, Summary, TemporaryError, ThreadedSink

_log = structlog.get_logger(__name__)

# https://docs.slack.dev/authentication/tokens: bots, users, and both with rotation.
_TOKEN: Final = re.compile(r"xox[a-z](?:\.xox[a-z])?-[!-~]+")
# Lower case, no spaces and no punctuation but hyphens and underscores; letters of any language.
_NAME: Final = re.compile(r"#?[\w-]{1,80}")
_CHANNEL_ID: Final = re.compile(r"[CG][A-Z0-9]{8,}")
_ANY_ID: Final = re.compile(r"[CGDUW][A-Z0-9]{8,}")

_NO_SUCH_CHANNEL: Final = frozenset(
    """
    channel_not_found not_in_channel is_archived restricted_action restricted_action_read_only_channel
    restricted_action_thread_only_channel no_permission team_not_found
    """.split()
)
_BLOCKS_REFUSED: Final = frozenset(
    """
    invalid_blocks invalid_blocks_format invalid_attachments msg_blocks_too_long msg_too_long
    attachment_payload_limit_exceeded invalid_payload
    """.split()
)
_MESSAGE_GONE: Final = frozenset(
    """
    message_not_found cant_update_message edit_window_closed channel_not_found is_archived thread_not_found
    cannot_reply_to_message restricted_action_thread_locked restricted_action_non_threadable_channel
    """.split()
)
# What the next attempt to attach a file does not change.
_FILES_REFUSED: Final = frozenset({"missing_scope", "no_permission", "not_allowed_token_type", "file_uploads_disabled"})
_AMEND_SECONDS: Final = 2.0

FILES_AGAIN: Final = timedelta(minutes=15)
"""After so long files are tried again, where the app lacked a right."""


def _is_channel(name: str) -> bool:
    """Say whether a stranger may name it: a channel, but no person."""
    return bool(_CHANNEL_ID.fullmatch(name) or (_NAME.fullmatch(name) and name == name.lower()))


def _token(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value().strip()
    if text.startswith("xapp-"):
        raise ValueError("is an app-level token; what is needed is the Bot User OAuth Token, which begins with xoxb-")
    if text.startswith("http"):
        raise ValueError("is a URL; an incoming webhook belongs into webhook_url")
    if not _TOKEN.fullmatch(text):
        raise ValueError("is no token of Slack; copy the Bot User OAuth Token, which begins with xoxb-")
    return SecretStr(text)


def _webhook(url: Secret[HttpUrl]) -> Secret[HttpUrl]:
    if (url.get_secret_value().path or "/") == "/":
        raise ValueError("is no incoming webhook; one looks like https://hooks.slack.com/services/T000/B000/XXXX")
    return url


def _channel(text: str) -> str:
    text = text.strip()
    if not compile_channel(text).variables and not (_is_channel(text) or _ANY_ID.fullmatch(text)):
        raise ValueError(
            f"{text!r} is no channel of Slack; write a name in lower case such as alerts, or an id such as C0123456789"
        )
    return text


def _override(text: str) -> str:
    compile_override(text)
    return text


class SlackConfig(HttpSinkConfig):
    """Options of the Slack sink: `api_key` and `slack_channel` of an app, or the `webhook_url` of one channel."""

    slack_channel: Annotated[
        str | None,
        AfterValidator(lambda text: text and _channel(text)),
        Field(
            min_length=1,
            description="Channel by name or id. It may hold $namespace, $cluster_name, $labels.x and the like; where a "
            "value may be missing, prefer channel_override.",
        ),
    ] = None
    api_key: Annotated[
        SecretStr | None,
        AfterValidator(lambda secret: secret and _token(secret)),
        Field(description="Bot User OAuth Token, xoxb-...; needs the scope chat:write, and files:write for files."),
    ] = None
    webhook_url: Annotated[
        Secret[HttpUrl] | None,
        AfterValidator(lambda url: url and _webhook(url)),
        Field(description="Incoming webhook, instead of api_key and slack_channel; without threads and files."),
    ] = None
    channel_override: Annotated[
        str | None,
        AfterValidator(lambda text: text and _override(text)),
        Field(
            description="Channel that depends on what happened: cluster_name, labels.x, annotations.x, or a text such "
            "as $cluster_name-alerts-$labels.env. slack_channel is for what has none."
        ),
    ] = None
    max_log_file_limit_kb: Annotated[
        int, Field(ge=1, description="Most kilobytes of a file that is uploaded; of a log its end.")
    ] = 1000
    investigate_link: Annotated[bool, Field(description="End each message with a link to the entry.")] = True
    api_url: Annotated[
        HttpUrl, Field(description="Address of the Web API, for GovSlack (https://slack-gov.com/api/) or a gateway.")
    ] = HttpUrl("https://slack.com/api/")
    disable_holmes_note: Annotated[
        bool, Field(description="Accepted for Robusta's sake: there is no such note here.")
    ] = False
    prefer_redirect_to_platform: Annotated[
        bool, Field(description="Accepted for Robusta's sake: links always lead to the entry.")
    ] = True

    @model_validator(mode="after")
    def _check(self) -> Self:
        as_bot = {"api_key": self.api_key, "slack_channel": self.slack_channel}
        if self.webhook_url is not None:
            extra = [name for name, value in {**as_bot, "channel_override": self.channel_override}.items() if value]
            if extra:
                raise ValueError(f"webhook_url posts to its own channel as itself; leave out {' and '.join(extra)}")
        elif missing := [name for name, value in as_bot.items() if not value]:
            raise ValueError(f"needs {' and '.join(missing)} (or webhook_url, and neither api_key nor slack_channel)")
        return self


class SlackSink(ThreadedSink[SlackConfig]):
    """Slack has the message when `send` returns; a file that Slack does not take is told in the message.

    Slack documents nothing that drops repeats: an attempt of which the answer is lost shows twice.
    """

    Config = SlackConfig
    # "Generally one message per second to a specific channel", by the app or by the webhook:
    # https://docs.slack.dev/apis/web-api/rate-limits
    pace: ClassVar[Pace | None] = Pace(1, 1.0)

    def __init__(self, config: SlackConfig, *, clock: Callable[[], datetime] = utc_now) -> None:
        super().__init__(config)
        self._clock = clock
        self._without_files: tuple[str, datetime] | None = None
        self._host = (config.webhook_url.get_secret_value() if config.webhook_url else config.api_url).host
        self._channel = compile_channel(config.slack_channel or "")
        self._override = compile_override(config.channel_override) if config.channel_override else None
        self._api: WebApi | None = None
        self._hook: IncomingWebhook | None = None
        if config.webhook_url is not None:
            self._hook = IncomingWebhook(str(config.webhook_url.get_secret_value()), config, clock)
        elif config.api_key is not None:
            self._api = WebApi(str(config.api_url), config.api_key.get_secret_value(), config, clock)

    @property
    @override
    def threads(self) -> bool:
        return self._api is not None

    @override
    def lane(self, notification: Notification) -> str:
        return next(iter(self._channels(notification)), "")

    @override
    def render(self, notification: Notification) -> Rendering:
        """Return the message, with its channel, and the names and bytes of the files beside it."""
        drawn = self._draft(notification)
        place = {"channel": self.lane(notification)} if self._api else {}
        listed = [{"filename": file.name, "length": len(file.content.encode())} for file in drawn.files]
        return {**place, **drawn.body, **({"files": listed} if listed else {})}

    def _draft(self, notification: Notification) -> Draft:
        note = self._files_note
        may_attach = self._api is not None and not note
        limit = self.config.max_log_file_limit_kb * 1000 if may_attach else 0
        drawn = draft(self._linked(notification), limit)
        return drawn if drawn.is_whole or not note else draft(self._linked(notification), 0, note)

    @property
    def _files_note(self) -> str:
        """Return why no files are tried; empty if they are, as again after a while: people may have mended it."""
        note, until = self._without_files or ("", None)
        return note if until and self._clock() < until else ""

    def _linked(self, notification: Notification) -> Notification:
        return notification if self.config.investigate_link else msgspec.structs.replace(notification, link="")

    def _channels(self, notification: Notification) -> list[str]:
        """Return where the notification goes, and where to if that is no channel that Slack knows."""
        if self._api is None:
            return [""]
        own = channel(self._override, notification) if self._override else None
        usual = channel(self._channel, notification)
        return [name for name in (own, usual) if name and (_is_channel(name) or name == self.config.slack_channel)]

    @override
    async def send(self, notification: Notification) -> None:
        await self._tell(notification, self._channels(notification))

    async def _tell(self, notification: Notification, channels: list[str], thread: str = "") -> None:
        # Files of a megabyte take a while to make, and this loop has API servers waiting.
        drawn = await asyncio.to_thread(self._draft, notification)
        seconds = self.config.timeout_seconds
        until = asyncio.get_running_loop().time() + seconds
        try:
            async with asyncio.timeout_at(until):
                posted = await self._post(channels, drawn.body, plain_body(self._linked(notification)), thread)
        except TimeoutError as error:
            raise TemporaryError(f"{self._host} did not answer within {seconds:g} s") from error
        if drawn.files and self._api is not None:
            await self._attach(self._api, drawn.files, posted, notification, thread, until)

    async def _post(self, channels: list[str], body: Body, alternative: Body, thread: str = "") -> Posted:
        """Post where it can be: in the first channel that Slack knows, and as text alone if it refuses the blocks."""
        if not channels:
            raise PermanentError(
                f"slack_channel {self.config.slack_channel}: the object has no such value, or it is no channel; "
                "write this into channel_override, and a channel for such objects into slack_channel"
            )
        try:
            return await self._post_once(channels[0], body, thread)
        except SlackRefusedError as refusal:
            if refusal.code in _NO_SUCH_CHANNEL and channels[1:]:
                # Whoever names the channel, by a label, must not be able to hide the change from everybody.
                _log.warning("slack_channel_refused", sink=self.config.name, channel=channels[0], reason=refusal.code)
                return await self._post(channels[1:], body, alternative, thread)
            if refusal.code in _BLOCKS_REFUSED and body is not alternative:
                _log.warning("slack_blocks_refused", sink=self.config.name, reason=str(refusal))
                return await self._post(channels, alternative, alternative, thread)
            raise

    async def _post_once(self, name: str, body: Body, thread: str) -> Posted:
        if self._hook is not None:
            await self._hook.post(body)
            return Posted("", "")
        assert self._api is not None  # noqa: S101  for the type: there is one of the two
        return await self._api.post(name, body, thread)

    async def _attach(
        self,
        api: WebApi,
        files: tuple[File, ...],
        posted: Posted,
        notification: Notification,
        thread: str,
        until: float,
    ) -> None:
        """Upload files; the message has arrived, so what fails here is told in it, and nothing is sent again.

        All this has to end before a dispatcher loses its patience and sends the message once more.
        """
        try:
            async with asyncio.timeout_at(until):
                await api.attach(files, posted, thread)
        except (SinkError, TimeoutError) as error:
            code = error.code if isinstance(error, SlackRefusedError) else ""
            reason = str(error) or "they took longer than timeout_seconds leaves after the message"
            _log.warning("slack_files_not_attached", sink=self.config.name, reason=reason)
            note = _files_note(code)
            self._without_files = (note, self._clock() + FILES_AGAIN) if code in _FILES_REFUSED else None
            await self._amend(api, posted, draft(self._linked(notification), 0, note).body)

    async def _amend(self, api: WebApi, posted: Posted, body: Body) -> None:
        try:
            async with asyncio.timeout(_AMEND_SECONDS):
                await api.update(posted, body)
        except (SinkError, TimeoutError) as error:
            reason = str(error) or f"no answer within {_AMEND_SECONDS:g} s"
            _log.warning("slack_message_not_amended", sink=self.config.name, reason=reason)

    @override
    async def summarise(self, summary: Summary, reference: str) -> str:
        """See `ThreadedSink`; a message that is gone or cannot be changed any more is sent anew."""
        body = summary_body(msgspec.structs.replace(summary, last=self._linked(summary.last)))
        posted = _posted(reference)
        if posted is not None and self._api is not None:
            try:
                await self._api.update(posted, body)
            except SlackRefusedError as refusal:
                if refusal.code not in _MESSAGE_GONE:
                    raise
            else:
                return reference
        alternative: Body = {"text": body["text"], "mrkdwn": False}
        return _reference(await self._post(self._channels(summary.last), body, alternative))

    @override
    async def reply(self, notification: Notification, reference: str) -> None:
        """See `ThreadedSink`; where there is no such thread, the notification is sent to the channel."""
        posted = _posted(reference)
        if posted is None or self._api is None:
            return await self.send(notification)
        try:
            await self._tell(notification, [posted.channel], posted.timestamp)
        except SlackRefusedError as refusal:
            if refusal.code not in _MESSAGE_GONE:
                raise
            await self.send(notification)
        return None

    @override
    async def aclose(self) -> None:
        for each in (self._api, self._hook):
            if each is not None:
                await each.aclose()


def _files_note(code: str) -> str:
    if code == "missing_scope":
        return "No files: the app lacks the scope `files:write`"
    return f"Files could not be attached{f': `{code}`' if code else ''}"


def _reference(posted: Posted) -> str:
    return f"{posted.channel}:{posted.timestamp}" if posted.timestamp else ""


def _posted(reference: str) -> Posted | None:
    name, _, timestamp = reference.partition(":")
    return Posted(name, timestamp) if name and timestamp else None
