"""Slack's Web API and incoming webhooks through Slack's own SDK: one attempt each, and its failure as an outcome.

Errors of the SDK quote requests and answers, so they are never shown: an outcome says Slack's word for what is wrong,
and what people can do about it. Redirects are not followed, since they would take the token along.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

import httpx

from app import __version__
from app.sinks._http import TEMPORARY_STATUS, HttpSinkConfig, retry_after, tls_context
from app.sinks._secrets import LEAST_SECRET, scrubbed
from app.sinks._slack_files import File
from app.sinks._slack_message import Body
from app.sinks.base import PermanentError, SinkError, TemporaryError

if TYPE_CHECKING:
    import aiohttp

# At DEBUG the SDK logs the webhook's URL and whole messages.
_quiet = logging.getLogger("slack_sdk")
_quiet.setLevel(logging.WARNING)

# https://docs.slack.dev/reference/methods/chat.postMessage#errors; rollup_error is that of incoming webhooks
# (https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks#handling_errors).
_TEMPORARY: Final = frozenset(
    """
    ratelimited rate_limited message_limit_exceeded internal_error fatal_error service_unavailable request_timeout
    team_added_to_org org_login_required rollup_error
    """.split()
)

_NEW_TOKEN: Final = "copy the Bot User OAuth Token (xoxb-...) of the app from OAuth & Permissions into api_key"
_NEW_WEBHOOK: Final = "make a new one under Incoming Webhooks in the app's settings"
_INVITE: Final = "invite the app to the channel (/invite @its-name), or give it the scope chat:write.public"
_CHANNEL: Final = "look for a typing error in the channel, or invite the app to it if it is private"
_ARCHIVED: Final = "unarchive the channel, or name another one"
_RESTRICTED: Final = "an administrator of the workspace must let the app post there"
_ADVICE: Final = {
    "invalid_auth": _NEW_TOKEN,
    "not_authed": _NEW_TOKEN,
    "token_revoked": _NEW_TOKEN,
    "token_expired": _NEW_TOKEN,
    "account_inactive": "the app was removed from the workspace: install it again",
    "not_allowed_token_type": _NEW_TOKEN,
    "missing_scope": "add the scope under OAuth & Permissions, and install the app again",
    "no_permission": _INVITE,
    "not_in_channel": _INVITE,
    "channel_not_found": _CHANNEL,
    "is_archived": _ARCHIVED,
    "channel_is_archived": _ARCHIVED,
    "team_not_found": "with a token of a whole organisation the channel must be an id, such as C0123456789",
    "restricted_action": _RESTRICTED,
    "restricted_action_read_only_channel": _RESTRICTED,
    "restricted_action_thread_only_channel": _RESTRICTED,
    "ekm_access_denied": _RESTRICTED,
    "action_prohibited": _RESTRICTED,
    "posting_to_general_channel_denied": _RESTRICTED,
    "messages_tab_disabled": "switch on the Messages Tab under App Home in the app's settings",
    "invalid_token": _NEW_WEBHOOK,
    "no_service": _NEW_WEBHOOK,
    "no_service_id": _NEW_WEBHOOK,
    "no_active_hooks": _NEW_WEBHOOK,
    "no_team": _NEW_WEBHOOK,
}
_CODE: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")


class SlackRefusedError(PermanentError):
    """Slack refuses; `code` is its word for why, empty if it gave none."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class _RedirectedError(Exception):
    """A redirect that is not followed."""


class Posted(NamedTuple):
    """Where a message is: the channel's id and the message's timestamp."""

    channel: str
    timestamp: str


class _Door:
    """The network under the SDK: one session, one time limit for each attempt, no redirects."""

    def __init__(self, url: str, config: HttpSinkConfig, secrets: Iterable[str], clock: Callable[[], datetime]) -> None:
        self.host = urlsplit(url).hostname or ""
        self.tls: Any = tls_context(config)
        self._config = config
        self._secrets = frozenset(secrets)
        self._clock = clock
        self._open: aiohttp.ClientSession | None = None

    @contextlib.asynccontextmanager
    async def attempt(self) -> AsyncIterator[aiohttp.ClientSession]:
        """Turn what keeps an answer from coming into an outcome."""
        import aiohttp  # noqa: PLC0415  heavy, and loaded by the SDK already

        seconds = self._config.timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                yield self._session()
        except TimeoutError:
            raise TemporaryError(f"{self.host} did not answer within {seconds:g} s") from None
        except _RedirectedError:
            raise PermanentError(f"{self.host} answered with a redirect, which is not followed") from None
        except (aiohttp.ClientError, OSError) as error:
            raise TemporaryError(f"cannot reach {self.host}: {self._reason(error)}") from None

    def _reason(self, error: aiohttp.ClientError | OSError) -> str:
        import aiohttp  # noqa: PLC0415  heavy, and loaded by the SDK already

        # Other errors of aiohttp quote URLs.
        words = str(error) if isinstance(error, aiohttp.ClientConnectionError | OSError) else ""
        if isinstance(error, aiohttp.ClientResponseError):
            words = error.message
        return scrubbed(words, self._secrets) or type(error).__name__

    def _session(self) -> aiohttp.ClientSession:
        import aiohttp  # noqa: PLC0415  heavy, and loaded by the SDK already

        if self._open is None or self._open.closed:
            tracing = aiohttp.TraceConfig()
            tracing.on_request_redirect.append(_refuse)
            self._open = aiohttp.ClientSession(
                trust_env=self._config.trust_environment,
                cookie_jar=aiohttp.DummyCookieJar(),
                trace_configs=[tracing],
            )
        return self._open

    def failure(self, status: int, said: object, headers: Mapping[str, str]) -> SinkError:
        """Return the outcome of an answer that is no success; `said` is its body, as JSON or text."""
        answer = said if isinstance(said, dict) else {"error": said}
        code = _code(answer.get("error"))
        what = code or f"{status} {httpx.codes.get_reason_phrase(status)}".rstrip()
        more = "".join(f"; {text}" for text in (self._details(answer), _ADVICE.get(code, "")) if text)
        message = scrubbed(f"{self.host} answered {what}", self._secrets) + more
        if code in _TEMPORARY or status in TEMPORARY_STATUS or status >= httpx.codes.INTERNAL_SERVER_ERROR:
            return TemporaryError(message, retry_after=retry_after(httpx.Headers(dict(headers)), self._clock()))
        return SlackRefusedError(message, code)

    def _details(self, answer: Mapping[str, Any]) -> str:
        """Return the scope that is missing, or what is wrong with the blocks."""
        if isinstance(answer.get("needed"), str):
            return f"needed is {scrubbed(answer['needed'], self._secrets)}"
        errors = answer.get("errors")
        return scrubbed(", ".join(map(str, errors)), self._secrets) if isinstance(errors, list) else ""

    async def aclose(self) -> None:
        if self._open is not None:
            await self._open.close()


async def _refuse(*_: object) -> None:
    raise _RedirectedError


def _code(said: object) -> str:
    """Return Slack's word for what is wrong; whatever is no such word could quote the request."""
    word = said.strip() if isinstance(said, str) else ""
    return word if _CODE.fullmatch(word) else ""


class WebApi:
    """Calls of the Web API as an app's bot."""

    def __init__(self, url: str, token: str, config: HttpSinkConfig, clock: Callable[[], datetime]) -> None:
        from slack_sdk.web.async_client import AsyncWebClient  # noqa: PLC0415  heavy, loads aiohttp

        self._door = _Door(url, config, {token}, clock)
        self._client = AsyncWebClient(
            token=token,
            base_url=url,
            ssl=self._door.tls,
            user_agent_prefix=f"kubewitness/{__version__}",
            logger=_quiet,
            retry_handlers=[],
        )
        # The SDK takes a proxy from the environment without being asked, and ignores NO_PROXY.
        self._client.proxy = None

    async def post(self, channel: str, body: Body, thread: str = "") -> Posted:
        """Send a message to a channel, or into a thread of it; raises `TemporaryError` or `PermanentError`."""
        more = {"thread_ts": thread} if thread else {}
        quiet = {"unfurl_links": False, "unfurl_media": False}
        answer = await self._call("chat.postMessage", {"channel": channel, **body, **_LITERAL, **quiet, **more})
        return Posted(str(answer.get("channel") or channel), str(answer.get("ts") or ""))

    async def update(self, posted: Posted, body: Body) -> None:
        """Replace a message; raises what `post` does."""
        place = {"channel": posted.channel, "ts": posted.timestamp}
        await self._call("chat.update", {**place, **body, **_LITERAL})

    async def attach(self, files: Sequence[File], posted: Posted, thread: str = "") -> None:
        """Upload files into the thread of a message; raises what `post` does."""
        uploads: list[dict[str, Any]] = [
            {"filename": file.name, "title": file.name, "content": file.content} for file in files
        ]
        async with self._attempt() as client:
            await client.files_upload_v2(
                file_uploads=uploads, channel=posted.channel, thread_ts=thread or posted.timestamp
            )

    async def _call(self, method: str, arguments: dict[str, Any]) -> dict[str, Any]:
        async with self._attempt() as client:
            answer = await client.api_call(method, json=arguments)
        return answer.data if isinstance(answer.data, dict) else {}

    @contextlib.asynccontextmanager
    async def _attempt(self) -> AsyncIterator[Any]:
        from slack_sdk.errors import SlackApiError, SlackClientError  # noqa: PLC0415  loaded with the client already

        async with self._door.attempt() as session:
            self._client.session = session
            try:
                yield self._client
            except SlackApiError as error:
                response: Any = error.response
                status = getattr(response, "status_code", None) or getattr(response, "status", None)
                raise self._door.failure(int(status or 0), getattr(response, "data", None), response.headers) from None
            except (SlackClientError, AttributeError, TypeError):
                # What the SDK makes of answers that are not Slack's: a proxy's page, or a file that is not taken.
                raise TemporaryError(f"{self._door.host} answered what Slack does not") from None

    async def aclose(self) -> None:
        """Free the connections; may be called more than once."""
        await self._door.aclose()


# Names and addresses in the text stay text.
_LITERAL: Final = {"parse": "none", "link_names": False}


class IncomingWebhook:
    """The URL that posts to one channel."""

    def __init__(self, url: str, config: HttpSinkConfig, clock: Callable[[], datetime]) -> None:
        from slack_sdk.webhook.async_client import AsyncWebhookClient  # noqa: PLC0415  heavy, loads aiohttp

        parts = {part for part in urlsplit(url).path.split("/") if len(part) >= LEAST_SECRET}
        self._door = _Door(url, config, {url, urlsplit(url).path, *parts}, clock)
        self._client = AsyncWebhookClient(
            url,
            ssl=self._door.tls,
            user_agent_prefix=f"kubewitness/{__version__}",
            logger=_quiet,
            retry_handlers=[],
        )
        self._client.proxy = None

    async def post(self, body: Body) -> None:
        """Send a message; raises `TemporaryError` or `PermanentError`."""
        async with self._door.attempt() as session:
            self._client.session = session
            answer = await self._client.send_dict({**body, "unfurl_links": False, "unfurl_media": False})
        if not httpx.codes.is_success(answer.status_code):
            raise self._door.failure(answer.status_code, answer.body, answer.headers)

    async def aclose(self) -> None:
        """Free the connections; may be called more than once."""
        await self._door.aclose()
