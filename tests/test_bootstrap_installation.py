"""The service as an installation runs it: its Secret, its certificate and its token, against an API server."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import signal
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from pydantic import ValidationError

from app.audit.fingerprint_key import FingerprintKeyError
from app.bootstrap.auditor import Auditor, serve
from app.bootstrap.installation import SharedSecret
from app.bootstrap.watcher import Watcher, watch
from app.kube.errors import ApiError
from app.settings import Settings, WatchSettings
from app.tls.files import ensure_dev_certificates
from app.web.health import Check
from tests.kube.api_server import ApiServer, Exchange, failure, serving, status
from tests.kube.clients import write_kubeconfig
from tests.tls.objects import Objects

CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
OLD_KEY = b"0123456789abcdef" * 4


class Cluster:
    """Serves the two objects over HTTP, in the namespace `audit`; watches of them last until `changed` ends them."""

    def __init__(self) -> None:
        self.objects = Objects()
        self.changed = asyncio.Event()

    async def answer(self, exchange: Exchange) -> None:
        asked = exchange.request
        if asked.parameters.get("watch"):
            await self._watch(exchange)
        elif "fieldSelector" in asked.parameters:
            await exchange.respond(msgspec.json.encode({"metadata": {"resourceVersion": "1"}, "items": []}))
        elif asked.path.startswith(("/api/v1/namespaces/audit/secrets", CONFIGURATIONS)):
            await self._object(exchange)
        else:
            await failure(404, "NotFound")(exchange)

    async def _object(self, exchange: Exchange) -> None:
        asked = exchange.request
        try:
            call = (
                self.objects.get(asked.path)
                if asked.method == "GET"
                else self.objects.send(asked.method, asked.path, asked.body, asked.parameters, "")
            )
            await exchange.respond(await call)
        except ApiError as error:
            body = msgspec.json.encode(status(error.status, error.reason))
            await exchange.respond(body, error.status)

    async def _watch(self, exchange: Exchange) -> None:
        await exchange.begin()
        await self.changed.wait()
        await exchange.event("MODIFIED", {"metadata": {"name": "audit", "resourceVersion": "2"}})
        await asyncio.Event().wait()

    def change(self) -> None:
        """Tell the watches."""
        self.changed.set()


@contextlib.asynccontextmanager
async def cluster() -> AsyncIterator[tuple[Cluster, ApiServer]]:
    found = Cluster()
    async with serving() as server:
        server.otherwise = found.answer
        yield found, server


def options(folder: Path, server: ApiServer, **more: Any) -> dict[str, Any]:
    path = write_kubeconfig(folder / "kubeconfig", server.url)
    path.write_text(path.read_text().replace("namespace: shop", "namespace: audit"))
    return {
        "kubeconfig": path,
        "data_dir": folder / "data",
        "secret": "audit",
        "console_port": 0,
        "flush_seconds": 1,
        **more,
    }


def own(folder: Path, server: ApiServer, **more: Any) -> Settings:
    """The settings of an installation that signs for itself."""
    common = options(folder, server, admission_host="127.0.0.1", admission_port=0, **more)
    return Settings(
        **{
            "tls_source": "secret",
            "tls_service": "audit",
            "webhook_configuration": "audit",
            **common,
        }
    )


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Auditor]:
    auditor = Auditor(settings)
    await auditor.start()
    try:
        yield auditor
    finally:
        assert await auditor.stop(0) == 0


async def ready(auditor: Auditor) -> None:
    """Wait until the certificate is trusted."""
    async with asyncio.timeout(20):
        while auditor.certificate.check().state != "ok":  # noqa: ASYNC110  what is checked has no event
            await asyncio.sleep(0.01)


def metric(auditor: Auditor, name: str) -> float | None:
    return auditor.metrics.registry.get_sample_value(name)


async def test_an_empty_secret_is_enough_for_a_service_that_its_api_server_trusts(tmp_path: Path) -> None:
    async with cluster() as (found, server), running(own(tmp_path, server)) as auditor:
        await ready(auditor)
        trust = ssl.create_default_context(cadata=found.objects.bundles[0].decode())
        host, port = auditor.admission_address
        _, writer = await asyncio.open_connection(host, port, ssl=trust, server_hostname="audit.audit.svc")
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()

        assert set(found.objects.contents) == {"ca.crt", "ca.key", "fingerprint-key", "console-token"}
        copy = (tmp_path / "data" / "fingerprint.key").read_bytes()
        assert copy.strip() == found.objects.contents["fingerprint-key"]
        year = datetime.now(UTC) + timedelta(days=365)
        assert metric(auditor, "kubewitness_authority_expiry_timestamp_seconds") == pytest.approx(
            year.timestamp(), abs=600
        )


async def test_a_bundle_that_somebody_overwrites_is_repaired_as_soon_as_the_watch_tells(tmp_path: Path) -> None:
    async with cluster() as (found, server), running(own(tmp_path, server)) as auditor:
        await ready(auditor)
        before = found.objects.bundles[0]
        found.objects.put_bundle(b"")

        found.change()
        async with asyncio.timeout(10):
            while found.objects.bundles[0] != before:  # noqa: ASYNC110  the server of the test has no event for it
                await asyncio.sleep(0.01)
        await ready(auditor)

        assert metric(auditor, "kubewitness_ca_bundle_repairs_total") == 1


async def test_the_console_asks_others_for_the_token_of_the_secret(tmp_path: Path) -> None:
    async with cluster() as (found, server), running(own(tmp_path, server)) as auditor:
        host, port = auditor.console_address
        async with httpx.AsyncClient(base_url=f"http://{host}:{port}", headers={"Host": "audit:8080"}) as client:
            without = await client.get("/api/v1/entries")
            token = found.objects.contents["console-token"].decode()
            shown = await client.get("/api/v1/entries", headers={"Authorization": f"Bearer {token}"})
            probe = await client.get("/livez")

    assert (without.status_code, shown.status_code, probe.status_code) == (401, 200, 200)
    assert token not in without.text


async def test_a_token_file_comes_before_the_secret(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("mine\n")
    async with (
        cluster() as (_, server),
        running(own(tmp_path, server, console_token_file=tmp_path / "token")) as auditor,
    ):
        assert auditor.backbone.console_token() == "mine"


async def test_the_start_waits_for_the_api_server(tmp_path: Path) -> None:
    async with cluster() as (found, server):
        server.answers.extend([failure(403, "Forbidden"), failure(403, "Forbidden")])
        auditor = Auditor(own(tmp_path, server))
        starting = asyncio.create_task(auditor.start())
        await server.requested(1)
        assert not hasattr(auditor.backbone, "health")  # neither port is open yet

        await starting
        try:
            await ready(auditor)
        finally:
            assert await auditor.stop(0) == 0
    assert "console-token" in found.objects.contents


@pytest.mark.parametrize("program", ["serve", "watch"])
async def test_a_start_that_waits_ends_when_it_is_told_to(tmp_path: Path, program: str) -> None:
    async with cluster() as (found, server):
        found.objects.forbidden.add("GET")
        common = options(tmp_path, server)
        running = asyncio.create_task(
            serve(own(tmp_path, server)) if program == "serve" else watch(WatchSettings(**common))
        )
        await server.requested(1)
        os.kill(os.getpid(), signal.SIGTERM)

        assert await asyncio.wait_for(running, 10) == 0


async def test_a_start_that_fails_says_why_and_leaves_no_connection(tmp_path: Path) -> None:
    async with cluster() as (_, server):
        settings = own(tmp_path, server, fingerprint_key_file=tmp_path / "missing")
        with pytest.raises(FingerprintKeyError, match="missing: cannot read the fingerprint key"):
            await serve(settings)


async def test_the_watcher_shares_the_key_and_the_token(tmp_path: Path) -> None:
    async with cluster() as (found, server):
        found.objects.put_secret({"fingerprint-key": OLD_KEY, "console-token": b"shared\n"})
        watcher = Watcher(WatchSettings(**options(tmp_path, server)))
        await watcher.backbone.open()
        try:
            assert watcher.backbone._key == OLD_KEY
            assert watcher.backbone.console_token() == "shared"
        finally:
            assert watcher.backbone.installation is not None
            await watcher.backbone.installation.close()
            await watcher.backbone.journal.close(1)


def filled(objects: Objects, folder: Path) -> SharedSecret:
    shared = SharedSecret(objects, "audit", "audit", folder)
    asyncio.run(shared.fill())
    return shared


def test_a_key_in_the_data_folder_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "fingerprint.key").write_bytes(OLD_KEY + b"\n")
    objects = Objects()

    assert filled(objects, tmp_path).contents["fingerprint-key"] == OLD_KEY
    assert objects.contents["fingerprint-key"] == OLD_KEY


async def test_a_journal_that_outlives_its_secret_keeps_its_fingerprints(tmp_path: Path) -> None:
    keys = []
    for _ in range(2):
        async with cluster() as (found, server), running(own(tmp_path, server)):
            keys.append(found.objects.contents["fingerprint-key"])

    assert keys[0] == keys[1]


async def test_a_copy_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "data" / "fingerprint.key.new").mkdir(parents=True)
    async with cluster() as (_, server), running(own(tmp_path, server)) as auditor:
        await ready(auditor)


def test_a_key_in_the_data_folder_that_is_none_is_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / "fingerprint.key").write_bytes(b"short")

    assert len(filled(Objects(), tmp_path).contents["fingerprint-key"]) == 64


def test_what_the_secret_holds_comes_first(tmp_path: Path) -> None:
    (tmp_path / "fingerprint.key").write_bytes(OLD_KEY)
    objects = Objects()
    objects.put_secret({"fingerprint-key": b"k" * 64, "console-token": b"token", "ca.crt": b"stays"})

    assert filled(objects, tmp_path).contents == {"fingerprint-key": b"k" * 64, "console-token": b"token"}
    assert [each.split()[0] for each in objects.requests] == ["GET"]


@pytest.mark.parametrize("token", [b"", b"two\nlines", "ümlaut".encode()])
def test_what_cannot_be_used_is_made_anew(tmp_path: Path, token: bytes) -> None:
    objects = Objects()
    objects.put_secret({"fingerprint-key": b"short", "console-token": token, "ca.crt": b"stays"})

    contents = filled(objects, tmp_path).contents

    assert len(contents["fingerprint-key"]) == 64
    assert len(contents["console-token"]) == 43
    assert objects.contents == {**contents, "ca.crt": b"stays"}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"tls_source": "secret", "webhook_configuration": "a"}, "needs --secret and --webhook-configuration"),
        ({"tls_source": "secret", "secret": "a"}, "needs --secret and --webhook-configuration"),
        ({"tls_authority_seconds": 90}, "must be less than a third of --tls-authority-seconds: at most 29"),
        ({"secret": "../other"}, "String should match pattern"),
    ],
)
def test_settings_that_cannot_work_are_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Settings(**given)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ensure_dev_certificates(tmp_path_factory.mktemp("certificates"), now=datetime.now(UTC))


async def certificate_settles(auditor: Auditor, words: str) -> Check:
    async with asyncio.timeout(20):
        while words not in auditor.certificate.check().message:  # noqa: ASYNC110  as above
            await asyncio.sleep(0.01)
    return auditor.certificate.check()


async def test_files_whose_authority_is_registered_are_ready(tmp_path: Path, certificates: Path) -> None:
    async with cluster() as (found, server):
        found.objects.put_bundle((certificates / "ca.crt").read_bytes())
        settings = own(tmp_path, server, tls_source="files", tls_dir=certificates, secret="")
        async with running(settings) as auditor:
            await ready(auditor)

    assert "PATCH" not in {each.split()[0] for each in found.objects.requests}


async def test_files_that_api_servers_do_not_trust_are_not_ready(tmp_path: Path, certificates: Path) -> None:
    async with cluster() as (_, server):
        settings = own(tmp_path, server, tls_source="files", tls_dir=certificates, secret="")
        async with running(settings) as auditor:
            found = await certificate_settles(auditor, "put the authority there that signed tls.crt")
            assert found.state == "unavailable"


async def test_files_are_served_where_the_registration_may_not_be_read(tmp_path: Path, certificates: Path) -> None:
    async with cluster() as (found, server):
        found.objects.forbidden.add(f"{CONFIGURATIONS}/audit")
        settings = own(tmp_path, server, tls_source="files", tls_dir=certificates, secret="")
        async with running(settings) as auditor:
            assert (await certificate_settles(auditor, "not allowed to get it")).state == "degraded"


def test_a_token_that_is_made_is_base64(tmp_path: Path) -> None:
    token = filled(Objects(), tmp_path).contents["console-token"]

    assert len(base64.urlsafe_b64decode(token + b"=")) == 32
