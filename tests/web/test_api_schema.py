"""Every answer of the console is one that its OpenAPI document describes, whatever is asked."""

from __future__ import annotations

import asyncio

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import positive_data_acceptance
from schemathesis.specs.openapi.schemas import OpenApiSchema

from app.core.change import FieldChange
from tests.builders import make_record
from tests.web.doors import as_viewer
from tests.web.ledgers import console_of, write

PATHS = [
    "/api/v1/actors",
    "/api/v1/deliveries",
    "/api/v1/deliveries/counts",
    "/api/v1/entries",
    "/api/v1/entries/{entry_id}",
    "/api/v1/entries/{entry_id}/undo",
    "/api/v1/export",
    "/api/v1/follow",
    "/api/v1/histogram",
    "/api/v1/hits",
    "/api/v1/objects/{kind}/{namespace}/{name}/blame",
    "/api/v1/objects/{kind}/{namespace}/{name}/diff",
    "/api/v1/objects/{kind}/{namespace}/{name}/history",
    "/api/v1/objects/{kind}/{namespace}/{name}/state",
    "/api/v1/places",
    "/api/v1/recent",
    "/api/v1/replicas",
    "/api/v1/span",
    "/api/v1/words",
    "/livez",
    "/metrics",
    "/readyz",
]


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> OpenApiSchema:
    data_dir = tmp_path_factory.mktemp("ledger")
    changes = (FieldChange("spec.replicas", "replace", 1, 2), FieldChange("data", "remove", {"a": [None]}))
    records = make_record("slack", changes=changes), make_record(operation="DELETE", object={"a": 1})
    asyncio.run(write(data_dir, *records))
    return schemathesis.openapi.from_asgi("/api/v1/openapi.json", as_viewer(console_of(data_dir)))


def test_every_path_is_tried(document: OpenApiSchema) -> None:
    described = document.raw_schema["paths"]

    assert sorted(path for path in document if "get" in described[path]) == PATHS
    assert [path for path in document if "get" not in described[path]] == ["/api/v1/deliveries/requeue"]


@pytest.mark.parametrize("path", PATHS)
@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_an_answer_is_what_the_document_says(document: OpenApiSchema, path: str, data: st.DataObject) -> None:
    case = data.draw(document[path]["get"].as_strategy())

    # Times, cursors and field patterns have a grammar that a schema cannot say: 400 is what the document says of them.
    case.call_and_validate(excluded_checks=[positive_data_acceptance])
