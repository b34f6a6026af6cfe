from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from pydantic import ValidationError

from app.sinks.base import PermanentError
from app.sinks.grafana import TAG_LIMIT, TEXT_LIMIT, GrafanaConfig, GrafanaSink, annotation, tags
from tests.sinks import samples

TOKEN = "glsa_0123456789abcdef_01234567"
SECRETS = (TOKEN,)
LIMIT = 64_000
SUCCESS = {"json": {"message": "Annotation added", "id": 1}}
REFUSED = {"status_code": 403, "json": {"message": "You'll need additional permissions", "accessErrorId": "ACE1"}}


def options(folder: Path) -> dict[str, Any]:
    return {"url": "https://grafana.example.com/grafana/", "token": TOKEN, "tags": ["change"]}


def at(url: str) -> dict[str, Any]:
    return {"url": url}


def config(**more: Any) -> GrafanaConfig:
    return GrafanaConfig.model_validate({"name": "g", **options(Path()), **more})


async def posted(answer: dict[str, Any]) -> httpx.Request:
    requests: list[httpx.Request] = []

    def receive(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(**{"status_code": 200, **answer})

    await GrafanaSink(config(), transport=httpx.MockTransport(receive)).send(samples.image())
    return requests[0]


async def test_an_annotation_is_at_the_moment_of_the_change() -> None:
    request = await posted(SUCCESS)
    document = msgspec.json.decode(request.content)

    assert str(request.url) == "https://grafana.example.com/grafana/api/annotations"
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert document["time"] == 1767323045000
    assert document["tags"][:2] == ["change", "kubewitness"]
    assert "dashboardUID" not in document


def test_one_dashboard_and_panel_can_be_chosen() -> None:
    made = annotation(samples.image(), config(dashboard_uid="abc", panel_id=4))

    assert (made["dashboardUID"], made["panelId"]) == ("abc", 4)


def test_the_text_is_escaped_and_links_to_the_entry_alone() -> None:
    text = annotation(samples.hostile_names(), config())["text"]

    assert "<b>x</b>" not in text
    assert text.count("<a ") == 1
    assert f'<a href="{samples.LINK}">' in text


def test_a_long_diff_is_cut_and_counted() -> None:
    text = annotation(samples.many_fields(), config())["text"]

    assert len(text) <= TEXT_LIMIT
    assert "more fields" in text


def test_tags_say_what_it_is_about_within_what_grafana_keeps() -> None:
    assert "namespace:shop" in tags(samples.image())
    assert max(map(len, tags(samples.hostile_names()))) <= TAG_LIMIT


@pytest.mark.parametrize(
    ("status", "advice"),
    [(401, "make a token: Administration"), (403, "annotations:create"), (404, "with its sub-path if it has one")],
)
async def test_refusals_say_what_to_do(status: int, advice: str) -> None:
    with pytest.raises(PermanentError, match=advice):
        await posted({"status_code": status, "json": {"message": "no"}})


def test_a_token_that_no_header_can_carry_is_refused_without_being_shown() -> None:
    with pytest.raises(ValidationError, match="characters that a header cannot carry") as caught:
        config(token="glsa_secret\nx")

    assert "glsa_secret" not in str(caught.value)
