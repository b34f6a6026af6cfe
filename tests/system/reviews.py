"""Admission reviews as an API server sends them, and what the program answers."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec

RECORDED: Final = Path(__file__).parents[1] / "data" / "reviews-k8s-1.20"
_SET_IMAGE: Final[dict[str, Any]] = msgspec.json.decode((RECORDED / "deployment-update-set-image.json").read_bytes())


def set_image(image: str) -> bytes:
    """Return `kubectl set image deployment/web nginx=<image>` as a review of its own."""
    review = copy.deepcopy(_SET_IMAGE)
    review["request"]["uid"] = str(uuid.uuid4())
    review["request"]["object"]["spec"]["template"]["spec"]["containers"][0]["image"] = image
    return msgspec.json.encode(review)


def review(kind_name: str, /, *, old: Any = None, new: Any = None, **request: Any) -> bytes:
    """Return a review of an object of this kind; what `request` names is taken as it is."""
    operation = "CREATE" if old is None else "DELETE" if new is None else "UPDATE"
    metadata = (new or old or {}).get("metadata", {})
    content = {
        "uid": str(uuid.uuid4()),
        "kind": {"group": "", "version": "v1", "kind": kind_name},
        "resource": {"group": "", "version": "v1", "resource": f"{kind_name.lower()}s"},
        "name": metadata.get("name", ""),
        "namespace": metadata.get("namespace", ""),
        "operation": operation,
        "userInfo": {"username": "alice", "groups": ["system:authenticated"]},
        "object": new,
        "oldObject": old,
        **request,
    }
    return msgspec.json.encode({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": content})


def post(client: httpx.Client, body: bytes) -> httpx.Response:
    """Post a review; only an answer that allows it returns."""
    answer = client.post("/validate?timeout=2s", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["response"]["allowed"] is True
    return answer


def entry_id(answer: httpx.Response) -> str:
    """Return the id of the entry that an answer acknowledges."""
    identifier: str = answer.json()["response"]["auditAnnotations"]["entry-id"]
    return identifier


def acknowledge(client: httpx.Client, *images: str) -> Iterator[str]:
    """Set these images one after another, and yield the ids of the entries as they are acknowledged."""
    for image in images:
        yield entry_id(post(client, set_image(image)))
