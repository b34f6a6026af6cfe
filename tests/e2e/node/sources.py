"""What a Pod may show to its containers: ConfigMaps, Secrets, tokens and its own fields."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping
from typing import Final

from tests.e2e.node.api import Api
from tests.e2e.servers import Document

ISSUER: Final = "https://kubernetes.default.svc"
TOKEN_SECONDS: Final = 3607
"""As API servers ask for by themselves."""


class MissingError(Exception):
    """Something that a Pod refers to is not there (yet); the message is a kubelet's."""


class Sources:
    """The API server's objects that one Pod refers to, as they are now."""

    def __init__(self, api: Api, pod: Document, address: str, node: tuple[str, str]) -> None:
        self.pod = pod
        self.namespace = pod["metadata"]["namespace"]
        self._api = api
        self._address = address
        self._node, self._node_address = node
        self._tokens: dict[str, tuple[str, float]] = {}

    async def config_map(self, reference: Document) -> Mapping[str, bytes]:
        """Return the data of a ConfigMap; nothing where it may be missing and is. Raises MissingError."""
        found = await self._read("configmaps", reference["name"], reference)
        text = {key: value.encode() for key, value in (found.get("data") or {}).items()}
        return text | _decoded(found.get("binaryData"))

    async def secret(self, reference: Document) -> Mapping[str, bytes]:
        """Return the data of a Secret; nothing where it may be missing and is. Raises MissingError."""
        name = reference.get("secretName") or reference["name"]
        return _decoded((await self._read("secrets", name, reference)).get("data"))

    async def token(self, projection: Document) -> bytes:
        """Return a token of the Pod's service account, which is bound to the Pod; the same for most of its time."""
        audience = projection.get("audience", ISSUER)
        token, until = self._tokens.get(audience, ("", 0.0))
        if time.monotonic() > until:
            seconds = projection.get("expirationSeconds", TOKEN_SECONDS)
            token = await self._request_token(audience, seconds)
            self._tokens[audience] = token, time.monotonic() + 0.8 * seconds
        return token.encode()

    def field(self, path: str) -> str:
        """Return a field of the Pod, as `fieldRef` names it."""
        metadata, spec = self.pod["metadata"], self.pod["spec"]
        for kind in ("labels", "annotations"):
            values: Mapping[str, str] = metadata.get(kind) or {}
            if path == f"metadata.{kind}":
                return "".join(f'{key}="{value}"\n' for key, value in sorted(values.items()))
            if path.startswith(f"metadata.{kind}['"):
                return values.get(path.split("'")[1], "")
        fields: Mapping[str, Callable[[], str]] = {
            "metadata.name": lambda: metadata["name"],
            "metadata.namespace": lambda: metadata["namespace"],
            "metadata.uid": lambda: metadata["uid"],
            "spec.nodeName": lambda: self._node,
            "spec.serviceAccountName": lambda: spec.get("serviceAccountName", "default"),
            "status.hostIP": lambda: self._node_address,
            "status.podIP": lambda: self._address,
            "status.podIPs": lambda: self._address,
        }
        return fields[path]()

    async def _read(self, resource: str, name: str, reference: Document) -> Document:
        found = await self._api.get(f"/api/v1/namespaces/{self.namespace}/{resource}/{name}")
        if found is None and not reference.get("optional"):
            raise MissingError(f'{resource.removesuffix("s")} "{name}" not found')
        return found or {}

    async def _request_token(self, audience: str, seconds: int) -> str:
        metadata = self.pod["metadata"]
        bound = {"kind": "Pod", "apiVersion": "v1", "name": metadata["name"], "uid": metadata["uid"]}
        spec = {"audiences": [audience], "expirationSeconds": seconds, "boundObjectRef": bound}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        account = self.field("spec.serviceAccountName")
        answer = await self._api.post(f"/api/v1/namespaces/{self.namespace}/serviceaccounts/{account}/token", body)
        if answer is None:
            raise MissingError(f'serviceaccount "{account}" not found')
        return str(answer["status"]["token"])


def _decoded(data: Mapping[str, str] | None) -> dict[str, bytes]:
    return {key: base64.b64decode(value) for key, value in (data or {}).items()}
