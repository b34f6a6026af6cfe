"""A running server and its certificate files: every way in which they are renewed, with real connections."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from app.tls.errors import CertificateError
from app.tls.issue import KeyPair, issue_authority, issue_leaf
from app.tls.reload import LiveCertificate
from tests.tls.handshake import shake_hands, strict_client

NOW = datetime.now(UTC).replace(microsecond=0)
AUTHORITY = issue_authority("test CA", now=NOW)
NEVER = timedelta(days=1)


def leaf(days: int = 365) -> KeyPair:
    return issue_leaf(
        AUTHORITY, dns_names=["localhost"], ip_addresses=["127.0.0.1"], now=NOW, lifetime=timedelta(days=days)
    )


def rsa_pair(bits: int) -> KeyPair:
    key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    name = x509.Name([])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 7)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return KeyPair(
        certificate_pem=certificate.public_bytes(serialization.Encoding.PEM),
        private_key_pem=key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )


def put(directory: Path, pair: KeyPair) -> None:
    """Write in place, as an editor or `cp` does."""
    (directory / "tls.key").write_bytes(pair.private_key_pem)
    (directory / "tls.crt").write_bytes(pair.certificate_pem)


def rename_into(directory: Path, pair: KeyPair) -> None:
    """Write beside, then rename over: the files are other inodes afterwards."""
    for name, content in (("tls.key", pair.private_key_pem), ("tls.crt", pair.certificate_pem)):
        (directory / f"{name}.new").write_bytes(content)
        (directory / f"{name}.new").rename(directory / name)


def mount(directory: Path, pair: KeyPair) -> None:
    """Do what the kubelet does with a Secret: a new directory, and `..data` renamed to point there."""
    version = directory / f"..{pair.certificate.serial_number}"
    version.mkdir()
    put(version, pair)
    (directory / "..data_tmp").symlink_to(version.name)
    previous = (directory / "..data").resolve()
    (directory / "..data_tmp").rename(directory / "..data")
    for name in ("tls.crt", "tls.key"):
        if not (directory / name).is_symlink():
            (directory / name).symlink_to(f"..data/{name}")
    if previous != directory / "..data":
        shutil.rmtree(previous)


class Running:
    """A server that echoes lines, over TLS with a live certificate."""

    def __init__(self, live: LiveCertificate, port: int, outcomes: asyncio.Queue[bool]) -> None:
        self.live = live
        self.port = port
        self.outcomes = outcomes

    async def connect(self, name: str = "localhost") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=strict_client(AUTHORITY), server_hostname=name)

    async def served(self, name: str = "localhost") -> x509.Certificate:
        """Return the certificate that a new connection is shown."""
        _, writer = await self.connect(name)
        certificate = peer_certificate(writer)
        await close(writer)
        return certificate

    async def outcome(self) -> bool:
        return await asyncio.wait_for(self.outcomes.get(), 20)


def peer_certificate(writer: asyncio.StreamWriter) -> x509.Certificate:
    return x509.load_der_x509_certificate(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))


async def close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError, ssl.SSLError):
        await writer.wait_closed()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        writer.write(line)
    await close(writer)


@asynccontextmanager
async def running(directory: Path, **options: Any) -> AsyncIterator[Running]:
    outcomes: asyncio.Queue[bool] = asyncio.Queue()
    live = LiveCertificate(directory, on_reload=outcomes.put_nowait, **{"poll_interval": NEVER, **options})
    server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=live.context)
    watching = asyncio.create_task(live.watch())
    try:
        yield Running(live, server.sockets[0].getsockname()[1], outcomes)
    finally:
        server.close()
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


WAYS = [pytest.param(put, id="in place"), pytest.param(rename_into, id="rename"), pytest.param(mount, id="kubelet")]


@pytest.mark.parametrize("renew", WAYS)
async def test_a_renewed_pair_is_served_to_new_connections(
    tmp_path: Path, renew: Callable[[Path, KeyPair], None]
) -> None:
    old, new = leaf(10), leaf(20)
    renew(tmp_path, old)

    async with running(tmp_path) as server:
        assert await server.served() == old.certificate
        renew(tmp_path, new)
        while server.live.not_after != new.not_after:
            await server.outcome()

        assert await server.served() == new.certificate
        assert server.live.last_error is None


@pytest.mark.parametrize("renew", WAYS)
async def test_open_connections_outlive_a_renewal(tmp_path: Path, renew: Callable[[Path, KeyPair], None]) -> None:
    old, new = leaf(10), leaf(20)
    renew(tmp_path, old)

    async with running(tmp_path) as server:
        reader, writer = await server.connect()
        renew(tmp_path, new)
        while server.live.not_after != new.not_after:
            await server.outcome()
        assert await server.served() == new.certificate
        writer.write(b"still here\n")

        assert await reader.readline() == b"still here\n"
        assert peer_certificate(writer) == old.certificate
        await close(writer)


def test_it_works_on_uvloop_too(tmp_path: Path) -> None:
    uvloop.run(test_open_connections_outlive_a_renewal(tmp_path, mount))


async def test_half_a_pair_leaves_the_old_one_in_service_until_the_other_half_comes(tmp_path: Path) -> None:
    old, new = leaf(10), leaf(20)
    put(tmp_path, old)

    async with running(tmp_path) as server:
        await server.served()
        (tmp_path / "tls.key").write_bytes(new.private_key_pem)
        assert await server.outcome() is False
        assert "tls.key is not the key of the first certificate" in str(server.live.last_error)
        assert await server.served() == old.certificate

        (tmp_path / "tls.crt").write_bytes(new.certificate_pem)
        assert await server.outcome() is True
        assert (server.live.last_error, server.live.reloads) == (None, 1)
        assert await server.served() == new.certificate


async def test_another_kind_of_key_replaces_the_old_one_for_every_client(tmp_path: Path) -> None:
    put(tmp_path, leaf())

    async with running(tmp_path) as server:
        await server.served()
        put(tmp_path, rsa_pair(2048))
        while server.live.reloads == 0:
            await server.outcome()

        shown = shake_hands(_lenient_client(), server.live.context, "localhost").getpeercert(binary_form=True)
        assert shown is not None
        assert isinstance(x509.load_der_x509_certificate(shown).public_key(), rsa.RSAPublicKey)


async def test_a_change_before_the_watch_is_on_is_not_missed(tmp_path: Path) -> None:
    put(tmp_path, leaf(10))
    new = leaf(20)

    async with running(tmp_path) as server:
        put(tmp_path, new)  # the task that watches has not run yet
        assert await server.outcome() is True

        assert server.live.not_after == new.not_after


async def test_polling_finds_changes_that_send_no_event(tmp_path: Path) -> None:
    elsewhere, directory = tmp_path / "elsewhere", tmp_path / "certs"
    elsewhere.mkdir()
    directory.mkdir()
    put(elsewhere, leaf(10))
    for name in ("tls.crt", "tls.key"):
        (directory / name).symlink_to(elsewhere / name)
    new = leaf(20)

    async with running(directory, poll_interval=timedelta(milliseconds=50)) as server:
        await server.served()
        put(elsewhere, new)
        assert await server.outcome() is True

        assert await server.served() == new.certificate


async def test_a_directory_that_is_removed_and_made_again_is_followed(tmp_path: Path) -> None:
    directory, new = tmp_path / "certs", leaf(20)
    directory.mkdir()
    put(directory, leaf(10))

    async with running(directory, poll_interval=timedelta(milliseconds=50)) as server:
        await server.served()
        shutil.rmtree(directory)
        assert await server.outcome() is False
        directory.mkdir()
        put(directory, new)
        while server.live.not_after != new.not_after:
            await server.outcome()

        assert await server.served() == new.certificate


async def test_the_watch_is_renewed_when_the_path_names_another_directory(tmp_path: Path) -> None:
    directory = tmp_path / "certs"
    directory.mkdir()
    put(directory, leaf())
    live = LiveCertificate(directory, poll_interval=timedelta(milliseconds=50))
    following = asyncio.create_task(live._follow_directory())
    await asyncio.sleep(0)  # its first step, which sets the watch

    directory.rename(tmp_path / "old")
    directory.mkdir()

    await asyncio.wait_for(following, 20)


async def test_an_unchanged_pair_is_not_a_reload(tmp_path: Path) -> None:
    pair = leaf()
    put(tmp_path, pair)
    outcomes: list[bool] = []
    live = LiveCertificate(tmp_path, on_reload=outcomes.append)

    rename_into(tmp_path, pair)
    live.reload()

    assert (live.reloads, outcomes) == (0, [])


def test_an_expired_renewal_is_refused(tmp_path: Path) -> None:
    old = leaf(10)
    put(tmp_path, old)
    live = LiveCertificate(tmp_path, clock=lambda: NOW + timedelta(days=5))

    put(tmp_path, leaf(3))
    live.reload()

    assert live.not_after == old.not_after
    assert "tls.crt expired at" in str(live.last_error)


def test_a_directory_without_a_usable_pair_fails_at_once_and_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(CertificateError, match=r"tls.crt is missing.*kubewitness certs init --dir"):
        LiveCertificate(tmp_path)


def test_a_pair_that_openssl_finds_too_weak_is_refused_in_words(tmp_path: Path) -> None:
    put(tmp_path, rsa_pair(1024))

    with pytest.raises(CertificateError, match=r"OpenSSL does not take tls.crt and tls.key in .*: .*KEY_TOO_SMALL"):
        LiveCertificate(tmp_path)


async def test_clients_that_send_no_name_are_served(tmp_path: Path) -> None:
    pair = leaf()
    put(tmp_path, pair)

    async with running(tmp_path) as server:
        assert await server.served("127.0.0.1") == pair.certificate


def test_clients_older_than_tls_1_2_are_refused(tmp_path: Path) -> None:
    put(tmp_path, leaf())

    context = LiveCertificate(tmp_path).context

    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_http_1_1_is_agreed_on(tmp_path: Path, version: ssl.TLSVersion) -> None:
    put(tmp_path, leaf())
    client = strict_client(AUTHORITY)
    client.maximum_version = version
    client.set_alpn_protocols(["h2", "http/1.1"])

    agreed = shake_hands(client, LiveCertificate(tmp_path).context, "localhost")

    assert agreed.selected_alpn_protocol() == "http/1.1"


def _lenient_client() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
