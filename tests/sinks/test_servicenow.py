from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from pydantic import ValidationError

from app.sinks.base import PermanentError, TemporaryError
from app.sinks.servicenow import DESCRIPTION_LIMIT, SUMMARY_LIMIT, ServicenowConfig, ServicenowSink, incident
from tests.sinks import samples

SECRETS = ("s3cret-now", base64.b64encode(b"bot:s3cret-now").decode())
LIMIT = 32_000
SUCCESS = {
    "status_code": 201,
    "json": {"result": {"sys_id": "5137153cc611227c000bbd1bd8cd2007", "number": "INC0010001"}},
}
REFUSED = {
    "status_code": 403,
    "json": {"error": {"message": "Operation Failed", "detail": "ACL Exception Insert Failed"}, "status": "failure"},
}


def options(folder: Path) -> dict[str, Any]:
    return {"instance": "dev12345", "username": "bot", "password": "s3cret-now", "caller_id": "kubewitness_bot"}


def at(url: str) -> dict[str, Any]:
    return {"api_url": url}


def config(**more: Any) -> ServicenowConfig:
    return ServicenowConfig.model_validate({"name": "s", **options(Path()), **more})


class Table:
    """The table of incidents, with what was asked of it."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(**self.answers.pop(0))


def sink(table: Table, **more: Any) -> ServicenowSink:
    return ServicenowSink(config(**more), transport=httpx.MockTransport(table))


async def test_an_incident_is_opened_at_the_instance() -> None:
    table = Table(SUCCESS)

    await sink(table).send(samples.failed_job())

    [request] = table.requests
    document = msgspec.json.decode(request.content)
    assert str(request.url) == "https://dev12345.service-now.com/api/now/table/incident"
    assert request.headers["authorization"] == f"Basic {SECRETS[1]}"
    assert document["short_description"] == "Job Failed: Job/shop/nightly-28391"
    assert (document["urgency"], document["impact"], document["caller_id"]) == (1, 1, "kubewitness_bot")
    assert "FATAL: cannot connect" in document["description"]
    assert document["description"].endswith(samples.LINK)


async def test_a_repeat_looks_for_its_incident_and_opens_no_second_one() -> None:
    again = msgspec.structs.replace(samples.image(), attempt=2)
    table = Table({"status_code": 200, "json": {"result": [{"sys_id": "1"}]}})

    await sink(table).send(again)

    [request] = table.requests
    assert request.method == "GET"
    assert request.url.params["sysparm_query"] == f"correlation_id={incident(again, None)['correlation_id']}"


async def test_a_repeat_whose_incident_is_not_there_opens_it() -> None:
    table = Table({"status_code": 200, "json": {"result": []}}, SUCCESS)

    await sink(table).send(msgspec.structs.replace(samples.image(), attempt=2))

    assert [request.method for request in table.requests] == ["GET", "POST"]


def test_texts_are_within_the_columns() -> None:
    made = incident(samples.many_fields(), None)

    assert len(made["description"]) <= DESCRIPTION_LIMIT
    assert "more fields" in made["description"]
    assert len(incident(samples.notification(title="x" * 400), None)["short_description"]) <= SUMMARY_LIMIT


async def test_a_sleeping_instance_is_tried_again() -> None:
    with pytest.raises(TemporaryError, match="does the instance sleep"):
        await sink(Table({"status_code": 200, "html": "<h1>Instance Hibernating page</h1>"})).send(samples.image())


async def test_a_refusal_says_what_the_user_needs() -> None:
    with pytest.raises(PermanentError, match="ACL Exception Insert Failed; the user needs to create incidents"):
        await sink(Table(REFUSED)).send(samples.image())


@pytest.mark.parametrize("name", ["dev12345", "https://dev12345.service-now.com/", "dev12345.service-now.com"])
def test_the_instance_may_be_written_as_its_address(name: str) -> None:
    assert config(instance=name).instance == "dev12345"


def test_another_host_is_no_instance() -> None:
    with pytest.raises(ValidationError, match=r"is no instance; write the name before \.service-now\.com"):
        config(instance="evil.example/dev")
