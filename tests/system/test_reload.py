"""Configuration and certificates change under a running program, which goes on with the last good ones."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest
from cryptography import x509

from app.tls.files import init_certificates, read_serving_pair
from tests.system.conftest import Serve
from tests.system.receiver import Receiver
from tests.system.reviews import entry_id, post, set_image
from tests.system.server import Server, eventually

SINK: Final = """
sinksConfig:
- webhook_sink: {{name: hook, url: "{url}"}}
"""
PLAYBOOK: Final = """
customPlaybooks:
- triggers: [{on_deployment_update: {}}]
  actions: [{resource_babysitter: {fields_to_monitor: [images]}}]
"""
MISSPELT: Final = PLAYBOOK.replace("on_deployment_update", "on_deploymnet_update")

SUCCESSFUL: Final = "kubewitness_config_last_reload_successful"
EXPIRY: Final = "kubewitness_certificate_expiry_timestamp_seconds"


def in_place(file: Path, text: str) -> None:
    file.write_text(text)


def by_rename(file: Path, text: str) -> None:
    """Replace the file as most editors do."""
    draft = file.with_name("draft")
    draft.write_text(text)
    draft.replace(file)


def by_mounted_link(file: Path, text: str) -> None:
    """Replace the file as the kubelet does in a mounted ConfigMap: a link through `..data`, which is swapped."""
    version = file.parent / f"..{len(list(file.parent.iterdir()))}"
    version.mkdir()
    (version / file.name).write_text(text)
    link = file.parent / "..data_tmp"
    link.symlink_to(version.name)
    link.replace(file.parent / "..data")
    if not file.is_symlink():
        file.unlink()
        file.symlink_to(f"..data/{file.name}")


def set_one_image(server: Server) -> str:
    with server.client() as client:
        return entry_id(post(client, set_image("web:2")))


def until_taken(server: Server, readings: int) -> None:
    """Wait until so many changed files were taken over."""
    eventually(lambda: len(server.events("config_loaded")) == readings, f"reading {readings}")


@pytest.mark.parametrize("replace", [in_place, by_rename, by_mounted_link])
def test_a_playbook_that_is_added_takes_effect(
    serve: Serve, receiver: Receiver, replace: Callable[[Path, str], None]
) -> None:
    sink = SINK.format(url=receiver.url)
    server = serve(sink)
    replace(server.config, sink + "# the first time the mounted file only becomes a link\n")
    until_taken(server, 1)
    silent = set_one_image(server)

    replace(server.config, sink + PLAYBOOK)
    until_taken(server, 2)
    told = set_one_image(server)

    eventually(receiver.told, "a finding")
    assert receiver.told() == [told]
    assert [entry["id"] for entry in server.stored()] == [silent, told]
    assert server.metric(SUCCESSFUL) == 1


def test_a_sink_that_is_removed_gets_nothing_more(serve: Serve, receiver: Receiver) -> None:
    server = serve(SINK.format(url=receiver.url) + PLAYBOOK)
    told = set_one_image(server)
    eventually(receiver.told, "a finding")

    by_rename(server.config, PLAYBOOK)
    until_taken(server, 1)
    set_one_image(server)

    assert server.stop() == 0
    assert receiver.told() == [told]


def test_a_bad_file_is_refused_and_told_until_a_good_one_comes(serve: Serve, receiver: Receiver) -> None:
    good = SINK.format(url=receiver.url) + PLAYBOOK
    server = serve(good)

    by_rename(server.config, SINK.format(url=receiver.url) + MISSPELT)
    complaint = server.until_degraded("config")
    told = set_one_image(server)
    eventually(receiver.told, "a finding of the playbook before")
    refused = server.metric(SUCCESSFUL)

    assert f"{server.config}:6:" in complaint
    assert "on_deploymnet_update" in complaint
    assert "on_deployment_update" in complaint
    assert refused == 0
    assert any("on_deploymnet_update" in problem for problem in server.events("config_refused")[0]["problems"])
    assert receiver.told() == [told]

    by_rename(server.config, good + "# mended\n")
    server.until_ready()

    assert server.metric(SUCCESSFUL) == 1


def test_a_file_that_goes_away_changes_nothing(serve: Serve, receiver: Receiver) -> None:
    good = SINK.format(url=receiver.url) + PLAYBOOK
    server = serve(good)

    server.config.unlink()
    complaint = server.until_degraded("config")
    set_one_image(server)
    eventually(receiver.told, "a finding of the playbook before")
    server.config.write_text(good)
    server.until_ready()

    assert f"{server.config}: cannot be read" in complaint


@pytest.mark.parametrize("config", [SINK.format(url="http://127.0.0.1:1"), ""], ids=["a sink", "nothing"])
def test_the_metric_says_from_the_start_that_the_configuration_is_good(serve: Serve, config: str) -> None:
    assert serve(config).metric(SUCCESSFUL) == 1


def replace_certificate(server: Server) -> x509.Certificate:
    """Renew the server's certificate in place, by the same authority, and return the new one."""
    now = datetime.now(UTC)
    init_certificates(server.certificates, now=now, lifetime=timedelta(days=3), force=True)
    return read_serving_pair(server.certificates, now=now).certificate


def served_serial(server: Server) -> int:
    """Return the serial number of the certificate that a new connection gets."""
    address = urlsplit(server.admission_url)
    pem = ssl.get_server_certificate((str(address.hostname), address.port or 0), timeout=5)
    return x509.load_pem_x509_certificate(pem.encode()).serial_number


def test_a_renewed_certificate_is_served_while_open_connections_go_on(serve: Serve) -> None:
    server = serve()
    before = server.metric(EXPIRY)
    with server.client() as client:
        first = post(client, set_image("web:1"))
        renewed = replace_certificate(server)
        eventually(lambda: served_serial(server) == renewed.serial_number, "the new certificate")
        last = post(client, set_image("web:2"))
    with server.client() as newcomer:
        post(newcomer, set_image("web:3"))

    assert first.extensions["network_stream"] is last.extensions["network_stream"]
    assert server.metric(EXPIRY) == renewed.not_valid_after_utc.timestamp() < before


def test_a_certificate_that_cannot_be_served_is_refused_and_told_until_a_good_one_comes(serve: Serve) -> None:
    server = serve()
    before = served_serial(server)

    (server.certificates / "tls.crt").write_text("no certificate\n")
    complaint = server.until_degraded("certificate")

    assert "tls.crt" in complaint
    assert served_serial(server) == before
    assert server.metric('kubewitness_certificate_reloads_total{result="failure"}') > 0

    renewed = replace_certificate(server)
    server.until_ready()

    assert served_serial(server) == renewed.serial_number
