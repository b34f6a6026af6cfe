"""Grafana sink: an annotation on dashboards at the time of the change.

https://grafana.com/docs/grafana/latest/developers/http_api/annotations/
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import Field, HttpUrl, Secret
from typing_extensions import override

from app.core import text as plain
from app.core.finding import Notification
from app.sinks._http import Answer, Failure, HttpSink, HttpSinkConfig, below
from app.sinks._secrets import HeaderSecret
from app.sinks._text import HTML, message
from app.sinks.base import Rendering

TEXT_LIMIT: Final = 4000
"""Characters of the text: it is shown in a tooltip; no limit is documented."""

TAG_LIMIT: Final = 100
"""Characters of a tag; Grafana keeps so many of key and value each (grafana/grafana, migrations/tag_mig.go)."""


class GrafanaConfig(HttpSinkConfig):
    """Options of the Grafana sink."""

    url: Annotated[Secret[HttpUrl], Field(description="Address of Grafana; shown nowhere but for its host.")]
    token: Annotated[
        HeaderSecret, Field(min_length=1, description="Token of a service account that may create annotations.")
    ]
    dashboard_uid: Annotated[
        str | None,
        Field(description="The only dashboard to annotate; by default any that asks for the tag `kubewitness`."),
    ] = None
    panel_id: Annotated[int | None, Field(description="The only panel of that dashboard.")] = None
    tags: Annotated[list[str], Field(default_factory=list, description="Further tags of every annotation.")]


class GrafanaSink(HttpSink[GrafanaConfig]):
    """One annotation for each notification, at the moment of the change. A repeat is a second annotation."""

    Config = GrafanaConfig

    @override
    def render(self, notification: Notification) -> Rendering:
        return annotation(notification, self.config)

    @override
    async def send(self, notification: Notification) -> None:
        headers = {"Authorization": f"Bearer {self.config.token.get_secret_value()}"}
        await self.post_json(below(self.config.url, "api/annotations"), annotation(notification, self.config), headers)

    @override
    def failure(self, answer: Answer) -> Failure | None:
        failure = super().failure(answer)
        if failure is None:
            return None
        said = answer.json if isinstance(answer.json, dict) else {}
        advice = {
            401: "make a token: Administration, Service accounts",
            403: "the service account needs the permission annotations:create (role Editor)",
            404: "is url the address of Grafana, with its sub-path if it has one?",
        }
        return failure._replace(reason=str(said.get("message", "")), advice=advice.get(answer.status, ""))


def annotation(notification: Notification, config: GrafanaConfig) -> dict[str, Any]:
    """Return the annotation; its text is HTML, of which Grafana shows little more than links and line breaks."""
    milliseconds = round(datetime.fromisoformat(notification.entry.at).timestamp() * 1000)
    return {
        "time": milliseconds,
        "tags": [*config.tags, *tags(notification)],
        "text": message(notification, HTML, TEXT_LIMIT, newline="<br>"),
        **({"dashboardUID": config.dashboard_uid} if config.dashboard_uid else {}),
        **({"panelId": config.panel_id} if config.panel_id is not None else {}),
    }


def tags(notification: Notification) -> list[str]:
    """Return the tags by which dashboards choose annotations."""
    entry = notification.entry
    about = {
        "cluster": entry.cluster,
        "namespace": entry.resource.namespace,
        "kind": entry.resource.kind,
        "name": entry.resource.name,
        "user": entry.user.username,
    }
    return ["kubewitness", *(plain.one_line(f"{name}:{value}", TAG_LIMIT) for name, value in about.items() if value)]
