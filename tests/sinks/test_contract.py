"""What every sink keeps to, whoever adds it: this runs over all that the registry finds.

A sink's own test module says how to make one: `options(folder)` returns options that use every secret it has,
`SECRETS` names what must never be seen, and `LIMIT` the most bytes that the receiver takes at once, if it has a limit.
What its receiver answers stands there too: see `tests.sinks.stands`.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.sinks._http import HttpSink
from app.sinks.base import PermanentError, Sink, TemporaryError
from app.sinks.registry import SINKS, build
from tests.sinks import samples
from tests.sinks.stands import stand_of

every_sink = pytest.mark.parametrize("key", SINKS)
every_remote_sink = pytest.mark.parametrize("key", [key for key in SINKS if key not in ("stdout_sink", "file_sink")])
every_http_sink = pytest.mark.parametrize("key", [key for key, sink in SINKS.items() if issubclass(sink, HttpSink)])

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
@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_overload_and_outage_are_temporary(key: str, status: int, tmp_path: Path) -> None:
    sink = http_sink(key, tmp_path, answers(status))

    with pytest.raises(TemporaryError, match=f" answered {status}"):
        await sink.send(samples.notification())


@every_http_sink
@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 401, 403, 404, 410, 413])
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
