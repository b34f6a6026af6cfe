"""The one place that speaks HTTP, and that reads a receiver's answer as an outcome.

2xx is delivered. 408, 425, 429, 5xx, and whatever keeps an answer from coming are temporary; other answers, among
them redirects, are permanent. Nothing of the request but the receiver's host is ever shown: URLs of webhooks carry
credentials in user, path and query.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import email.utils
import logging
import re
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, NamedTuple, TypeVar

import httpx
import msgspec
from pydantic import Field, HttpUrl, Secret, SecretStr
from typing_extensions import override

from app import __version__
from app.sinks._secrets import LEAST_SECRET, option_secrets, scrubbed
from app.sinks._tls import trusting
from app.sinks.base import PermanentError, Sink, SinkConfig, SinkError, TemporaryError

# At INFO httpx logs every URL with its credentials, at DEBUG httpcore logs headers.
logging.getLogger("httpx").setLevel(logging.WARNING)
logging.getLogger("httpcore").setLevel(logging.WARNING)

TEMPORARY_STATUS: Final = frozenset({408, 425, 429})
# A page of Jira's projects is the longest answer that anybody wants.
_READ_LIMIT: Final = 262_144
# An answer that has its status has its outcome: the rest of it is worth a moment, not the whole timeout.
_READ_SECONDS: Final = 1.0
_LEAST_PART: Final = 8
_ILLEGAL_HEADER: Final = "Illegal header"
_HARMLESS_HEADERS: Final = frozenset(
    {"accept", "accept-encoding", "connection", "content-length", "content-type", "host", "user-agent"}
)
_SECONDS: Final = re.compile(r"\d{1,9}(?:\.\d+)?")


class HttpSinkConfig(SinkConfig):
    """Options that every sink with an HTTP receiver has."""

    timeout_seconds: Annotated[
        float, Field(gt=0, le=20, description="How long one attempt may take, connecting included.")
    ] = 10
    verify_tls: Annotated[bool, Field(description="Check the receiver's certificate.")] = True
    ca_file: Annotated[
        Path | None, Field(description="PEM file of the authorities to trust, instead of the public ones.")
    ] = None
    trust_environment: Annotated[
        bool, Field(description="Use HTTP_PROXY, HTTPS_PROXY and NO_PROXY, and credentials from .netrc.")
    ] = False


H = TypeVar("H", bound=HttpSinkConfig)

NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})
JSON_TYPE: Final[Mapping[str, str]] = MappingProxyType({"Content-Type": "application/json"})


class Answer(NamedTuple):
    """What a receiver answered; of a long or slow body only the beginning."""

    host: str
    status: int
    headers: httpx.Headers
    body: bytes

    @property
    def succeeded(self) -> bool:
        """Whether the status is a 2xx."""
        return httpx.codes.is_success(self.status)

    @property
    def text(self) -> str:
        """The body as text; empty if it came compressed, which was not asked for."""
        return "" if "content-encoding" in self.headers else self.body.decode(errors="replace")

    @property
    def json(self) -> Any:
        """The body read as JSON; None if it is none."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None


class Failure(NamedTuple):
    """How an answer that is no success is to be read.

    `reason` is shown instead of the body, and `advice` says what people can do about it.
    """

    temporary: bool
    retry_after: timedelta | None = None
    reason: str = ""
    advice: str = ""


def below(address: Secret[HttpUrl] | HttpUrl | str, path: str) -> str:
    """Return the URL of a path of the receiver, whether its address ends in a slash, in the path itself, or in neither.

    An address may have a path of its own, as behind a proxy.
    """
    text = str(address.get_secret_value() if isinstance(address, Secret) else address).rstrip("/")
    return text if text.endswith(f"/{path}") else f"{text}/{path}"


def utc_now() -> datetime:
    """Return the present moment in UTC."""
    return datetime.now(UTC)


class HttpSink(Sink[H]):
    """A sink with an HTTP receiver: owns one client, which `aclose` frees.

    A subclass renders, posts, and overrides `failure` where its receiver has its own way to refuse.

    `transport` replaces the network and `clock` the time; both are for tests.
    """

    def __init__(
        self,
        config: H,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        super().__init__(config)
        self.clock = clock
        self._option_secrets = option_secrets(config)
        self._client = httpx.AsyncClient(
            transport=transport,
            verify=tls_context(config),
            trust_env=config.trust_environment,
            timeout=config.timeout_seconds,
            follow_redirects=False,
            # Compressed answers could unfold into any size, and only a line of them is read.
            headers={"User-Agent": f"kubewitness/{__version__}", "Accept-Encoding": "identity"},
        )

    async def post(self, url: Secret[HttpUrl] | str, content: bytes, headers: Mapping[str, str]) -> Answer:
        """POST, and return the answer; see `call`."""
        return await self.call("POST", url, content, headers)

    async def post_json(
        self, url: Secret[HttpUrl] | str, document: Any, headers: Mapping[str, str] = NO_HEADERS
    ) -> Answer:
        """POST a JSON document, and return the answer; see `call`."""
        return await self.call("POST", url, msgspec.json.encode(document), {**JSON_TYPE, **headers})

    async def call(
        self, method: str, url: Secret[HttpUrl] | str, content: bytes, headers: Mapping[str, str] = NO_HEADERS
    ) -> Answer:
        """Return the receiver's answer if it is a success; raises `TemporaryError` or `PermanentError` otherwise.

        What an error quotes of the answer holds no secret of the options, nor the URL but for its host, nor the values
        of headers.
        """
        target = url if isinstance(url, str) else str(url.get_secret_value())
        request = self._client.build_request(method, target, content=content, headers=dict(headers))
        response = await self._answer(request)
        try:
            body = await _beginning(response)
        finally:
            await response.aclose()
        answer = Answer(response.request.url.host, response.status_code, response.headers, body)
        failure = self.failure(answer)
        if failure is not None:
            raise self._worded(failure, answer, _secrets(response.request) | self._option_secrets)
        return answer

    @contextlib.asynccontextmanager
    async def attempt(self, url: str) -> AsyncIterator[None]:
        """Keep all calls of one attempt together within `timeout_seconds`; raises `TemporaryError` if they take longer.

        A dispatcher that had to cancel an attempt could not say why it failed.
        """
        seconds = self.config.timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError as error:
            raise TemporaryError(f"{httpx.URL(url).host} did not answer within {seconds:g} s") from error

    def failure(self, answer: Answer) -> Failure | None:
        """Say how an answer is to be read; for receivers that say it in the body, or ask for a pause there.

        By default 2xx is a success; 408, 425, 429 and 5xx are temporary, and `Retry-After` says until when; all else
        is permanent.
        """
        if answer.succeeded:
            return None
        if answer.status in TEMPORARY_STATUS or answer.status >= httpx.codes.INTERNAL_SERVER_ERROR:
            return Failure(temporary=True, retry_after=retry_after(answer.headers, self.clock()))
        return Failure(temporary=False)

    def _worded(self, failure: Failure, answer: Answer, secrets: set[str]) -> SinkError:
        """Return the error for people: what the receiver said, without secrets."""
        message = f"{answer.host} answered {answer.status} {httpx.codes.get_reason_phrase(answer.status)}".rstrip()
        if httpx.codes.is_redirect(answer.status):
            return PermanentError(f"{message}; redirects are not followed, configure the final URL")
        excerpt = scrubbed(failure.reason or answer.text, secrets)
        said = f": {excerpt}" if excerpt else ""
        advice = f"; {failure.advice}" if failure.advice else ""
        if failure.temporary:
            return TemporaryError(message + said + advice, retry_after=failure.retry_after)
        return PermanentError(message + said + advice)

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        host, seconds = request.url.host, self.config.timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                return await self._client.send(request, stream=True)
        except (TimeoutError, httpx.TimeoutException) as error:
            raise TemporaryError(f"{host} did not answer within {seconds:g} s") from error
        except httpx.RequestError as error:
            if _ILLEGAL_HEADER in str(error):  # which it quotes, so not even as a cause
                raise PermanentError(f"{host}: an option has characters that a header cannot carry") from None
            reason = scrubbed(str(error), _secrets(request) | self._option_secrets) or type(error).__name__
            raise TemporaryError(f"cannot reach {host}: {reason}") from error

    @override
    async def aclose(self) -> None:
        await self._client.aclose()


def basic_authorization(username: str | None, password: SecretStr | None) -> str:
    """Return the value of the Authorization header of basic authentication (RFC 7617), in UTF-8."""
    pair = f"{username or ''}:{password.get_secret_value() if password else ''}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def tls_context(config: HttpSinkConfig) -> ssl.SSLContext | bool:
    """Return what httpx is to verify with; raises `SinkSetupError` for a `ca_file` that cannot be used."""
    if not config.verify_tls or config.ca_file is None:
        return config.verify_tls
    return trusting(config.name, config.ca_file)


async def _beginning(response: httpx.Response) -> bytes:
    """Read the first part of an answer as it came; what cannot be read does not matter."""
    data = bytearray()
    with contextlib.suppress(TimeoutError, httpx.HTTPError):
        async with asyncio.timeout(_READ_SECONDS):
            async for chunk in _raw(response):
                data += chunk
                if len(data) >= _READ_LIMIT:
                    break
    return bytes(data[:_READ_LIMIT])


def _raw(response: httpx.Response) -> httpx.AsyncByteStream:
    # Not aiter_raw: that refuses answers which hold their whole content, as those of a mock transport do.
    assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101  for the type: the client is asynchronous
    return response.stream


def retry_after(headers: httpx.Headers, now: datetime) -> timedelta | None:
    """Return how long the receiver asks to wait: `Retry-After` in seconds or as a date (RFC 9110, 10.2.3).

    A date counts from the answer's own `Date`, so that clocks that differ do no harm. What cannot be read is None.
    """
    text = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(text):
        return timedelta(seconds=float(text))
    moment = _date(text)
    if moment is None:
        return None
    return max(moment - (_date(headers.get("date", "")) or now), timedelta(0))


def _date(text: str) -> datetime | None:
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _secrets(request: httpx.Request) -> set[str]:
    """Return what must not be quoted: credentials, path, query and headers, as a whole and their longer parts."""
    url = request.url
    wholes = [url.username, url.password, url.path, url.raw_path.decode(), url.query.decode(), *url.params.values()]
    wholes += [text for name, text in request.headers.items() if name not in _HARMLESS_HEADERS]
    parts = [part for whole in wholes for part in re.split(r"[\s/?&=,]+", whole)]
    return {whole for whole in wholes if len(whole) >= LEAST_SECRET} | {
        part for part in parts if len(part) >= _LEAST_PART
    }
