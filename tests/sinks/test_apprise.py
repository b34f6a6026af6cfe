from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError
from typing_extensions import override

from app.core.finding import Notification
from app.sinks._apprise import service, url_secrets
from app.sinks.apprise import AppriseConfig, AppriseSink, message
from app.sinks.base import PermanentError, Sink, TemporaryError
from tests.sinks import samples
from tests.sinks.stands import Behaviour, HttpReceiver, Request, http_receiver

SECRETS = ("url-password-1234", "url-path-1234", "url-query-1234", "discord-token-1234")
DISCORD = "discord://4174216298/discord-token-1234/"


def options(folder: Path) -> dict[str, Any]:
    hook = "json://user:url-password-1234@hooks.example.com/url-path-1234?token=url-query-1234"
    return {"url": hook, "urls": [DISCORD]}


def config(*urls: str) -> AppriseConfig:
    return AppriseConfig.model_validate({"name": "a", "urls": list(urls)})


def hook(receiver: HttpReceiver, path: str = "url-path-1234") -> str:
    return f"json://user:url-password-1234@{receiver.url.partition('://')[2]}{path}"


class AppriseStand:
    def __init__(self) -> None:
        self.arrived: list[str] = []
        self.sink: Sink[Any]
        self.answers: dict[str, dict[str, Any]] = {}
        self.default: dict[str, Any] = {"status_code": 200}
        self.hanging = False

    def behave(self, how: Behaviour) -> None:
        self.hanging = how == "hang"
        self.default = {"status_code": {"busy": 429, "refuse": 400}.get(how, 200)}

    def handle(self, request: Request) -> httpx.Response | None:
        if self.hanging:
            return None
        answer = httpx.Response(**self.answers.get(request.path, self.default))
        if answer.is_success:
            self.arrived.append(request.body.decode())
        return answer


@contextlib.asynccontextmanager
async def stand(folder: Path, *paths: str) -> AsyncIterator[AppriseStand]:
    own = AppriseStand()
    with http_receiver(own.handle) as receiver:
        urls = [hook(receiver, path) for path in paths] or [hook(receiver)]
        async with contextlib.aclosing(AppriseSink(config(*urls))) as own.sink:
            yield own


def asked(url: str, notification: Notification) -> Any:
    return message(notification, service(url))


def problem(**more: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        AppriseConfig.model_validate({"name": "a", **more})
    return str(caught.value)


async def test_a_service_gets_title_body_and_type(tmp_path: Path) -> None:
    async with stand(tmp_path) as own:
        await own.sink.send(samples.failed_job())

    (sent,) = map(json.loads, own.arrived)
    assert sent["title"] == "🔴 Job Failed"
    assert sent["type"] == "failure"
    assert sent["message"].startswith("The Job failed for good: BackoffLimitExceeded.\n")
    assert f"Open the entry: {samples.LINK}" in sent["message"]


async def test_those_that_have_it_are_not_asked_again(tmp_path: Path) -> None:
    async with stand(tmp_path, "one", "two") as own:
        own.answers = {"/two": {"status_code": 503}}
        with pytest.raises(TemporaryError, match=r"^JSON: Failed to send JSON POST notification: .*error=503"):
            await own.sink.send(samples.image())
        own.answers = {}
        await own.sink.send(samples.image(attempt=2))

    assert len(own.arrived) == 2


@pytest.mark.parametrize(("status", "kind"), [(400, PermanentError), (401, PermanentError), (404, PermanentError)])
@pytest.mark.parametrize("other", [200, 403])
async def test_a_refusal_is_permanent(status: int, kind: type[Exception], other: int, tmp_path: Path) -> None:
    async with stand(tmp_path, "one", "two") as own:
        own.answers = {"/one": {"status_code": status}, "/two": {"status_code": other}}
        with pytest.raises(kind, match=f"error={status}"):
            await own.sink.send(samples.image())


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
async def test_overload_and_outage_are_temporary_whatever_others_say(status: int, tmp_path: Path) -> None:
    async with stand(tmp_path, "one", "two") as own:
        own.answers = {"/one": {"status_code": status}, "/two": {"status_code": 403}}
        with pytest.raises(TemporaryError, match=f"error={status}"):
            await own.sink.send(samples.image())


async def test_a_service_that_is_gone_is_tried_again_without_showing_its_url() -> None:
    sink = AppriseSink(config("json://user:url-password-1234@127.0.0.1:1/url-path-1234"))

    with pytest.raises(TemporaryError, match=r"JSON: A Connection error occurred") as caught:
        await sink.send(samples.image())

    assert [secret for secret in SECRETS if secret in str(caught.value)] == []
    await sink.aclose()


class Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    @override
    def emit(self, record: logging.LogRecord) -> None:
        self.text += f"{record.name}: {record.getMessage()}\n"


@pytest.fixture
def logged() -> Iterator[Collector]:
    """What reaches the root logger, at DEBUG; pytest's own fixture listens to loggers that keep to themselves too."""
    root, collector = logging.getLogger(), Collector()
    level = root.level
    root.addHandler(collector)
    root.setLevel("DEBUG")
    yield collector
    root.removeHandler(collector)
    root.setLevel(level)


async def test_nothing_that_the_library_logs_reaches_the_log(tmp_path: Path, logged: Collector) -> None:
    async with stand(tmp_path) as own:
        own.behave("refuse")
        with pytest.raises(PermanentError):
            await own.sink.send(samples.image())

    logging.getLogger("anybody").debug("is heard")
    assert logged.text.endswith("anybody: is heard\n")
    assert [word for word in (*SECRETS, "apprise:", "urllib3") if word in logged.text] == []


@pytest.mark.parametrize(
    ("url", "kind", "titled"),
    [
        ("ntfy://my-topic", "text", True),
        (DISCORD, "text", True),
        ("tgram://123456789:abcdefg_hijklmnop/12315544/", "html", False),
        ("mailto://user:pass@gmail.com", "html", True),
        ("json://hooks.example.com?format=markdown", "markdown", True),
    ],
)
def test_each_service_is_asked_in_its_own_format(url: str, kind: str, titled: bool) -> None:
    asked_for = asked(url, samples.image())

    assert (asked_for.format, bool(asked_for.title)) == (kind, titled)
    assert "nginx:1.28" in asked_for.body


@pytest.mark.parametrize("sample", [samples.hostile, samples.hostile_names, samples.many_fields, samples.failed_job])
@pytest.mark.parametrize(
    "url",
    [DISCORD, "tgram://123456789:abcdefg_hijklmnop/12315544/", "pover://user@token", "voipms://p:a@x.io/16134448888"],
)
def test_messages_are_within_each_services_limits(url: str, sample: Any) -> None:
    target = service(url)

    asked_for = message(sample(), target)

    assert len(asked_for.title) <= max(target.title_maxlen, 0)
    assert 0 < len(asked_for.body) <= target.body_maxlen - len(asked_for.title)


def test_what_does_not_fit_is_counted_and_the_link_stays() -> None:
    body = asked(DISCORD, samples.many_fields(400)).body

    assert f"… {400 - body.count('• ')} more fields\nOpen the entry: {samples.LINK}" in body
    assert len(body) > 1800


@pytest.mark.parametrize("url", [DISCORD, "json://hooks.example.com?format=markdown", "mailto://user:pass@gmail.com"])
def test_nobody_is_notified_and_nothing_is_formatted_by_names(url: str) -> None:
    asked_for = asked(url, samples.hostile_names())

    text = asked_for.title + asked_for.body
    if asked_for.format == "html":
        assert "<b>x</b>" not in asked_for.body
    else:
        assert not any(live in text for live in ("@channel", "<!channel>", "<@U1>", "](https://evil", "<b>"))


@pytest.mark.parametrize(
    ("more", "part"),
    [
        ({}, "needs url or urls, such as ntfy://my-topic"),
        ({"url": "slck://a/b/c"}, "apprise knows no service slck://"),
        ({"urls": ["json://hooks.example.com", "slack://bad-token-1234"]}, "apprise does not take this slack:// URL: "),
    ],
)
def test_urls_that_cannot_work_are_refused(more: dict[str, Any], part: str) -> None:
    said = problem(**more)

    assert part in said
    assert "bad-token-1234" not in said


def test_a_text_of_urls_is_a_list() -> None:
    found = AppriseConfig.model_validate({"name": "a", "urls": "ntfy://one  ntfy://two\n", "url": "ntfy://one"})

    assert found.every == ["ntfy://one", "ntfy://two"]


def test_of_a_url_all_is_secret_but_its_scheme_and_host() -> None:
    secrets = url_secrets("json://user:pass%40word@hooks.example.com:8080/path-1234?key=value-1234")

    assert {"user", "pass@word", "pass%40word", "path-1234", "value-1234"} <= secrets
    assert not {"json", "hooks.example.com"} & secrets
    assert "T1JJ3T3L2" in url_secrets("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ")


async def test_what_an_attempt_that_was_given_up_still_sends_is_not_sent_again() -> None:
    release = threading.Event()

    def late(_: Request) -> httpx.Response:
        release.wait()
        return httpx.Response(200)

    with http_receiver(late) as receiver:
        given_up = config(hook(receiver)).model_copy(update={"timeout_seconds": 0.5})
        async with contextlib.aclosing(AppriseSink(given_up)) as sink:
            with pytest.raises(TemporaryError, match="did not answer"):
                await sink.send(samples.image())
            again = asyncio.create_task(sink.send(samples.image(attempt=2)))
            await asyncio.sleep(0)
            release.set()
            await again

    assert len(receiver.requests) == 1
