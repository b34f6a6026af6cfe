"""Opsgenie sink: creates an alert for each notification, by the Alert API.

https://docs.opsgenie.com/docs/alert-api, limits at https://docs.opsgenie.com/docs/alerts-and-alert-fields
"""

from __future__ import annotations

import html
from typing import Annotated, Any, Final

import httpx
from pydantic import AfterValidator, Field, HttpUrl
from typing_extensions import override

from app.core import text as plain
from app.core.finding import Notification, Severity
from app.core.templates import compile_template
from app.sinks._http import Answer, Failure, HttpSink, HttpSinkConfig, below
from app.sinks._override import overridden
from app.sinks._secrets import HeaderSecret
from app.sinks._subject import is_failure, source, subject, summary
from app.sinks._text import HTML, message
from app.sinks.base import Rendering

MESSAGE_LIMIT: Final = 130
DESCRIPTION_LIMIT: Final = 15_000
TAG_LIMIT: Final = 50
TAGS_LIMIT: Final = 20
DETAILS_LIMIT: Final = 8000
"""Characters, and number of tags; see the module's second source."""

PRIORITIES: Final = {
    Severity.DEBUG: "P5",
    Severity.INFO: "P5",
    Severity.LOW: "P4",
    Severity.MEDIUM: "P3",
    Severity.HIGH: "P1",
}


def _templates(texts: list[str]) -> list[str]:
    for text in texts:
        compile_template(text)
    return texts


class OpsgenieConfig(HttpSinkConfig):
    """Options of the Opsgenie sink."""

    api_key: Annotated[HeaderSecret, Field(min_length=8, description="Key of an API integration.")]
    teams: Annotated[
        list[str],
        AfterValidator(_templates),
        Field(default_factory=list, description="Teams that respond; `$labels.team` takes the name from the object."),
    ]
    default_team: Annotated[str | None, Field(description="Team that responds where `$labels.x` has no value.")] = None
    tags: Annotated[
        list[str],
        AfterValidator(_templates),
        Field(default_factory=list, description="Tags of every alert; `$labels.app` takes one from the object."),
    ]
    host: Annotated[HttpUrl, Field(description="The API; https://api.eu.opsgenie.com for accounts in the EU.")] = (
        HttpUrl("https://api.opsgenie.com")
    )
    extra_details_labels: Annotated[bool, Field(description="Add the object's labels to the details.")] = False


class OpsgenieSink(HttpSink[OpsgenieConfig]):
    """An alert for each change, with a priority by severity; a failed Job has one alert, however often it is told.

    How much Opsgenie takes depends on the plan and its users: a 429 is waited out.
    """

    Config = OpsgenieConfig

    @override
    def render(self, notification: Notification) -> Rendering:
        return alert(notification, self.config)

    @override
    async def send(self, notification: Notification) -> None:
        headers = {"Authorization": f"GenieKey {self.config.api_key.get_secret_value()}"}
        await self.post_json(below(self.config.host, "v2/alerts"), alert(notification, self.config), headers)

    @override
    def failure(self, answer: Answer) -> Failure | None:
        failure = super().failure(answer)
        if failure is None:
            return None
        said = answer.json if isinstance(answer.json, dict) else {}
        errors = said.get("errors") if isinstance(said.get("errors"), dict) else {}
        details = [f"{field}: {error}" for field, error in (errors or {}).items()]
        advice: dict[int, str] = {
            httpx.codes.UNAUTHORIZED: "is api_key that of an API integration, and host that of your region?",
            httpx.codes.FORBIDDEN: "is api_key that of an API integration, and host that of your region?",
            httpx.codes.PAYMENT_REQUIRED: "the account's plan does not allow this",
        }
        reason = "; ".join([str(said.get("message", "")), *details])
        return failure._replace(reason=reason, advice=advice.get(answer.status, ""))


def alert(notification: Notification, config: OpsgenieConfig) -> dict[str, Any]:
    """Return the alert; its message and description are HTML to Opsgenie."""
    entry, finding = notification.entry, notification.finding
    alias = entry.resource.uid or entry.id if is_failure(notification) else notification.delivery_id
    teams = responders(notification, config)
    return {
        "message": _escaped(summary(notification, MESSAGE_LIMIT), MESSAGE_LIMIT),
        "alias": f"kubewitness/{alias}",
        "description": message(notification, HTML, DESCRIPTION_LIMIT, newline="<br>"),
        "entity": subject(notification),
        "source": "kubewitness",
        "priority": PRIORITIES[finding.severity],
        "tags": tags(notification, config),
        "details": details(notification, labels=config.extra_details_labels),
        **({"responders": [{"type": "team", "name": team} for team in teams]} if teams else {}),
    }


def responders(notification: Notification, config: OpsgenieConfig) -> list[str]:
    """Return the teams; one that is taken from a label which is missing is the default team."""
    teams = (_filled(team, notification) or config.default_team or "" for team in config.teams)
    named = [team for team in dict.fromkeys(teams) if team]
    return named or ([config.default_team] if config.default_team else [])


def tags(notification: Notification, config: OpsgenieConfig) -> list[str]:
    """Return the tags, of which those without a value are left out."""
    filled = (plain.one_line(_filled(tag, notification), TAG_LIMIT) for tag in config.tags)
    about = [source(notification), notification.entry.resource.namespace, notification.finding.playbook]
    every = [*filled, "kubewitness", *(plain.one_line(each, TAG_LIMIT) for each in about)]
    return [tag for tag in dict.fromkeys(every) if tag][:TAGS_LIMIT]


def details(notification: Notification, *, labels: bool) -> dict[str, str]:
    """Return the details: who, how and where, and the object's labels if they are wanted, as far as they fit."""
    entry = notification.entry
    about = {
        "cluster": entry.cluster,
        "namespace": entry.resource.namespace,
        "kind": entry.resource.kind,
        "name": entry.resource.name,
        "user": entry.user.username,
        "field_manager": entry.field_manager,
        "operation": entry.operation,
        "entry_id": entry.id,
        "link": notification.link,
        **({f"label/{name}": value for name, value in entry.labels.items()} if labels else {}),
    }
    kept, size = dict[str, str](), 0
    for name, value in about.items():
        key, text = plain.one_line(name, 300), plain.one_line(value, 300)
        size += len(key) + len(text)
        if text and size <= DETAILS_LIMIT:
            kept[key] = text
    return kept


def _filled(text: str, notification: Notification) -> str:
    return overridden(text, notification) if compile_template(text).variables else text


def _escaped(text: str, limit: int) -> str:
    """Return HTML of at most `limit` characters, cut between characters of the text."""
    escaped = html.escape(text, quote=False)
    while len(escaped) > limit:
        text = plain.shorten(text, len(text) - 1)
        escaped = html.escape(text, quote=False)
    return escaped
