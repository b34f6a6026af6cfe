"""Apprise sink: everything else that the Apprise library reaches, by its URLs: SMS, Matrix, ntfy, Signal, ..."""

from __future__ import annotations

import asyncio
import re
from typing import Annotated, Any, ClassVar, Final, NamedTuple, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator
from typing_extensions import override

from app.core.finding import Notification, Severity
from app.sinks import _text
from app.sinks._apprise import captured, service, url_secrets
from app.sinks._markdown import inert, lookalike
from app.sinks._partial import Taken
from app.sinks._secrets import scrubbed
from app.sinks._thread import OwnThread
from app.sinks.base import Pace, PermanentError, Rendering, Sink, SinkConfig, SinkError, TemporaryError

TYPES: Final = (
    (Severity.HIGH, "failure"),
    (Severity.MEDIUM, "warning"),
)
"""Apprise's notification types; all other severities are `info`."""

_STATUS: Final = re.compile(r"\berror\s*[=:]\s*(\d{3})\b")
_PASSING: Final = frozenset({408, 425, 429})
_FAILED: Final = 400
_BROKEN: Final = 500

PLAIN: Final = _text.PLAIN._replace(
    text=inert, bold=inert, code=inert, pre=lambda lines: "\n".join(inert(line) for line in lines)
)
"""Texts whose mentions and links do nothing, since many services look for them in plain text too."""

MARKDOWN: Final = PLAIN._replace(
    text=lookalike, bold=lookalike, code=lookalike, pre=lambda lines: "\n".join(lookalike(line) for line in lines)
)
"""The same for services that read Markdown, of which there are many dialects."""

MARKUPS: Final = (("text", PLAIN, "\n"), ("html", _text.HTML, "<br>\n"), ("markdown", MARKDOWN, "\n\n"))


def _known(url: SecretStr) -> SecretStr:
    text = url.get_secret_value().strip()
    service(text)
    return SecretStr(text)


Url = Annotated[SecretStr, AfterValidator(_known)]


class AppriseConfig(SinkConfig):
    """Options of the Apprise sink: `url`, or `urls`."""

    url: Annotated[
        Url | None, Field(description="URL of a service: https://appriseit.com/services/ lists them all.")
    ] = None
    urls: Annotated[
        list[Url],
        BeforeValidator(lambda urls: urls.split() if isinstance(urls, str) else urls),
        Field(default_factory=list, description="Several of them; each gets every notification."),
    ]
    timeout_seconds: Annotated[
        float, Field(gt=0, le=20, description="How long one attempt may take, for all URLs.")
    ] = 15

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.every:
            raise ValueError("needs url or urls, such as ntfy://my-topic; https://appriseit.com/services/ lists them")
        return self

    @property
    def every(self) -> list[str]:
        """All URLs, each once."""
        urls = [self.url, *self.urls] if self.url else self.urls
        return list(dict.fromkeys(url.get_secret_value() for url in urls))


class Message(NamedTuple):
    """What one service is asked to send."""

    title: str
    body: str
    format: str
    type: str


class AppriseSink(Sink[AppriseConfig]):
    """A notification has arrived when every service has taken it; those that have are not asked again by a retry.

    Apprise only logs why a service refused. A status below 500, but for 408, 425 and 429, is permanent; all else is
    temporary.
    """

    Config = AppriseConfig
    # What the library itself keeps to for services that document nothing (`request_rate_per_sec`).
    pace: ClassVar[Pace | None] = Pace(1, 5.5)

    def __init__(self, config: AppriseConfig) -> None:
        super().__init__(config)
        self._services = {url: service(url) for url in config.every}
        self._thread = OwnThread(f"sink-{config.name}")
        self._taken = Taken()
        self._secrets = set().union(*map(url_secrets, config.every))

    @override
    def render(self, notification: Notification) -> Rendering:
        return [
            {"service": str(each.service_name), **message(notification, each)._asdict()}
            for each in self._services.values()
        ]

    @override
    async def send(self, notification: Notification) -> None:
        failures: list[SinkError] = []
        waiting = self._taken.without(notification.delivery_id, self._services)
        work = [(url, message(notification, self._services[url])) for url in waiting]
        try:
            async with asyncio.timeout(self.config.timeout_seconds):
                await self._thread.run(lambda: failures.extend(self._send(notification.delivery_id, work)))
        except TimeoutError as error:
            seconds = self.config.timeout_seconds
            raise TemporaryError(f"{self._names(waiting)} did not answer within {seconds:g} s") from error
        if failures:
            raise _worst(failures)
        self._taken.forget(notification.delivery_id)

    @override
    async def aclose(self) -> None:
        self._thread.close()

    def _send(self, delivery_id: str, work: list[tuple[str, Message]]) -> list[SinkError]:
        """Ask each service in turn, in the sink's thread."""
        failures = []
        for url, each in work:
            if not self._taken.without(delivery_id, [url]):
                continue  # an attempt that was given up has reached it meanwhile
            with captured() as said:
                has_it = self._services[url].notify(
                    body=each.body, title=each.title, body_format=each.format, notify_type=each.type
                )
            if has_it:
                self._taken.note(delivery_id, [url])
            else:
                failures.append(self._failure(url, said))
        return failures

    def _failure(self, url: str, said: list[str]) -> SinkError:
        words = scrubbed(" ".join(said), self._secrets) or "it did not say why"
        status = _STATUS.search(" ".join(said))
        message = f"{self._services[url].service_name}: {words}"
        is_refusal = status is not None and _FAILED <= int(status[1]) < _BROKEN and int(status[1]) not in _PASSING
        return PermanentError(message) if is_refusal else TemporaryError(message)

    def _names(self, urls: list[str]) -> str:
        return " and ".join(str(self._services[url].service_name) for url in urls)


def message(notification: Notification, target: Any) -> Message:
    """Return what the service is sent: in its own format, within its own limits of title and body."""
    wanted = target.resolve_format(None).value
    kind, markup, newline = next(each for each in MARKUPS if each[0] == wanted)
    has_title = target.title_maxlen > 0
    title = inert(_text.title(notification))[: target.title_maxlen] if has_title else ""
    # Many services count title and body together.
    limit = target.body_maxlen - len(title) - len("\r\n")
    body = _text.message(notification, markup, limit, len, newline, titled=not has_title)
    kind_of_finding = dict(TYPES).get(notification.finding.severity, "info")
    return Message(title, body if kind == "html" else body[:limit], kind, kind_of_finding)


def _worst(failures: list[SinkError]) -> SinkError:
    """Return one error for all: temporary if a retry can help one of them."""
    said = "; ".join(map(str, failures))
    is_temporary = any(isinstance(each, TemporaryError) for each in failures)
    return TemporaryError(said) if is_temporary else PermanentError(said)
