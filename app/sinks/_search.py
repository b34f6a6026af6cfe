"""What Elasticsearch and OpenSearch have in common: one document for each notification, created once.

Field names are those of the Elastic Common Schema (https://www.elastic.co/docs/reference/ecs) where it has them. No
name of a field comes from the cluster, so a mapping cannot grow with what people write there: labels are `key:value`
texts, and values of changes are texts.
"""

from __future__ import annotations

import re
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import quote

import msgspec
from pydantic import AfterValidator, Field, HttpUrl, Secret
from typing_extensions import override

from app.core import text as plain
from app.core.change import Entry, FieldChange
from app.core.finding import DiffBlock, Notification, Severity
from app.sinks._http import JSON_TYPE, Answer, Failure, HttpSink, HttpSinkConfig, basic_authorization
from app.sinks._secrets import Password
from app.sinks._text import PLAIN, message
from app.sinks.base import Rendering

DOCUMENT_LIMIT: Final = 1_000_000
"""Bytes of a document; a request may have 100 MB (http.max_content_length), on small managed clusters 10 MB:
https://docs.aws.amazon.com/opensearch-service/latest/developerguide/limits.html"""

VALUE_LIMIT: Final = 8_000
"""Characters of a value: Lucene refuses terms of more than 32,766 bytes, and a character takes four at most.
https://www.elastic.co/docs/reference/elasticsearch/mapping-reference/ignore-above"""

MESSAGE_LIMIT: Final = 30_000
"""Bytes of the text for people."""

ECS_VERSION: Final = "8.11.0"

TYPES: Final = {"CREATE": "creation", "UPDATE": "change", "DELETE": "deletion", "CONNECT": "access", "FAILED": "error"}
"""`event.type` for each operation: https://www.elastic.co/docs/reference/ecs/ecs-allowed-values-event-type"""

SEVERITIES: Final = {severity: number for number, severity in enumerate(Severity, 1)}

_EXISTS: Final = frozenset({"version_conflict_engine_exception", "document_already_exists_exception"})
_MISFIT: Final = frozenset(
    {"mapper_parsing_exception", "document_parsing_exception", "strict_dynamic_mapping_exception"}
)
_NAME_LIMIT: Final = 500
_INDEX: Final = re.compile(r"[a-z0-9.][a-z0-9._+-]{0,199}")


def index_name(pattern: str, moment: datetime) -> str:
    """Return the name of the index for a moment in UTC: `%Y`, `%m`, `%d` and `%V` (the week) stand for its parts."""
    parts = {"%Y": f"{moment:%Y}", "%m": f"{moment:%m}", "%d": f"{moment:%d}", "%V": f"{moment:%V}"}
    return re.sub("%[YmdV]", lambda found: parts[found[0]], pattern)


def _pattern(text: str) -> str:
    if not _INDEX.fullmatch(index_name(text, datetime(2026, 1, 1))):  # noqa: DTZ001  any moment will do
        raise ValueError(
            f"{text!r} is no index; right is a name of lower-case letters, digits, dots and dashes, such as "
            "kubewitness-%Y.%m (year and month of the change)"
        )
    return text


Index = Annotated[str, AfterValidator(_pattern)]


class SearchConfig(HttpSinkConfig):
    """Options that both have."""

    url: Annotated[
        Secret[HttpUrl],
        Field(description="Address of the cluster, such as https://search:9200/; shown nowhere but for its host."),
    ]
    username: Annotated[str | None, Field(description="User of basic authentication.")] = None
    password: Annotated[Password | None, Field(description="Password of basic authentication.")] = None
    pipeline: Annotated[
        str | None, Field(pattern=r"^[A-Za-z0-9._-]+$", description="Ingest pipeline that documents go through.")
    ] = None


S = TypeVar("S", bound=SearchConfig)


class SearchSink(HttpSink[S]):
    """Creates documents whose id is the delivery's, so that a retry finds its document there and makes no second."""

    def index(self) -> str:
        """Return the pattern of the index's name."""
        raise NotImplementedError

    def headers(self) -> dict[str, str]:
        """Return the headers that authenticate."""
        return basic(self.config)

    @override
    def render(self, notification: Notification) -> Rendering:
        return document(notification)

    @override
    async def send(self, notification: Notification) -> None:
        index = index_name(self.index(), datetime.fromisoformat(notification.entry.at))
        target = (
            f"{str(self.config.url.get_secret_value()).rstrip('/')}/{quote(index)}/_create/{identifier(notification)}"
        )
        if self.config.pipeline:
            target += f"?pipeline={self.config.pipeline}"
        content = msgspec.json.encode(document(notification))
        await self.call("PUT", target, content, {**JSON_TYPE, **self.headers()})

    @override
    def failure(self, answer: Answer) -> Failure | None:
        failure, (kind, reason) = super().failure(answer), _said(answer)
        if failure is None or (answer.status == HTTPStatus.CONFLICT and kind in _EXISTS):
            return None
        if kind == "cluster_block_exception":
            # A full disk is 403 in older versions, 429 in newer ones, and passes in both.
            advice = "is a disk full? indices are read-only beyond 95 %"
            return failure._replace(temporary=True, reason=f"{kind}: {reason}", advice=advice)
        return failure._replace(reason=f"{kind}: {reason}" if kind else "", advice=_advice(answer.status, kind))


def _said(answer: Answer) -> tuple[str, str]:
    """Return type and reason of an error: https://www.elastic.co/docs/reference/elasticsearch/rest-apis."""
    document = answer.json
    error = document.get("error") if isinstance(document, dict) else None
    if not isinstance(error, dict):
        return "", ""
    kind, reason = str(error.get("type", "")), str(error.get("reason", ""))
    cause = error.get("caused_by")
    return kind, f"{reason}: {cause['reason']}" if isinstance(cause, dict) and "reason" in cause else reason


def _advice(status: int, kind: str) -> str:
    if kind in _MISFIT:
        return "the index maps a field otherwise; use an index of its own"
    if status == HTTPStatus.UNAUTHORIZED:
        return "are the credentials those of this cluster?"
    if status == HTTPStatus.FORBIDDEN:
        return "the credentials need the privileges create_doc and auto_configure (or create_index) on the index"
    if kind == "index_not_found_exception":
        return "indices are not made by themselves here (action.auto_create_index): make it first"
    return ""


def basic(config: SearchConfig) -> dict[str, str]:
    """Return the header of basic authentication, if there is a user or a password."""
    if config.username is None and config.password is None:
        return {}
    return {"Authorization": basic_authorization(config.username, config.password)}


def identifier(notification: Notification) -> str:
    """Return the document's id: the same for every attempt, of characters that no proxy touches."""
    return re.sub("[^A-Za-z0-9_-]", "-", notification.delivery_id)[:_NAME_LIMIT]


def document(notification: Notification) -> dict[str, Any]:
    """Return the document, within `DOCUMENT_LIMIT`; what does not fit is counted in `kubewitness.missing_changes`."""
    entry, finding = notification.entry, notification.finding
    made: dict[str, Any] = {
        "@timestamp": entry.at,
        "message": message(notification, PLAIN, MESSAGE_LIMIT, lambda text: len(text.encode())),
        "ecs": {"version": ECS_VERSION},
        "event": _event(notification),
        "orchestrator": _orchestrator(entry),
        "user": _given({"name": _name(entry.user.username), "id": _name(entry.user.uid)}),
        "kubewitness": _given(
            {
                "delivery_id": notification.delivery_id,
                "playbook": _name(finding.playbook),
                "title": _name(finding.title),
                "severity": finding.severity.value,
                "operation": entry.operation,
                "outcome": entry.outcome,
                "subresource": _name(entry.resource.subresource),
                "field_manager": _name(entry.field_manager),
                "actor": _actor(entry),
                "folded": notification.folded.count if notification.folded else None,
            }
        ),
    }
    changes, missing = _changes(notification, DOCUMENT_LIMIT - len(msgspec.json.encode(made)) - _NAME_LIMIT)
    made["kubewitness"] |= _given({"changes": changes, "missing_changes": missing})
    return made


def _event(notification: Notification) -> dict[str, Any]:
    entry = notification.entry
    return _given(
        {
            "id": entry.id,
            "kind": "event",
            "category": [] if entry.operation == "FAILED" else ["configuration"],
            "type": [TYPES.get(entry.operation, "info")],
            "action": entry.operation.lower(),
            "module": "kubewitness",
            "dataset": "kubewitness",
            "severity": SEVERITIES[notification.finding.severity],
            "url": notification.link,
        }
    )


def _orchestrator(entry: Entry) -> dict[str, Any]:
    resource = entry.resource
    version = f"{resource.group}/{resource.version}" if resource.group else resource.version
    labels = [_name(f"{key}:{value}") for key, value in list(entry.labels.items())[:100]]
    about = {"type": _name(resource.kind), "name": _name(resource.name), "id": resource.uid, "label": labels}
    return _given(
        {
            "type": "kubernetes",
            "cluster": _given({"name": _name(entry.cluster)}),
            "namespace": _name(resource.namespace),
            "api_version": version,
            "resource": _given(about),
        }
    )


def _actor(entry: Entry) -> dict[str, str]:
    actor = entry.actor
    parts = {"kind": actor.kind, "service_account": actor.service_account, "pod": actor.pod, "node": actor.node}
    return {name: _name(text) for name, text in parts.items() if text} if entry.user.username else {}


def _changes(notification: Notification, room: int) -> tuple[list[dict[str, str]], int]:
    """Return the field changes of the finding that fit into so many bytes, and how many do not."""
    blocks = plain.shown_blocks(notification)
    every = [change for block in blocks if isinstance(block, DiffBlock) for change in block.changes]
    kept: list[dict[str, str]] = []
    for change in every:
        made = _change(change)
        room -= len(msgspec.json.encode(made)) + 1
        if room < 0:
            break
        kept.append(made)
    return kept, len(every) - len(kept)


def _change(change: FieldChange) -> dict[str, str]:
    texts = {"path": plain.one_line(change.path, VALUE_LIMIT), "op": change.op}
    for name, raw in (("old", change.old), ("new", change.new)):
        if raw is not msgspec.UNSET:
            texts[name] = plain.value(raw, VALUE_LIMIT)
    return texts


def _name(text: str) -> str:
    return plain.one_line(text, _NAME_LIMIT)


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is empty."""
    return {name: value for name, value in fields.items() if value not in ("", None, [], {}, 0)}
