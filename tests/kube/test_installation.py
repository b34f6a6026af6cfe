"""The Secret and the webhook configuration of an installation, over HTTP."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from pathlib import Path
from typing import Any

import pytest

from app.kube.bells import registration_watch, secret_watch
from app.kube.errors import ApiError
from app.kube.installation import (
    InstallationSecret,
    Registration,
    RegistrationObject,
    SecretDocument,
)
from app.kube.webhooks import CONFIGURATIONS
from tests.kube.api_server import Exchange, document, failure, serving
from tests.kube.clients import client

SECRET: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "audit", "resourceVersion": "7", "managedFields": [{"manager": "helm"}], "labels": {"a": "b"}},
    "type": "Opaque",
    "data": {"ca.key": base64.b64encode(b"very secret").decode()},
}


def writer(name: str, time: str, field: str = "f:caBundle") -> dict[str, Any]:
    return {"manager": name, "time": time, "fieldsV1": {"f:webhooks": {"k": {"f:clientConfig": {field: {}}}}}}


CONFIGURATION: dict[str, Any] = {
    "metadata": {
        "name": "audit",
        "resourceVersion": "9",
        "managedFields": [
            writer("kubewitness", "2026-01-01T10:00:00Z"),
            writer("kubectl-edit", "2026-01-01T11:00:00Z"),
            writer("helm", "2026-01-01T12:00:00Z", "f:service"),
        ],
    },
    "webhooks": [
        {"name": "a.kubewitness.svc", "clientConfig": {"caBundle": base64.b64encode(b"old").decode()}},
        {"name": "b.kubewitness.svc", "clientConfig": {}},
        {"name": "c.kubewitness.svc", "clientConfig": {"caBundle": base64.b64encode(b"new").decode()}},
    ],
}


async def test_a_secret_is_read_changed_and_written_by_its_version(tmp_path: Path) -> None:
    async with serving(document(SECRET), document(SECRET)) as server, client(server, tmp_path) as api:
        secret = InstallationSecret(api, "tools", "audit")
        found = await secret.get()
        await secret.put(found.with_contents({**found.contents, "more": b"x"}, {"noted": "here"}))

    asked, sent = server.requests
    assert (asked.method, asked.path) == ("GET", "/api/v1/namespaces/tools/secrets/audit")
    assert (sent.method, sent.path, sent.parameters) == ("PUT", asked.path, {"fieldManager": "kubewitness"})
    assert sent.document == {
        **SECRET,
        "metadata": {"name": "audit", "resourceVersion": "7", "labels": {"a": "b"}, "annotations": {"noted": "here"}},
        "data": {**SECRET["data"], "more": "eA=="},
    }


async def test_a_secret_that_is_not_there_is_created(tmp_path: Path) -> None:
    async with serving(failure(404, "NotFound"), document(SECRET)) as server, client(server, tmp_path) as api:
        secret = InstallationSecret(api, "tools", "audit")
        found = await secret.get()
        await secret.put(found.with_contents({"a": b"x"}, {}))

    assert found.is_new
    assert (server.requests[1].method, server.requests[1].path) == ("POST", "/api/v1/namespaces/tools/secrets")


@pytest.mark.parametrize(("code", "reason"), [(409, "Conflict"), (404, "NotFound")])
async def test_a_secret_that_was_changed_or_deleted_meanwhile_is_a_conflict(
    tmp_path: Path, code: int, reason: str
) -> None:
    async with serving(document(SECRET), failure(code, reason)) as server, client(server, tmp_path) as api:
        secret = InstallationSecret(api, "tools", "audit")
        found = await secret.get()
        with pytest.raises(ApiError) as raised:
            await secret.put(found)

    assert raised.value.is_conflict


async def test_what_is_not_allowed_names_the_command_that_restores_it(tmp_path: Path) -> None:
    async with serving() as server, client(server, tmp_path) as api:
        server.otherwise = failure(403, "Forbidden", "no")
        secret, registration = InstallationSecret(api, "tools", "audit"), RegistrationObject(api, "audit")
        with pytest.raises(
            ApiError, match="Secret tools/audit: not allowed to get it: `helm upgrade` restores the Role"
        ):
            await secret.get()
        with pytest.raises(ApiError, match="Secret tools/audit is gone, and may not be created here"):
            await secret.put(SecretDocument(metadata={"name": "audit"}))
        with pytest.raises(ApiError, match="not allowed to get it: `helm upgrade` restores the ClusterRole"):
            await registration.get()


async def test_what_is_no_secret_is_an_error_that_does_not_show_it(tmp_path: Path) -> None:
    strange = {**SECRET, "data": {"ca.key": "very secret"}}
    async with serving(document(strange)) as server, client(server, tmp_path) as api:
        with pytest.raises(ApiError) as raised:
            await InstallationSecret(api, "tools", "audit").get()

    assert str(raised.value) == "Secret tools/audit: the answer cannot be read"
    assert raised.value.__cause__ is None


@pytest.mark.parametrize("answer", [{"kind": "Status", "metadata": {}, "code": 200}, {"metadata": {"name": "other"}}])
async def test_another_object_is_not_taken_for_an_empty_secret(tmp_path: Path, answer: dict[str, Any]) -> None:
    async with serving(document(answer)) as server, client(server, tmp_path) as api:
        with pytest.raises(ApiError, match="Secret tools/audit: the answer is something else"):
            await InstallationSecret(api, "tools", "audit").get()


def test_a_secret_does_not_show_what_it_holds() -> None:
    assert repr(SecretDocument(metadata={"name": "audit"}, data={"a": b"very secret"})) == "SecretDocument(audit)"


async def test_a_bundle_is_written_where_it_differs_and_only_to_what_was_read(tmp_path: Path) -> None:
    async with serving(document(CONFIGURATION), document(CONFIGURATION)) as server, client(server, tmp_path) as api:
        registration = RegistrationObject(api, "audit")
        found = await registration.get()
        assert found is not None
        await registration.publish(found, b"new")

    sent = server.requests[1]
    assert (sent.method, sent.path, sent.parameters) == (
        "PATCH",
        f"{CONFIGURATIONS}/audit",
        {"fieldManager": "kubewitness"},
    )
    assert sent.headers["content-type"] == "application/json-patch+json"
    assert sent.document == [
        {"op": "test", "path": "/metadata/resourceVersion", "value": "9"},
        {"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": "bmV3"},
        {"op": "add", "path": "/webhooks/1/clientConfig/caBundle", "value": "bmV3"},
    ]


async def test_a_webhook_of_somebody_else_keeps_its_bundle(tmp_path: Path) -> None:
    theirs = {"name": "check.example.com", "clientConfig": {"url": "https://example.com", "caBundle": "dGhlaXJz"}}
    both = {**CONFIGURATION, "webhooks": [theirs, *CONFIGURATION["webhooks"][:1]]}
    async with serving(document(both), document(both)) as server, client(server, tmp_path) as api:
        registration = RegistrationObject(api, "audit")
        found = await registration.get()
        assert found is not None
        await registration.publish(found, b"new")

    assert found.bundles == (b"old",)
    assert server.requests[1].document[1:] == [
        {"op": "add", "path": "/webhooks/1/clientConfig/caBundle", "value": "bmV3"}
    ]


async def test_who_wrote_a_bundle_last_is_known(tmp_path: Path) -> None:
    async with serving(document(CONFIGURATION)) as server, client(server, tmp_path) as api:
        found = await RegistrationObject(api, "audit").get()

    assert isinstance(found, Registration)
    assert found.bundle_writer == "kubectl-edit"
    assert found.bundles == (b"old", b"", b"new")


@pytest.mark.parametrize(("code", "reason"), [(409, "Conflict"), (422, "Invalid"), (404, "NotFound")])
async def test_a_configuration_that_was_changed_meanwhile_is_a_conflict(tmp_path: Path, code: int, reason: str) -> None:
    async with serving(document(CONFIGURATION), failure(code, reason)) as server, client(server, tmp_path) as api:
        registration = RegistrationObject(api, "audit")
        found = await registration.get()
        assert found is not None
        with pytest.raises(ApiError) as raised:
            await registration.publish(found, b"new")

    assert raised.value.is_conflict


async def test_no_configuration_is_none(tmp_path: Path) -> None:
    async with serving(failure(404, "NotFound")) as server, client(server, tmp_path) as api:
        assert await RegistrationObject(api, "audit").get() is None


@pytest.mark.parametrize("which", ["secret", "configuration"])
async def test_a_watch_asks_for_the_one_object_and_rings_at_every_change(tmp_path: Path, which: str) -> None:
    rung = asyncio.Event()

    async def stream(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.event("MODIFIED", {"metadata": {"name": "audit", "resourceVersion": "10"}})
        await asyncio.Event().wait()

    listed = document({"metadata": {"resourceVersion": "9"}, "items": []})
    async with serving(listed, stream) as server, client(server, tmp_path) as api:
        secret = InstallationSecret(api, "tools", "audit")
        watch = secret_watch(api, secret, rung.set) if which == "secret" else registration_watch(api, "audit", rung.set)
        running = asyncio.create_task(watch.run())
        await watch.synced.wait()
        assert rung.is_set()  # the list itself is news
        rung.clear()
        await asyncio.wait_for(rung.wait(), 10)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    path = "/api/v1/namespaces/tools/secrets" if which == "secret" else CONFIGURATIONS
    assert [(each.path, each.parameters["fieldSelector"]) for each in server.requests] == [
        (path, "metadata.name=audit")
    ] * 2
