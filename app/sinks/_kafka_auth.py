"""How to log in to Kafka and encrypt: kafka-python's options, which Robusta's are, for librdkafka."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from app.sinks.base import SinkSetupError

NAMES: Final = (
    ("security_protocol", "security.protocol"),
    ("sasl_mechanism", "sasl.mechanism"),
    ("sasl_plain_username", "sasl.username"),
    ("sasl_plain_password", "sasl.password"),
    ("sasl_kerberos_service_name", "sasl.kerberos.service.name"),
    ("ssl_cafile", "ssl.ca.location"),
    ("ssl_certfile", "ssl.certificate.location"),
    ("ssl_keyfile", "ssl.key.location"),
    ("ssl_password", "ssl.key.password"),
    ("ssl_crlfile", "ssl.crl.location"),
    ("ssl_ciphers", "ssl.cipher.suites"),
    ("client_id", "client.id"),
    ("compression_type", "compression.type"),
)
"""kafka-python's names, which Robusta's are, and librdkafka's."""


class KafkaAuth(BaseModel):
    """How to log in and encrypt, in kafka-python's words."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    security_protocol: Annotated[
        Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"], Field(description="Whether to encrypt and log in.")
    ] = "PLAINTEXT"
    sasl_mechanism: Annotated[
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "GSSAPI", "OAUTHBEARER"] | None,
        Field(description="How to log in."),
    ] = None
    sasl_plain_username: Annotated[str | None, Field(description="User, for PLAIN and SCRAM.")] = None
    sasl_plain_password: Annotated[SecretStr | None, Field(description="Password, for PLAIN and SCRAM.")] = None
    sasl_kerberos_service_name: Annotated[str | None, Field(description="Service name, for GSSAPI.")] = None
    ssl_check_hostname: Annotated[bool, Field(description="Check the host in the brokers' certificate.")] = True
    ssl_cafile: Annotated[Path | None, Field(description="PEM file of the authorities to trust.")] = None
    ssl_certfile: Annotated[Path | None, Field(description="PEM file of the own certificate.")] = None
    ssl_keyfile: Annotated[Path | None, Field(description="PEM file of its key.")] = None
    ssl_password: Annotated[SecretStr | None, Field(description="Password of the key.")] = None
    ssl_crlfile: Annotated[Path | None, Field(description="PEM file of revoked certificates.")] = None
    ssl_ciphers: Annotated[str | None, Field(description="Ciphers, in OpenSSL's words.")] = None
    client_id: Annotated[str, Field(description="Name that brokers log.")] = "kubewitness"
    compression_type: Annotated[
        Literal["gzip", "snappy", "lz4", "zstd"] | None, Field(description="How records are compressed.")
    ] = None
    api_version: Annotated[Any, Field(description="Accepted for Robusta's sake; versions are negotiated.")] = None
    acks: Annotated[Any, Field(description="Accepted for Robusta's sake; all in-sync replicas confirm.")] = None
    retries: Annotated[Any, Field(description="Accepted for Robusta's sake; deliveries are retried anyway.")] = None
    linger_ms: Annotated[Any, Field(description="Accepted for Robusta's sake; records leave at once.")] = None
    request_timeout_ms: Annotated[Any, Field(description="Accepted for Robusta's sake; see timeout_seconds.")] = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        logs_in = self.security_protocol.startswith("SASL_")
        if self.sasl_mechanism and not logs_in:
            raise ValueError("has a sasl_mechanism: set security_protocol to SASL_SSL (or SASL_PLAINTEXT) to use it")
        if logs_in and not self.sasl_mechanism:
            raise ValueError("needs a sasl_mechanism, such as SCRAM-SHA-512")
        named = self.sasl_plain_username and self.sasl_plain_password
        if logs_in and not named and self.sasl_mechanism not in ("GSSAPI", "OAUTHBEARER"):
            raise ValueError(f"needs sasl_plain_username and sasl_plain_password for {self.sasl_mechanism}")
        return self


def auth_properties(auth: KafkaAuth) -> dict[str, str]:
    """Return librdkafka's properties: https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md."""
    options = {name: getattr(auth, option) for option, name in NAMES}
    unchecked = {} if auth.ssl_check_hostname else {"ssl.endpoint.identification.algorithm": "none"}
    return {name: _plain(option) for name, option in options.items() if option is not None} | unchecked


def _plain(option: object) -> str:
    return option.get_secret_value() if isinstance(option, SecretStr) else str(option)


def check_files(sink: str, auth: KafkaAuth) -> None:
    """Raise `SinkSetupError` for a file that cannot be used, with the option's name and the file's."""
    for name in ("ssl_cafile", "ssl_certfile", "ssl_keyfile", "ssl_crlfile"):
        path: Path | None = getattr(auth, name)
        try:
            if path is not None and b"-----BEGIN" not in path.read_bytes():
                raise SinkSetupError(f"sink {sink!r}: auth.{name} {path}: holds nothing in PEM form")
        except OSError as error:
            raise SinkSetupError(f"sink {sink!r}: auth.{name} {path}: {error.strerror}") from error
