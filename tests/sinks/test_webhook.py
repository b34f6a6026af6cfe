from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from pydantic import ValidationError

from app.core.change import Resource
from app.core.finding import JsonBlock, Notification, TextBlock
from app.sinks.base import PermanentError, TemporaryError
from app.sinks.webhook import WebhookConfig, WebhookSink, signature, signing_key
from tests.sinks import samples
from tests.sinks.receiver import listening, self_signed

KEY = b"0123456789abcdef0123456789abcdef"
SECRET = "whsec_" + base64.b64encode(KEY).decode()
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SECRETS = ("url-path-1234", "url-query-1234", "url-password-1234", "bearer-1234", "x-token-1234", SECRET[6:])


def options(folder: Path) -> dict[str, Any]:
    return {
        "url": "https://user:url-password-1234@hooks.example.com/url-path-1234?token=url-query-1234",
        "headers": {"X-Token": "x-token-1234"},
        "authorization": "Bearer bearer-1234",
        "secret": SECRET,
    }


def at(url: str) -> dict[str, Any]:
    return {"url": f"{url}url-path-1234"}


def config(**more: Any) -> WebhookConfig:
    return WebhookConfig.model_validate({"name": "w", "url": "https://hooks.example.com/in", **more})


async def posted(notification: Notification, **more: Any) -> httpx.Request:
    requests: list[httpx.Request] = []

    def receive(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200)

    sink = WebhookSink(config(**more), transport=httpx.MockTransport(receive), clock=lambda: NOW)
    await sink.send(notification)
    return requests[0]


async def sent(*notifications: Notification, **more: Any) -> None:
    """Send over the real network."""
    async with contextlib.aclosing(WebhookSink(config(**more))) as sink:
        for notification in notifications:
            await sink.send(notification)


def problem(**more: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        config(**more)
    return str(caught.value)


async def test_json_is_the_delivery_the_finding_and_the_entry() -> None:
    request = await posted(samples.notification(TextBlock(text="hello")))

    document = msgspec.json.decode(request.content)

    assert request.method == "POST"
    assert request.headers["content-type"] == "application/json"
    assert document.keys() == {"delivery_id", "finding", "entry"}
    assert document["delivery_id"] == "d-1"
    assert document["finding"]["blocks"] == [{"type": "text", "text": "hello"}]
    assert document["entry"]["resource"]["name"] == "web"


async def test_repeats_are_equal_so_that_a_receiver_can_drop_them() -> None:
    first = await posted(samples.notification(attempt=1), secret=SECRET)
    again = await posted(samples.notification(attempt=2), secret=SECRET)

    assert first.content == again.content
    assert first.headers["webhook-id"] == again.headers["webhook-id"] == "d-1"


async def test_cloud_events_wrap_the_same_document() -> None:
    request = await posted(samples.notification(cluster="pröd/1"), format="cloudevents")

    event = msgspec.json.decode(request.content)

    data = event.pop("data")
    assert request.headers["content-type"] == "application/cloudevents+json"
    assert event == {
        "specversion": "1.0",
        "id": "d-1",
        "source": "/kubewitness/pr%C3%B6d%2F1",
        "type": "io.kubewitness.finding.v1",
        "subject": "Deployment/shop/web",
        "time": "2026-01-02T03:04:05.000000Z",
        "datacontenttype": "application/json",
    }
    assert data.keys() == {"delivery_id", "finding", "entry"}


async def test_cloud_events_of_a_cluster_without_a_name_have_a_source_too() -> None:
    node = samples.notification(cluster="", resource=Resource(kind="Node", name="n1"))

    event = msgspec.json.decode((await posted(node, format="cloudevents")).content)

    assert (event["source"], event["subject"]) == ("/kubewitness", "Node/n1")


async def test_object_posts_the_first_json_document_alone() -> None:
    blocks = TextBlock(text="x"), JsonBlock(value={"kind": "Pod"}), JsonBlock(value=2)

    request = await posted(samples.notification(*blocks), format="object")

    assert request.content == b'{"kind":"Pod"}'


async def test_object_without_a_json_document_is_refused_for_good() -> None:
    with pytest.raises(PermanentError, match="no JSON document"):
        await posted(samples.notification(), format="object")


async def test_text_is_plain_and_within_its_limit() -> None:
    request = await posted(samples.hostile(), format="text", size_limit=1000)

    assert request.headers["content-type"] == "text/plain; charset=utf-8"
    assert 500 < len(request.content) <= 1000
    assert request.content.startswith(b"[INFO] evil ")


async def test_authorization_and_headers_are_sent() -> None:
    request = await posted(samples.notification(), authorization="Bearer t\n", headers={"X-Team": "shop"})

    assert request.headers["authorization"] == "Bearer t", "the newline at the end of a mounted secret is dropped"
    assert request.headers["x-team"] == "shop"
    assert request.headers["user-agent"].startswith("kubewitness/")


async def test_the_signature_is_that_of_standard_webhooks() -> None:
    request = await posted(samples.notification(), secret=SECRET)

    signed = b"d-1." + b"1767323045." + request.content
    expected = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    assert request.headers["webhook-timestamp"] == "1767323045"
    assert request.headers["webhook-signature"] == f"v1,{expected}"


def test_the_signature_agrees_with_the_published_example() -> None:
    # https://github.com/standard-webhooks/standard-webhooks, the example that its libraries test against
    secret = config(secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").secret
    assert secret is not None

    headers = signature(signing_key(secret), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')

    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_without_a_secret_nothing_is_signed() -> None:
    headers = (await posted(samples.notification())).headers

    assert "webhook-signature" not in headers
    assert headers["webhook-id"] == "d-1"


def test_a_secret_may_have_its_prefix_or_not() -> None:
    with_prefix, without = config(secret=SECRET).secret, config(secret=SECRET[6:]).secret

    assert with_prefix
    assert without
    assert signing_key(with_prefix) == signing_key(without) == KEY


@pytest.mark.parametrize(
    ("more", "part"),
    [
        ({"url": "hooks.example.com"}, "url\n  Input should be a valid URL"),
        ({"secret": "not base64!"}, "is not base64; make one with: openssl rand -base64 32"),
        ({"secret": "whsec_"}, "is not base64"),
        ({"headers": {"X Y": "v"}}, "'X Y' is not a header name"),
        ({"headers": {"X": "a\r\nB: c"}}, "has characters that a header cannot carry"),
        ({"authorization": "Bearer\nx"}, "has characters that a header cannot carry"),
        ({"headers": {"Content-Type": "x"}}, "'Content-Type' is set by the sink itself"),
        ({"headers": {"Authorization": "x"}, "authorization": "y"}, "sets the Authorization header twice"),
        ({"format": "xml"}, "Input should be 'json', 'cloudevents', 'object' or 'text'"),
        ({"timeout_seconds": 60}, "less than or equal to 20"),
        ({"size_limit": 1}, "greater than or equal to 256"),
    ],
)
def test_options_that_cannot_work_are_refused(more: dict[str, Any], part: str) -> None:
    assert part in problem(**more)


async def test_a_real_receiver_gets_every_byte_over_one_connection() -> None:
    async with listening() as receiver:
        await sent(samples.hostile(), samples.notification(), url=receiver.url + "in?x=1", secret=SECRET)

    assert receiver.heads[0].startswith("POST /in?x=1 HTTP/1.1\r\n")
    assert receiver.header("webhook-id") == "d-1"
    assert msgspec.json.decode(receiver.bodies[0])["finding"]["title"] == samples.HOSTILE
    assert receiver.connections == 1


async def test_a_real_receiver_can_ask_to_wait() -> None:
    async with listening() as receiver:
        receiver.answer = b"HTTP/1.1 429 Slow\r\nRetry-After: 30\r\nContent-Length: 8\r\n\r\ntoo fast"
        with pytest.raises(TemporaryError, match=r"127\.0\.0\.1 answered 429 Too Many Requests: too fast") as caught:
            await sent(samples.notification(), url=receiver.url)

    assert caught.value.retry_after == timedelta(seconds=30)


async def test_a_receiver_that_is_gone_or_speaks_nonsense_is_temporary() -> None:
    async with listening() as receiver:
        receiver.answer = b"SMTP ready\r\n\r\n"
        with pytest.raises(TemporaryError, match=r"cannot reach 127\.0\.0\.1"):
            await sent(samples.notification(), url=receiver.url)

    with pytest.raises(TemporaryError, match=r"cannot reach 127\.0\.0\.1"):
        await sent(samples.notification(), url=receiver.url)


async def test_the_certificate_is_checked_against_the_ca_file(tmp_path: Path) -> None:
    context, authority = self_signed(tmp_path)
    async with listening(context) as receiver:
        await sent(samples.notification(), url=receiver.url, ca_file=authority)
        await sent(samples.notification(), url=receiver.url, verify_tls=False)
        with pytest.raises(TemporaryError, match="certificate verify failed"):
            await sent(samples.notification(), url=receiver.url)

    assert len(receiver.bodies) == 2
