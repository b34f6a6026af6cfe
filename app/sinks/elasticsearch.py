"""Elasticsearch sink: one document for each notification, in a data stream or an index.

https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-create
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator
from typing_extensions import override

from app.sinks._search import Index, SearchConfig, SearchSink


def _api_key(secret: SecretStr) -> SecretStr:
    """Return the key as it is sent: base64 of `id:key`, which Kibana shows as "encoded"."""
    text = secret.get_secret_value().strip().removeprefix("ApiKey ").strip()
    if ":" in text:
        return SecretStr(base64.b64encode(text.encode()).decode())
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        decoded = b""
    if b":" not in decoded:
        raise ValueError("is no API key; right is the `encoded` one that Kibana shows, or id:api_key")
    return SecretStr(text)


class ElasticsearchConfig(SearchConfig):
    """Options of the Elasticsearch sink."""

    keeps_records: ClassVar[bool] = True

    index: Annotated[
        Index,
        Field(
            description="Data stream or index. `logs-...-...` is a data stream that Elasticsearch makes by itself; of "
            "an index `%Y`, `%m`, `%d` and `%V` in the name are year, month, day and week of the change."
        ),
    ] = "logs-kubewitness-default"
    api_key: Annotated[
        SecretStr | None, AfterValidator(lambda secret: secret and _api_key(secret)), Field(description="API key.")
    ] = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.api_key is not None and (self.username is not None or self.password is not None):
            raise ValueError("sets both api_key and username or password; one of them is enough")
        return self


class ElasticsearchSink(SearchSink[ElasticsearchConfig]):
    """A repeat is known by the document's id; in a data stream as long as that has not rolled over in between."""

    Config = ElasticsearchConfig

    @override
    def index(self) -> str:
        return self.config.index

    @override
    def headers(self) -> dict[str, str]:
        if self.config.api_key is not None:
            return {"Authorization": f"ApiKey {self.config.api_key.get_secret_value()}"}
        return super().headers()
