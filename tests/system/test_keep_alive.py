"""The API server keeps idle connections for 90 s; ours must not be the side that closes one."""

from __future__ import annotations

import http.client
import json
from contextlib import closing
from urllib.parse import urlsplit

import pytest

from tests.system.conftest import Serve
from tests.system.reviews import set_image

UVICORN_CLOSES_AFTER_SECONDS = 5


def test_a_connection_that_was_idle_for_longer_than_the_usual_5_s_is_still_used(serve: Serve) -> None:
    server = serve()
    address = urlsplit(server.admission_url)
    with closing(http.client.HTTPSConnection(str(address.hostname), address.port, context=server.trust())) as client:
        assert allowed(client)
        connected = client.sock

        # A closed connection would read as its end, which is no time-out.
        connected.settimeout(UVICORN_CLOSES_AFTER_SECONDS + 1)
        with pytest.raises(TimeoutError):
            connected.recv(1)

        assert allowed(client)
        assert client.sock is connected


def allowed(client: http.client.HTTPSConnection) -> bool:
    client.request("POST", "/validate", set_image("nginx:1.27"), {"content-type": "application/json"})
    answer = json.load(client.getresponse())
    return answer["response"]["allowed"] is True
