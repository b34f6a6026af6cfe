"""OpenSearch sink: one document for each notification, in an index for each month.

https://docs.opensearch.org/latest/api-reference/document-apis/index-document/
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field
from typing_extensions import override

from app.sinks._search import Index, SearchConfig, SearchSink


class OpensearchConfig(SearchConfig):
    """Options of the OpenSearch sink."""

    keeps_records: ClassVar[bool] = True

    index: Annotated[
        Index,
        Field(
            description="Index or data stream; `%Y`, `%m`, `%d` and `%V` in the name are year, month, day and week of "
            "the change. A data stream needs an index template first."
        ),
    ] = "kubewitness-%Y.%m"


class OpensearchSink(SearchSink[OpensearchConfig]):
    """A repeat is known by the document's id, which stays in the index of the change's month."""

    Config = OpensearchConfig

    @override
    def index(self) -> str:
        return self.config.index
