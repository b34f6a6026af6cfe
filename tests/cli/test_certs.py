"""`kubewitness certs init`, as people and scripts use it."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from typer.testing import CliRunner, Result

from app.cli.certs import certs_app
from app.tls.files import CertificateFiles, read_serving_pair


def certs_init(*arguments: object) -> Result:
    return CliRunner().invoke(certs_app, ["init", *map(str, arguments)])


def names_in(directory: Path) -> x509.SubjectAlternativeName:
    certificate = read_serving_pair(directory, now=datetime.now(UTC)).certificate
    return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value


def test_it_says_what_was_written_until_when_and_what_to_do_with_it(tmp_path: Path) -> None:
    result = certs_init("--dir", tmp_path / "certs")

    pair = read_serving_pair(tmp_path / "certs", now=datetime.now(UTC))
    assert result.exit_code == 0
    assert {path.name for path in (tmp_path / "certs").iterdir()} == {"ca.crt", "ca.key", "tls.crt", "tls.key"}
    assert f"{tmp_path}/certs/tls.crt  server certificate  {pair.not_after:%Y-%m-%d}  written" in result.stdout
    assert f"base64 -w0 {tmp_path}/certs/ca.crt" in result.stdout
    assert f"kubewitness serve --tls-dir {tmp_path}/certs" in result.stdout
    assert "PRIVATE" not in result.output


def test_certs_is_the_default_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert certs_init().exit_code == 0
    assert (tmp_path / "certs" / "tls.crt").exists()


def test_json_carries_the_files_and_the_ca_bundle(tmp_path: Path) -> None:
    printed = json.loads(certs_init("--dir", tmp_path, "--output", "json").stdout)

    authority = CertificateFiles.of_authority(tmp_path).read()
    assert base64.b64decode(printed["ca_bundle"]) == authority.certificate_pem
    assert printed["authority"] == {
        "certificate": str(tmp_path / "ca.crt"),
        "private_key": str(tmp_path / "ca.key"),
        "not_after": authority.not_after.isoformat(),
        "written": True,
    }
    assert printed["leaf"]["certificate"] == str(tmp_path / "tls.crt")


def test_names_and_days_are_taken(tmp_path: Path) -> None:
    result = certs_init("--dir", tmp_path, "--dns", "a.b.svc", "--dns", "c", "--ip", "10.0.0.1", "--days", 3)

    names = names_in(tmp_path)
    left = read_serving_pair(tmp_path, now=datetime.now(UTC)).not_after - datetime.now(UTC)
    assert result.exit_code == 0
    assert names.get_values_for_type(x509.DNSName) == ["a.b.svc", "c"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.1"]
    assert left <= timedelta(days=3)


def test_a_leaf_that_exists_is_left_alone_and_force_replaces_it(tmp_path: Path) -> None:
    certs_init("--dir", tmp_path)
    before = (tmp_path / "tls.crt").read_bytes()

    refused = certs_init("--dir", tmp_path)

    assert refused.exit_code == 1
    assert refused.stdout == ""
    assert f"error: {tmp_path}/tls.crt exists already; to replace it add --force" in refused.stderr
    assert (tmp_path / "tls.crt").read_bytes() == before

    replaced = certs_init("--dir", tmp_path, "--force")

    assert replaced.exit_code == 0
    assert f"{tmp_path}/ca.crt   authority" in replaced.stdout
    assert "kept" in replaced.stdout
    assert (tmp_path / "tls.crt").read_bytes() != before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dns", "https://a"], "'https://a' is not a DNS name; write a bare host name"),
        (["--ip", "localhost"], "'localhost' is not an IP address"),
    ],
)
def test_a_name_that_is_none_is_an_error_in_words(tmp_path: Path, arguments: list[str], message: str) -> None:
    result = certs_init("--dir", tmp_path / "certs", *arguments)

    assert result.exit_code == 1
    assert message in result.stderr
    assert not (tmp_path / "certs").exists()
