"""The object as it is in the cluster now, redacted before anybody sees it."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import msgspec

from app.audit.fingerprint_key import FILE_NAME, LENGTH, fingerprint_key
from app.core.change import Resource
from app.core.redact import Redactor
from app.kube.client import KubernetesApi
from app.kube.errors import ApiError
from app.settings import Settings

_SECONDS: Final = 10.0


class Live(msgspec.Struct, frozen=True):
    """An object as it may be shown; `same_key` says whether its fingerprints can be compared with the ledger's."""

    document: dict[str, Any]
    same_key: bool


async def live_object(resource: Resource, kubeconfig: Path | None, data_dir: Path) -> Live | None:
    """Read an object from the API server; None if there is none.

    Raises KubernetesSetupError or ApiError where it cannot be read.
    """
    api = await KubernetesApi.connect(kubeconfig)
    try:
        document = msgspec.json.decode(await api.get(object_path(resource), attempts=1, timeout=_SECONDS))
    except ApiError as error:
        if not error.is_not_found:
            raise
        return None
    finally:
        await api.close()
    key = _key(data_dir)
    shown = Redactor(key or secrets.token_bytes(LENGTH)).object(resource.kind, document)
    return Live(shown, same_key=key is not None)


def object_path(resource: Resource) -> str:
    """Return the path of an object in the Kubernetes API."""
    base = f"/apis/{quote(resource.group)}" if resource.group else "/api"
    place = f"/namespaces/{quote(resource.namespace, safe='')}" if resource.namespace else ""
    return f"{base}/{quote(resource.version)}{place}/{quote(resource.resource)}/{quote(resource.name, safe='')}"


def _key(data_dir: Path) -> bytes | None:
    """Return the key of the ledger's fingerprints; none is made here."""
    given = Settings().fingerprint_key_file
    return fingerprint_key(data_dir, given) if given or (data_dir / FILE_NAME).exists() else None
