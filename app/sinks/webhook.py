"""Webhook sink: POSTs each notification to one URL, as JSON, CloudEvents, a bare object or plain text."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from typing import Annotated, Any, Final, Literal, Self

import msgspec
from pydantic import AfterValidator, Field, HttpUrl, Secret, SecretStr, model_validator
from typing_extensions import override

from app.core import text as plain
from app.core.finding import JsonBlock, Notification
from app.sinks._document import cloud_event, document
from app.sinks._http import HttpSink, HttpSinkConfig
from app.sinks._secrets import HeaderSecret
from app.sinks.base import ACCEPTED, PermanentError, Rendering

CONTENT_TYPES: Final = (
    ("json", "application/json"),
    ("cloudevents", "application/cloudevents+json"),
    ("object", "application/json"),
    ("text", "text/plain; charset=utf-8"),
)

_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_RESERVED: Final = frozenset(
    {"connection", "content-length", "content-type", "transfer-encoding"}
    | {"webhook-id", "webhook-timestamp", "webhook-signature"}
)


def _header_name(name: str) -> str:
    if not _HEADER_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a header name")
    if name.lower() in _RESERVED:
        raise ValueError(f"{name!r} is set by the sink itself")
    return name


def signing_key(secret: SecretStr) -> bytes:
    """Return the key in a Standard Webhooks secret: base64, with or without `whsec_` before it.

    Raises ValueError if it is not.
    """
    try:
        key = base64.b64decode(secret.get_secret_value().strip().removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise ValueError("is not base64; make one with: openssl rand -base64 32")
    return key


def _signing_secret(secret: SecretStr) -> SecretStr:
    signing_key(secret)
    return secret


HeaderName = Annotated[str, AfterValidator(_header_name)]


def _not_for_slack(wanted: bool) -> bool:
    if wanted:
        raise ValueError("is what a slack_sink is for: give it this URL as webhook_url")
    return wanted


class WebhookConfig(HttpSinkConfig):
    """Options of the webhook sink."""

    url: Annotated[Secret[HttpUrl], Field(description="Where to POST; shown nowhere but for its host.")]
    authorization: Annotated[
        HeaderSecret | None, Field(description="Value of the Authorization header, such as `Bearer ...`.")
    ] = None
    headers: Annotated[
        dict[HeaderName, HeaderSecret],
        Field(default_factory=dict, description="Further headers; their values are kept secret."),
    ]
    format: Annotated[
        Literal["json", "cloudevents", "object", "text"],
        Field(
            description="Body: `json` (delivery_id, finding, entry), `cloudevents` (CloudEvents 1.0 around the same), "
            "`object` (only the JSON document in the finding, for json_change_tracker) or `text`."
        ),
    ] = "json"
    size_limit: Annotated[int, Field(ge=256, description="Most bytes of a body in the format `text`.")] = 4096
    secret: Annotated[
        SecretStr | None,
        AfterValidator(lambda secret: secret and _signing_secret(secret)),
        Field(description="Signs each body as Standard Webhooks say: base64, `whsec_` before it is allowed."),
    ] = None
    slack_webhook: Annotated[
        bool, AfterValidator(_not_for_slack), Field(description=f"{ACCEPTED} if false; else use slack_sink.")
    ] = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.authorization and "authorization" in map(str.lower, self.headers):
            raise ValueError("sets the Authorization header twice: in authorization and in headers")
        return self


class WebhookSink(HttpSink[WebhookConfig]):
    """Any 2xx answer is success.

    Every request carries the delivery's id as `webhook-id`, the same over retries, so that a receiver can drop
    repeats.
    """

    Config = WebhookConfig

    @override
    def render(self, notification: Notification) -> Rendering:
        content = body(notification, self.config)
        rendering: Rendering = content.decode() if self.config.format == "text" else msgspec.json.decode(content)
        return rendering

    @override
    async def send(self, notification: Notification) -> None:
        content = body(notification, self.config)
        headers = {**self._headers(), **self._signature(notification.delivery_id, content)}
        await self.post(self.config.url, content, headers)

    def _headers(self) -> dict[str, str]:
        headers = {name: secret.get_secret_value() for name, secret in self.config.headers.items()}
        if self.config.authorization:
            headers["Authorization"] = self.config.authorization.get_secret_value()
        return {**headers, "Content-Type": dict(CONTENT_TYPES)[self.config.format]}

    def _signature(self, delivery_id: str, content: bytes) -> dict[str, str]:
        if self.config.secret is None:
            return {"webhook-id": delivery_id}
        return signature(signing_key(self.config.secret), delivery_id, int(self.clock().timestamp()), content)


def signature(key: bytes, delivery_id: str, timestamp: int, content: bytes) -> dict[str, str]:
    """Return the three headers of Standard Webhooks 1.0: HMAC-SHA256 over `id.timestamp.body`."""
    signed = b".".join([delivery_id.encode(), str(timestamp).encode(), content])
    digest = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    return {
        "webhook-id": delivery_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{digest}",
    }


def body(notification: Notification, config: WebhookConfig) -> bytes:
    """Return the bytes to POST; raises `PermanentError` if the format needs what the finding does not have."""
    match config.format:
        case "json":
            return msgspec.json.encode(document(notification))
        case "cloudevents":
            return msgspec.json.encode(cloud_event(notification, document(notification)))
        case "object":
            return msgspec.json.encode(_object(notification))
        case "text":
            return plain.plain_text(notification, config.size_limit).encode()


def _object(notification: Notification) -> Any:
    for block in notification.finding.blocks:
        if isinstance(block, JsonBlock):
            return block.value
    raise PermanentError(
        "the finding has no JSON document to post; format: object is for playbooks with json_change_tracker"
    )
