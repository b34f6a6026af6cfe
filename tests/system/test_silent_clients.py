"""A client that keeps its connection and says nothing does not hold up the end of the program."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from tests.system.conftest import Serve
from tests.system.server import Server

GRACE_SECONDS = 5


def connected(server: Server) -> socket.socket:
    """Return a connection over which a request was answered, and which will not even read its end."""
    address = urlsplit(server.admission_url)
    plain = socket.create_connection((str(address.hostname), address.port or 0), timeout=5)
    client = server.trust().wrap_socket(plain, server_hostname=str(address.hostname))
    client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.recv(65536).startswith(b"HTTP/1.1 404")
    return client


def test_an_idle_connection_does_not_use_up_the_grace_time(serve: Serve) -> None:
    server = serve()

    with connected(server), connected(server):
        exit_code = server.stop()

    assert exit_code == 0
    assert [event for event in server.events("stopped") if event["entries_lost"]] == []
    assert '"level": "error"' not in server.logs()
    assert "Cancel" not in server.logs()
