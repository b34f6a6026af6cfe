"""A server per test, with certificates that are made once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.tls.files import ensure_dev_certificates
from tests.system.receiver import Receiver
from tests.system.server import Server

Serve = Callable[..., Server]


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("certificates")
    ensure_dev_certificates(directory, now=datetime.now(UTC))
    return directory


@pytest.fixture
def serve(tmp_path: Path, certificates: Path) -> Iterator[Serve]:
    """Return what starts a server with a configuration and further options; it is gone after the test."""
    with ExitStack() as servers:

        def start(config: str = "", *options: str) -> Server:
            return servers.enter_context(Server(tmp_path / "server", certificates, config, options))

        yield start


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running
