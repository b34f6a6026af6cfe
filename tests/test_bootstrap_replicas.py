"""A process knows its other replicas by its settings, and shows them what they let it in for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from app.bootstrap.auditor import Auditor
from app.bootstrap.replicas import peers_of
from app.settings import Settings
from app.tls.files import ensure_dev_certificates
from tests.builders import make_record

URLS = "http://witness-0.audit:8080, https://witness-1.audit/console ,,http://witness-0.audit:8080"


def test_without_the_option_there_are_none() -> None:
    assert Settings().peers == ()
    assert peers_of(Settings(), "token", str) is None


def test_consoles_are_urls_with_commas_between_them_each_once() -> None:
    assert Settings(console_peers=URLS).peers == ("http://witness-0.audit:8080", "https://witness-1.audit/console")


def test_they_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBEWITNESS_CONSOLE_PEERS", URLS)

    assert len(Settings().peers) == 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("witness-0:8080", "is no console; write URLs such as http://"),
        ("ftp://witness-0", "is no console"),
        ("http://", "is no console"),
        ("http://[::1", "is no console"),
        ("http://witness:port", "is no console"),
        ("http://witness/?a=b", "is no console"),
        ("http://user:secret@witness", "asked with the token, not with a user in its URL"),
    ],
)
def test_what_is_no_console_is_refused_and_no_password_shown(text: str, reason: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Settings(console_peers=f"http://first,{text}")

    assert reason in str(refused.value)
    assert "secret" not in str(refused.value)


@asynccontextmanager
async def serving(folder: Path, **options: Any) -> AsyncIterator[Auditor]:
    """Run a process of its own folder, on ports that are free."""
    ensure_dev_certificates(folder / "tls", now=datetime.now(UTC))
    places: dict[str, Any] = {"admission_host": "127.0.0.1", "admission_port": 0, "console_port": 0}
    auditor = Auditor(Settings(data_dir=folder, tls_dir=folder / "tls", **places, **options))
    await auditor.start()
    try:
        yield auditor
    finally:
        await auditor.stop(0)


def url(auditor: Auditor) -> str:
    host, port = auditor.console_address
    return f"http://{host}:{port}"


async def test_a_process_shows_what_the_other_has_recorded_until_it_ends(tmp_path: Path) -> None:
    async with serving(tmp_path / "other") as other:
        await other.backbone.journal.append(make_record(cluster="other"))
        async with serving(tmp_path / "own", console_peers=url(other), console_name="own") as own:
            peers = own.backbone.peers
            async with httpx.AsyncClient(base_url=url(own), trust_env=False) as client:
                (entry,) = (await client.get("/api/v1/entries")).json()["items"]
                names = [each["name"] for each in (await client.get("/api/v1/replicas")).json()["items"]]
            assert names == ["own", url(other).removeprefix("http://")]

    assert entry["cluster"] == "other"
    assert peers is not None
    assert peers.is_closed


def test_they_are_shown_what_replicas_share_and_the_token_of_the_console() -> None:
    made = peers_of(Settings(console_peers="http://a:1,http://b:2", console_name="a"), "between", lambda: "console")

    assert made is not None
    assert [(each.name, each.shown()) for each in made.others] == [
        ("b", {"x-kubewitness-token": "between", "Authorization": "Bearer console", "X-Kubewitness-Local": "true"})
    ]
    made.close()
