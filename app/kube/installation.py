"""The two objects that belong to an installation: its Secret, and its ValidatingWebhookConfiguration.

Both are written by their resourceVersion alone: whoever has read something older gets a conflict. Data of the Secret is
in no repr and in no message.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, Protocol, TypeVar

import msgspec

from app.kube.client import Parameters
from app.kube.errors import ApiError
from app.kube.webhooks import CONFIGURATIONS, DOMAIN

FIELD_MANAGER: Final = "kubewitness"
_BUNDLE_FIELD: Final = b'"f:caBundle"'

T = TypeVar("T")


class ObjectApi(Protocol):
    """What is needed of a Kubernetes API client; failures are ApiError."""

    async def get(self, path: str, /) -> bytes:
        """Return the object at this path."""
        ...

    async def send(
        self, method: str, path: str, body: bytes, parameters: Parameters, content_type: str = "application/json", /
    ) -> bytes:
        """Write the object, and return it as stored."""
        ...


class SecretDocument(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, repr_omit_defaults=True):
    """A Secret as it is stored; what others wrote into it stays as it is."""

    metadata: dict[str, Any]
    data: dict[str, bytes] | None = None
    type: str = "Opaque"
    immutable: bool | None = None

    def __repr__(self) -> str:
        return f"SecretDocument({self.metadata.get('name')})"

    @property
    def is_new(self) -> bool:
        """Whether it is still to be created."""
        return not self.metadata.get("resourceVersion")

    @property
    def contents(self) -> Mapping[str, bytes]:
        """What it holds, by key."""
        return self.data or {}

    @property
    def annotations(self) -> Mapping[str, str]:
        """What is noted on it."""
        return self.metadata.get("annotations") or {}

    def with_contents(self, contents: Mapping[str, bytes], annotations: Mapping[str, str]) -> SecretDocument:
        """Return the Secret with exactly these."""
        metadata = {**self.metadata, "annotations": dict(annotations)}
        return msgspec.structs.replace(self, metadata=metadata, data=dict(contents))


class InstallationSecret:
    """One Secret of the API. Failures are ApiError; those of rights say which command grants them."""

    def __init__(self, api: ObjectApi, namespace: str, name: str) -> None:
        self.name = name
        self.namespace = namespace
        self.folder: Final = f"/api/v1/namespaces/{namespace}/secrets"
        self._api = api

    def __str__(self) -> str:
        return f"Secret {self.namespace}/{self.name}"

    async def get(self) -> SecretDocument:
        """Return what is stored, or a new document if there is nothing."""
        try:
            return self._read(await self._api.get(f"{self.folder}/{self.name}"))
        except ApiError as error:
            if not error.is_not_found:
                raise self._explained(error, "get") from None
        return SecretDocument(metadata={"name": self.name, "namespace": self.namespace})

    async def put(self, document: SecretDocument) -> SecretDocument:
        """Write it if nobody wrote or deleted it since it was read, and return it; otherwise it conflicts."""
        kind = {"apiVersion": "v1", "kind": "Secret"}
        body = msgspec.json.encode({**kind, **msgspec.to_builtins(document)})
        method, path = ("POST", self.folder) if document.is_new else ("PUT", f"{self.folder}/{self.name}")
        try:
            return self._read(await self._api.send(method, path, body, {"fieldManager": FIELD_MANAGER}))
        except ApiError as error:
            if error.is_not_found and not document.is_new:
                raise ApiError(error.message, status=HTTPStatus.CONFLICT, reason="Conflict") from error
            raise self._explained(error, "create" if document.is_new else "update") from None

    def _read(self, body: bytes) -> SecretDocument:
        document = _decoded(body, SecretDocument, str(self))
        if (
            document.metadata.get("name") != self.name
        ):  # a Status, or a page of whoever is in between, is no empty Secret
            raise ApiError(f"{self}: the answer is something else")
        # The server keeps its own when none are sent.
        metadata = {name: value for name, value in document.metadata.items() if name != "managedFields"}
        return msgspec.structs.replace(document, metadata=metadata)

    def _explained(self, error: ApiError, verb: str) -> ApiError:
        if not error.is_forbidden:
            return error
        if verb == "create":
            what = f"{self} is gone, and may not be created here: `helm upgrade` restores it"
        else:
            what = (
                f"{self}: not allowed to {verb} it: `helm upgrade` restores the Role that allows get, list, watch and "
                f"update on secrets named {self.name}"
            )
        return _again(error, what)


class _Writer(msgspec.Struct, frozen=True):
    manager: str = ""
    time: str = ""
    fields: msgspec.Raw = msgspec.field(default_factory=lambda: msgspec.Raw(b"{}"), name="fieldsV1")


class _Metadata(msgspec.Struct, frozen=True, rename="camel"):
    name: str
    resource_version: str = ""
    managed_fields: tuple[_Writer, ...] = ()


class _ClientConfig(msgspec.Struct, frozen=True, rename="camel"):
    ca_bundle: bytes = b""


class _Webhook(msgspec.Struct, frozen=True, rename="camel"):
    name: str
    client_config: _ClientConfig = _ClientConfig()


class Registration(msgspec.Struct, frozen=True):
    """A ValidatingWebhookConfiguration, as far as trust goes.

    Only webhooks count whose names are ours (`DOMAIN`): what somebody else has put beside them leads elsewhere, to
    whom our authority means nothing.
    """

    metadata: _Metadata
    webhooks: tuple[_Webhook, ...] = ()

    @property
    def bundles(self) -> tuple[bytes, ...]:
        """The caBundle (PEM) of each of our webhooks."""
        return tuple(self.places.values())

    @property
    def places(self) -> dict[int, bytes]:
        """The same, by the index of the webhook among all."""
        return {
            index: webhook.client_config.ca_bundle
            for index, webhook in enumerate(self.webhooks)
            if webhook.name.endswith(DOMAIN)
        }

    @property
    def bundle_writer(self) -> str:
        """Who wrote a caBundle last, empty if the API server does not tell."""
        # RFC 3339 in UTC, so the order of the texts is that of the times.
        wrote = [each for each in self.metadata.managed_fields if _BUNDLE_FIELD in bytes(each.fields)]
        return max(wrote, key=lambda each: each.time).manager if wrote else ""


class RegistrationObject:
    """One ValidatingWebhookConfiguration of the API. Failures are ApiError; those of rights say what grants them."""

    def __init__(self, api: ObjectApi, name: str) -> None:
        self.name = name
        self._path = f"{CONFIGURATIONS}/{name}"
        self._api = api

    def __str__(self) -> str:
        return f"ValidatingWebhookConfiguration {self.name}"

    async def get(self) -> Registration | None:
        """Return what is stored, None if there is none."""
        try:
            return _decoded(await self._api.get(self._path), Registration, str(self))
        except ApiError as error:
            if error.is_not_found:
                return None
            raise self._explained(error, "get") from None

    async def publish(self, found: Registration, bundle: bytes) -> Registration:
        """Write the bundle to our webhooks and return the result; a conflict if anything changed since `found`."""
        version = {"op": "test", "path": "/metadata/resourceVersion", "value": found.metadata.resource_version}
        text = base64.b64encode(bundle).decode()
        writes = [
            {"op": "add", "path": f"/webhooks/{index}/clientConfig/caBundle", "value": text}
            for index, held in found.places.items()
            if held != bundle
        ]
        body, manager = msgspec.json.encode([version, *writes]), {"fieldManager": FIELD_MANAGER}
        try:
            stored = await self._api.send("PATCH", self._path, body, manager, "application/json-patch+json")
        except ApiError as error:
            raise self._explained(error, "patch") from None
        return _decoded(stored, Registration, str(self))

    def _explained(self, error: ApiError, verb: str) -> ApiError:
        # A test that fails is all that can be wrong with our patch, and has no status of its own.
        if verb == "patch" and (error.status == HTTPStatus.UNPROCESSABLE_ENTITY or error.is_not_found):
            return ApiError(error.message, status=HTTPStatus.CONFLICT, reason="Conflict")
        if not error.is_forbidden:
            return error
        return _again(
            error,
            f"{self}: not allowed to {verb} it: `helm upgrade` restores the ClusterRole that allows get, list, watch "
            f"and patch on validatingwebhookconfigurations named {self.name}",
        )


def _again(error: ApiError, message: str) -> ApiError:
    return ApiError(
        f"{message} ({error.message})", status=error.status, reason=error.reason, retry_after=error.retry_after
    )


def _decoded(body: bytes, kind: type[T], what: str) -> T:
    """Read an object; raises ApiError, which shows nothing of what it holds."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ApiError(f"{what}: the answer cannot be read") from None
