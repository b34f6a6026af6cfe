from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.core.change import FieldChange, Resource, User
from app.core.finding import DiffBlock
from app.sinks.base import PermanentError, Sink, SinkSetupError, TemporaryError
from app.sinks.kubernetes_event import (
    MESSAGE_LIMIT,
    KubernetesEventConfig,
    KubernetesEventSink,
    event,
    message,
    name,
)
from tests.kube.api_server import Answer, ApiServer, Exchange, Request, document, failure, lost, serving
from tests.kube.clients import write_kubeconfig
from tests.sinks import samples
from tests.sinks.stands import Behaviour, Stand

TOKEN = "kubeTokenSecret"
SECRETS = (TOKEN,)

CREATED = document({"kind": "Event", "apiVersion": "v1"}, 201)
FORBIDDEN = failure(
    403,
    "Forbidden",
    'events is forbidden: User "system:serviceaccount:audit:kubewitness" cannot create resource "events" in API group'
    ' "" in the namespace "shop"',
)
TERMINATING = failure(
    403,
    "Forbidden",
    'events "x" is forbidden: unable to create new content in namespace shop because it is being terminated',
)
BUSY = failure(429, "TooManyRequests", "the server has received too many requests", retry_after="7")


def options(folder: Path) -> dict[str, Any]:
    return {"kubeconfig": write_kubeconfig(folder / "kubeconfig", "http://127.0.0.1:9", {"token": TOKEN})}


async def silent(exchange: Exchange) -> None:
    """Give no answer until the server ends."""
    await asyncio.Event().wait()


class EventStand:
    def __init__(self, sink: Sink[Any], server: ApiServer) -> None:
        self.sink = sink
        self.arrived: list[str] = []
        self._server = server
        self.behave("take")

    def behave(self, how: Behaviour) -> None:
        answers: dict[Behaviour, Answer] = {"take": CREATED, "busy": BUSY, "refuse": FORBIDDEN, "hang": silent}

        async def answer(exchange: Exchange) -> None:
            self.arrived.append(exchange.request.body.decode())
            await answers[how](exchange)

        self._server.otherwise = answer


@contextlib.asynccontextmanager
async def stand(folder: Path) -> AsyncIterator[Stand]:
    async with sending(folder) as (sink, server):
        yield EventStand(sink, server)


@contextlib.asynccontextmanager
async def sending(folder: Path, *answers: Answer) -> AsyncIterator[tuple[KubernetesEventSink, ApiServer]]:
    async with serving(*answers) as server:
        path = write_kubeconfig(folder / "kubeconfig", server.url, {"token": TOKEN})
        sink = KubernetesEventSink(KubernetesEventConfig(name="events", kubeconfig=path, timeout_seconds=5))
        try:
            yield sink, server
        finally:
            await sink.aclose()


async def sent(folder: Path, answer: Answer = CREATED, **fields: Any) -> Request:
    async with sending(folder, answer) as (sink, server):
        await sink.send(samples.notification(**fields))
        return server.requests[0]


async def test_the_event_is_on_the_object_and_says_who_changed_what(tmp_path: Path) -> None:
    resource = Resource(group="apps", version="v1", kind="Deployment", namespace="shop", name="web", uid="u-1")
    request = await sent(tmp_path, resource=resource)

    assert (request.method, request.path) == ("POST", "/api/v1/namespaces/shop/events")
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.document["involvedObject"] == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "namespace": "shop",
        "name": "web",
        "uid": "u-1",
    }
    assert request.document["message"] == "alice with kubectl-edit changed spec.replicas: 1 -> 3"
    assert request.document["reason"] == "Changed"
    assert request.document["metadata"]["annotations"] == {"kubewitness.io/entry": samples.entry().id}


async def test_an_object_without_a_namespace_has_its_events_in_default(tmp_path: Path) -> None:
    request = await sent(tmp_path, resource=Resource(version="v1", kind="Namespace", name="shop"))

    assert request.path == "/api/v1/namespaces/default/events"
    assert "namespace" not in request.document["involvedObject"]


@pytest.mark.parametrize(
    ("operation", "said"),
    [
        ("CREATE", "alice with kubectl-edit created it"),
        ("DELETE", "alice with kubectl-edit deleted it"),
        ("CONNECT", "alice with kubectl-edit connected to it"),
        ("UNKNOWN", "alice with kubectl-edit changed it"),
    ],
)
def test_what_has_no_fields_says_what_was_done(operation: str, said: str) -> None:
    assert message(samples.notification(operation=operation, changes=())) == said


def test_a_failure_is_a_warning_with_its_reason() -> None:
    made = event(samples.failed_job())

    assert (made["type"], made["reason"]) == ("Warning", "Failed")
    assert made["message"] == f"Job Failed: The Job failed for good: BackoffLimitExceeded.; {samples.LINK}"


def test_a_message_that_is_too_long_is_cut_at_fields_and_leads_to_the_entry() -> None:
    said = message(samples.many_fields(500))
    fields = said.count(" -> ")

    assert len(said.encode()) <= MESSAGE_LIMIT
    assert said.endswith(f"; … {500 - fields} more fields; {samples.LINK}")
    assert fields > 5


def test_a_message_is_measured_in_bytes() -> None:
    wide = "\U0001d51e" * 5000
    changes = tuple(FieldChange(wide, "replace", wide, wide) for _ in range(9))
    told = samples.notification(DiffBlock(changes=changes), user=User(username=wide), field_manager=wide)

    assert len(message(told).encode()) <= MESSAGE_LIMIT


def test_hostile_names_stay_in_one_harmless_line() -> None:
    said = message(samples.hostile())

    assert said.isprintable()
    assert len(said.encode()) <= MESSAGE_LIMIT


def test_every_attempt_has_the_same_name_and_every_delivery_another() -> None:
    assert name("e-1/7") == name("e-1/7") != name("e-1/8")
    assert (
        event(samples.notification())["metadata"]["name"] == event(samples.notification(attempt=2))["metadata"]["name"]
    )


async def test_an_event_that_is_there_already_has_arrived(tmp_path: Path) -> None:
    await sent(tmp_path, failure(409, "AlreadyExists", 'events "kubewitness.1" already exists'))


@pytest.mark.parametrize("group", ["", "events.k8s.io"])
async def test_an_event_about_an_event_is_refused_before_anything_is_sent(tmp_path: Path, group: str) -> None:
    async with sending(tmp_path, CREATED) as (sink, server):
        with pytest.raises(PermanentError, match="an Event about an Event is not written"):
            await sink.send(samples.notification(resource=Resource(group=group, version="v1", kind="Event", name="e")))

        assert server.requests == []


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (FORBIDDEN, r'may not create Events: its account needs a ClusterRole with apiGroups: \[""\]'),
        (TERMINATING, "the namespace shop does not exist any more"),
        (failure(404, "NotFound", 'namespaces "shop" not found'), "the namespace shop does not exist any more"),
        (failure(401, "Unauthorized", "Unauthorized"), "does not accept the credentials"),
        (failure(422, "Invalid", 'Event "x" is invalid'), 'Event "x" is invalid'),
    ],
)
async def test_refusals_say_what_to_do(tmp_path: Path, answer: Answer, said: str) -> None:
    async with sending(tmp_path) as (sink, server):
        server.otherwise = answer
        with pytest.raises(PermanentError, match=said):
            await sink.send(samples.notification())


@pytest.mark.parametrize(
    "answer",
    [
        lost,
        failure(500, "InternalError", "etcdserver: leader changed"),
        failure(403, "Forbidden", 'events "x" is forbidden: exceeded quota: objects, requested: count/events=1'),
    ],
)
async def test_what_may_pass_is_temporary(tmp_path: Path, answer: Answer) -> None:
    async with sending(tmp_path) as (sink, server):
        server.otherwise = answer
        with pytest.raises(TemporaryError):
            await sink.send(samples.notification())


async def test_the_api_server_is_asked_again_when_it_asks_for_that(tmp_path: Path) -> None:
    with pytest.raises(TemporaryError) as caught:
        await sent(tmp_path, BUSY)

    assert caught.value.retry_after is not None
    assert caught.value.retry_after.total_seconds() == 7


def test_a_kubeconfig_that_is_not_there_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(SinkSetupError, match="there is no such file"):
        KubernetesEventSink(KubernetesEventConfig(name="events", kubeconfig=tmp_path / "none"))


async def test_a_kubeconfig_that_cannot_be_read_is_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text("not: a kubeconfig")
    sink = KubernetesEventSink(KubernetesEventConfig(name="events", kubeconfig=path))

    with pytest.raises(TemporaryError, match="kubeconfig"):
        await sink.send(samples.notification())


def test_one_notification_for_many_says_how_many() -> None:
    assert message(samples.folded()).startswith(
        "alice with kubectl-edit changed 14 times since 2026-01-02T02:59:10.000000Z, lastly spec.replicas: 1 -> 3"
    )


def test_the_event_is_json() -> None:
    assert msgspec.json.decode(msgspec.json.encode(event(samples.hostile())))["kind"] == "Event"


async def test_where_no_kubeconfig_is_found_the_sinks_own_option_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)

    with pytest.raises(TemporaryError, match="for this sink set its option kubeconfig"):
        await KubernetesEventSink(KubernetesEventConfig(name="events")).send(samples.notification())
