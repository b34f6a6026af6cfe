from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from pydantic import ValidationError

from app.sinks.base import PermanentError
from app.sinks.datadog import TEXT_LIMIT, DatadogConfig, DatadogSink, event
from tests.sinks import samples

KEY = "0123456789abcdef0123456789abcdef"
SECRETS = (KEY,)
LIMIT = 40_000
SUCCESS = {"status_code": 202, "json": {"status": "ok", "event": {"id": 1}}}
BUSY = {"status_code": 429, "json": {"errors": ["Rate limit of 1000 requests in 60 seconds reached"]}}
REFUSED = {"status_code": 403, "json": {"errors": ["Forbidden"]}}


def options(folder: Path) -> dict[str, Any]:
    return {"api_key": KEY, "tags": ["env:prod", "Team Checkout"]}


def at(url: str) -> dict[str, Any]:
    return {"api_url": url}


async def posted(answer: dict[str, Any] = SUCCESS, **more: Any) -> httpx.Request:
    requests: list[httpx.Request] = []

    def receive(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(**answer)

    config = DatadogConfig.model_validate({"name": "d", **options(Path()), **more})
    await DatadogSink(config, transport=httpx.MockTransport(receive)).send(samples.image())
    return requests[0]


async def test_the_event_goes_to_the_site_with_the_key_in_a_header() -> None:
    request = await posted(api_url="https://api.datadoghq.eu/")

    assert str(request.url) == "https://api.datadoghq.eu/api/v1/events"
    assert request.headers["dd-api-key"] == KEY
    assert KEY not in request.content.decode()
    assert msgspec.json.decode(request.content)["title"] == "Deployment/shop/web updated"


def test_who_what_and_the_fields_are_the_text() -> None:
    text = event(samples.image(), [])["text"]

    assert "Updated by alice with kubectl-set." in text
    assert "nginx:1.27 → nginx:1.28" in text
    assert text.endswith(samples.LINK)


def test_a_long_diff_is_cut_at_a_field_and_counted() -> None:
    text = event(samples.many_fields(), [])["text"]

    assert len(text) <= TEXT_LIMIT
    assert "more fields\nOpen the entry: " in text


def test_tags_are_harmless_and_say_what_it_is_about() -> None:
    tags = event(samples.image(), ["env:prod", "Team Checkout"])["tags"]

    assert tags[:2] == ["env:prod", "team_checkout"]
    assert {"kube_namespace:shop", "kube_kind:deployment", "kube_name:web", "user:alice"} <= set(tags)
    assert all("," not in tag and " " not in tag for tag in event(samples.hostile_names(), [])["tags"])


@pytest.mark.parametrize(
    ("notification", "kind", "priority"),
    [(samples.image, "info", "low"), (samples.failed_job, "error", "normal")],
)
def test_failures_stand_out(notification: Any, kind: str, priority: str) -> None:
    made = event(notification(), [])

    assert (made["alert_type"], made["priority"]) == (kind, priority)


def test_events_about_one_object_are_aggregated() -> None:
    assert event(samples.image(), [])["aggregation_key"] == event(samples.folded(), [])["aggregation_key"]


async def test_a_refused_key_says_what_to_look_at() -> None:
    with pytest.raises(PermanentError, match="the API key belongs to a site: is api_url that of yours"):
        await posted(REFUSED)


def test_what_is_no_api_key_is_an_error() -> None:
    with pytest.raises(ValidationError, match="is no API key, which has 32 hexadecimal digits"):
        DatadogConfig.model_validate({"name": "d", "api_key": KEY + "01234567"})


def test_nobody_is_mentioned_and_nothing_is_markdown() -> None:
    told = samples.notification(
        description="%%% by @alice@example.com", title="@slack-ops %%%", field_manager="@pagerduty"
    )
    made = event(told, [])

    assert [mention for mention in ("@a", "@s", "@p", "%%%") if mention in f"{made['title']} {made['text']}"] == []
    assert "alice" in made["text"]
