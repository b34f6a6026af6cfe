from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from app.core.finding import FileBlock, Notification, TextBlock
from app.sinks._markdown import ZERO_WIDTH
from app.sinks.base import PermanentError, TemporaryError
from app.sinks.mattermost import TEXT_LIMIT, MattermostConfig, MattermostSink, channel_id
from tests.sinks import samples
from tests.sinks.stands import HttpReceiver, Request, http_receiver

TOKEN = "bot-token-1234"
SECRETS = (TOKEN,)
CHANNEL, POST, FILE = "c" * 26, "p" * 26, "f" * 26
SUCCESS: dict[str, Any] = {"json": {"id": CHANNEL, "name": "alerts"}}
BUSY: dict[str, Any] = {"status_code": 429, "headers": {"retry-after": "1"}, "text": "limit exceeded"}
REFUSED: dict[str, Any] = {
    "status_code": 403,
    "json": {
        "id": "api.context.permissions.app_error",
        "message": "You do not have the appropriate permissions.",
        "detailed_error": "",
        "request_id": "k1qsrd6kqjyujq8yunaw3r3tpe",
        "status_code": 403,
    },
}


def options(folder: Path) -> dict[str, Any]:
    return {"url": "https://chat.example.com", "token": TOKEN, "token_id": "t", "channel": "alerts", "team": "ops"}


def at(url: str) -> dict[str, Any]:
    return {"url": url}


def config(**more: Any) -> MattermostConfig:
    return MattermostConfig.model_validate({"name": "m", **options(Path()), **more})


Answers = Callable[[Request], httpx.Response]


def server(request: Request) -> httpx.Response:
    """Answer as Mattermost does: a channel by its name, files, posts; everything only with the token."""
    if request.headers.get("authorization") != f"Bearer {TOKEN}":
        return httpx.Response(401, json={"id": "api.context.session_expired.app_error", "message": "Invalid session"})
    path = request.path.removeprefix("/api/v4/")
    if path in ("teams/name/ops/channels/name/alerts", "teams/T/channels/name/alerts"):
        return httpx.Response(200, json={"id": CHANNEL, "name": "alerts"})
    if path == "channels/search":
        return httpx.Response(200, json=[{"id": "x", "name": "alerts-old"}, {"id": CHANNEL, "name": "alerts"}])
    if path == f"files?channel_id={CHANNEL}&filename=notification.txt":
        return httpx.Response(201, json={"file_infos": [{"id": FILE}], "client_ids": []})
    if path == "posts" and json.loads(request.body)["channel_id"] == CHANNEL:
        return httpx.Response(201, json={"id": POST})
    return httpx.Response(
        404, json={"id": "app.channel.get_by_name.missing.app_error", "message": "Channel not found."}
    )


@pytest.fixture
def mattermost() -> Iterator[HttpReceiver]:
    with http_receiver(server) as receiver:
        yield receiver


async def sent(receiver: HttpReceiver, *notifications: Notification, **more: Any) -> list[Request]:
    sink = MattermostSink(config(url=receiver.url, **more))
    try:
        for notification in notifications:
            await sink.send(notification)
    finally:
        await sink.aclose()
    return receiver.requests


def attachment(notification: Notification) -> dict[str, Any]:
    rendering = MattermostSink(config()).render(notification)
    assert isinstance(rendering, dict)
    (only,) = rendering["props"]["attachments"]
    assert isinstance(only, dict)
    return only


async def test_a_post_goes_to_the_channel_that_is_looked_up_once(mattermost: HttpReceiver) -> None:
    requests = await sent(mattermost, samples.image(), samples.folded())

    assert [request.path.removeprefix("/api/v4/") for request in requests] == [
        "teams/name/ops/channels/name/alerts",
        "posts",
        "posts",
    ]
    posted = json.loads(requests[1].body)
    assert posted["pending_post_id"] == "d-1", "the server drops repeats by it"
    assert posted["props"]["attachments"] == [attachment(samples.image())]


@pytest.mark.parametrize(
    ("more", "first"),
    [
        ({"team_id": "T"}, "teams/T/channels/name/alerts"),
        ({"team": ""}, "channels/search"),
        ({"channel": "Alerts"}, "teams/name/ops/channels/name/alerts"),
        ({"channel": CHANNEL}, "posts"),
    ],
)
async def test_the_channel_is_found_by_team_by_search_by_display_name_or_by_id(
    mattermost: HttpReceiver, more: dict[str, Any], first: str
) -> None:
    requests = await sent(mattermost, samples.image(), **more)

    assert requests[0].path.removeprefix("/api/v4/") == first
    assert json.loads(requests[-1].body)["channel_id"] == CHANNEL


async def test_an_unknown_channel_is_refused_with_advice(mattermost: HttpReceiver) -> None:
    with pytest.raises(PermanentError, match=r"Channel not found\.; look at `channel`"):
        await sent(mattermost, samples.image(), channel="nowhere")


@pytest.mark.parametrize("found", [[], [{"id": "x", "name": "other"}], {}, "x"])
def test_a_search_that_finds_nothing_is_refused(found: Any) -> None:
    with pytest.raises(PermanentError, match="no channel 'alerts'"):
        channel_id(found, "alerts")


async def test_a_wrong_token_is_refused_with_advice(mattermost: HttpReceiver) -> None:
    with pytest.raises(PermanentError, match="Invalid session; make a new token"):
        await sent(mattermost, samples.image(), token="wrong-token")


async def test_a_whole_log_is_attached_to_the_post(mattermost: HttpReceiver) -> None:
    log = FileBlock(name="app.log", content="".join(f"row {n}\n" for n in range(1000)))

    requests = await sent(mattermost, samples.notification(log))

    assert b"row 0\n" in requests[1].body
    assert json.loads(requests[2].body)["file_ids"] == [FILE]


async def test_files_can_be_left_out(mattermost: HttpReceiver) -> None:
    requests = await sent(mattermost, samples.failed_job(), send_files=False)

    assert json.loads(requests[-1].body)["file_ids"] == []
    assert len(requests) == 2


@pytest.mark.parametrize("status", [403, 413, 501])
async def test_a_file_that_is_refused_does_not_keep_the_message_back(status: int) -> None:
    def no_files(request: Request) -> httpx.Response:
        return httpx.Response(status, text="no files") if "/files" in request.path else server(request)

    with http_receiver(no_files) as receiver:
        requests = await sent(receiver, samples.failed_job())

    assert json.loads(requests[-1].body)["file_ids"] == []


async def test_a_server_that_cannot_take_the_file_now_is_tried_again_with_it() -> None:
    def busy(request: Request) -> httpx.Response:
        return httpx.Response(503) if "/files" in request.path else server(request)

    with http_receiver(busy) as receiver, pytest.raises(TemporaryError):
        await sent(receiver, samples.failed_job())


async def test_a_channel_that_was_deleted_is_looked_up_again(mattermost: HttpReceiver) -> None:
    sink = MattermostSink(config(url=mattermost.url))
    sink._channel_id = "deleted"
    with pytest.raises(PermanentError):
        await sink.send(samples.image())

    await sink.send(samples.image())
    await sink.aclose()


async def test_an_incoming_webhook_gets_the_same_attachment() -> None:
    hook = {"webhook_url": "https://chat.example.com/hooks/hook-secret-1", "channel": "alerts"}
    posted: list[httpx.Request] = []

    def take(request: httpx.Request) -> httpx.Response:
        posted.append(request)
        return httpx.Response(200, text="ok")

    options = MattermostConfig.model_validate({"name": "m", **hook})
    await MattermostSink(options, transport=httpx.MockTransport(take)).send(samples.failed_job())

    (request,) = posted
    assert json.loads(request.content) == {"attachments": [attachment(samples.failed_job())], "channel": "alerts"}
    assert "authorization" not in request.headers


def test_a_post_says_who_did_what_and_each_field_with_old_and_new() -> None:
    shown = attachment(samples.image())

    assert shown["color"] == "#2f80ed"
    assert shown["fallback"] == "🔵 Deployment/shop/web updated"
    assert shown["text"].splitlines() == [
        "**🔵 Deployment/shop/web updated**",
        "Updated by alice with kubectl-set.",
        "What: UPDATE Deployment/shop/web in prod at 2026-01-02T03:04:05Z",
        "• `spec.template.spec.containers[nginx].image`: `nginx:1.27` → `nginx:1.28`",
        f"[Open the entry]({samples.LINK})",
    ]


@pytest.mark.parametrize("sample", [samples.hostile, lambda: samples.many_fields(1000)])
def test_a_post_stays_within_the_limit_and_counts_what_is_missing(sample: Any) -> None:
    text = attachment(sample())["text"]

    assert len(text) <= TEXT_LIMIT
    assert sample is samples.hostile or f"… {1000 - text.count('• ')} more fields" in text


def test_nobody_is_mentioned_and_no_link_is_forged() -> None:
    text = "@channel @all ~town-square #tag [x](https://evil.example) :skull:"

    shown = attachment(samples.notification(TextBlock(text=text), title=text))

    assert not any(live in shown["text"] + shown["fallback"] for live in ("@channel", "@all", "~town", ":skull:"))
    assert "[x](https" not in shown["text"]
    assert shown["fallback"].replace(ZERO_WIDTH, "") == f"🔵 {text}"


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"token": None}, "needs token for a bot"),
        ({"url": None, "token": None, "channel": ""}, "needs url and token and channel"),
        ({"webhook_url": "https://chat.example.com/hooks/x"}, "not both"),
        ({"url": "chat.example.com"}, "valid URL"),
    ],
)
def test_wrong_options_say_what_is_right(more: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        config(**more)


async def test_a_channel_that_is_named_by_its_id_is_posted_to_again_after_a_refusal() -> None:
    refusals = [httpx.Response(400, json={"message": "too long"})]

    def once(request: Request) -> httpx.Response:
        return refusals.pop() if refusals else server(request)

    with http_receiver(once) as receiver:
        sink = MattermostSink(config(url=receiver.url, channel=CHANNEL))
        with pytest.raises(PermanentError, match="too long"):
            await sink.send(samples.image())
        await sink.send(samples.image())
        await sink.aclose()

    assert [request.path for request in receiver.requests] == ["/api/v4/posts"] * 2


async def test_an_answer_about_the_channel_that_is_not_whole_is_asked_for_again() -> None:
    with http_receiver(lambda _: httpx.Response(200, text='{"id": "ccc')) as receiver:
        sink = MattermostSink(config(url=receiver.url))
        with pytest.raises(TemporaryError, match="did not come whole"):
            await sink.send(samples.image())
        await sink.aclose()
