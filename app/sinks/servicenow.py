"""ServiceNow sink: opens an incident for each notification, by the Table API.

https://www.servicenow.com/docs/bundle/zurich-api-reference/page/integrate/inbound-rest/concept/c_TableAPI.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final
from urllib.parse import urlencode

import httpx
from pydantic import AfterValidator, Field, HttpUrl
from typing_extensions import override

from app.core.finding import Notification, Severity
from app.sinks._http import Answer, Failure, HttpSink, HttpSinkConfig, basic_authorization, below
from app.sinks._secrets import Password
from app.sinks._subject import subject, summary
from app.sinks._text import PLAIN, message
from app.sinks.base import Rendering

SUMMARY_LIMIT: Final = 160
DESCRIPTION_LIMIT: Final = 4000
"""Characters of `short_description` and `description`, as the columns of the table `task` have them by default."""

LEVELS: Final = {
    Severity.DEBUG: 3,
    Severity.INFO: 3,
    Severity.LOW: 3,
    Severity.MEDIUM: 2,
    Severity.HIGH: 1,
}
"""Urgency and impact: 1 high, 2 medium, 3 low, of which ServiceNow computes the priority."""

_INSTANCE: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9-]*")
_ADVICE: Final[Mapping[int, str]] = {
    httpx.codes.UNAUTHORIZED: "are username and password right?",
    httpx.codes.FORBIDDEN: "the user needs to create incidents: role itil, or an access control for the table incident",
}


def _instance(name: str) -> str:
    short = name.strip().removeprefix("https://").rstrip("/").removesuffix(".service-now.com")
    if not _INSTANCE.fullmatch(short):
        raise ValueError(f"{name!r} is no instance; write the name before .service-now.com, such as dev12345")
    return short


class ServicenowConfig(HttpSinkConfig):
    """Options of the ServiceNow sink."""

    instance: Annotated[
        str, AfterValidator(_instance), Field(description="The instance's name: what stands before .service-now.com.")
    ]
    username: Annotated[str, Field(description="User that opens the incidents.")]
    password: Annotated[Password, Field(description="The user's password.")]
    caller_id: Annotated[str | None, Field(description="User of the field Caller.")] = None
    api_url: Annotated[
        HttpUrl | None, Field(description="Address of ServiceNow, where it is not <instance>.service-now.com.")
    ] = None


class ServicenowSink(HttpSink[ServicenowConfig]):
    """One incident for each notification. Before a delivery is repeated, its incident is looked for."""

    Config = ServicenowConfig

    @override
    def render(self, notification: Notification) -> Rendering:
        return incident(notification, self.config.caller_id)

    @override
    async def send(self, notification: Notification) -> None:
        async with self.attempt(self._table):
            if notification.attempt > 1 and await self._is_there(notification):
                return
            await self.post_json(self._table, incident(notification, self.config.caller_id), self._headers)

    async def _is_there(self, notification: Notification) -> bool:
        query = urlencode(
            {
                "sysparm_query": f"correlation_id={correlation(notification)}",
                "sysparm_fields": "sys_id",
                "sysparm_limit": 1,
            }
        )
        answer = await self.call("GET", f"{self._table}?{query}", b"", self._headers)
        return bool(answer.json.get("result"))

    @property
    def _table(self) -> str:
        address = self.config.api_url or f"https://{self.config.instance}.service-now.com"
        return below(address, "api/now/table/incident")

    @property
    def _headers(self) -> dict[str, str]:
        authorization = basic_authorization(self.config.username, self.config.password)
        return {"Authorization": authorization, "Accept": "application/json"}

    @override
    def failure(self, answer: Answer) -> Failure | None:
        said = answer.json
        if answer.succeeded and not (isinstance(said, dict) and "result" in said):
            # A developer instance that sleeps answers 200 with a page.
            return Failure(temporary=True, reason="no answer of the Table API", advice="does the instance sleep?")
        failure = super().failure(answer)
        if failure is None:
            return None
        error = said.get("error") if isinstance(said, dict) else None
        reason = f"{error.get('message', '')}: {error.get('detail', '')}" if isinstance(error, dict) else ""
        return failure._replace(reason=reason, advice=_ADVICE.get(answer.status, ""))


def correlation(notification: Notification) -> str:
    """Return what tells a repeat of the delivery from another one."""
    return f"kubewitness-{notification.delivery_id.replace('/', '-')}"


def incident(notification: Notification, caller_id: str | None) -> dict[str, Any]:
    """Return the fields of the incident."""
    level = LEVELS[notification.finding.severity]
    return {
        "short_description": summary(notification, SUMMARY_LIMIT),
        "description": message(notification, PLAIN, DESCRIPTION_LIMIT),
        "urgency": level,
        "impact": level,
        "correlation_id": correlation(notification),
        "correlation_display": f"kubewitness {subject(notification)}"[:100],
        **({"caller_id": caller_id} if caller_id else {}),
    }
