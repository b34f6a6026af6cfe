"""What every sink keeps to, whoever adds it: this runs over all that the registry finds.

A sink's own test module says how to make one: `options(folder)` returns options that use every secret it has,
`SECRETS` names what must never be seen, and `LIMIT` the most bytes that the receiver takes at once, if it has a limit.
What its receiver answers stands there too: see `tests.sinks.stands`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import inspect
import json
import socket
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest
import structlog

from app.sinks._http import HttpSink
from app.sinks.base import PermanentError, Rendering, Sink, TemporaryError
from app.sinks.registry import SINKS, build
from tests.sinks import samples
from tests.sinks.stands import Behaviour, Request, http_receiver, stand_of

every_sink = pytest.mark.parametrize("key", SINKS)
REMOTE = [key for key in SINKS if key not in ("stdout_sink", "file_sink")]
every_remote_sink = pytest.mark.parametrize("key", REMOTE)
every_http_sink = pytest.mark.parametrize("key", [key for key, sink in SINKS.items() if issubclass(sink, HttpSink)])

BEHAVIOURS: tuple[Behaviour, ...] = ("take", "busy", "refuse")

Handler = Callable[[httpx.Request], httpx.Response]


def own_test(key: str) -> Any:
    return importlib.import_module(f"tests.sinks.test_{key.removesuffix('_sink')}")


def options(key: str, folder: Path) -> dict[str, Any]:
    return {"name": "here", **own_test(key).options(folder)}


def http_sink(key: str, folder: Path, handler: Any, **more: Any) -> Sink[Any]:
    config = SINKS[key].Config(**{**options(key, folder), **more})
    make: Any = SINKS[key]
    sink: Sink[Any] = make(config, transport=httpx.MockTransport(handler))
    return sink


def success(key: str) -> dict[str, Any]:
    """Return what the receiver answers beside the status where it takes something."""
    return {name: value for name, value in getattr(own_test(key), "SUCCESS", {}).items() if name != "status_code"}


def answers(status: int, **more: Any) -> Handler:
    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, **more)

    return handler


@every_sink
def test_the_key_is_the_module_and_the_module_has_a_test(key: str) -> None:
    module = SINKS[key].__module__

    assert module == f"app.sinks.{key.removesuffix('_sink')}"
    assert own_test(key).options


@every_sink
def test_unknown_options_are_refused_and_input_stays_out_of_errors(key: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="extra_forbidden") as caught:
        SINKS[key].Config(**{**options(key, tmp_path), "tokne": "hunter2-in-error"})

    assert "hunter2-in-error" not in str(caught.value)


@every_sink
def test_the_class_the_options_and_every_field_are_documented(key: str) -> None:
    assert inspect.getdoc(SINKS[key])
    assert inspect.getdoc(SINKS[key].Config)
    assert [name for name, field in SINKS[key].Config.model_fields.items() if not field.description] == []


@every_sink
def test_options_are_frozen(key: str, tmp_path: Path) -> None:
    config = SINKS[key].Config(**options(key, tmp_path))

    with pytest.raises(ValueError, match="frozen"):
        config.name = "other"  # type: ignore[misc]


@every_sink
async def test_it_may_be_closed_twice(key: str, tmp_path: Path) -> None:
    sink = build(SINKS[key].Config(**options(key, tmp_path)))

    await sink.aclose()
    await sink.aclose()


@every_sink
def test_secrets_are_not_shown_with_the_options(key: str, tmp_path: Path) -> None:
    config = SINKS[key].Config(**options(key, tmp_path))

    shown = f"{config!r} {config} {config.model_dump()} {config.model_dump_json()}"

    assert [secret for secret in own_test(key).SECRETS if secret in shown] == []


@every_sink
async def test_a_notification_arrives(key: str, tmp_path: Path) -> None:
    async with stand_of(key, own_test(key), tmp_path) as stand:
        await stand.sink.send(samples.image())

        assert stand.arrived != []


@every_sink
async def test_a_hostile_notification_of_megabytes_arrives_within_the_limit_of_the_receiver(
    key: str, tmp_path: Path
) -> None:
    limit = getattr(own_test(key), "LIMIT", None)
    async with stand_of(key, own_test(key), tmp_path) as stand:
        await stand.sink.send(samples.hostile())

        assert stand.arrived != []
        assert limit is None or max(len(text.encode()) for text in stand.arrived) <= limit


@every_sink
@pytest.mark.parametrize("sample", [samples.image, samples.failed_job, samples.hostile_names, samples.hostile])
def test_what_is_rendered_holds_no_secret_of_the_options(key: str, sample: Any, tmp_path: Path) -> None:
    sink = build(SINKS[key].Config(**options(key, tmp_path)))
    with contextlib.suppress(PermanentError):
        rendering = str(sink.render(sample()))

        assert [secret for secret in own_test(key).SECRETS if secret in rendering] == []


@every_remote_sink
async def test_a_receiver_that_is_busy_is_tried_again(key: str, tmp_path: Path) -> None:
    async with stand_of(key, own_test(key), tmp_path) as stand:
        stand.behave("busy")

        with pytest.raises(TemporaryError):
            await stand.sink.send(samples.image())

        stand.behave("take")
        await stand.sink.send(samples.image())


@every_remote_sink
async def test_a_receiver_that_refuses_is_not_tried_again(key: str, tmp_path: Path) -> None:
    async with stand_of(key, own_test(key), tmp_path) as stand:
        stand.behave("refuse")

        with pytest.raises(PermanentError) as caught:
            await stand.sink.send(samples.image())

        assert [secret for secret in own_test(key).SECRETS if secret in str(caught.value)] == []


@every_http_sink
@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_2xx_is_delivered(key: str, status: int, tmp_path: Path) -> None:
    sink = http_sink(key, tmp_path, answers(status, **success(key)))

    await sink.send(samples.notification())

    await sink.aclose()


@every_http_sink
@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 520, 599])
async def test_overload_and_outage_are_temporary(key: str, status: int, tmp_path: Path) -> None:
    sink = http_sink(key, tmp_path, answers(status))

    with pytest.raises(TemporaryError, match=f" answered {status}"):
        await sink.send(samples.notification())


@every_http_sink
@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 401, 403, 404, 410, 413, 460, 499])
async def test_refusals_and_redirects_are_permanent(key: str, status: int, tmp_path: Path) -> None:
    sink = http_sink(key, tmp_path, answers(status, headers={"location": "https://elsewhere.example/"}))

    with pytest.raises(PermanentError, match=f" answered {status}"):
        await sink.send(samples.notification())


@every_http_sink
async def test_retry_after_is_passed_on(key: str, tmp_path: Path) -> None:
    sink = http_sink(key, tmp_path, answers(429, headers={"retry-after": "7"}))

    with pytest.raises(TemporaryError) as caught:
        await sink.send(samples.notification())

    assert caught.value.retry_after == timedelta(seconds=7)


@every_http_sink
async def test_a_connection_that_fails_is_temporary(key: str, tmp_path: Path) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("Connection refused", request=request)

    with pytest.raises(TemporaryError, match=r"cannot reach .*: Connection refused"):
        await http_sink(key, tmp_path, refuse).send(samples.notification())


@every_http_sink
async def test_no_answer_in_time_is_temporary(key: str, tmp_path: Path) -> None:
    async def hang(request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(TemporaryError, match=r"did not answer within 0\.01 s"):
        await http_sink(key, tmp_path, hang, timeout_seconds=0.01).send(samples.notification())


@every_http_sink
@pytest.mark.parametrize("status", [400, 500])
async def test_secrets_stay_out_of_errors_and_logs_even_if_the_receiver_echoes_them(
    key: str, status: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def echo(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, text=" ".join((str(request.url), *request.headers.values())))

    caplog.set_level("DEBUG")
    with pytest.raises((TemporaryError, PermanentError)) as caught:
        await http_sink(key, tmp_path, echo).send(samples.notification())

    assert own_test(key).SECRETS
    assert [secret for secret in own_test(key).SECRETS if secret in str(caught.value) + caplog.text] == []


@every_http_sink
async def test_the_line_end_that_files_add_to_a_secret_does_no_harm(key: str, tmp_path: Path) -> None:
    own = own_test(key)

    def take(request: Request) -> httpx.Response:
        return httpx.Response(200, **success(key))

    with http_receiver(take) as receiver:
        secrets = {name: f"{text}\n" for name, text in own.options(tmp_path).items() if text in own.SECRETS}
        config = SINKS[key].Config.model_validate({**options(key, tmp_path), **secrets, **own.at(receiver.url)})
        sink = build(config)
        await sink.send(samples.notification())
        await sink.aclose()

    assert receiver.requests
    assert not any("\\n" in repr(text) for request in receiver.requests for text in request.headers.values())


@every_http_sink
async def test_all_calls_of_an_attempt_together_are_within_its_time(key: str, tmp_path: Path) -> None:
    calls: list[httpx.Request] = []

    async def slow(request: httpx.Request) -> httpx.Response:
        calls.append(request)
        await asyncio.sleep(0.07)
        return httpx.Response(200, **success(key))

    sink = http_sink(key, tmp_path, slow, timeout_seconds=0.1)
    with contextlib.suppress(TemporaryError):
        await sink.send(samples.image(attempt=2))

    assert len(calls) <= 2


@contextlib.contextmanager
def silence() -> Iterator[int]:
    """Take connections and never say a word; yields the port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


SILENT: dict[str, Callable[[int], dict[str, Any]]] = {
    "git_sink": lambda port: {"url": f"http://127.0.0.1:{port}/audit.git"},
    "kafka_sink": lambda port: {"kafka_url": f"127.0.0.1:{port}", "auth": {}},
}
"""The options that lead to silence, of sinks whose own stand cannot be silent."""


@contextlib.asynccontextmanager
async def unanswered(key: str, folder: Path, seconds: float) -> AsyncIterator[Sink[Any]]:
    """Return a sink that waits so long for a receiver that never answers."""
    async with contextlib.AsyncExitStack() as stack:
        if key in SILENT:
            given = {"name": "here", **own_test(key).options(folder), **SILENT[key](stack.enter_context(silence()))}
            sink = build(SINKS[key].Config.model_validate({**given, "timeout_seconds": seconds}))
        else:
            stand = await stack.enter_async_context(stand_of(key, own_test(key), folder))
            stand.behave("hang")
            sink = build(stand.sink.config.model_copy(update={"timeout_seconds": seconds}))
        async with contextlib.aclosing(sink):
            yield sink


def sockets() -> int:
    """Return how many sockets this process has open."""
    found = 0
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found += each.readlink().name.startswith("socket:")
    return found


def shown(error: BaseException) -> str:
    """Return all that could be shown of an error, its causes and its traceback included."""
    return f"{error} {error!r} " + "".join(traceback.format_exception(error))


@every_remote_sink
async def test_a_receiver_that_never_answers_is_tried_again_after_the_timeout(key: str, tmp_path: Path) -> None:
    async with unanswered(key, tmp_path, 0.3) as sink, asyncio.timeout(15):
        with pytest.raises(TemporaryError) as caught:
            await sink.send(samples.image())

    assert [secret for secret in own_test(key).SECRETS if secret in shown(caught.value)] == []


@every_remote_sink
async def test_a_send_that_is_cancelled_leaves_nothing_open(key: str, tmp_path: Path) -> None:
    before, tasks = sockets(), asyncio.all_tasks()
    async with unanswered(key, tmp_path, 2) as sink:
        sending = asyncio.create_task(sink.send(samples.image()))
        await asyncio.sleep(0.1)
        assert not sending.done()
        sending.cancel()
        await asyncio.wait({sending})

        assert sending.cancelled()

    gc.collect()
    async with asyncio.timeout(5):  # the receiver, in this process too, has its own end of the connection to close
        while sockets() > before or not asyncio.all_tasks() <= tasks:  # noqa: ASYNC110  no event tells of sockets
            await asyncio.sleep(0.01)


@every_remote_sink
async def test_secrets_stay_out_of_every_log_and_error_of_the_sink_and_its_libraries(
    key: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    said = ""
    with structlog.testing.capture_logs() as logged:
        async with stand_of(key, own_test(key), tmp_path) as stand:
            for how in BEHAVIOURS:
                stand.behave(how)
                try:
                    await stand.sink.send(samples.image())
                except (TemporaryError, PermanentError) as error:
                    said += shown(error)
            said += f"{stand.sink!r} {stand.sink.config!r}"

    everything = said + repr(logged) + caplog.text
    assert [secret for secret in own_test(key).SECRETS if secret in everything] == []


ARRIVES_OTHERWISE = {
    "apprise_sink": "the library composes each service's request",
    "git_sink": "arrives as a commit",
    "jira_sink": "names become ids, an issue or a comment",
    "kafka_sink": "arrives as key, headers and value",
    "mail_sink": "arrives encoded, with the headers of its way",
    "pushover_sink": "arrives as a form, in which all is text",
    "slack_sink": "the name of the channel becomes an id",
}
"""Sinks whose own tests compare what arrives, and why it is not what `render` returns."""


@pytest.mark.parametrize("key", [key for key in SINKS if key not in ARRIVES_OTHERWISE])
async def test_what_is_rendered_is_what_arrives(key: str, tmp_path: Path) -> None:
    async with stand_of(key, own_test(key), tmp_path) as stand:
        rendering = stand.sink.render(samples.image())
        await stand.sink.send(samples.image())

        # The last, since some look first for where to send.
        arrived = list(stand.arrived)[-1]
    assert within(rendering, arrived)


def within(rendering: Rendering, arrived: str) -> bool:
    """Say whether what arrived is the rendering: as it is, beside credentials, or as one field of JSON or of a form."""
    if isinstance(rendering, dict):
        return bool(json.loads(json.dumps(rendering)).items() <= json.loads(arrived).items())
    fields = json.loads(arrived) if arrived.startswith("{") else dict(parse_qsl(arrived))
    text = str(rendering).rstrip("\n")
    return text in (arrived.rstrip("\n"), *fields.values())
