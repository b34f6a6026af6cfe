"""Datadog sink: posts each notification as an event.

https://docs.datadoghq.com/api/latest/events/post-an-event/ (version 1). Datadog notifies whom an event's text mentions
(`@somebody`, `@slack-room`), and reads Markdown between two `%%%`: neither can come from the cluster.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, HttpUrl, SecretStr
from typing_extensions import override

from app.core import text as plain
from app.core.finding import Notification, Severity
from app.sinks._http import Answer, Failure, HttpSink, HttpSinkConfig, below
from app.sinks._markdown import ZERO_WIDTH, inert
from app.sinks._subject import is_failure, subject
from app.sinks._text import PLAIN, message
from app.sinks.base import Rendering

TITLE_LIMIT: Final = 500
TEXT_LIMIT: Final = 4000
"""Characters of the text, of which Datadog shows no more."""

KEY_LIMIT: Final = 100
TAG_LIMIT: Final = 200
"""Characters of a tag; https://docs.datadoghq.com/getting_started/tagging/."""

TYPES: Final = {
    Severity.DEBUG: "info",
    Severity.INFO: "info",
    Severity.LOW: "info",
    Severity.MEDIUM: "warning",
    Severity.HIGH: "error",
}

_KEY: Final = re.compile(r"[0-9a-f]{32}")
_MARKDOWN: Final = re.compile("(?<=%%)(?=%)")
# Of anything else Datadog makes underscores: done here, two different values stay as different as they can be.
_NO_TAG: Final = re.compile(r"[^\w\-:./]+")


def _api_key(secret: SecretStr) -> SecretStr:
    key = secret.get_secret_value().strip()
    if not _KEY.fullmatch(key):
        raise ValueError("is no API key, which has 32 hexadecimal digits; an application key does not do")
    return SecretStr(key)


class DatadogConfig(HttpSinkConfig):
    """Options of the Datadog sink."""

    api_key: Annotated[SecretStr, AfterValidator(_api_key), Field(description="API key of the organisation.")]
    api_url: Annotated[
        HttpUrl,
        Field(description="The site's API, such as https://api.datadoghq.eu/ or https://api.us5.datadoghq.com/."),
    ] = HttpUrl("https://api.datadoghq.com/")
    tags: Annotated[
        list[str], Field(default_factory=list, description="Further tags of every event, such as `env:prod`.")
    ]


class DatadogSink(HttpSink[DatadogConfig]):
    """One event for each notification; those about one object are aggregated."""

    Config = DatadogConfig

    @override
    def render(self, notification: Notification) -> Rendering:
        return event(notification, self.config.tags)

    @override
    async def send(self, notification: Notification) -> None:
        headers = {"DD-API-KEY": self.config.api_key.get_secret_value()}
        await self.post_json(below(self.config.api_url, "api/v1/events"), self.render(notification), headers)

    @override
    def failure(self, answer: Answer) -> Failure | None:
        failure = super().failure(answer)
        if failure is None or answer.status not in (401, 403):
            return failure
        return failure._replace(advice="the API key belongs to a site: is api_url that of yours?")


def event(notification: Notification, tags: list[str]) -> dict[str, Any]:
    """Return the event; its text is plain."""
    entry, finding = notification.entry, notification.finding
    return {
        "title": plain.shorten(_inert(plain.one_line(finding.title, TITLE_LIMIT)), TITLE_LIMIT),
        "text": message(notification, MARKUP, TEXT_LIMIT, titled=False),
        "date_happened": int(datetime.fromisoformat(entry.at).timestamp()),
        "alert_type": TYPES[finding.severity],
        "priority": "normal" if is_failure(notification) or TYPES[finding.severity] != "info" else "low",
        "aggregation_key": plain.shorten(entry.resource.uid or subject(notification), KEY_LIMIT),
        "source_type_name": "kubernetes",
        "tags": [*map(_tag, tags), *_tags(notification)],
    }


def _inert(text: str) -> str:
    return _MARKDOWN.sub(ZERO_WIDTH, inert(text))


MARKUP: Final = PLAIN._replace(
    text=_inert, bold=_inert, code=_inert, pre=lambda lines: "\n".join(_inert(line) for line in lines)
)


def _tags(notification: Notification) -> list[str]:
    entry = notification.entry
    about = {
        "kube_cluster_name": entry.cluster,
        "kube_namespace": entry.resource.namespace,
        "kube_kind": entry.resource.kind,
        "kube_name": entry.resource.name,
        "user": entry.user.username,
        "field_manager": entry.field_manager,
        "operation": entry.operation.lower(),
        "playbook": notification.finding.playbook,
    }
    return ["source:kubewitness", *(_tag(f"{name}:{value}") for name, value in about.items() if value)]


def _tag(text: str) -> str:
    return _NO_TAG.sub("_", text)[:TAG_LIMIT].lower()
