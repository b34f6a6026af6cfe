from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from pydantic import ValidationError

from app.core.finding import FileBlock, Notification, Severity, TableBlock, TextBlock
from app.sinks._adaptive_card import CARD_BYTES, MESSAGE_BYTES, counted_bytes
from app.sinks.base import PermanentError, TemporaryError
from app.sinks.ms_teams import MsTeamsConfig, MsTeamsSink, is_allowed
from tests.sinks import samples
from tests.sinks.stands import Request, http_receiver

SIGNATURE = "sig-of-the-flow-1234"
OTHER = "https://prod-07.westeurope.logic.azure.com/workflows/other-flow-5678/invoke?sig=other-sig-5678"
SECRETS = (SIGNATURE, "b840a60a611b4d32", "other-flow-5678", "other-sig-5678")
LIMIT = MESSAGE_BYTES
SUCCESS: dict[str, Any] = {"status_code": 202}
BUSY: dict[str, Any] = {
    "status_code": 429,
    "json": {"error": {"code": "429", "message": "Rate limit is exceeded. Try again in 17 seconds."}},
}
REFUSED: dict[str, Any] = {
    "status_code": 400,
    "json": {
        "error": {
            "code": "WorkflowTriggerIsNotEnabled",
            "message": "Could not execute workflow 'b840a60a611b4d32' trigger 'manual' with state 'Disabled': "
            "trigger is not enabled.",
        }
    },
}


def options(folder: Path) -> dict[str, Any]:
    return {
        "webhook_url": f"https://prod-01.westeurope.logic.azure.com/workflows/b840a60a611b4d32/invoke?sig={SIGNATURE}",
        "webhook_urls": {"payments": OTHER},
    }


def at(url: str) -> dict[str, Any]:
    return {"webhook_url": f"{url}workflows/b840a60a611b4d32/invoke?sig={SIGNATURE}"}


def config(**more: Any) -> MsTeamsConfig:
    return MsTeamsConfig.model_validate({"name": "t", **options(Path()), **more})


def card(notification: Notification, **more: Any) -> dict[str, Any]:
    rendering = MsTeamsSink(config(**more)).render(notification)
    assert isinstance(rendering, dict)
    (attachment,) = rendering["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    content: dict[str, Any] = attachment["content"]
    return content


def lines(element: Any) -> Iterator[str]:
    """Yield the text of every text block, as a client shows it."""
    if isinstance(element, dict) and element.get("type") == "RichTextBlock":
        yield "".join(each["text"] for each in element["inlines"])
    elif isinstance(element, dict | list):
        for inner in element.values() if isinstance(element, dict) else element:
            yield from lines(inner)


def types(element: Any) -> set[str]:
    if isinstance(element, dict):
        return {element.get("type", "")}.union(*map(types, element.values()))
    return set().union(*map(types, element)) if isinstance(element, list) else set()


async def answered(notification: Notification, **answer: Any) -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(**answer))
    await MsTeamsSink(config(), transport=transport).send(notification)


def annotated(**annotations: str) -> Notification:
    told = samples.notification()
    names = {name.replace("_", "-"): value for name, value in annotations.items()}
    return msgspec.structs.replace(told, finding=msgspec.structs.replace(told.finding, annotations=names))


async def target(notification: Notification, **more: Any) -> httpx.URL:
    requests: list[httpx.Request] = []

    def take(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(202)

    await MsTeamsSink(config(**more), transport=httpx.MockTransport(take)).send(notification)
    return requests[0].url


def test_a_card_says_who_did_what_and_each_field_with_old_and_new() -> None:
    assert list(lines(card(samples.image()))) == [
        "🔵 Deployment/shop/web updated",
        "Updated by alice with kubectl-set.",
        "What: UPDATE Deployment/shop/web in prod at 2026-01-02T03:04:05Z",
        "spec.template.spec.containers[nginx].image: nginx:1.27 → nginx:1.28",
    ]


def test_the_entry_is_one_click_away() -> None:
    (action,) = card(samples.image())["actions"]

    assert (action["type"], action["url"]) == ("Action.OpenUrl", samples.LINK)
    assert "actions" not in card(samples.notification())


@pytest.mark.parametrize(("severity", "style"), [(Severity.HIGH, "attention"), (Severity.INFO, "accent")])
def test_the_head_has_the_colour_of_the_severity(severity: Severity, style: str) -> None:
    told = samples.notification()
    told = msgspec.structs.replace(told, finding=msgspec.structs.replace(told.finding, severity=severity))

    assert card(told)["body"][0]["style"] == style


def test_a_table_is_rows_of_columns_of_the_same_width_beneath_a_bold_header() -> None:
    table = TableBlock(headers=("type", "reason"), rows=(("Warning", "BackOff"), ("Normal", "Pulled")), title="Events")

    *_, heading, header, first, last = card(samples.notification(table))["body"]

    assert list(lines(heading)) == ["Events"]
    assert [list(lines(row)) for row in (header, first, last)] == [
        ["type", "reason"],
        ["Warning", "BackOff"],
        ["Normal", "Pulled"],
    ]
    assert {tuple(column["width"] for column in row["columns"]) for row in (header, first, last)} == {(7, 7)}
    assert "Bolder" in json.dumps(header)
    assert "Bolder" not in json.dumps(first)


def test_a_wide_table_shows_how_many_columns_are_left_out() -> None:
    table = TableBlock(headers=tuple("abcdefgh"), rows=(tuple("12345678"),))

    _, header, _ = card(samples.notification(table))["body"][-3:]

    assert list(lines(header)) == ["a", "b", "c", "d", "e", "f … 2 more"]


def test_a_card_is_of_the_schema_that_workflows_can_show() -> None:
    shown = card(samples.failed_job())

    assert shown["version"] == "1.4"
    assert types(shown) == {
        "AdaptiveCard",
        "Container",
        "RichTextBlock",
        "TextRun",
        "ColumnSet",
        "Column",
        "Action.OpenUrl",
        "",
    }


def test_the_end_of_a_log_is_shown_in_monospace_unless_files_are_not_wanted() -> None:
    log = FileBlock(name="app.log", content="".join(f"row {n}\n" for n in range(50)) + "FATAL\n")

    shown = list(lines(card(samples.notification(log))))

    assert shown[-21:] == ["app.log (31 earlier lines)", *(f"row {n}" for n in range(31, 50)), "FATAL"]
    assert "FATAL" in list(lines(card(samples.notification(log), send_files=True)))
    assert "app.log" not in " ".join(lines(card(samples.notification(log), send_files=False)))


def test_texts_from_the_cluster_are_never_read_as_markdown() -> None:
    assert types(card(samples.hostile_names())) & {"TextBlock", "FactSet"} == set()


def test_nobody_can_be_mentioned() -> None:
    shown = card(samples.notification(TextBlock(text="<at>Everyone</at>"), title="<at>General</at>"))

    assert "<at>General</at>" in next(lines(shown))
    assert shown["msteams"] == {"width": "Full"}, "a mention needs msteams.entities"


@pytest.mark.parametrize("date", ["{{DATE(2017-02-14T06:00:00Z, SHORT)}}", "{{TIME(2017-02-14T06:00:00Z)}}"])
def test_dates_in_texts_are_not_replaced(date: str) -> None:
    shown = " ".join(lines(card(samples.notification(TextBlock(text=f"{date} {{{{x}}}}"), title=date))))

    assert date not in shown
    assert shown.count(date.replace("{{", "{\u2060{")) == 2
    assert "{{x}}" in shown


@pytest.mark.parametrize("sample", [samples.hostile, samples.many_fields, samples.hostile_names])
def test_a_card_stays_within_what_teams_counts(sample: Any) -> None:
    content = card(sample())

    assert counted_bytes(content) <= CARD_BYTES
    assert len(json.dumps(json.dumps(content))) <= LIMIT, "as JSON in a JSON string, even with blanks between its words"


def test_what_does_not_fit_is_counted_and_one_field_more_would_not_fit() -> None:
    content = card(samples.many_fields(400))

    *fields, note = list(lines(content))[4:]

    assert note == f"… {400 - len(fields)} more fields"
    assert len(fields) > 50
    one = counted_bytes({"": content["body"][-2]})
    assert CARD_BYTES - one <= counted_bytes(content) <= CARD_BYTES


def test_fields_beyond_the_first_hundreds_are_counted_too() -> None:
    *fields, note = list(lines(card(samples.many_fields(5000))))[4:]

    assert note == f"… {5000 - len(fields)} more fields"


async def test_a_card_arrives_at_a_workflow_that_answers_202() -> None:
    def take(request: Request) -> httpx.Response:
        arrived = json.loads(request.body)
        assert arrived["type"] == "message"
        assert request.headers["content-type"] == "application/json"
        return httpx.Response(202 if SIGNATURE in request.path else 401)

    with http_receiver(take) as receiver:
        sink = MsTeamsSink(config(**at(receiver.url)))
        await sink.send(samples.image())
        await sink.aclose()

    assert len(receiver.requests) == 1


async def test_a_throttled_workflow_says_how_long_to_wait_in_a_sentence() -> None:
    with pytest.raises(TemporaryError) as caught:
        await answered(samples.image(), **BUSY)

    assert caught.value.retry_after == timedelta(seconds=17)


async def test_a_header_counts_more_than_the_sentence() -> None:
    with pytest.raises(TemporaryError) as caught:
        await answered(samples.image(), **BUSY, headers={"retry-after": "3"})

    assert caught.value.retry_after == timedelta(seconds=3)


@pytest.mark.parametrize(
    ("status", "code", "advice"),
    [
        (400, "WorkflowTriggerIsNotEnabled", "turn it on"),
        (404, "WorkflowNotFound", "make one and copy its URL"),
        (401, "DirectApiAuthorizationRequired", "`Anyone`"),
        (400, "MissingApiVersionParameter", "question mark"),
        (410, "", "copy it anew"),
        (413, "", "larger than Teams takes"),
    ],
)
async def test_a_refusal_says_what_to_do(status: int, code: str, advice: str) -> None:
    with pytest.raises(PermanentError, match=advice):
        await answered(samples.image(), status_code=status, json={"error": {"code": code, "message": "no"}})


@pytest.mark.parametrize(
    "text",
    [
        "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429 with ContextId x",
        "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 500 with ContextId x",
        "System.Net.Http.HttpRequestException: Error while copying content to a stream.",
    ],
)
async def test_a_connector_that_answers_200_with_a_passing_failure_is_tried_again(text: str) -> None:
    with pytest.raises(TemporaryError, match="answered 200"):
        await answered(samples.image(), status_code=200, text=text)


@pytest.mark.parametrize(
    ("status", "advice"), [(413, "larger than Teams"), (404, "copy it anew"), (400, "HTTP error 400")]
)
async def test_a_connector_that_answers_200_with_a_refusal_is_not_tried_again(status: int, advice: str) -> None:
    text = f"Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error {status} with x"

    with pytest.raises(PermanentError, match=advice):
        await answered(samples.image(), status_code=200, text=text)


async def test_a_connector_answers_1_when_all_is_well() -> None:
    await answered(samples.image(), status_code=200, text="1")


async def test_an_annotation_leads_to_another_webhook() -> None:
    override = {"webhook_override": "annotations.teams-hook"}

    assert (await target(annotated(teams_hook=OTHER), **override)) == httpx.URL(OTHER)
    assert (await target(annotated(teams_hook="payments"), **override)) == httpx.URL(OTHER)
    assert (await target(annotated(), **override)).host == "prod-01.westeurope.logic.azure.com"
    assert (await target(annotated(teams_hook=OTHER))).host == "prod-01.westeurope.logic.azure.com"


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/",
        "http://x.logic.azure.com/",
        "https://169.254.169.254/",
        "x",
        "https://[",
        "https://xn--a.example/",
        "",
    ],
)
async def test_an_annotation_leads_nowhere_but_to_microsoft(url: str) -> None:
    sent = await target(annotated(teams_hook=url), webhook_override="annotations.teams-hook")

    assert sent.host == "prod-01.westeurope.logic.azure.com"


def test_an_annotation_may_name_another_webhook_of_the_same_host() -> None:
    assert is_allowed("https://proxy.example:8443/b", "https://proxy.example:8443/a")
    assert not is_allowed("https://proxy.example:9443/b", "https://proxy.example:8443/a")


def test_microsofts_hosts_serve_at_the_port_of_https_alone() -> None:
    assert is_allowed("https://d1.environment.api.powerplatform.com:443/powerautomate/x", "https://proxy.example/a")
    assert not is_allowed(
        "https://d1.environment.api.powerplatform.com:8443/powerautomate/x", "https://proxy.example/a"
    )


def test_each_webhook_has_a_lane_that_gives_nothing_away() -> None:
    sink = MsTeamsSink(config(webhook_override="annotations.teams-hook"))

    own, other = sink.lane(annotated()), sink.lane(annotated(teams_hook="payments"))

    assert own != other
    assert own.isalnum()
    assert len(own) == 12


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"webhook_url": "https://teams.microsoft.com/l/channel/19"}, "is the link to a channel"),
        ({"webhook_override": "labels.hook"}, "from annotations alone"),
        ({"webhook_override": "fixed"}, "names no value"),
        ({"webhook_url": "prod-01.logic.azure.com/x"}, "valid URL"),
    ],
)
def test_wrong_options_say_what_is_right(more: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        config(**more)
