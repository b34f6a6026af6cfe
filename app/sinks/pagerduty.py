"""PagerDuty sink: change events for changes, alerts for what failed, by the Events API v2.

https://developer.pagerduty.com/docs/events-api-v2/overview/
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, HttpUrl, SecretStr
from typing_extensions import override

from app.core.finding import Notification, Severity
from app.sinks._http import Answer, Failure, HttpSink, HttpSinkConfig, below
from app.sinks._subject import is_failure, source, subject, summary
from app.sinks._text import PLAIN, message
from app.sinks.base import Rendering

SUMMARY_LIMIT: Final = 1024
"""Characters; https://developer.pagerduty.com/docs/events-api-v2/send-change-events/."""

DETAILS_LIMIT: Final = 60_000
"""Characters of the text in `custom_details`. An event may have 512 KB in all; nobody reads that much in an alert."""

SEVERITIES: Final = {
    Severity.DEBUG: "info",
    Severity.INFO: "info",
    Severity.LOW: "warning",
    Severity.MEDIUM: "error",
    Severity.HIGH: "critical",
}
"""PagerDuty knows four: https://developer.pagerduty.com/docs/events-api-v2/trigger-events/."""

_KEY: Final = re.compile(r"[0-9a-zA-Z]{32}")


def _integration_key(secret: SecretStr) -> SecretStr:
    key = secret.get_secret_value().strip()
    if not _KEY.fullmatch(key):
        raise ValueError(
            "is no integration key, which has 32 letters and digits; make one at the service: Integrations, Add,"
            " Events API V2"
        )
    return SecretStr(key)


class PagerdutyConfig(HttpSinkConfig):
    """Options of the PagerDuty sink."""

    api_key: Annotated[
        SecretStr, AfterValidator(_integration_key), Field(description="Integration key of a service (Events API V2).")
    ]
    api_url: Annotated[
        HttpUrl, Field(description="Where PagerDuty is; https://events.eu.pagerduty.com/ for accounts in the EU.")
    ] = HttpUrl("https://events.pagerduty.com/")


class PagerdutySink(HttpSink[PagerdutyConfig]):
    """A change is a change event, which pages nobody; a failed Job is an alert, one for each Job.

    PagerDuty throttles without saying at what rate: a 429 is waited out.
    """

    Config = PagerdutyConfig

    @override
    def render(self, notification: Notification) -> Rendering:
        return alert(notification) if is_failure(notification) else change_event(notification)

    @override
    async def send(self, notification: Notification) -> None:
        path = "v2/enqueue" if is_failure(notification) else "v2/change/enqueue"
        event = alert(notification) if is_failure(notification) else change_event(notification)
        await self.post_json(
            below(self.config.api_url, path), {"routing_key": self.config.api_key.get_secret_value(), **event}
        )

    @override
    def failure(self, answer: Answer) -> Failure | None:
        failure = super().failure(answer)
        if failure is None:
            return None
        said = answer.json
        if not isinstance(said, dict):
            return failure
        errors = said.get("errors")
        reason = "; ".join(map(str, [said.get("message", ""), *(errors if isinstance(errors, list) else ())]))
        advice = "is it the integration key of a service that still exists?" if "routing_key" in reason else ""
        return failure._replace(reason=reason, advice=advice)


def alert(notification: Notification) -> dict[str, Any]:
    """Return the event that triggers an alert; repeats of it, and further findings about the object, join the alert."""
    entry, finding = notification.entry, notification.finding
    return {
        "event_action": "trigger",
        "dedup_key": f"kubewitness/{entry.resource.uid or entry.id}",
        "client": "kubewitness",
        **({"client_url": notification.link} if notification.link else {}),
        "links": _links(notification),
        "payload": {
            **_payload(notification),
            "severity": SEVERITIES[finding.severity],
            "component": subject(notification),
            "group": entry.resource.namespace or "cluster",
            "class": finding.aggregation_key or finding.playbook,
        },
    }


def change_event(notification: Notification) -> dict[str, Any]:
    """Return the event that is shown beside incidents as a recent change."""
    return {"payload": _payload(notification), "links": _links(notification)}


def _payload(notification: Notification) -> dict[str, Any]:
    return {
        "summary": summary(notification, SUMMARY_LIMIT),
        "source": source(notification),
        "timestamp": notification.entry.at,
        "custom_details": {"details": message(notification, PLAIN, DETAILS_LIMIT)},
    }


def _links(notification: Notification) -> list[dict[str, str]]:
    return [{"href": notification.link, "text": "Open the entry"}] if notification.link else []
