from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pydantic import ValidationError

from app.core.change import FieldChange, User
from app.core.finding import FileBlock, JsonBlock, Notification
from app.sinks._kafka_errors import TIMED_OUT, outcome
from app.sinks.base import PermanentError, SinkError, SinkSetupError, TemporaryError
from app.sinks.kafka import KafkaConfig, KafkaSink, properties, value
from tests.sinks import samples
from tests.sinks.kafka_cluster import SASL_HANDSHAKE, Cluster
from tests.sinks.receiver import self_signed
from tests.sinks.stands import Behaviour

SECRETS = ("kafka-password-1234", "kafka-key-1234", "kafka-option-1234")
LIMIT = 1_000_000
TOPIC = "changes"


def options(folder: Path) -> dict[str, Any]:
    return {
        "kafka_url": "kafka.example.com:9093",
        "topic": TOPIC,
        "auth": {
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_plain_username": "witness",
            "sasl_plain_password": "kafka-password-1234",
            "ssl_password": "kafka-key-1234",
        },
        "producer_options": {"sasl.oauthbearer.client.secret": "kafka-option-1234"},
    }


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster() as running:
        yield running


def config(**more: Any) -> KafkaConfig:
    return KafkaConfig.model_validate({"name": "k", "kafka_url": "h:9092", "topic": TOPIC, **more})


@contextlib.asynccontextmanager
async def producing(cluster: Cluster, **more: Any) -> AsyncIterator[KafkaSink]:
    async with contextlib.aclosing(KafkaSink(config(kafka_url=cluster.brokers, timeout_seconds=15, **more))) as sink:
        yield sink


class KafkaStand:
    def __init__(self, cluster: Cluster, patient: KafkaSink, impatient: KafkaSink) -> None:
        self.cluster, self.patient, self.impatient = cluster, patient, impatient
        self.sink: Any = patient

    @property
    def arrived(self) -> list[str]:
        return [content(record).decode() for record in self.cluster.records(TOPIC)]

    @arrived.setter
    def arrived(self, value: list[str]) -> None:
        raise AttributeError

    def behave(self, how: Behaviour) -> None:
        self.cluster.recover()
        self.sink = self.impatient if how == "busy" else self.patient
        match how:
            case "busy":
                self.cluster.fail(NOT_ENOUGH_REPLICAS, times=1000)
            case "refuse":
                self.cluster.fail(MSG_SIZE_TOO_LARGE)


@contextlib.asynccontextmanager
async def stand(folder: Path) -> AsyncIterator[KafkaStand]:
    with Cluster() as cluster:
        impatient = KafkaSink(config(kafka_url=cluster.brokers, timeout_seconds=0.5))
        async with producing(cluster) as patient, contextlib.aclosing(impatient):
            yield KafkaStand(cluster, patient, impatient)


# https://kafka.apache.org/protocol#protocol_error_codes
NOT_LEADER, MSG_SIZE_TOO_LARGE, TOPIC_EXCEPTION, NOT_ENOUGH_REPLICAS = 6, 10, 17, 19
TOPIC_AUTHORIZATION_FAILED, UNSUPPORTED_SASL_MECHANISM, KAFKA_STORAGE_ERROR = 29, 33, 56


def content(record: Any) -> bytes:
    body: bytes = record.value()
    return body


def document(notification: Notification, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(value(notification, config(**more)))
    return found


def problem(**more: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        config(**more)
    return str(caught.value)


async def test_a_record_is_the_document_with_the_object_as_key(cluster: Cluster) -> None:
    async with producing(cluster) as sink:
        await sink.send(samples.image())

    (record,) = cluster.records(TOPIC)

    found = msgspec.json.decode(content(record))
    assert record.key() == b"prod/Deployment/shop/web"
    assert found.keys() == {"delivery_id", "finding", "entry", "link"}
    assert found["entry"]["changes"][0]["new"] == "nginx:1.28"
    assert record.headers() == [
        ("content-type", b"application/json"),
        ("kubewitness-entry-id", b"01910000-0000-7000-8000-000000000001"),
        ("kubewitness-delivery-id", b"d-1"),
    ]


async def test_records_of_one_object_are_in_order_in_one_partition(cluster: Cluster) -> None:
    async with producing(cluster) as sink:
        for number in range(20):
            await sink.send(samples.notification(title=f"change {number}"))
            await sink.send(samples.created())

    records = cluster.records(TOPIC)
    web = [record for record in records if record.key() == b"prod/Deployment/shop/web"]
    titles = [msgspec.json.decode(content(record))["finding"]["title"] for record in web]
    assert len(records) == 40
    assert titles == [f"change {number}" for number in range(20)]
    assert len({record.partition() for record in web}) == 1


async def test_the_event_loop_goes_on_while_a_broker_is_slow(cluster: Cluster) -> None:
    async with producing(cluster) as sink:
        await sink.send(samples.image())
        cluster.answer_after(150)
        turns = 0

        sending = asyncio.create_task(sink.send(samples.image()))
        while not sending.done():
            await asyncio.sleep(0.001)
            turns += 1
        await sending

    assert turns > 20


async def test_cloud_events_are_in_structured_mode(cluster: Cluster) -> None:
    async with producing(cluster, format="cloudevents") as sink:
        await sink.send(samples.image())

    (record,) = cluster.records(TOPIC)

    event = msgspec.json.decode(content(record))
    headers: Any = record.headers()
    assert dict(headers)["content-type"] == b"application/cloudevents+json; charset=UTF-8"
    assert (event["specversion"], event["id"], event["subject"]) == ("1.0", "d-1", "Deployment/shop/web")
    assert event["data"]["delivery_id"] == "d-1"


def test_object_is_the_first_json_document_alone() -> None:
    assert value(samples.created(), config(format="object")).startswith(b'{"metadata":{"name":"web"')
    with pytest.raises(PermanentError, match="no JSON document to produce"):
        value(samples.image(), config(format="object"))


def test_an_object_that_is_too_large_is_refused_since_nothing_of_it_can_be_left_out() -> None:
    big = samples.notification(JsonBlock(value={"data": "x" * 30_000}))

    with pytest.raises(PermanentError, match="a record of 30011 bytes is too large; raise max_message_bytes"):
        value(big, config(format="object", max_message_bytes=20_000))


@pytest.mark.parametrize("form", ["json", "cloudevents"])
@pytest.mark.parametrize("limit", [20_000, 33_333, 100_000, 1_000_000])
@pytest.mark.parametrize("sample", [samples.hostile, samples.many_fields, samples.hostile_names])
def test_a_record_is_within_its_limit_however_large_the_change(sample: Any, limit: int, form: str) -> None:
    content = value(sample(), config(max_message_bytes=limit, format=form))

    assert len(content) <= limit - 700
    msgspec.json.decode(content)


def test_what_fits_is_whole_up_to_the_byte() -> None:
    told = samples.many_fields()
    whole = document(told)
    size = len(value(told, config())) + len("prod/Deployment/shop/web") + 700

    assert "truncated" not in whole
    assert document(told, max_message_bytes=size) == whole
    assert "truncated" in document(told, max_message_bytes=size - 1)


def test_fields_that_do_not_fit_are_counted_and_the_link_stays() -> None:
    found = document(samples.many_fields(1000), max_message_bytes=50_000)

    entry, (diff,) = found["entry"], found["finding"]["blocks"]
    shown = len(entry["changes"]) + len(diff["changes"])
    assert found["truncated"] == {"changes": 2000 - shown}
    assert entry["changes"][0]["old"] == "off-0"
    assert len(entry["changes"]) > 200
    assert found["link"] == samples.LINK


def test_a_huge_value_is_left_out_but_its_field_is_named_and_others_are_whole() -> None:
    changes = (FieldChange("data[big]", "replace", "a" * 90_000, "b"), samples.SCALED)

    found = document(samples.notification(changes=changes), max_message_bytes=50_000)

    assert found["entry"]["changes"][0] == {"path": "data[big]", "op": "replace"}
    assert found["entry"]["changes"][1]["new"] == 3
    assert found["truncated"] == {"values": 1}


def test_patch_object_and_groups_that_do_not_fit_are_counted() -> None:
    big = "x" * 30_000
    patch = ({"op": "add", "path": "/a", "value": big}, {"op": "remove", "path": "/b"})
    user = User(username="alice", groups=tuple(big[:20_000] for _ in range(2)))

    found = document(samples.notification(patch=patch, object={"data": big}, user=user), max_message_bytes=20_000)

    assert found["truncated"] == {"groups": 2, "object": 1, "patch": 2}
    assert found["entry"]["user"]["username"] == "alice"


def test_of_a_log_that_does_not_fit_the_end_is_kept() -> None:
    log = FileBlock(name="app.log", content="x\n" * 50_000 + "FATAL: the end")

    found = document(samples.notification(log), max_message_bytes=30_000)

    assert found["finding"]["blocks"][0]["content"].endswith("FATAL: the end")
    assert found["truncated"] == {"files": 1}


async def test_what_brokers_refuse_for_good_is_permanent_with_advice(cluster: Cluster) -> None:
    async with producing(cluster) as sink:
        for code, said in (
            (MSG_SIZE_TOO_LARGE, "MSG_SIZE_TOO_LARGE: .*; lower max_message_bytes to what the topic takes"),
            (TOPIC_AUTHORIZATION_FAILED, "TOPIC_AUTHORIZATION_FAILED: .*; allow the user to WRITE and DESCRIBE"),
            (TOPIC_EXCEPTION, "TOPIC_EXCEPTION: Broker: Invalid topic"),
        ):
            cluster.fail(code)
            with pytest.raises(PermanentError, match=said):
                await sink.send(samples.image())
        await sink.send(samples.image())

    assert len(cluster.records(TOPIC)) == 1


async def test_what_passes_within_the_time_is_delivered_once(cluster: Cluster) -> None:
    async with producing(cluster) as sink:
        cluster.fail(NOT_LEADER)
        await sink.send(samples.image())
        cluster.fail(KAFKA_STORAGE_ERROR)
        await sink.send(samples.created())

    assert len(cluster.records(TOPIC)) == 2


async def test_brokers_that_do_not_confirm_in_time_are_tried_again(cluster: Cluster) -> None:
    async with contextlib.aclosing(KafkaSink(config(kafka_url=cluster.brokers, timeout_seconds=0.3))) as sink:
        cluster.fail(NOT_ENOUGH_REPLICAS, times=1000)
        with pytest.raises(TemporaryError, match=r"did not confirm within 0\.3 s"):
            await sink.send(samples.image())


async def test_brokers_that_are_gone_are_named_with_the_reason() -> None:
    async with contextlib.aclosing(KafkaSink(config(kafka_url="127.0.0.1:1", timeout_seconds=0.3))) as sink:
        with pytest.raises(TemporaryError, match=r"127\.0\.0\.1:1 did not confirm within 0\.3 s: .*Connection refused"):
            await sink.send(samples.image())


async def test_a_login_that_is_refused_is_permanent_with_advice(cluster: Cluster) -> None:
    auth = {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": "witness",
        "sasl_plain_password": "kafka-password-1234",
    }
    cluster.fail(UNSUPPORTED_SASL_MECHANISM, times=100, api=SASL_HANDSHAKE)
    options = config(kafka_url=cluster.brokers, timeout_seconds=20, auth=auth)
    async with contextlib.aclosing(KafkaSink(options)) as sink:
        for _ in range(2):  # the second while the first producer would pause before it connects again
            with pytest.raises(SinkError) as caught:
                await sink.send(samples.image())
            assert type(caught.value) is PermanentError
            assert "check sasl_mechanism, sasl_plain_username and sasl_plain_password" in str(caught.value)


def test_a_refused_login_is_not_taken_for_a_slow_broker() -> None:
    from confluent_kafka import KafkaError

    late, refused = KafkaError(TIMED_OUT), KafkaError(KafkaError._AUTHENTICATION, "SASL: hunter2 is wrong")

    error = outcome(late, refused, "h:9092", 5, {"hunter2"})

    assert type(error) is PermanentError
    assert str(error).startswith("h:9092: AUTHENTICATION: SASL: *** is wrong; check sasl_mechanism, sasl_plain")


async def test_a_property_that_the_library_does_not_know_is_permanent(cluster: Cluster) -> None:
    async with producing(cluster, producer_options={"lingre.ms": 5}) as sink:
        with pytest.raises(PermanentError, match=r'No such configuration property: "lingre\.ms"; correct auth and'):
            await sink.send(samples.image())


async def test_closing_does_not_wait_for_a_broker_that_hangs(cluster: Cluster) -> None:
    sink = KafkaSink(config(kafka_url=cluster.brokers, timeout_seconds=20))
    await sink.send(samples.image())
    cluster.answer_after(20_000)
    sending = asyncio.create_task(sink.send(samples.image()))
    await asyncio.sleep(0.05)

    async with asyncio.timeout(5):
        await sink.aclose()
        with pytest.raises((SinkError, RuntimeError)):
            await sending


def test_a_missing_library_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)

    with pytest.raises(SinkSetupError, match=r"run: pip install kubewitness\[kafka\]"):
        KafkaSink(config())


def test_robustas_options_become_those_of_the_library(tmp_path: Path) -> None:
    found = properties(KafkaConfig.model_validate({"name": "k", **options(tmp_path)}))

    assert found["bootstrap.servers"] == "kafka.example.com:9093"
    assert (found["security.protocol"], found["sasl.mechanism"]) == ("SASL_SSL", "SCRAM-SHA-512")
    assert (found["sasl.username"], found["sasl.password"]) == ("witness", "kafka-password-1234")
    assert (found["acks"], found["enable.idempotence"], found["client.id"]) == ("all", True, "kubewitness")


def test_options_of_kafka_python_without_a_meaning_here_are_accepted() -> None:
    accepted = config(auth={"api_version": [2, 5], "acks": 1, "retries": 3, "linger_ms": 5, "request_timeout_ms": 9})

    assert properties(accepted) == properties(config())


def test_brokers_may_be_a_list_and_without_ports() -> None:
    assert config(kafka_url=["a", "b:9093", "[::1]:9092"]).kafka_url == "a:9092,b:9093,[::1]:9092"


def test_unchecked_hosts_are_asked_for() -> None:
    assert "ssl.endpoint.identification.algorithm" not in properties(config())
    unchecked = properties(config(auth={"security_protocol": "SSL", "ssl_check_hostname": False}))
    assert unchecked["ssl.endpoint.identification.algorithm"] == "none"


def test_files_are_looked_at_when_the_sink_is_made(tmp_path: Path) -> None:
    _, authority = self_signed(tmp_path)
    (tmp_path / "empty.pem").write_text("nothing")

    KafkaSink(config(auth={"security_protocol": "SSL", "ssl_cafile": authority}))
    with pytest.raises(SinkSetupError, match=r"auth\.ssl_cafile .*empty\.pem: holds nothing in PEM form"):
        KafkaSink(config(auth={"ssl_cafile": tmp_path / "empty.pem"}))
    with pytest.raises(SinkSetupError, match=r"auth\.ssl_keyfile .*gone\.pem: No such file or directory"):
        KafkaSink(config(auth={"ssl_keyfile": tmp_path / "gone.pem"}))


@pytest.mark.parametrize(
    ("more", "part"),
    [
        ({"kafka_url": "kafka://h:9092"}, "'kafka://h:9092' is no broker; right is host:9092"),
        ({"kafka_url": "h:9092,,"}, "'' is no broker"),
        ({"topic": "a b"}, "String should match pattern"),
        ({"auth": {"sasl_mechanism": "PLAIN"}}, "set security_protocol to SASL_SSL (or SASL_PLAINTEXT) to use it"),
        ({"auth": {"security_protocol": "SASL_SSL"}}, "needs a sasl_mechanism, such as SCRAM-SHA-512"),
        ({"auth": {"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN"}}, "needs sasl_plain_username and"),
        ({"auth": {"sasl_plain_user": "x"}}, "extra_forbidden"),
        ({"producer_options": {"acks": 1}}, "'acks' is set by the sink itself"),
        ({"max_message_bytes": 10}, "greater than or equal to 20000"),
    ],
)
def test_options_that_cannot_work_are_refused(more: dict[str, Any], part: str) -> None:
    assert part in problem(**more)
