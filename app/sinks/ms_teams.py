"""Microsoft Teams sink: posts each notification as an Adaptive Card to a Workflows webhook."""

from __future__ import annotations

import hashlib
import re
from datetime import timedelta
from typing import Annotated, ClassVar, Final

import httpx
from pydantic import AfterValidator, Field, HttpUrl, Secret
from typing_extensions import override

from app.core.finding import Notification
from app.sinks._adaptive_card import message
from app.sinks._channel import compile_override
from app.sinks._http import Answer, Failure, HttpSink, HttpSinkConfig
from app.sinks._override import Override, overridden
from app.sinks.base import Pace, Rendering

CLOUDS: Final = (".logic.azure.com", ".api.powerplatform.com", ".webhook.office.com", ".logic.azure.us")
"""Where Microsoft serves webhooks; an annotation may lead nowhere else."""

ADVICE: Final = {
    "WorkflowTriggerIsNotEnabled": "the workflow is turned off or deleted: turn it on, or make one and copy its URL",
    "WorkflowNotFound": "the workflow is deleted: make one and copy its URL",
    "DirectApiAuthorizationRequired": "copy the whole URL with its `sig`, and let `Anyone` trigger the workflow",
    "MissingApiVersionParameter": "copy the whole URL with all that follows the question mark",
}
_GONE: Final = "the webhook is gone or its URL is not whole: copy it anew from the channel's Workflows"
_ADVICE_BY_STATUS: Final = {401: _GONE, 403: _GONE, 404: _GONE, 410: _GONE}
_SIZE: Final = "the card is larger than Teams takes; this is a fault of the sink"

# A connector answers 200 and says in the body that Teams refused:
# https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using
_CONNECTOR: Final = re.compile(r"Webhook message delivery failed|System\.Net\.Http\.HttpRequestException")
_CONNECTOR_STATUS: Final = re.compile(r"HTTP error (\d{3})")
_AGAIN: Final = re.compile(r"[Tt]ry again in (\d{1,6}) seconds?")
_CLIENT_ERROR: Final = range(400, 500)
_TEMPORARY: Final = frozenset({408, 425, 429})


def _webhook(url: Secret[HttpUrl]) -> Secret[HttpUrl]:
    if url.get_secret_value().host == "teams.microsoft.com":
        raise ValueError(
            "is the link to a channel; take the URL of a webhook: the channel's menu, Workflows, `webhook`"
        )
    return url


def _by_annotation(text: str) -> str:
    if not all(variable.startswith("annotations.") for variable in compile_override(text).variables):
        raise ValueError("takes the URL from annotations alone; write annotations.NAME or ${annotations.NAME}")
    return text


class MsTeamsConfig(HttpSinkConfig):
    """Options of the Microsoft Teams sink."""

    webhook_url: Annotated[
        Secret[HttpUrl],
        AfterValidator(_webhook),
        Field(description="URL of the channel's workflow; shown nowhere but for its host."),
    ]
    webhook_override: Annotated[
        Override | None,
        AfterValidator(lambda text: text and _by_annotation(text)),
        Field(
            description="Takes the URL from an annotation of the object, such as `annotations.teams-webhook`, if it is "
            "one of Microsoft's or of the host in `webhook_url`, or a name in `webhook_urls`. Else it is `webhook_url`."
        ),
    ] = None
    webhook_urls: Annotated[
        dict[str, Secret[HttpUrl]],
        Field(
            default_factory=dict,
            description='URLs by the names that annotations may hold, as in `payments: "{{ env.PAYMENTS_URL }}"`.',
        ),
    ]
    send_files: Annotated[
        bool | None, Field(description="Whether the ends of files, such as logs, are shown; by default they are.")
    ] = None
    prefer_redirect_to_platform: Annotated[
        bool, Field(description="Accepted for Robusta's sake; there is one link, to the entry.")
    ] = True


class MsTeamsSink(HttpSink[MsTeamsConfig]):
    """Success is a 2xx: a workflow answers 202 when it has taken the card, before it posts it.

    A message may come twice: Teams has no means to recognise repeats.
    """

    Config = MsTeamsConfig
    # Four requests a second are documented for webhooks. A workflow answers before it posts, and what is throttled
    # behind it nobody hears of, so this stays well below.
    pace: ClassVar[Pace | None] = Pace(1, 1.0)

    @override
    def lane(self, notification: Notification) -> str:
        return hashlib.sha256(self._url(notification).encode()).hexdigest()[:12]

    @override
    def render(self, notification: Notification) -> Rendering:
        return message(notification, files=self.config.send_files is not False)

    @override
    async def send(self, notification: Notification) -> None:
        await self.post_json(self._url(notification), self.render(notification))

    def _url(self, notification: Notification) -> str:
        default = str(self.config.webhook_url.get_secret_value())
        if self.config.webhook_override is None:
            return default
        chosen = overridden(self.config.webhook_override, notification).strip()
        if chosen in self.config.webhook_urls:
            return str(self.config.webhook_urls[chosen].get_secret_value())
        return chosen if is_allowed(chosen, default) else default

    @override
    def failure(self, answer: Answer) -> Failure | None:
        if answer.succeeded:
            return connector_failure(answer.text)
        failure = super().failure(answer) or Failure(temporary=False)
        code = error_code(answer)
        advice = (
            _SIZE if answer.status == httpx.codes.REQUEST_ENTITY_TOO_LARGE else _ADVICE_BY_STATUS.get(answer.status, "")
        )
        return failure._replace(
            retry_after=failure.retry_after or (pause(answer.text) if failure.temporary else None),
            advice=ADVICE.get(code, "" if failure.temporary else advice),
        )


def is_allowed(url: str, default: str) -> bool:
    """Say whether an annotation may send notifications to this URL: Microsoft's hosts over TLS, or the default's."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return False
    known = httpx.URL(default)
    # Not `host`, which reads `xn--` labels, and raises what idna raises for those that are none.
    host = parsed.raw_host.decode()
    same = (parsed.scheme, host, parsed.port) == (known.scheme, known.raw_host.decode(), known.port)
    return same or (parsed.scheme == "https" and parsed.port is None and host.endswith(CLOUDS))


def error_code(answer: Answer) -> str:
    """Return the code in a workflow's answer, `{"error": {"code", "message"}}`; empty if there is none."""
    error = answer.json.get("error") if isinstance(answer.json, dict) else None
    return str(error.get("code", "")) if isinstance(error, dict) else ""


def pause(text: str) -> timedelta | None:
    """Return how long the sentence `Try again in N seconds` asks to wait, as throttled workflows say it."""
    found = _AGAIN.search(text)
    return timedelta(seconds=int(found[1])) if found else None


def connector_failure(text: str) -> Failure | None:
    """Return what the body of a 200 tells of a failure behind it, None if it tells of none."""
    if not _CONNECTOR.search(text):
        return None
    found = _CONNECTOR_STATUS.search(text)
    status = int(found[1]) if found else 0
    temporary = status not in _CLIENT_ERROR or status in _TEMPORARY
    advice = _SIZE if status == httpx.codes.REQUEST_ENTITY_TOO_LARGE else _ADVICE_BY_STATUS.get(status, "")
    return Failure(temporary=temporary, advice=advice)
