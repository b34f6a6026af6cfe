"""Splunk sink: posts each notification to the HTTP Event Collector.

https://docs.splunk.com/Documentation/Splunk/latest/Data/FormateventsforHTTPEventCollector
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Any, ClassVar, Final

import msgspec
from pydantic import AfterValidator, Field, HttpUrl, Secret, SecretStr
from typing_extensions import override

from app.core import text as plain
from app.core.finding import Notification
from app.sinks._bounded import bounded
from app.sinks._http import Answer, Failure, HttpSink, HttpSinkConfig, below
from app.sinks.base import Rendering

EVENT_LIMIT: Final = 900_000
"""Bytes of an event. Splunk Cloud takes 1 MB in one request (https://docs.splunk.com/Documentation/SplunkCloud)."""

COLLECTOR: Final = "services/collector/event"

ADVICE: Final = {
    1: "the token is disabled: Settings, Data inputs, HTTP Event Collector",
    3: "the token is not a token of the HTTP Event Collector",
    4: "is it a token of this Splunk's HTTP Event Collector?",
    7: "the token may not write to this index: set index, or allow it in the token's settings",
    10: "the token needs a channel: set channel to a UUID, or turn indexer acknowledgement off",
}
"""What to do about a code: https://docs.splunk.com/Documentation/Splunk/latest/Data/TroubleshootHTTPEventCollector."""


def _token(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value().strip().removeprefix("Splunk ").strip()
    try:
        uuid.UUID(text)
    except ValueError:
        raise ValueError("is no token of the HTTP Event Collector, which is a UUID") from None
    return SecretStr(text)


class SplunkHecConfig(HttpSinkConfig):
    """Options of the Splunk sink."""

    keeps_records: ClassVar[bool] = True

    url: Annotated[
        Secret[HttpUrl],
        Field(description="Address of the collector, such as https://splunk:8088/; shown nowhere but for its host."),
    ]
    token: Annotated[SecretStr, AfterValidator(_token), Field(description="Token of the HTTP Event Collector.")]
    index: Annotated[str | None, Field(description="Index; by default that of the token.")] = None
    source: Annotated[str, Field(description="`source` of the events.")] = "kubewitness"
    sourcetype: Annotated[str, Field(description="`sourcetype` of the events.")] = "kubewitness:entry"
    channel: Annotated[uuid.UUID | None, Field(description="Channel, where the token wants one.")] = None


class SplunkHecSink(HttpSink[SplunkHecConfig]):
    """An event has the time of the change; the entry's id is a field, by which repeats can be told."""

    Config = SplunkHecConfig

    @override
    def render(self, notification: Notification) -> Rendering:
        return event(notification, self.config)

    @override
    async def send(self, notification: Notification) -> None:
        headers = {"Authorization": f"Splunk {self.config.token.get_secret_value()}"}
        if self.config.channel is not None:
            headers["X-Splunk-Request-Channel"] = str(self.config.channel)
        await self.post_json(below(self.config.url, COLLECTOR), event(notification, self.config), headers)

    @override
    def failure(self, answer: Answer) -> Failure | None:
        failure = super().failure(answer)
        said = answer.json
        if failure is None or not isinstance(said, dict) or "code" not in said:
            return failure
        return failure._replace(
            reason=f"{said.get('text', '')} (code {said['code']})", advice=ADVICE.get(said["code"], "")
        )


def event(notification: Notification, config: SplunkHecConfig) -> dict[str, Any]:
    """Return the event with its metadata; of what is too long, whole fields are left out and counted."""
    entry = notification.entry
    content: Any = msgspec.json.decode(bounded(notification, EVENT_LIMIT, msgspec.json.encode))
    return {
        "time": round(datetime.fromisoformat(entry.at).timestamp(), 3),
        "host": plain.one_line(entry.cluster, 200) or "kubernetes",
        "source": config.source,
        "sourcetype": config.sourcetype,
        **({"index": config.index} if config.index else {}),
        "event": content,
        "fields": {
            "entry_id": entry.id,
            "kind": plain.one_line(entry.resource.kind, 200),
            "namespace": plain.one_line(entry.resource.namespace, 200),
            "severity": notification.finding.severity.value,
        },
    }
