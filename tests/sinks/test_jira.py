from __future__ import annotations

import base64
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from pydantic import ValidationError

from app.sinks.base import PermanentError, TemporaryError
from app.sinks.jira import BODY_LIMIT, SUMMARY_LIMIT, JiraConfig, JiraSink, body, issue, label
from tests.sinks import samples
from tests.sinks.stands import Behaviour, Request, http_receiver

SECRETS = ("ATATT3xFfGF0-token", base64.b64encode(b"bot@example.com:ATATT3xFfGF0-token").decode())
LIMIT = 64_000
SUCCESS = {
    "json": {
        "id": "10000", "key": "OPS-1", "issues": [], "values": [{"id": "10001", "key": "OPS", "name": "Operations"}]
    }
}  # fmt: skip


def options(folder: Path) -> dict[str, Any]:
    return {
        "url": "https://workspace.atlassian.net",
        "username": "bot@example.com",
        "api_key": "ATATT3xFfGF0-token",
        "project_name": "Operations",
    }


def at(url: str) -> dict[str, Any]:
    return {"url": url}


def config(**more: Any) -> JiraConfig:
    return JiraConfig.model_validate({"name": "j", **options(Path()), **more})


class Jira:
    """A project with its issues: speaks as much of Jira's API as the sink needs."""

    def __init__(self) -> None:
        self.issues: list[dict[str, Any]] = []
        self.comments: list[tuple[str, dict[str, Any]]] = []
        self.refusal: httpx.Response | None = None

    def __call__(self, method: str, path: str, params: dict[str, str], content: bytes) -> httpx.Response:
        if self.refusal is not None:
            return self.refusal
        match method, path.removeprefix("/rest/api/3/").split("/"):
            case "GET", ["search", "jql"]:
                wanted = params["jql"].split('"')[1]
                found = [{"key": each["key"]} for each in self.issues if wanted in each["labels"] and not each["done"]]
                return httpx.Response(200, json={"issues": found[-1:]})
            case "GET", ["project", "search"]:
                return httpx.Response(200, json={"values": [{"id": "10001", "key": "OPS", "name": "Operations"}]})
            case "POST", ["issue"]:
                fields = msgspec.json.decode(content)["fields"]
                self.issues.append({**fields, "key": f"OPS-{len(self.issues) + 1}", "done": False})
                return httpx.Response(201, json={"key": self.issues[-1]["key"]})
            case "POST", ["issue", key, "comment"]:
                self.comments.append((key, msgspec.json.decode(content)))
                return httpx.Response(201, json={"id": "1"})
        return httpx.Response(404, json={"errorMessages": ["no such path"], "errors": {}})

    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(
            lambda request: self(request.method, request.url.path, dict(request.url.params), request.content)
        )


class Stand:
    def __init__(self, url: str, jira: Jira) -> None:
        self.sink = JiraSink(JiraConfig.model_validate({"name": "j", **options(Path()), "url": url}))
        self.jira = jira
        self.hanging = False

    @property
    def arrived(self) -> list[str]:
        return [str(each) for each in (*self.jira.issues, *self.jira.comments)]

    def behave(self, how: Behaviour) -> None:
        self.hanging = how == "hang"
        self.jira.refusal = {
            "busy": httpx.Response(429, headers={"retry-after": "7"}, text="Rate limit exceeded."),
            "refuse": httpx.Response(400, json={"errorMessages": [], "errors": {"issuetype": "Specify an issue type"}}),
        }.get(how)


@contextlib.asynccontextmanager
async def stand(folder: Path) -> AsyncIterator[Stand]:
    jira = Jira()

    def handle(request: Request) -> httpx.Response | None:
        url = httpx.URL(f"http://jira{request.path}")
        return None if own.hanging else jira(request.method, url.path, dict(url.params), request.body)

    with http_receiver(handle) as receiver:
        own = Stand(receiver.url, jira)
        async with contextlib.aclosing(own.sink):
            yield own


def sink(jira: Jira, **more: Any) -> JiraSink:
    return JiraSink(config(**more), transport=jira.transport())


async def test_an_issue_is_opened_in_the_project_of_that_name() -> None:
    jira = Jira()

    await sink(jira, assignee="5b10", epic="OPS-100", priority_mapping={"HIGH": "Highest"}).send(samples.failed_job())

    [opened] = jira.issues
    assert opened["summary"] == "Job Failed: Job/shop/nightly-28391"
    assert (opened["project"], opened["issuetype"]) == ({"id": "10001"}, {"name": "Task"})
    assert (opened["priority"], opened["assignee"]) == ({"name": "Highest"}, {"accountId": "5b10"})
    assert opened["parent"] == {"key": "OPS-100"}
    assert "FATAL: cannot connect" in str(opened["description"])
    assert samples.LINK in str(opened["description"])


async def test_what_is_told_again_of_an_open_issue_is_a_comment() -> None:
    jira = Jira()
    own = sink(jira)

    await own.send(samples.image())
    await own.send(samples.image())

    assert len(jira.issues) == 1
    assert [key for key, _ in jira.comments] == ["OPS-1"]


async def test_what_is_told_again_of_a_done_issue_opens_a_new_one() -> None:
    jira = Jira()
    own = sink(jira)
    await own.send(samples.image())
    jira.issues[0]["done"] = True

    await own.send(samples.image())

    assert len(jira.issues) == 2


async def test_ids_come_before_names() -> None:
    jira = Jira()

    await sink(jira, project_type_id_override=7, issue_type_id_override=8).send(samples.image())

    assert (jira.issues[0]["project"], jira.issues[0]["issuetype"]) == ({"id": "7"}, {"id": "8"})


async def test_a_project_that_is_not_there_is_named() -> None:
    with pytest.raises(PermanentError, match="has no project 'Billing' that the user may see; name it by its key"):
        await sink(Jira(), project_name="Billing").send(samples.image())


def test_dedups_decide_what_one_issue_is_for() -> None:
    one, other = samples.image(), samples.failed_job()

    assert label(one, ["fingerprint"]) != label(other, ["fingerprint"])
    assert label(one, ["namespace"]) == label(other, ["namespace"])
    assert label(one, ["namespace", "kind"]) != label(other, ["namespace", "kind"])


def test_text_of_strangers_is_literal() -> None:
    document = body(samples.hostile_names())

    assert str(document).count("'type': 'link'") == 1
    assert "mention" not in str(document)


def test_a_long_diff_is_cut_at_a_field_and_counted() -> None:
    document = body(samples.many_fields())

    assert len(msgspec.json.encode(document)) <= BODY_LIMIT
    assert "more fields" in str(document)
    assert samples.LINK in str(document)


def test_a_summary_of_any_length_is_one_line_within_the_limit() -> None:
    fields = issue(samples.notification(title="x\ny" * 300), config(), {"id": "1"})["fields"]

    assert len(fields["summary"]) <= SUMMARY_LIMIT
    assert "\n" not in fields["summary"]


async def test_a_refusal_says_which_field() -> None:
    jira = Jira()
    jira.refusal = httpx.Response(400, json={"errorMessages": [], "errors": {"issuetype": "Specify an issue type"}})

    with pytest.raises(PermanentError, match="issuetype: Specify an issue type"):
        await sink(jira).send(samples.image())


def test_the_address_of_a_page_is_no_site() -> None:
    with pytest.raises(ValidationError, match="is the address of a page; write that of the site"):
        config(url="https://workspace.atlassian.net/jira/projects")


@pytest.mark.parametrize("text", ["<html>", '{"issues": [{"key"', "[]"])
async def test_an_answer_that_is_not_whole_opens_no_second_issue(text: str) -> None:
    def receive(request: httpx.Request) -> httpx.Response:
        assert request.method == "GET"
        return httpx.Response(200, text=text)

    with pytest.raises(TemporaryError, match="did not come whole"):
        await JiraSink(config(), transport=httpx.MockTransport(receive)).send(samples.image())
