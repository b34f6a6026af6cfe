"""An API server that keeps one Secret and one ValidatingWebhookConfiguration, and replicas that take turns at it.

Nothing here needs an event loop: a replica's look is stepped from one call to the next by who owns the test, so that
any order of calls, and any loss of them, can be had.
"""

from __future__ import annotations

import base64
from collections.abc import Coroutine, Generator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec
from cryptography import x509

from app.kube.client import Parameters
from app.kube.errors import ApiError
from app.kube.installation import InstallationSecret, RegistrationObject
from app.tls.authorities import Certificates, certificates
from app.tls.managed import ManagedCertificates
from app.tls.rotation import Terms
from app.tls.serving import Serving

Document = dict[str, Any]
Fault = Literal["", "refused", "lost"]
"""refused: the server never hears of the call. lost: it does what it is asked, but nobody hears of that."""

SECRET = "/api/v1/namespaces/audit/secrets"
CONFIGURATION = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/audit"
START = datetime(2026, 1, 1, tzinfo=UTC)
KEEP = {"fingerprint-key": b"k" * 64}


def error(status: int, reason: str) -> ApiError:
    return ApiError(f"{status} {reason}: it said no", status=status, reason=reason)


class Turn:
    """Where somebody else may come first."""

    def __await__(self) -> Generator[None, None, None]:
        yield


@dataclass
class Objects:
    """The two objects. `clock` is in seconds; `faults` are used up, one per call."""

    secret: Document | None = None
    configuration: Document | None = None
    version: int = 1
    clock: float = 0.0
    faults: list[Fault] = field(default_factory=list)
    forbidden: set[str] = field(default_factory=set)
    requests: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.put_secret({})
        self.configuration = self._stored({"metadata": {"name": "audit"}, "webhooks": [webhook("a"), webhook("b")]})

    async def get(self, path: str, /) -> bytes:
        return await self._call("GET", path, b"")

    async def send(
        self, method: str, path: str, body: bytes, parameters: Parameters, content_type: str = "", /
    ) -> bytes:
        assert parameters == {"fieldManager": "kubewitness"}
        return await self._call(method, path, body)

    @property
    def contents(self) -> dict[str, bytes]:
        assert self.secret is not None
        return {key: base64.b64decode(value) for key, value in (self.secret.get("data") or {}).items()}

    @property
    def annotations(self) -> dict[str, str]:
        assert self.secret is not None
        return self.secret["metadata"].get("annotations") or {}

    def put_secret(self, contents: Mapping[str, bytes], annotations: Mapping[str, str] | None = None) -> None:
        """Write the Secret as people do."""
        data = {key: base64.b64encode(value).decode() for key, value in contents.items()}
        metadata = {"name": "audit", "namespace": "audit", "annotations": dict(annotations or {})}
        self.secret = self._stored({"metadata": metadata, "data": data, "type": "Opaque"})

    @property
    def bundles(self) -> list[bytes]:
        held = self.configuration["webhooks"] if self.configuration else []
        return [base64.b64decode(each["clientConfig"].get("caBundle", "")) for each in held]

    def put_bundle(self, bundle: bytes, manager: str = "somebody") -> None:
        """Write every caBundle as people do."""
        assert self.configuration is not None
        held = [webhook(each["name"], bundle) for each in self.configuration["webhooks"]]
        wrote = {"manager": manager, "time": "2026-01-01T00:00:00Z", "fieldsV1": {"f:webhooks": {"f:caBundle": {}}}}
        metadata = {**self.configuration["metadata"], "managedFields": [wrote]}
        self.configuration = self._stored({"metadata": metadata, "webhooks": held})

    @property
    def trusted(self) -> Certificates:
        """What every webhook trusts."""
        return frozenset[x509.Certificate].intersection(*(frozenset(certificates(each)) for each in self.bundles))

    async def _call(self, method: str, path: str, body: bytes) -> bytes:
        await Turn()
        self.requests.append(f"{method} {path}")
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "refused":
            raise ApiError(f"{method} {path}: no route to host")
        if method in self.forbidden or path in self.forbidden:
            raise error(403, "Forbidden")
        answer = self._answer(method, path, body)
        await Turn()
        if fault == "lost":
            raise ApiError(f"{method} {path}: the connection was closed")
        return msgspec.json.encode(answer)

    def _answer(self, method: str, path: str, body: bytes) -> Document:
        sent: Any = msgspec.json.decode(body or b"{}")
        if path == CONFIGURATION:
            return self._patch(sent) if method == "PATCH" else _found(self.configuration)
        if method == "POST":
            assert path == SECRET
            if self.secret is not None:
                raise error(409, "AlreadyExists")
            self.secret = self._stored(sent)
        elif method == "PUT":
            if sent["metadata"]["resourceVersion"] != _found(self.secret)["metadata"]["resourceVersion"]:
                raise error(409, "Conflict")
            self.secret = self._stored(sent)
        return _found(self.secret)

    def _patch(self, operations: list[Document]) -> Document:
        held = _found(self.configuration)
        test, *writes = operations
        if test["value"] != held["metadata"]["resourceVersion"]:
            raise error(422, "Invalid")
        bundles = {int(each["path"].split("/")[2]): base64.b64decode(each["value"]) for each in writes}
        written = [
            webhook(each["name"], bundles[index]) if index in bundles else each
            for index, each in enumerate(held["webhooks"])
        ]
        self.configuration = self._stored({**held, "webhooks": written})
        return self.configuration

    def _stored(self, document: Document) -> Document:
        self.version += 1
        return {**document, "metadata": {**document["metadata"], "resourceVersion": str(self.version)}}


def webhook(name: str, bundle: bytes = b"") -> Document:
    trust = {"caBundle": base64.b64encode(bundle).decode()} if bundle else {}
    return {"name": f"{name}.kubewitness.svc", "clientConfig": {"service": {"name": "audit"}, **trust}}


def _found(document: Document | None) -> Document:
    if document is None:
        raise error(404, "NotFound")
    return document


class Counted:
    """Counts what replicas tell."""

    def __init__(self) -> None:
        self.leaves = 0
        self.rotations = 0
        self.repairs = 0
        self.authority_ends: datetime | None = None

    def served(self, not_after: datetime) -> None:
        self.leaves += 1

    def authority(self, not_after: datetime) -> None:
        self.authority_ends = not_after

    def rotated(self) -> None:
        self.rotations += 1

    def repaired(self) -> None:
        self.repairs += 1


@dataclass
class Replica:
    """One replica, whose wall clock is `skew` seconds off."""

    objects: Objects
    terms: Terms
    skew: float = 0.0
    counted: Counted = field(default_factory=Counted)
    looking: Coroutine[Any, Any, None] | None = None

    def __post_init__(self) -> None:
        self.serving = Serving()
        self.managed = ManagedCertificates(
            InstallationSecret(self.objects, "audit", "audit"),
            RegistrationObject(self.objects, "audit"),
            serving=self.serving,
            names=["audit.audit.svc"],
            terms=self.terms,
            observer=self.counted,
            keep=KEEP,
            clock=lambda: self.now,
            moment=lambda: self.objects.clock,
        )

    @property
    def now(self) -> datetime:
        return START + timedelta(seconds=self.objects.clock + self.skew)

    @property
    def signer(self) -> x509.Certificate:
        assert self.managed.leaf is not None
        return self.managed.leaf.signer.certificate

    def step(self) -> ApiError | None:
        """Go on to the next call, or to the end of a look; return what ended it, if it failed."""
        self.looking = self.looking or self.managed.look()
        try:
            self.looking.send(None)
        except StopIteration:
            self.looking = None
        except ApiError as failure:
            self.looking = None
            return failure
        return None

    def look(self) -> ApiError | None:
        """Look once, undisturbed."""
        return self.step() or self.finish()

    def finish(self) -> ApiError | None:
        """Come to the end of a look that is under way."""
        failure = None
        while self.looking is not None:
            failure = self.step()
        return failure

    def end(self) -> None:
        """Stop where it is, as `kill -9` does."""
        if self.looking is not None:
            self.looking.close()
        self.looking = None
