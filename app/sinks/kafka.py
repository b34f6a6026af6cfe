"""Kafka sink: produces each notification as one record, and waits until the brokers have it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

import msgspec
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from typing_extensions import override

from app.core.finding import JsonBlock, Notification
from app.sinks._bounded import bounded
from app.sinks._document import cloud_event
from app.sinks._kafka_auth import KafkaAuth, auth_properties, check_files
from app.sinks._kafka_errors import KEPT, QUEUE_FULL, REFUSALS, TIMED_OUT, outcome
from app.sinks._secrets import option_secrets
from app.sinks._thread import OwnThread
from app.sinks.base import PermanentError, Rendering, Sink, SinkConfig, SinkError, SinkSetupError

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Producer

MESSAGE_BYTES: Final = 1_000_000
"""What a producer sends at most unless told otherwise; brokers take 1,048,588 bytes:
https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md (message.max.bytes) and
https://kafka.apache.org/documentation/#brokerconfigs_message.max.bytes"""

CONTENT_TYPES: Final = (
    ("json", "application/json"),
    ("cloudevents", "application/cloudevents+json; charset=UTF-8"),
    ("object", "application/json"),
)
"""CloudEvents as its Kafka binding has them in structured mode:
https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md"""

_OWN_PROPERTIES: Final = frozenset(
    {"bootstrap.servers", "acks", "request.required.acks", "enable.idempotence", "message.max.bytes"}
    | {"message.timeout.ms", "delivery.timeout.ms", "plugin.library.paths"}
)
_BROKER: Final = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:]+\])(?::\d{1,5})?")
# Above what the headers below and the record itself take.
_HEADER_BYTES: Final = 700
_TOPIC: Final = r"^[A-Za-z0-9._-]{1,249}$"
# The library gives a message up by itself a moment before: then its reason is known.
_AFTER_SECONDS: Final = 2.0
_POLL_SECONDS: Final = 0.1
_CLOSING_SECONDS: Final = 0.5


def _brokers(value: object) -> object:
    texts = value if isinstance(value, list) else str(value).split(",")
    brokers = [str(text).strip() for text in texts]
    for broker in brokers:
        if not _BROKER.fullmatch(broker):
            raise ValueError(f"{broker!r} is no broker; right is host:9092, or several with commas")
    return ",".join(broker if re.search(r":\d+$", broker) else f"{broker}:9092" for broker in brokers)


def _property(name: str) -> str:
    if name in _OWN_PROPERTIES:
        raise ValueError(f"{name!r} is set by the sink itself")
    return name


class KafkaConfig(SinkConfig):
    """Options of the Kafka sink."""

    keeps_records: ClassVar[bool] = True

    kafka_url: Annotated[
        str, BeforeValidator(_brokers), Field(description="Brokers to begin with: `host:9092`, several with commas.")
    ]
    topic: Annotated[str, Field(pattern=_TOPIC, description="Topic to produce to.")]
    auth: Annotated[KafkaAuth, Field(description="How to log in and encrypt; by default neither.")] = KafkaAuth()
    format: Annotated[
        Literal["json", "cloudevents", "object"],
        Field(
            description="Value: `json` (delivery_id, finding, entry), `cloudevents` (CloudEvents 1.0 around the same) "
            "or `object` (only the JSON document in the finding, for json_change_tracker)."
        ),
    ] = "json"
    max_message_bytes: Annotated[
        int, Field(ge=20_000, le=100_000_000, description="Most bytes of a record; what does not fit is counted.")
    ] = MESSAGE_BYTES
    timeout_seconds: Annotated[float, Field(gt=0, le=20, description="How long brokers may take to confirm.")] = 10
    producer_options: Annotated[
        dict[Annotated[str, AfterValidator(_property)], Annotated[SecretStr, BeforeValidator(str)]],
        Field(default_factory=dict, description="Further properties of librdkafka; their values are kept secret."),
    ]


class KafkaSink(Sink[KafkaConfig]):
    """A record has arrived when all in-sync replicas have it (acks=all, idempotent producer).

    The key is the object, so that its changes stay in order in one partition. The header `kubewitness-delivery-id` is
    the same over retries, so that a consumer can drop repeats.
    """

    Config = KafkaConfig

    def __init__(self, config: KafkaConfig) -> None:
        super().__init__(config)
        try:
            from confluent_kafka import Producer  # noqa: PLC0415  an extra, which others need not install
        except ImportError as error:
            raise SinkSetupError(
                f"sink {config.name!r}: the Kafka client is not installed; run: pip install kubewitness[kafka]"
            ) from error
        check_files(config.name, config.auth)
        self._make = functools.partial(Producer, logger=_silent())
        self._producer: Producer | None = None
        self._thread = OwnThread(f"sink-{config.name}")
        self._secrets = option_secrets(config)
        self._trouble: KafkaError | None = None
        self._is_spent = False

    @override
    def render(self, notification: Notification) -> Rendering:
        rendering: Rendering = {
            "topic": self.config.topic,
            "key": key(notification),
            "headers": {name: value.decode() for name, value in _headers(notification, self.config)},
            "value": msgspec.json.decode(value(notification, self.config)),
        }
        return rendering

    @override
    async def send(self, notification: Notification) -> None:
        record = functools.partial(
            self._produce,
            key=key(notification).encode(),
            value=value(notification, self.config),
            headers=_headers(notification, self.config),
        )
        told: list[KafkaError | None] = []
        await self._thread.run(lambda: told.append(record()))
        if told[0] is not None:
            raise self._failure(told[0])

    @override
    async def aclose(self) -> None:
        if self._producer is not None:
            self._producer.purge(in_queue=True, in_flight=True, blocking=False)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSING_SECONDS):
                    await self._thread.run(self._disconnect)
        self._thread.close()

    def _disconnect(self) -> None:
        """Let the producer go in the sink's thread: it waits there until its connections are closed."""
        self._producer = None

    def _produce(self, **record: Any) -> KafkaError | None:
        """Wait in the sink's thread until the brokers have the record; return why they have not."""
        from confluent_kafka import KafkaError, KafkaException  # noqa: PLC0415  an extra

        told: list[KafkaError | None] = []
        try:
            producer = self._connected()
            producer.produce(self.config.topic, **record, on_delivery=lambda error, _: told.append(error))
            self._wait(producer, told)
        except KafkaException as error:
            refused: KafkaError = error.args[0]
            return refused
        except BufferError as error:
            return KafkaError(QUEUE_FULL, str(error))
        return told[0] if told else KafkaError(TIMED_OUT)

    def _wait(self, producer: Producer, told: list[KafkaError | None]) -> None:
        """Return when the record's outcome is told, or the brokers refuse to talk to this producer at all."""
        deadline = time.monotonic() + self.config.timeout_seconds + _AFTER_SECONDS
        while not told and not self._is_refused and time.monotonic() < deadline:
            producer.poll(_POLL_SECONDS)
        if not told:
            producer.purge(in_queue=True, in_flight=True, blocking=False)

    @property
    def _is_refused(self) -> bool:
        return self._trouble is not None and self._trouble.name() in REFUSALS

    def _connected(self) -> Producer:
        if self._producer is None or self._is_spent:
            self._is_spent = False
            self._producer = self._make({**properties(self.config), "error_cb": self._notice})
        self._trouble = None
        return self._producer

    def _notice(self, error: KafkaError) -> None:
        """Keep what the library says about the brokers: the record itself will only be too late."""
        if self._trouble is None or error.name() in REFUSALS:
            self._trouble = error

    def _failure(self, error: KafkaError) -> SinkError:
        # A refused producer would try to connect again ever more rarely.
        self._is_spent = error.fatal() or error.name() in KEPT or self._is_refused
        return outcome(error, self._trouble, self.config.kafka_url, self.config.timeout_seconds, self._secrets)


def key(notification: Notification) -> str:
    """Return the record's key: the object, so that its changes stay in order."""
    entry = notification.entry
    return f"{entry.cluster}/{entry.resource}" if entry.cluster else str(entry.resource)


def value(notification: Notification, config: KafkaConfig) -> bytes:
    """Return the record's value, within the limit; raises `PermanentError` where nothing can be left out of it."""
    room = config.max_message_bytes - len(key(notification).encode()) - _HEADER_BYTES
    content = _encoded(notification, config, room)
    if len(content) > room:
        raise PermanentError(
            f"a record of {len(content)} bytes is too large; raise max_message_bytes and the topic's max.message.bytes"
        )
    return content


def _encoded(notification: Notification, config: KafkaConfig, room: int) -> bytes:
    encode: Callable[[dict[str, Any]], bytes] = msgspec.json.encode
    match config.format:
        case "json":
            return bounded(notification, room, encode)
        case "cloudevents":
            return bounded(notification, room, lambda data: encode(cloud_event(notification, data)))
        case "object":
            for block in notification.finding.blocks:
                if isinstance(block, JsonBlock):
                    return msgspec.json.encode(block.value)
    raise PermanentError(
        "the finding has no JSON document to produce; format: object is for playbooks with json_change_tracker"
    )


def _headers(notification: Notification, config: KafkaConfig) -> list[tuple[str, bytes]]:
    return [
        ("content-type", dict(CONTENT_TYPES)[config.format].encode()),
        ("kubewitness-entry-id", notification.entry.id.encode()),
        ("kubewitness-delivery-id", notification.delivery_id.encode()),
    ]


def properties(config: KafkaConfig) -> dict[str, Any]:
    """Return librdkafka's properties: https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md."""
    return {
        "bootstrap.servers": config.kafka_url,
        "acks": "all",
        "enable.idempotence": True,
        "linger.ms": 0,
        "partitioner": "murmur2_random",  # as Java's producers place the same key
        "message.max.bytes": config.max_message_bytes,
        "message.timeout.ms": max(int(config.timeout_seconds * 1000), 1),
        "socket.connection.setup.timeout.ms": max(int(config.timeout_seconds * 1000), 1000),
        **auth_properties(config.auth),
        **{name: secret.get_secret_value() for name, secret in config.producer_options.items()},
    }


def _silent() -> logging.Logger:
    """Return a logger that drops everything: what matters of it is in the errors."""
    logger = logging.getLogger(f"{__name__}.client")
    logger.propagate = False
    logger.disabled = True
    return logger
