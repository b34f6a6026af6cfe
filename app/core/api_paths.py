"""Paths of objects in the Kubernetes API."""

from __future__ import annotations

from urllib.parse import quote

from app.core.change import Resource


def collection_path(resource: Resource) -> str:
    """Return the path at which objects like this are created."""
    base = f"/apis/{quote(resource.group)}" if resource.group else "/api"
    place = f"/namespaces/{quote(resource.namespace, safe='')}" if resource.namespace else ""
    return f"{base}/{quote(resource.version)}{place}/{quote(resource.resource)}"


def object_path(resource: Resource) -> str:
    """Return the path of an object, or of its subresource, in the Kubernetes API."""
    subresource = f"/{quote(resource.subresource)}" if resource.subresource else ""
    return f"{collection_path(resource)}/{quote(resource.name, safe='')}{subresource}"
