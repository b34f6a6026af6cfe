"""VictorOps (Splunk On-Call) sink: posts to the generic REST endpoint.

https://help.victorops.com/knowledge-base/rest-endpoint-integration-guide/
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, HttpUrl, Secret
from typing_extensions import override

from app.core import text as plain
from app.core.finding import Notification, Severity
from app.sinks._http import Answer, Failure, HttpSink, HttpSinkConfig
from app.sinks._subject import is_failure, source, subject, summary
from app.sinks._text import PLAIN, message
from app.sinks.base import Rendering

TITLE_LIMIT: Final = 500
TEXT_LIMIT: Final = 20_000
"""Characters of `state_message`: no limit is documented, and nobody reads more of an incident."""

PLACEHOLDER: Final = "$routing_key"


def _endpoint(url: Secret[HttpUrl]) -> Secret[HttpUrl]:
    if PLACEHOLDER in str(url.get_secret_value()):
        raise ValueError(f"still ends in {PLACEHOLDER}: put a routing key in its place")
    return url


class VictoropsConfig(HttpSinkConfig):
    """Options of the VictorOps sink."""

    url: Annotated[
        Secret[HttpUrl],
        AfterValidator(_endpoint),
        Field(description="URL of the REST endpoint with the routing key; shown nowhere but for its host."),
    ]


class VictoropsSink(HttpSink[VictoropsConfig]):
    """What failed opens an incident, one for each object; a change is information on the timeline, and pages nobody."""

    Config = VictoropsConfig

    @override
    def render(self, notification: Notification) -> Rendering:
        return alert(notification)

    @override
    async def send(self, notification: Notification) -> None:
        await self.post_json(self.config.url, alert(notification))

    @override
    def failure(self, answer: Answer) -> Failure | None:
        """Also read the body: `result` is `failure` where the status is 200."""
        said = answer.json if isinstance(answer.json, dict) else {}
        if answer.succeeded and said.get("result") == "failure":
            reason = str(said.get("message", ""))
            return Failure(temporary=False, reason=reason, advice="is the URL that of the REST integration?")
        return super().failure(answer)


def alert(notification: Notification) -> dict[str, Any]:
    """Return the alert; `entity_id` is the same for all that is told about one object."""
    entry, finding = notification.entry, notification.finding
    return {
        "message_type": _message_type(notification),
        "entity_id": f"kubewitness/{entry.resource.uid or f'{source(notification)}/{subject(notification)}'}",
        "entity_display_name": summary(notification, TITLE_LIMIT),
        "state_message": message(notification, PLAIN, TEXT_LIMIT),
        "state_start_time": int(datetime.fromisoformat(entry.at).timestamp()),
        "monitoring_tool": "kubewitness",
        "host_name": source(notification),
        "kind": plain.one_line(entry.resource.kind, TITLE_LIMIT),
        "namespace": plain.one_line(entry.resource.namespace, TITLE_LIMIT),
        "playbook": plain.one_line(finding.playbook, TITLE_LIMIT),
        **({"alert_url": notification.link} if notification.link else {}),
    }


def _message_type(notification: Notification) -> str:
    if not is_failure(notification):
        return "INFO"
    return "CRITICAL" if notification.finding.severity is Severity.HIGH else "WARNING"
