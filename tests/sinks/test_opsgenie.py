from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from pydantic import ValidationError

from app.sinks.base import PermanentError
from app.sinks.opsgenie import (
    DESCRIPTION_LIMIT,
    DETAILS_LIMIT,
    MESSAGE_LIMIT,
    TAG_LIMIT,
    TAGS_LIMIT,
    OpsgenieConfig,
    OpsgenieSink,
    alert,
)
from tests.sinks import samples

KEY = "eb243592-faa2-4ba2-a551-1afdf565c889"
SECRETS = (KEY,)
LIMIT = 128 * 1024
SUCCESS = {"status_code": 202, "json": {"result": "Request will be processed", "took": 0.3, "requestId": "43a29c5c"}}
BUSY = {"status_code": 429, "json": {"message": "You are making too many requests!", "took": 0.0, "requestId": "1"}}
REFUSED = {
    "status_code": 422,
    "json": {"message": "Request body is not processable", "errors": {"message": "too long"}},
}


def options(folder: Path) -> dict[str, Any]:
    return {
        "api_key": KEY,
        "teams": ["noc", "$labels.team"],
        "default_team": "oncall",
        "tags": ["prod a", "$labels.app"],
    }


def at(url: str) -> dict[str, Any]:
    return {"host": url}


def config(**more: Any) -> OpsgenieConfig:
    return OpsgenieConfig.model_validate({"name": "o", **options(Path()), **more})


async def posted(answer: dict[str, Any] = SUCCESS, **more: Any) -> httpx.Request:
    requests: list[httpx.Request] = []

    def receive(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(**answer)

    await OpsgenieSink(config(**more), transport=httpx.MockTransport(receive)).send(samples.image())
    return requests[0]


async def test_the_alert_goes_to_the_region_with_the_key_in_a_header() -> None:
    request = await posted(host="https://api.eu.opsgenie.com")
    document = msgspec.json.decode(request.content)

    assert str(request.url) == "https://api.eu.opsgenie.com/v2/alerts"
    assert request.headers["authorization"] == f"GenieKey {KEY}"
    assert document["message"] == "Deployment/shop/web updated, by alice with kubectl-set"
    assert "nginx:1.28" in document["description"]
    assert document["details"]["link"] == samples.LINK


@pytest.mark.parametrize(
    ("teams", "labels", "expected"),
    [
        (["noc", "$labels.team"], {"team": "checkout"}, ["noc", "checkout"]),
        (["noc", "$labels.team"], {}, ["noc", "oncall"]),
        (["$labels.team"], {}, ["oncall"]),
        ([], {}, ["oncall"]),
    ],
)
def test_teams_are_static_or_taken_from_labels_with_a_fallback(
    teams: list[str], labels: dict[str, str], expected: list[str]
) -> None:
    notification = samples.notification(labels=labels)

    assert [each["name"] for each in alert(notification, config(teams=teams))["responders"]] == expected


def test_without_teams_the_integration_decides_who_responds() -> None:
    assert "responders" not in alert(samples.image(), config(teams=[], default_team=None))


def test_tags_are_filled_and_within_what_opsgenie_keeps() -> None:
    assert alert(samples.image(), config())["tags"][:2] == ["prod a", "web"]
    tags = alert(samples.hostile_names(), config(tags=[f"t{n}" for n in range(40)]))["tags"]
    assert len(tags) == TAGS_LIMIT
    assert max(map(len, tags)) <= TAG_LIMIT


@pytest.mark.parametrize(("notification", "priority"), [(samples.image, "P5"), (samples.failed_job, "P1")])
def test_the_priority_is_the_severity(notification: Any, priority: str) -> None:
    assert alert(notification(), config())["priority"] == priority


def test_a_repeat_of_a_delivery_joins_its_alert_and_another_change_does_not() -> None:
    other = msgspec.structs.replace(samples.image(), delivery_id="d-2")

    assert alert(samples.image(), config())["alias"] == alert(samples.image(), config())["alias"]
    assert alert(samples.image(), config())["alias"] != alert(other, config())["alias"]


def test_hostile_text_is_escaped_within_the_limits() -> None:
    made = alert(samples.hostile(), config(extra_details_labels=True))

    assert len(made["message"]) <= MESSAGE_LIMIT
    assert len(made["description"]) <= DESCRIPTION_LIMIT
    assert "<b>x</b>" not in alert(samples.hostile_names(), config())["description"]
    assert "<" not in alert(samples.notification(title="<" * 200), config())["message"]


def test_labels_are_details_only_if_they_are_wanted_and_as_far_as_they_fit() -> None:
    many = samples.notification(labels={f"label-{n}": "x" * 200 for n in range(100)})

    assert "label/label-0" not in alert(many, config())["details"]
    details = alert(many, config(extra_details_labels=True))["details"]
    assert "label/label-0" in details
    assert sum(len(key) + len(value) for key, value in details.items()) <= DETAILS_LIMIT


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (422, REFUSED["json"], "Request body is not processable; message: too long"),
        (401, {"message": "Could not authenticate"}, "Could not authenticate; is api_key that of an API integration"),
    ],
)
async def test_refusals_say_what_is_wrong(status: int, body: Any, said: str) -> None:
    with pytest.raises(PermanentError, match=said):
        await posted({"status_code": status, "json": body})


def test_an_unknown_variable_is_an_error() -> None:
    with pytest.raises(ValidationError, match=r"unknown variable \$team"):
        config(teams=["$team"])
