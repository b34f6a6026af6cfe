from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from app.sinks._search import DOCUMENT_LIMIT
from app.sinks.base import PermanentError, TemporaryError
from app.sinks.opensearch import OpensearchConfig, OpensearchSink
from tests.sinks import samples

PASSWORD = "openSearchSecret"
SECRETS = (PASSWORD, "urlSecret")
LIMIT = DOCUMENT_LIMIT


def error(status: int, kind: str, reason: str) -> dict[str, Any]:
    cause = {"type": kind, "reason": reason}
    return {"status_code": status, "json": {"error": {"root_cause": [cause], **cause}, "status": status}}


SUCCESS = {"status_code": 201, "json": {"_index": "i", "_id": "d-1", "result": "created"}}
BUSY = error(429, "rejected_execution_exception", "rejected execution of coordinating operation")
REFUSED = error(
    403,
    "security_exception",
    "no permissions for [indices:data/write/index] and User [name=auditor, backend_roles=[], requestedTenant=null]",
)


def options(folder: Path) -> dict[str, Any]:
    return {"url": "https://search.example.com/urlSecret", "username": "auditor", "password": PASSWORD}


def at(url: str) -> dict[str, Any]:
    return {"url": url}


async def put(answer: dict[str, Any] = SUCCESS) -> httpx.Request:
    requests: list[httpx.Request] = []

    def receive(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(**answer)

    config = OpensearchConfig.model_validate({"name": "s", **options(Path())})
    await OpensearchSink(config, transport=httpx.MockTransport(receive)).send(samples.image())
    return requests[0]


async def test_a_document_is_created_in_the_index_of_the_month() -> None:
    request = await put()

    assert request.method == "PUT"
    assert request.url.path == "/urlSecret/kubewitness-2026.01/_create/d-1"
    assert request.headers["authorization"] == "Basic YXVkaXRvcjpvcGVuU2VhcmNoU2VjcmV0"


async def test_a_document_that_is_there_already_has_arrived() -> None:
    await put(error(409, "version_conflict_engine_exception", "[d-1]: version conflict, document already exists"))


async def test_missing_rights_are_said() -> None:
    with pytest.raises(PermanentError, match=r"no permissions for .*; the credentials need the privileges"):
        await put(REFUSED)


async def test_wrong_credentials_are_said() -> None:
    with pytest.raises(PermanentError, match="Unauthorized; are the credentials those of this cluster"):
        await put({"status_code": 401, "text": "Unauthorized"})


async def test_a_full_disk_passes() -> None:
    with pytest.raises(TemporaryError, match="is a disk full"):
        await put(error(403, "cluster_block_exception", "index [x] blocked by: [FORBIDDEN/12/index read-only]"))
