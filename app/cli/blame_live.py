"""The object as it is in the cluster now, redacted before anybody sees it."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any, Final

import msgspec

from app.audit.fingerprint_key import FILE_NAME, LENGTH, fingerprint_key
from app.core.api_paths import object_path
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


async def live_object(api: KubernetesApi, resource: Resource, key: bytes | None) -> Live | None:
    """Read an object from the API server, redacted with the key, or else with one that nobody has; None if it is gone.

    Raises ApiError where it cannot be read.
    """
    place = msgspec.structs.replace(resource, subresource="")
    try:
        document = msgspec.json.decode(await api.get(object_path(place), attempts=1, timeout=_SECONDS))
    except ApiError as error:
        if not error.is_not_found:
            raise
        return None
    shown = Redactor(key or secrets.token_bytes(LENGTH)).object(resource.kind, document)
    return Live(shown, same_key=key is not None)


def known_key(data_dir: Path) -> bytes | None:
    """Return the key of a ledger's fingerprints, None where there is none: none is made here."""
    given = Settings().fingerprint_key_file
    return fingerprint_key(data_dir, given) if given or (data_dir / FILE_NAME).exists() else None
