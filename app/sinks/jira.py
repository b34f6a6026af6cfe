"""Jira sink: opens an issue for each sort of finding about an object, and comments on it as long as it is open.

Jira Cloud's REST API, version 3: https://developer.atlassian.com/cloud/jira/platform/rest/v3/
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote, urlencode

import httpx
import msgspec
from pydantic import AfterValidator, Field, HttpUrl
from typing_extensions import override

from app.core.finding import Notification, Severity
from app.sinks import _cards
from app.sinks._cards import Part
from app.sinks._http import Answer, Failure, HttpSink, HttpSinkConfig, basic_authorization, below
from app.sinks._secrets import Password
from app.sinks._subject import is_failure, source, subject, summary
from app.sinks.base import PermanentError, Rendering, TemporaryError

SUMMARY_LIMIT: Final = 255
"""Characters of a summary; https://support.atlassian.com/jira/kb/ on the field `summary`."""

BODY_LIMIT: Final = 30_000
"""Bytes of a description or comment as JSON; Jira takes 32,767 characters (jira.text.field.character.limit)."""

API: Final = "rest/api/3"

Dedup = Literal[
    "fingerprint", "cluster_name", "title", "node", "type", "source", "namespace", "name", "kind", "identifier",
    "severity", "creation_date",
]  # fmt: skip

_ADVICE: Final[Mapping[int, str]] = {
    httpx.codes.UNAUTHORIZED: "are username (an email address) and api_key right?",
    httpx.codes.FORBIDDEN: "the user needs the permissions Browse projects, Create issues and Add comments",
}


def _site(url: HttpUrl) -> HttpUrl:
    if url.path not in (None, "", "/"):
        raise ValueError("is the address of a page; write that of the site, such as https://workspace.atlassian.net")
    return url


class JiraConfig(HttpSinkConfig):
    """Options of the Jira sink."""

    url: Annotated[HttpUrl, AfterValidator(_site), Field(description="The site: https://workspace.atlassian.net.")]
    username: Annotated[str, Field(description="Email address of the user that opens the issues.")]
    api_key: Annotated[Password, Field(description="The user's API token.")]
    project_name: Annotated[str, Field(min_length=1, description="Name or key of the project.")]
    issue_type: Annotated[str, Field(description="Type of the issues.")] = "Task"
    project_type_id_override: Annotated[
        int | None, Field(description="Id of the project; then its name is unused.")
    ] = None
    issue_type_id_override: Annotated[int | None, Field(description="Id of the type; then its name is unused.")] = None
    dedups: Annotated[
        list[Dedup],
        Field(
            default_factory=lambda: ["fingerprint"],
            min_length=1,
            description="What one open issue is for; the fingerprint is the object with the finding's aggregation key.",
        ),
    ]
    assignee: Annotated[str, Field(description="Account id of who gets the issues.")] = ""
    epic: Annotated[str, Field(description="Key of the epic that the issues belong to.")] = ""
    priority_mapping: Annotated[
        dict[Severity, str] | None, Field(description="Names of priorities by severity, such as `HIGH: Highest`.")
    ] = None
    sendResolved: Annotated[  # noqa: N815  Robusta's name
        bool | None, Field(description="Accepted for Robusta's sake; nothing here is ever resolved.")
    ] = None
    reopenIssues: Annotated[  # noqa: N815
        bool | None, Field(description="Accepted for Robusta's sake; what is done stays done, and a new issue opened.")
    ] = None
    doneStatusName: Annotated[  # noqa: N815
        str | None, Field(description="Accepted for Robusta's sake; the category of the status decides what is done.")
    ] = None
    reopenStatusName: Annotated[str | None, Field(description="Accepted for Robusta's sake.")] = None  # noqa: N815
    noReopenResolution: Annotated[str | None, Field(description="Accepted for Robusta's sake.")] = None  # noqa: N815


class JiraSink(HttpSink[JiraConfig]):
    """An issue that is open already, by the label of its `dedups`, gets a comment instead of a second issue."""

    Config = JiraConfig
    _project: dict[str, str] | None = None

    @override
    def render(self, notification: Notification) -> Rendering:
        return issue(notification, self.config, {"key": self.config.project_name})

    @override
    async def send(self, notification: Notification) -> None:
        async with self.attempt(str(self.config.url)):
            await self._send(notification)

    async def _send(self, notification: Notification) -> None:
        known = await self._open_issue(label(notification, self.config.dedups))
        if known is not None:
            comment = {"body": body(notification)}
            await self._post(f"issue/{quote(known, safe='')}/comment", comment)
            return
        if self._project is None:
            self._project = await self._find_project()
        await self._post("issue", issue(notification, self.config, self._project))

    async def _open_issue(self, wanted: str) -> str | None:
        """Return the key of the newest issue with the label that is not done."""
        jql = f'labels = "{wanted}" AND statusCategory != Done ORDER BY created DESC'
        found = await self._get("search/jql", jql=jql, maxResults="1", fields="status")
        issues = found.get("issues")
        return str(issues[0]["key"]) if isinstance(issues, list) and issues else None

    async def _find_project(self) -> dict[str, str]:
        if self.config.project_type_id_override is not None:
            return {"id": str(self.config.project_type_id_override)}
        wanted = self.config.project_name
        found = await self._get("project/search", query=wanted)
        for project in found.get("values") or ():
            if wanted.lower() in (str(project.get("name", "")).lower(), str(project.get("key", "")).lower()):
                return {"id": str(project["id"])}
        raise PermanentError(
            f"{self.config.url.host} has no project {wanted!r} that the user may see; name it by its key, or set"
            " project_type_id_override"
        )

    async def _get(self, path: str, **query: str) -> dict[str, Any]:
        url = below(self.config.url, f"{API}/{path}?{urlencode(query)}")
        found = (await self.call("GET", url, b"", self._headers)).json
        if not isinstance(found, dict):
            # To take it for "there is none" would open a second issue.
            raise TemporaryError(f"{self.config.url.host}: the answer did not come whole, or is not Jira's")
        return found

    async def _post(self, path: str, document: dict[str, Any]) -> None:
        await self.post_json(below(self.config.url, f"{API}/{path}"), document, self._headers)

    @property
    def _headers(self) -> dict[str, str]:
        authorization = basic_authorization(self.config.username, self.config.api_key)
        return {"Authorization": authorization, "Accept": "application/json"}

    @override
    def failure(self, answer: Answer) -> Failure | None:
        failure = super().failure(answer)
        if failure is None:
            return None
        said = answer.json if isinstance(answer.json, dict) else {}
        errors = said.get("errors")
        fields = [f"{name}: {error}" for name, error in errors.items()] if isinstance(errors, dict) else []
        messages = said.get("errorMessages")
        reason = "; ".join([*map(str, messages if isinstance(messages, list) else ()), *fields])
        return failure._replace(reason=reason, advice=_ADVICE.get(answer.status, ""))


def label(notification: Notification, dedups: Sequence[Dedup]) -> str:
    """Return the label that tells whether two notifications belong to one issue."""
    entry, finding = notification.entry, notification.finding
    resource = entry.resource
    values: dict[Dedup, str] = {
        "fingerprint": f"{entry.cluster} {resource.group} {resource} {finding.aggregation_key}",
        "cluster_name": entry.cluster,
        "title": finding.title,
        "node": entry.actor.node,
        "type": "ISSUE" if is_failure(notification) else "CONF_CHANGE",
        "source": "KUBERNETES_API_SERVER",
        "namespace": resource.namespace,
        "name": resource.name,
        "kind": resource.kind,
        "identifier": finding.aggregation_key,
        "severity": finding.severity.value,
        "creation_date": entry.at,
    }
    text = "\n".join(values[dedup] for dedup in dedups)
    return f"kubewitness-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def issue(notification: Notification, config: JiraConfig, project: dict[str, str]) -> dict[str, Any]:
    """Return the issue to be opened."""
    kind = config.issue_type_id_override
    priority = (config.priority_mapping or {}).get(notification.finding.severity)
    return {
        "fields": {
            "project": project,
            "issuetype": {"name": config.issue_type} if kind is None else {"id": str(kind)},
            "summary": summary(notification, SUMMARY_LIMIT),
            "description": body(notification),
            "labels": ["kubewitness", label(notification, config.dedups)],
            **({"priority": {"name": priority}} if priority else {}),
            **({"assignee": {"accountId": config.assignee}} if config.assignee else {}),
            **({"parent": {"key": config.epic}} if config.epic else {}),
        }
    }


def body(notification: Notification) -> dict[str, Any]:
    """Return what the notification says as an Atlassian document, in which all text is literal."""

    def document(kept: Sequence[Part], left_out: str) -> dict[str, Any]:
        link = [_link(notification.link)] if notification.link else []
        more = [_paragraph(_text(left_out))] if left_out else []
        head = _paragraph(_text(f"{subject(notification)} in {source(notification)}", "strong"))
        return {"version": 1, "type": "doc", "content": [head, *_nodes(kept), *more, *link]}

    return _cards.fitted(notification, document, BODY_LIMIT, lambda made: len(msgspec.json.encode(made)))


def _nodes(kept: Sequence[Part]) -> Iterator[dict[str, Any]]:
    for (kind, _), group in itertools.groupby(kept, key=_sort):
        every = list(group)
        match kind:
            case "change":
                yield {"type": "bulletList", "content": [_change(part) for part in every]}
            case "code":
                text = "\n".join("  ".join(part.texts) for part in every)
                yield {"type": "codeBlock", "content": [_text(text)]}
            case _:
                marks = ("strong",) if kind == "heading" else ()
                yield from (_paragraph(_text(part.texts[0], *marks)) for part in every if part.texts[0])


def _sort(part: Part) -> tuple[str, int]:
    return ("code" if part.kind in ("header", "row") else part.kind), part.block


def _change(part: Part) -> dict[str, Any]:
    path, old, new = part.texts
    texts = [_text(path, "strong"), _text(": "), _text(old, "code"), _text(" → "), _text(new, "code")]
    return {"type": "listItem", "content": [_paragraph(*texts)]}


def _paragraph(*texts: dict[str, Any]) -> dict[str, Any]:
    return {"type": "paragraph", "content": list(texts)}


def _text(text: str, *marks: str) -> dict[str, Any]:
    # A text node may not be empty: https://developer.atlassian.com/cloud/jira/platform/apis/document/nodes/text/
    node: dict[str, Any] = {"type": "text", "text": text or "\u00a0"}
    return {**node, "marks": [{"type": mark} for mark in marks]} if marks else node


def _link(url: str) -> dict[str, Any]:
    mark = {"type": "link", "attrs": {"href": url}}
    return _paragraph({"type": "text", "text": "Open the entry", "marks": [mark]})
