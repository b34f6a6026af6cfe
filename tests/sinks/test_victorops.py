from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from pydantic import ValidationError

from app.sinks.base import PermanentError
from app.sinks.victorops import TEXT_LIMIT, VictoropsConfig, VictoropsSink, alert
from tests.sinks import samples

KEY = "4a6a87eb-fca9-4117-931a-c842277ea90a"
SECRETS = (KEY, "routing-key-1")
LIMIT = 100_000
SUCCESS = {"json": {"result": "success", "entity_id": "kubewitness/x"}}
REFUSED = {"status_code": 404, "json": {"result": "failure", "message": "unknown integration"}}


def options(folder: Path) -> dict[str, Any]:
    return {"url": f"https://alert.victorops.com/integrations/generic/20131114/alert/{KEY}/routing-key-1"}


def at(url: str) -> dict[str, Any]:
    return {"url": f"{url}integrations/generic/20131114/alert/{KEY}/routing-key-1"}


async def posted(notification: Any, answer: dict[str, Any] = SUCCESS) -> dict[str, Any]:
    requests: list[httpx.Request] = []

    def receive(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(**{"status_code": 200, **answer})

    config = VictoropsConfig.model_validate({"name": "v", **options(Path())})
    await VictoropsSink(config, transport=httpx.MockTransport(receive)).send(notification)
    document: dict[str, Any] = msgspec.json.decode(requests[0].content)
    return document


async def test_a_failed_job_is_an_incident_with_its_logs() -> None:
    document = await posted(samples.failed_job())

    assert document["message_type"] == "CRITICAL"
    assert document["entity_display_name"] == "Job Failed: Job/shop/nightly-28391"
    assert "FATAL: cannot connect" in document["state_message"]
    assert document["alert_url"] == samples.LINK


async def test_a_change_is_information_and_pages_nobody() -> None:
    document = await posted(samples.image())

    assert document["message_type"] == "INFO"
    assert "nginx:1.27 → nginx:1.28" in document["state_message"]


def test_what_is_told_about_one_object_is_one_entity() -> None:
    assert alert(samples.image())["entity_id"] == alert(samples.folded())["entity_id"]


def test_a_long_diff_is_cut_and_counted() -> None:
    text = alert(samples.many_fields(2000))["state_message"]

    assert len(text) <= TEXT_LIMIT
    assert "more fields" in text


async def test_a_failure_in_a_good_answer_is_a_failure() -> None:
    with pytest.raises(PermanentError, match="Invalid key; is the URL that of the REST integration"):
        await posted(samples.image(), {"json": {"result": "failure", "message": "Invalid key"}})


def test_the_placeholder_of_the_routing_key_must_be_replaced() -> None:
    with pytest.raises(ValidationError, match=r"still ends in \$routing_key: put a routing key in its place"):
        VictoropsConfig.model_validate({"name": "v", "url": "https://alert.victorops.com/x/$routing_key"})
