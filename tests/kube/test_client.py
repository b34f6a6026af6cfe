"""Calls: what is sent, what failures say, when a call is made again, and what is read of long answers."""

from __future__ import annotations

import asyncio
import gzip
import ssl
import traceback
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from app import __version__
from app.kube.access import Access
from app.kube.client import KubernetesApi
from app.kube.errors import ApiError
from tests.kube.api_server import ApiServer, Exchange, document, failure, lost, serving
from tests.kube.clients import Pauses, client, client_of


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with serving() as running:
        yield running


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
async def api(server: ApiServer, tmp_path: Path, pauses: Pauses) -> AsyncIterator[KubernetesApi]:
    async with client(server, tmp_path, pauses) as made:
        yield made


async def lines_of(api: KubernetesApi, seconds: int = 1, **limits: int) -> list[bytes]:
    async with api.stream("/api/v1/pods", {"timeoutSeconds": seconds}, **limits) as lines:
        return [line async for line in lines]


async def hang(_exchange: Exchange) -> None:
    await asyncio.Event().wait()


async def test_a_call_says_who_asks_and_with_which_right(server: ApiServer, api: KubernetesApi) -> None:
    server.answers.append(document({"items": []}))

    assert await api.get("/api/v1/pods", {"limit": 500, "labelSelector": "a in (b),c"}) == b'{"items":[]}'

    (request,) = server.requests
    assert (request.method, request.path) == ("GET", "/api/v1/pods")
    assert request.parameters == {"limit": "500", "labelSelector": "a in (b),c"}
    assert request.headers["authorization"] == "Bearer t0ken"
    assert request.headers["user-agent"] == f"kubewitness/{__version__}"
    assert api.namespace == "shop"


async def test_a_continue_token_arrives_as_it_was(server: ApiServer, api: KubernetesApi) -> None:
    server.answers.append(document({}))

    await api.get("/api/v1/pods", {"continue": "a+b/c=&%20"})

    assert server.requests[0].parameters == {"continue": "a+b/c=&%20"}


async def test_a_body_is_sent_as_it_is_with_its_type(server: ApiServer, api: KubernetesApi) -> None:
    server.answers.append(document({}))

    await api.send("PATCH", "/api/v1/x", b"[ ]", {"fieldManager": "me"}, content_type="application/json-patch+json")

    (request,) = server.requests
    assert (request.method, request.body, request.parameters) == ("PATCH", b"[ ]", {"fieldManager": "me"})
    assert request.headers["content-type"] == "application/json-patch+json"


async def test_a_compressed_answer_is_unpacked(server: ApiServer, api: KubernetesApi) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.respond(gzip.compress(b"plain"), headers={"content-encoding": "gzip"})

    server.answers.append(answer)

    assert await api.get("/api/v1/pods") == b"plain"


async def test_a_refusal_says_what_the_api_server_said(server: ApiServer, api: KubernetesApi) -> None:
    server.answers.append(failure(403, "Forbidden", "pods is forbidden"))

    with pytest.raises(ApiError, match=r"^GET /api/v1/pods: 403 Forbidden: pods is forbidden$") as refused:
        await api.get("/api/v1/pods", {"continue": "a-secret"})

    assert (refused.value.status, refused.value.reason, refused.value.is_forbidden) == (403, "Forbidden", True)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("code", "reason", "is_it"),
    [(404, "NotFound", "is_not_found"), (409, "Conflict", "is_conflict"), (410, "Expired", "is_gone")],
)
async def test_refusals_have_names(server: ApiServer, api: KubernetesApi, code: int, reason: str, is_it: str) -> None:
    server.answers.append(failure(code, reason))

    with pytest.raises(ApiError) as refused:
        await api.send("PUT", "/api/v1/x", b"{}")

    assert getattr(refused.value, is_it)


async def test_an_expired_list_brings_the_token_to_go_on_with(server: ApiServer, api: KubernetesApi) -> None:
    server.answers.append(failure(410, "Expired", proceed="from here"))

    with pytest.raises(ApiError) as refused:
        await api.get("/api/v1/pods")

    assert refused.value.proceed == "from here"


async def test_an_answer_of_a_proxy_is_shown_in_part(server: ApiServer, api: KubernetesApi) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.respond(b"<html>\n  bad \xff gateway" + b"x" * 5000, 418)

    server.answers.append(answer)

    with pytest.raises(ApiError, match="418 refused: <html> bad \ufffd gatewayx") as refused:
        await api.get("/api/v1/pods")

    assert len(str(refused.value)) < 300


async def test_a_redirect_is_not_followed(server: ApiServer, api: KubernetesApi) -> None:
    server.answers.append(document({}, 302, location="http://127.0.0.1:1/"))

    with pytest.raises(ApiError) as refused:
        await api.get("/api/v1/pods")

    assert (refused.value.status, len(server.requests)) == (302, 1)


async def test_a_busy_server_is_asked_again_when_it_said(server: ApiServer, api: KubernetesApi, pauses: Pauses) -> None:
    server.answers.extend([failure(429, "TooManyRequests", retry_after="1"), document("here")])

    assert await api.get("/api/v1/pods") == b'"here"'

    (waited,) = pauses.seconds
    assert 1 <= waited <= 1.5


async def test_a_server_that_asks_for_more_time_than_there_is_fails_the_call(
    server: ApiServer, api: KubernetesApi, pauses: Pauses
) -> None:
    server.answers.append(failure(503, "ServiceUnavailable", retry_after="60"))

    with pytest.raises(ApiError) as refused:
        await api.get("/api/v1/pods")

    assert (refused.value.retry_after, pauses.seconds) == (60, [])


async def test_reads_are_tried_three_times_and_writes_once(server: ApiServer, api: KubernetesApi) -> None:
    server.otherwise = failure(500, "InternalError")

    with pytest.raises(ApiError):
        await api.get("/api/v1/pods")
    with pytest.raises(ApiError):
        await api.send("POST", "/api/v1/pods", b"{}")
    with pytest.raises(ApiError):
        await api.get("/api/v1/pods", attempts=1)

    assert [request.method for request in server.requests] == ["GET", "GET", "GET", "POST", "GET"]


async def test_a_lost_connection_has_no_status(server: ApiServer, api: KubernetesApi) -> None:
    server.otherwise = lost

    with pytest.raises(ApiError, match=r"^POST /api/v1/pods: Server disconnected$") as failed:
        await api.send("POST", "/api/v1/pods", b"{}")

    assert (failed.value.status, failed.value.is_temporary) == (0, True)


async def test_a_server_that_is_not_there_cannot_be_connected(server: ApiServer, api: KubernetesApi) -> None:
    await server.stop()

    with pytest.raises(ApiError, match=r"^GET /api/v1/pods: cannot connect: .*failed"):
        await api.get("/api/v1/pods", attempts=1)


@dataclass
class Unsendable:
    """Credentials with a token that no header can carry, as no source should let them pass."""

    host: str
    token: str

    async def load(self) -> Access:
        authorization = f"Bearer {self.token}"
        return Access(
            host=self.host, authorization=authorization, namespace="x", files=(), tls=ssl.create_default_context()
        )


@pytest.mark.parametrize("token", ["hidden\ntwo", "hidden\x00"])
async def test_a_token_that_cannot_be_sent_is_an_api_error_that_does_not_show_it(server: ApiServer, token: str) -> None:
    async with client_of(Unsendable(server.url, token)) as api:
        with pytest.raises(ApiError, match=r"^GET /api/v1/pods: it cannot be sent \(\w+\): is the token one") as failed:
            await lines_of(api)

    assert "hidden" not in "".join(traceback.format_exception(failed.value))
    assert server.requests == []


async def test_a_call_over_a_closed_session_is_an_api_error(server: ApiServer, api: KubernetesApi) -> None:
    await api.close()

    with pytest.raises(ApiError, match=r"^GET /api/v1/pods: the connection is unusable \(RuntimeError\)$"):
        await api.get("/api/v1/pods", attempts=1)


async def test_a_call_has_an_end_in_all_however_slowly_it_trickles(server: ApiServer, api: KubernetesApi) -> None:
    async def trickle(exchange: Exchange) -> None:
        await exchange.begin()
        while True:
            await exchange.send(b"x")
            await asyncio.sleep(0.01)

    server.answers.append(trickle)

    with pytest.raises(ApiError, match=r"^GET /api/v1/pods: timed out$"):
        await api.get("/api/v1/pods", timeout=0.2)


async def test_lines_come_as_they_are_however_they_are_cut(server: ApiServer, api: KubernetesApi) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.begin()
        for piece in (b"on", b"e\ntwo", b"\n", b"\nthr", b"e", b"e\ntorn"):
            await exchange.send(piece)
        await exchange.end()

    server.answers.append(answer)

    assert await lines_of(api) == [b"one", b"two", b"", b"three"]


async def test_a_line_may_be_megabytes_long_but_not_endless(server: ApiServer, api: KubernetesApi) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.send(b"x" * 5_000_000 + b"\nshort\n")
        await exchange.end()

    server.otherwise = answer

    assert [len(line) for line in await lines_of(api)] == [5_000_000, 5]
    with pytest.raises(ApiError, match="GET /api/v1/pods: a line has more than 4999999 bytes"):
        await lines_of(api, max_line=4_999_999)


async def test_a_stream_whose_connection_is_lost_fails_after_what_came(server: ApiServer, api: KubernetesApi) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.send(b"one\n")
        await asyncio.sleep(0)
        exchange.writer.write_eof()
        exchange.writer.close()

    server.answers.append(answer)
    seen = []

    with pytest.raises(ApiError) as failed:  # noqa: PT012  what came before the failure is the point
        async with api.stream("/api/v1/pods", {}) as lines:
            async for line in lines:
                seen.append(line)  # noqa: PERF401  a comprehension would lose it

    assert (failed.value.status, seen) == (0, [b"one"])


async def test_a_stream_may_be_silent_as_long_as_it_asked_for_and_a_little_longer(
    server: ApiServer, api: KubernetesApi
) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.begin()
        await hang(exchange)

    server.answers.append(answer)

    with pytest.raises(ApiError, match=r"^GET /api/v1/pods: .*[Tt]im(ed |e)out"):
        await lines_of(api, seconds=0)


async def test_a_stream_must_begin_soon(server: ApiServer, api: KubernetesApi) -> None:
    server.answers.append(hang)

    with pytest.raises(ApiError, match=r"^GET /api/v1/pods: timed out$"):
        await lines_of(api, seconds=300)


async def test_a_refused_stream_says_so(server: ApiServer, api: KubernetesApi) -> None:
    server.answers.append(failure(410, "Expired"))

    with pytest.raises(ApiError) as refused:
        await lines_of(api)

    assert refused.value.is_gone


async def test_a_stream_that_is_left_closes_its_connection(server: ApiServer, api: KubernetesApi) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.send(b"one\n")

    server.answers.append(answer)

    async with api.stream("/api/v1/pods", {}) as lines:
        assert await anext(lines) == b"one"

    (connection,) = server.connections
    await connection


@pytest.mark.parametrize(
    ("length", "kept", "cut"), [(0, 0, False), (99, 99, False), (100, 100, False), (101, 100, True), (1000, 100, True)]
)
async def test_the_end_of_a_log_is_kept(
    server: ApiServer, api: KubernetesApi, length: int, kept: int, cut: bool
) -> None:
    text = bytes(index % 251 for index in range(length))

    async def answer(exchange: Exchange) -> None:
        await exchange.begin()
        for start in range(0, length, 30):
            await exchange.send(text[start : start + 30])
        await exchange.end()

    server.answers.append(answer)

    assert await api.tail("/api/v1/namespaces/shop/pods/a/log", {}, 100) == (text[length - kept :], cut)


async def test_a_log_that_breaks_off_is_an_error(server: ApiServer, api: KubernetesApi) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.send(b"the beginning")
        exchange.writer.close()

    server.answers.append(answer)

    with pytest.raises(ApiError):
        await api.tail("/api/v1/namespaces/shop/pods/a/log", {}, 100)
