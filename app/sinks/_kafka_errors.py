"""What Kafka and its client refuse, as outcomes for people.

https://kafka.apache.org/protocol#protocol_error_codes says which of the brokers' errors pass; names that begin with an
underscore are the client's own: https://github.com/confluentinc/librdkafka/blob/master/src/rdkafka.h
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from app.sinks._secrets import scrubbed
from app.sinks.base import PermanentError, SinkError, TemporaryError

if TYPE_CHECKING:
    from confluent_kafka import KafkaError

TIMED_OUT: Final = -185
"""RD_KAFKA_RESP_ERR__TIMED_OUT."""

QUEUE_FULL: Final = -184
"""RD_KAFKA_RESP_ERR__QUEUE_FULL."""

ADVICE: Final = (
    ("TOPIC_AUTHORIZATION_FAILED", "allow the user to WRITE and DESCRIBE the topic"),
    ("CLUSTER_AUTHORIZATION_FAILED", "allow the user IDEMPOTENT_WRITE on the cluster, which Kafka before 3.0 wants"),
    ("MSG_SIZE_TOO_LARGE", "lower max_message_bytes to what the topic takes (max.message.bytes)"),
    ("UNKNOWN_TOPIC_OR_PART", "create the topic, or correct the option topic"),
    ("_UNKNOWN_TOPIC", "create the topic, or correct the option topic"),
    ("_AUTHENTICATION", "check sasl_mechanism, sasl_plain_username and sasl_plain_password"),
    ("SASL_AUTHENTICATION_FAILED", "check sasl_plain_username and sasl_plain_password"),
    ("UNSUPPORTED_SASL_MECHANISM", "correct sasl_mechanism"),
    ("ILLEGAL_SASL_STATE", "correct security_protocol"),
    ("_INVALID_ARG", "correct auth and producer_options"),
)
"""What people can do about it."""

REFUSALS: Final = frozenset(
    "_AUTHENTICATION SASL_AUTHENTICATION_FAILED UNSUPPORTED_SASL_MECHANISM ILLEGAL_SASL_STATE "
    "CLUSTER_AUTHORIZATION_FAILED".split()
)
"""Why connections are refused: the client goes on trying, but people have to change something."""

PASSING: Final = frozenset(
    "NOT_LEADER_FOR_PARTITION LEADER_NOT_AVAILABLE BROKER_NOT_AVAILABLE REPLICA_NOT_AVAILABLE NETWORK_EXCEPTION "
    "REQUEST_TIMED_OUT NOT_ENOUGH_REPLICAS NOT_ENOUGH_REPLICAS_AFTER_APPEND KAFKA_STORAGE_ERROR UNKNOWN_TOPIC_OR_PART "
    "COORDINATOR_LOAD_IN_PROGRESS COORDINATOR_NOT_AVAILABLE NOT_COORDINATOR THROTTLING_QUOTA_EXCEEDED UNKNOWN".split()
)
"""The brokers' errors that pass; all others are for good."""

KEPT: Final = frozenset("TOPIC_AUTHORIZATION_FAILED UNKNOWN_TOPIC_OR_PART _UNKNOWN_TOPIC".split())
"""What the client goes on to say of a topic for minutes, though people may have mended it."""

_FOR_GOOD: Final = frozenset("_INVALID_ARG _BAD_MSG _UNSUPPORTED_FEATURE _NOT_IMPLEMENTED".split())
_LATE: Final = frozenset("_MSG_TIMED_OUT _TIMED_OUT".split())


def outcome(
    error: KafkaError, trouble: KafkaError | None, brokers: str, seconds: float, secrets: Iterable[str]
) -> SinkError:
    """Return why a record was not taken. `trouble` is what the client said about the brokers meanwhile."""
    if error.name() not in _LATE:
        kind = PermanentError if _is_for_good(error) else TemporaryError
        return kind(_worded(error, brokers, secrets))
    if trouble is None:
        return TemporaryError(f"{brokers} did not confirm within {seconds:g} s")
    if trouble.name() in REFUSALS:
        return PermanentError(_worded(trouble, brokers, secrets))
    return TemporaryError(f"{brokers} did not confirm within {seconds:g} s: {scrubbed(trouble.str(), secrets)}")


def _is_for_good(error: KafkaError) -> bool:
    name = error.name()
    if error.fatal():  # of this producer, not of the record
        return False
    return name in _FOR_GOOD | REFUSALS or (not name.startswith("_") and name not in PASSING)


def _worded(error: KafkaError, brokers: str, secrets: Iterable[str]) -> str:
    advice = dict(ADVICE).get(error.name())
    said = f"{brokers}: {error.name().lstrip('_')}: {scrubbed(error.str(), secrets)}"
    return f"{said}; {advice}" if advice else said
