"""The Kubernetes API as an undo needs it: the object as it is now, and the one request that undoes."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from app.core.api_paths import collection_path, object_path
from app.core.change import Resource
from app.core.undo import Undo
from app.core.undo_command import FIELD_MANAGER, as_sent
from app.kube.client import KubernetesApi
from app.kube.errors import ApiError

_SECONDS: Final = 10.0
_JSON_PATCH: Final = "application/json-patch+json"


async def live_object(api: KubernetesApi, resource: Resource) -> dict[str, Any]:
    """Return the object as it is now, or the Scale; an empty one if there is none. Raises ApiError."""
    # Of the other subresources only updates are recorded, and those are of the object itself.
    subresource = resource.subresource if resource.subresource == "scale" else ""
    place = msgspec.structs.replace(resource, subresource=subresource)
    try:
        return _document(await api.get(object_path(place), attempts=1, timeout=_SECONDS))
    except ApiError as error:
        if not error.is_not_found:
            raise
        return {}


async def carry_out(api: KubernetesApi, undo: Undo) -> dict[str, Any]:
    """Do it, once, and return what the API server answers: the object, or a Status. Raises ApiError."""
    manager = {"fieldManager": FIELD_MANAGER}
    place = object_path(undo.resource)
    match undo.action:
        case "create":
            return _document(await api.send("POST", collection_path(undo.resource), as_sent(undo.object), manager))
        case "delete":
            return _document(await api.send("DELETE", place, as_sent(undo.options)))
    return _document(await api.send("PATCH", place, as_sent(list(undo.patch)), manager, _JSON_PATCH))


def _document(answer: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(answer)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ApiError(f"the API server's answer is not JSON: {error}") from error
    return found if isinstance(found, dict) else {}
