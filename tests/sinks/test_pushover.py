from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import msgspec
import pytest
from pydantic import ValidationError

from app.core.finding import Notification, Severity
from app.sinks.base import PermanentError, TemporaryError
from app.sinks.pushover import MESSAGE_LIMIT, TITLE_LIMIT, PushoverConfig, PushoverSink
from tests.sinks import samples

TOKEN = "azGDORePK8gMaC0QOYAMyEEuzJnyUi"
USER = "uQiRzpo4DXghDmr9QzzfQu27cmVRsG"
SECRETS = (TOKEN, USER)
SUCCESS = {"json": {"status": 1, "request": "647d2300-702c-4b38-8b2f-d56326ae460b"}}
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def refused(*errors: str, **more: Any) -> dict[str, Any]:
    return {"status_code": 400, "json": {"status": 0, "errors": list(errors), "request": "5042853c", **more}}


REFUSED = refused("application token is invalid, see https://pushover.net/api", token="invalid")


def options(folder: Path) -> dict[str, Any]:
    return {"token": TOKEN, "user": USER, "device": "phone"}


def at(url: str) -> dict[str, Any]:
    return {"pushover_url": url}


def config(**more: Any) -> PushoverConfig:
    return PushoverConfig.model_validate({"name": "p", "token": TOKEN, "user": USER, **more})


async def posted(
    notification: Notification, answer: dict[str, Any] | None = None, **more: Any
) -> tuple[httpx.Request, dict[str, str]]:
    requests: list[httpx.Request] = []

    def receive(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(**{"status_code": 200, **(answer or SUCCESS)})

    sink = PushoverSink(config(**more), transport=httpx.MockTransport(receive), clock=lambda: NOW)
    await sink.send(notification)
    return requests[0], {name: values[0] for name, values in parse_qs(requests[0].content.decode()).items()}


def rendered(notification: Notification, **more: Any) -> dict[str, Any]:
    rendering = PushoverSink(config(**more)).render(notification)
    assert isinstance(rendering, dict)
    return rendering


def of_severity(severity: Severity) -> Notification:
    told = samples.image()
    return msgspec.structs.replace(told, finding=msgspec.structs.replace(told.finding, severity=severity))


def problem(**more: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        config(**more)
    return str(caught.value)


async def test_a_push_has_title_message_and_link() -> None:
    request, form = await posted(samples.image(), device="phone")

    assert str(request.url) == "https://api.pushover.net/1/messages.json"
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert (form["token"], form["user"], form["device"]) == (TOKEN, USER, "phone")
    assert form["title"] == "🔵 Deployment/shop/web updated"
    assert f"• {samples.IMAGE}: nginx:1.27 → nginx:1.28" in form["message"]
    assert (form["url"], form["url_title"]) == (samples.LINK, "Open the entry")
    assert form["timestamp"] == "1767323045"


@pytest.mark.parametrize(
    ("severity", "priority"),
    [(Severity.DEBUG, -1), (Severity.INFO, 0), (Severity.LOW, 0), (Severity.MEDIUM, 0), (Severity.HIGH, 1)],
)
def test_the_priority_is_that_of_the_severity(severity: Severity, priority: int) -> None:
    assert rendered(of_severity(severity))["priority"] == priority


def test_of_logs_the_end_is_shown_unless_files_are_not_wanted() -> None:
    shown, hidden = rendered(samples.failed_job()), rendered(samples.failed_job(), send_files=False)

    assert shown["message"].endswith("row 39 imported\nFATAL: cannot connect")
    assert "<b>Job Events</b>" in shown["message"]
    assert "importer.log" not in hidden["message"]


def test_plain_text_has_no_tags_and_says_so() -> None:
    plain = rendered(samples.failed_job(), send_as_html=False)

    assert "html" not in plain
    assert "<b>" not in plain["message"]


def test_fields_that_do_not_fit_are_counted() -> None:
    message = rendered(samples.many_fields(400))["message"]

    assert message.endswith(f"… {400 - message.count('• ')} more fields")
    assert MESSAGE_LIMIT - 150 < len(message) <= MESSAGE_LIMIT


@pytest.mark.parametrize("sample", [samples.hostile, samples.hostile_names, samples.many_fields, samples.failed_job])
@pytest.mark.parametrize("send_as_html", [True, False])
def test_the_limits_hold_for_whatever_comes(sample: Any, send_as_html: bool) -> None:
    push = rendered(sample(), send_as_html=send_as_html)

    assert 0 < len(push["message"]) <= MESSAGE_LIMIT
    assert len(push["title"]) <= TITLE_LIMIT


def test_a_link_that_is_too_long_for_its_field_is_in_the_message() -> None:
    push = rendered(msgspec.structs.replace(samples.image(), link=f"https://x.example/{'a' * 500}"))

    assert "url" not in push
    assert 'aaa">Open the entry</a>' in push["message"]


def test_names_are_no_tags() -> None:
    assert "<b>x</b>" not in rendered(samples.hostile_names())["message"]


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        ("application token is invalid, see https://pushover.net/api", "token is that of the application"),
        ("user identifier is not a valid user, group, or subscribed user key", "user is the key that"),
        ("device name is not valid for user", "device is the name of one of the user's devices"),
    ],
)
async def test_refusals_are_permanent_with_advice(error: str, advice: str) -> None:
    with pytest.raises(PermanentError) as caught:
        await posted(samples.image(), refused(error))

    assert f"{error}; {advice}" in str(caught.value)


async def test_errors_with_status_200_are_refusals_too() -> None:
    with pytest.raises(PermanentError, match="no active devices"):
        await posted(samples.image(), {"json": {"status": 0, "errors": ["no active devices to send to"]}})


async def test_a_month_that_is_used_up_is_waited_for() -> None:
    reset = int((NOW + timedelta(days=3)).timestamp())
    headers = {"X-Limit-App-Limit": "10000", "X-Limit-App-Remaining": "0", "X-Limit-App-Reset": str(reset)}

    with pytest.raises(TemporaryError) as caught:
        await posted(samples.image(), {"status_code": 429, "headers": headers, "json": {"status": 0}})

    assert caught.value.retry_after == timedelta(days=3)


@pytest.mark.parametrize(
    ("more", "part"),
    [
        ({"token": "hunter2"}, "is none: Pushover's tokens and keys are 30 letters and digits"),
        ({"user": f"{USER}!"}, "is none"),
        ({"device": "my phone"}, "String should match pattern"),
    ],
)
def test_options_that_cannot_work_are_refused(more: dict[str, Any], part: str) -> None:
    assert part in problem(**more)
