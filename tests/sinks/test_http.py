"""How answers are read; the outcomes that all HTTP sinks share are in test_contract.py."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import HttpUrl, Secret
from typing_extensions import override

from app.sinks._http import below, retry_after, tls_context
from app.sinks.base import PermanentError, SinkSetupError, TemporaryError
from app.sinks.webhook import WebhookConfig, WebhookSink
from tests.sinks import samples

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "date", "expected"),
    [
        ("7", None, timedelta(seconds=7)),
        ("0.5", None, timedelta(seconds=0.5)),
        ("0", None, timedelta(0)),
        ("Fri, 02 Jan 2026 03:04:15 GMT", None, timedelta(seconds=10)),
        ("Fri, 02 Jan 2026 03:04:15 GMT", "Fri, 02 Jan 2026 03:03:15 GMT", timedelta(seconds=60)),
        ("Fri, 02 Jan 2026 03:00:00 GMT", None, timedelta(0)),
        ("Fri, 02 Jan 2026 03:04:15 -0000", None, timedelta(seconds=10)),
        ("-7", None, None),
        ("soon", None, None),
        ("nan", None, None),
        ("99999999999999999999", None, None),
        ("Fri, 02 Jan 99999999999999999999 03:04:15 GMT", None, None),
        ("", None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, date: str | None, expected: timedelta | None) -> None:
    headers = httpx.Headers({"retry-after": value} | ({"date": date} if date else {}))

    assert retry_after(headers, NOW) == expected


def test_a_receiver_need_not_say_when() -> None:
    assert retry_after(httpx.Headers(), NOW) is None


def webhook(answer: httpx.Response, url: str = "https://hooks.example.com/in", **more: Any) -> WebhookSink:
    config = WebhookConfig.model_validate({"name": "w", "url": url, **more})
    return WebhookSink(config, transport=httpx.MockTransport(lambda _: answer), clock=lambda: NOW)


async def message(answer: httpx.Response, **more: Any) -> str:
    with pytest.raises((TemporaryError, PermanentError)) as caught:
        await webhook(answer, **more).send(samples.notification())
    return str(caught.value)


async def test_the_message_has_the_host_the_status_and_what_the_receiver_said() -> None:
    answer = httpx.Response(503, text="be back\n\x1b[31msoon\u202e")

    assert await message(answer) == "hooks.example.com answered 503 Service Unavailable: be back soon\\u202e"


async def test_a_redirect_says_what_to_do() -> None:
    answer = httpx.Response(301, headers={"location": "https://x.example"})

    assert (await message(answer)).endswith(
        "301 Moved Permanently; redirects are not followed, configure the final URL"
    )


async def test_ordinary_words_of_the_answer_survive_though_they_are_in_the_request() -> None:
    text = "expected application/json in /api, got nothing"

    assert text in await message(httpx.Response(400, text=text), url="https://hooks.example.com/a/api")


async def test_a_credential_in_the_url_is_scrubbed_in_every_form() -> None:
    url = "https://bob:s3cret-pass@hooks.example.com/T0/pathtoken-1?key=tok-9"
    echo = "POST /T0/pathtoken-1?key=tok-9 by bob:s3cret-pass Basic Ym9iOnMzY3JldC1wYXNz tok-9 pathtoken-1"

    shown = await message(httpx.Response(500, text=echo), url=url)

    secrets = ("s3cret-pass", "pathtoken-1", "tok-9", "Ym9iOnMzY3JldC1wYXNz")
    assert [secret for secret in secrets if secret in shown] == []
    assert "***" in shown


async def test_a_long_answer_is_read_only_in_part() -> None:
    read: list[int] = []

    class Endless(httpx.AsyncByteStream):
        @override
        async def __aiter__(self) -> AsyncIterator[bytes]:
            while True:
                read.append(1000)
                yield b"x" * 1000

    shown = await message(httpx.Response(500, stream=Endless()))

    assert len(shown) < 300
    assert sum(read) < 300_000


async def test_a_compressed_answer_is_not_unfolded() -> None:
    answer = httpx.Response(500, stream=httpx.ByteStream(b"\x1f\x8bbomb"), headers={"content-encoding": "gzip"})

    assert await message(answer) == "hooks.example.com answered 500 Internal Server Error"


async def test_an_answer_that_breaks_off_after_its_status_counts() -> None:
    class Broken(httpx.AsyncByteStream):
        @override
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"ok"
            raise httpx.ReadError("connection lost")

    await webhook(httpx.Response(200, stream=Broken())).send(samples.notification())


def test_a_ca_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    def config(path: Path) -> WebhookConfig:
        return WebhookConfig.model_validate({"name": "w", "url": "https://x.example", "ca_file": path})

    (tmp_path / "empty.pem").write_text("not a certificate")

    with pytest.raises(SinkSetupError, match=r"sink 'w': ca_file .*/missing.pem: No such file or directory"):
        tls_context(config(tmp_path / "missing.pem"))
    with pytest.raises(SinkSetupError, match=r"sink 'w': ca_file .*/empty.pem: holds no certificate in PEM form"):
        tls_context(config(tmp_path / "empty.pem"))


def test_certificates_are_checked_unless_people_say_otherwise() -> None:
    def config(**more: Any) -> WebhookConfig:
        return WebhookConfig.model_validate({"name": "w", "url": "https://x.example", **more})

    assert tls_context(config()) is True
    assert tls_context(config(verify_tls=False)) is False


@pytest.mark.parametrize(
    "address",
    [
        "https://proxy.example/dd",
        "https://proxy.example/dd/",
        "https://proxy.example/dd/api/v1/events",
        HttpUrl("https://proxy.example/dd"),
        Secret[HttpUrl](HttpUrl("https://proxy.example/dd/")),
    ],
)
def test_a_path_is_below_the_address_however_that_ends(address: Any) -> None:
    assert below(address, "api/v1/events") == "https://proxy.example/dd/api/v1/events"


def test_a_path_is_not_taken_for_the_end_of_another_word() -> None:
    assert below("https://proxy.example/shop-api", "api") == "https://proxy.example/shop-api/api"
