from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from pydantic import ValidationError

from app.sinks.base import PermanentError
from app.sinks.pagerduty import SUMMARY_LIMIT, PagerdutyConfig, PagerdutySink, alert, change_event
from tests.sinks import samples

KEY = "f6c6e02a5a1a490ee02e90cde19ee388"
SECRETS = (KEY,)
LIMIT = 512 * 1024
SUCCESS = {"status_code": 202, "json": {"status": "success", "message": "Event processed", "dedup_key": "x"}}
BUSY = {
    "status_code": 429,
    "json": {"status": "throttle exceeded", "message": "Requests for this service are arriving"},
}
REFUSED = {
    "status_code": 400,
    "json": {"status": "invalid event", "message": "Event object is invalid", "errors": ["'routing_key' is invalid"]},
}


def options(folder: Path) -> dict[str, Any]:
    return {"api_key": KEY}


def at(url: str) -> dict[str, Any]:
    return {"api_url": url}


async def posted(notification: Any, answer: dict[str, Any] = SUCCESS) -> tuple[str, dict[str, Any]]:
    requests: list[httpx.Request] = []

    def receive(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(**answer)

    sink = PagerdutySink(
        PagerdutyConfig(name="p", **options(Path())),
        transport=httpx.MockTransport(receive),
    )
    await sink.send(notification)
    return str(requests[0].url), msgspec.json.decode(requests[0].content)


async def test_a_change_is_a_change_event_and_pages_nobody() -> None:
    url, event = await posted(samples.image())

    assert url == "https://events.pagerduty.com/v2/change/enqueue"
    assert event["routing_key"] == KEY
    assert "event_action" not in event
    assert event["payload"]["summary"] == "Deployment/shop/web updated, by alice with kubectl-set"
    assert event["payload"]["source"] == "prod"
    assert "nginx:1.27 → nginx:1.28" in event["payload"]["custom_details"]["details"]
    assert event["links"] == [{"href": samples.LINK, "text": "Open the entry"}]


async def test_a_failed_job_is_an_alert_with_its_logs() -> None:
    url, event = await posted(samples.failed_job())

    assert url == "https://events.pagerduty.com/v2/enqueue"
    assert event["event_action"] == "trigger"
    assert event["payload"]["summary"] == "Job Failed: Job/shop/nightly-28391"
    assert event["payload"]["severity"] == "critical"
    assert event["payload"]["component"] == "Job/shop/nightly-28391"
    assert event["client_url"] == samples.LINK
    assert "FATAL: cannot connect" in event["payload"]["custom_details"]["details"]


def test_a_job_has_one_alert_however_often_it_is_told() -> None:
    assert alert(samples.failed_job())["dedup_key"] == alert(samples.failed_job())["dedup_key"]
    assert len(alert(samples.failed_job())["dedup_key"]) <= 255


def test_a_title_of_any_length_is_cut_to_what_pagerduty_takes() -> None:
    long = samples.notification(title="x" * 3000)

    assert len(change_event(long)["payload"]["summary"]) <= SUMMARY_LIMIT


async def test_a_refusal_says_what_is_wrong_and_what_to_do() -> None:
    with pytest.raises(PermanentError, match=r"'routing_key' is invalid; is it the integration key of a service"):
        await posted(samples.image(), REFUSED)


def test_what_is_no_integration_key_is_an_error() -> None:
    with pytest.raises(ValidationError, match="is no integration key, which has 32 letters and digits"):
        PagerdutyConfig.model_validate({"name": "p", "api_key": "u+s3cret"})
