"""Grafana Loki sink: one log line for each notification.

https://grafana.com/docs/loki/latest/reference/loki-http-api/#ingest-logs
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar, Final, Literal

import msgspec
from pydantic import AfterValidator, Field, HttpUrl, Secret
from typing_extensions import override

from app.core import text as plain
from app.core.finding import Notification
from app.sinks._bounded import bounded
from app.sinks._http import Answer, Failure, HttpSink, HttpSinkConfig, basic_authorization, below
from app.sinks._secrets import Password
from app.sinks._text import PLAIN, message
from app.sinks.base import Rendering

LINE_LIMIT: Final = 250_000
"""Bytes of a line: `max_line_size` is 256 KB by default (https://grafana.com/docs/loki/latest/configure/)."""

METADATA_LIMIT: Final = 500
"""Characters of a value of structured metadata, of which a line may have 64 KB."""

PUSH: Final = "loki/api/v1/push"

_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _labels(labels: dict[str, str]) -> dict[str, str]:
    for name in labels:
        if not _LABEL.fullmatch(name):
            raise ValueError(f"{name!r} is not a label: letters, digits and underscores, no digit first")
    return labels


class LokiConfig(HttpSinkConfig):
    """Options of the Loki sink."""

    keeps_records: ClassVar[bool] = True

    url: Annotated[
        Secret[HttpUrl],
        Field(description="Address of Loki, such as http://loki:3100/; shown nowhere but for its host."),
    ]
    tenant_id: Annotated[str | None, Field(description="Tenant, sent as X-Scope-OrgID.")] = None
    username: Annotated[str | None, Field(description="User of basic authentication.")] = None
    password: Annotated[Password | None, Field(description="Password, or the token of Grafana Cloud.")] = None
    labels: Annotated[
        dict[str, str],
        AfterValidator(_labels),
        Field(default_factory=dict, description="Further labels of the stream, such as `env: prod`."),
    ]
    format: Annotated[
        Literal["json", "text"],
        Field(description="The line: `json` (delivery_id, finding, entry) or `text` for people."),
    ] = "json"
    structured_metadata: Annotated[
        bool,
        Field(description="Send namespace, name, user and the like as structured metadata (Loki 3; 2.9 if enabled)."),
    ] = True


class LokiSink(HttpSink[LokiConfig]):
    """Few labels (job, cluster, kind, operation), so that streams stay few; a repeat is the same line and kept once."""

    Config = LokiConfig

    @override
    def render(self, notification: Notification) -> Rendering:
        return push(notification, self.config)

    @override
    async def send(self, notification: Notification) -> None:
        await self.post_json(below(self.config.url, PUSH), push(notification, self.config), self._headers())

    def _headers(self) -> dict[str, str]:
        headers = {"X-Scope-OrgID": self.config.tenant_id} if self.config.tenant_id else {}
        if self.config.username is not None or self.config.password is not None:
            headers["Authorization"] = basic_authorization(self.config.username, self.config.password)
        return headers

    @override
    def failure(self, answer: Answer) -> Failure | None:
        failure = super().failure(answer)
        if failure is None:
            return None
        if "timestamp too old" in answer.text or "too far behind" in answer.text:
            return failure._replace(advice="Loki takes lines of this age only if limits_config allows it")
        if "structured metadata" in answer.text:
            return failure._replace(advice="set structured_metadata: false, or allow_structured_metadata in Loki")
        if "no org id" in answer.text:
            return failure._replace(advice="set tenant_id")
        return failure


def push(notification: Notification, config: LokiConfig) -> dict[str, Any]:
    """Return the body of a push: one stream with one line."""
    nanoseconds = (datetime.fromisoformat(notification.entry.at) - _EPOCH) // timedelta(microseconds=1) * 1000
    value: list[Any] = [str(nanoseconds), line(notification, config.format)]
    if config.structured_metadata:
        value.append(metadata(notification))
    return {"streams": [{"stream": {**config.labels, **stream(notification)}, "values": [value]}]}


def stream(notification: Notification) -> dict[str, str]:
    """Return the labels: what has few values."""
    entry = notification.entry
    labels = {"cluster": entry.cluster, "kind": entry.resource.kind, "operation": entry.operation}
    return {"job": "kubewitness", **{name: plain.one_line(text, 200) for name, text in labels.items() if text}}


def metadata(notification: Notification) -> dict[str, str]:
    """Return what has many values, and is searched for all the same."""
    entry, finding = notification.entry, notification.finding
    about = {
        "namespace": entry.resource.namespace,
        "name": entry.resource.name,
        "user": entry.user.username,
        "field_manager": entry.field_manager,
        "severity": finding.severity.value,
        "playbook": finding.playbook,
        "entry_id": entry.id,
    }
    return {name: plain.one_line(text, METADATA_LIMIT) for name, text in about.items() if text}


def line(notification: Notification, form: Literal["json", "text"]) -> str:
    """Return the line; of what is too long, whole fields are left out and counted."""
    if form == "text":
        return message(notification, PLAIN, LINE_LIMIT, lambda text: len(text.encode()))
    return bounded(notification, LINE_LIMIT, msgspec.json.encode).decode()
