"""The Kafka client's own mock cluster, on loopback: it speaks the protocol, keeps records, and fails as it is told.

Python has no functions for its failures, so they are called in the library itself:
https://github.com/confluentinc/librdkafka/blob/master/src/rdkafka_mock.h
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import confluent_kafka
from confluent_kafka import Consumer, Message, TopicPartition

PRODUCE: Final = 0
"""The API key of produce requests: https://kafka.apache.org/protocol#protocol_api_keys"""

SASL_HANDSHAKE: Final = 17


def _library() -> Any:
    folder = Path(confluent_kafka.__file__).parents[1]
    (path,) = folder.glob("confluent_kafka*/librdkafka*")
    library = ctypes.CDLL(str(path))
    library.rd_kafka_new.restype = ctypes.c_void_p
    library.rd_kafka_conf_new.restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_new.restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    return library


class Cluster:
    """One broker, which makes topics as they are used."""

    def __init__(self) -> None:
        self._library = _library()
        error = ctypes.create_string_buffer(512)
        conf = ctypes.c_void_p(self._library.rd_kafka_conf_new())
        self._library.rd_kafka_conf_set(conf, b"log_level", b"0", error, 512)
        self._client = ctypes.c_void_p(self._library.rd_kafka_new(0, conf, error, 512))
        assert self._client.value, error.value
        self._cluster = ctypes.c_void_p(self._library.rd_kafka_mock_cluster_new(self._client, 1))
        self.brokers: str = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        self._library.rd_kafka_destroy(self._client)

    def fail(self, code: int, times: int = 1, api: int = PRODUCE) -> None:
        """Answer the next requests of this kind with an error code of the protocol."""
        codes = (ctypes.c_int * times)(*[code] * times)
        self._library.rd_kafka_mock_push_request_errors_array(
            self._cluster, ctypes.c_int16(api), ctypes.c_size_t(times), codes
        )

    def recover(self, api: int = PRODUCE) -> None:
        self._library.rd_kafka_mock_clear_request_errors(self._cluster, ctypes.c_int16(api))

    def answer_after(self, milliseconds: int) -> None:
        self._library.rd_kafka_mock_broker_set_rtt(self._cluster, ctypes.c_int32(1), ctypes.c_int(milliseconds))

    def go_down(self) -> None:
        self._library.rd_kafka_mock_broker_set_down(self._cluster, ctypes.c_int32(1))

    def records(self, topic: str) -> list[Message]:
        """Consume what the topic has, all of it."""
        consumer = Consumer({"bootstrap.servers": self.brokers, "group.id": "test", "log_level": 0})
        try:
            partitions = consumer.list_topics(topic, timeout=5).topics[topic].partitions
            starts = [TopicPartition(topic, number, 0) for number in partitions]
            ends = [consumer.get_watermark_offsets(start, timeout=5)[1] for start in starts]
            consumer.assign(starts)
            return consumer.consume(sum(ends), timeout=5) if sum(ends) else []
        finally:
            consumer.close()
