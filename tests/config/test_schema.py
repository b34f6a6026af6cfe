from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from app.config.explain import keys_at
from app.config.model import DIALECT, Config, schema
from app.core.triggers import TRIGGERS
from app.sinks.registry import OTHER_KEYS, SINKS

EXAMPLES = sorted((Path(__file__).parents[2] / "config").glob("*.yaml"))


@pytest.fixture(scope="module")
def validator() -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(schema(), validate_formats=True)


def test_the_schema_says_what_it_is() -> None:
    jsonschema_rs.meta.validate(schema())

    assert schema()["$schema"] == DIALECT


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_are_valid_by_the_schema(path: Path, validator: jsonschema_rs.Draft202012Validator) -> None:
    validator.validate(yaml.safe_load(path.read_text()))


@pytest.mark.parametrize(
    "document",
    [
        {"customPlaybook": []},
        {"customPlaybooks": [{"triggers": [{"on_pod_updat": {}}], "actions": [{"resource_babysitter": {}}]}]},
        {"customPlaybooks": [{"triggers": [{"on_pod_update": {}}]}]},
        {"customPlaybooks": [{"triggers": [{}], "actions": [{"resource_babysitter": {}}]}]},
        {"sinksConfig": [{"stdout_sink": {}}]},
        {"record": {"status": "maybe"}},
    ],
)
def test_typing_errors_are_invalid_by_the_schema(
    document: dict[str, Any], validator: jsonschema_rs.Draft202012Validator
) -> None:
    assert not validator.is_valid(document)


def test_empty_sections_and_parameters_are_valid_by_the_schema(
    validator: jsonschema_rs.Draft202012Validator,
) -> None:
    playbook = {"triggers": [{"on_pod_update": None}], "actions": [{"resource_babysitter": None}]}

    validator.validate({"customPlaybooks": [playbook], "sinksConfig": None, "record": None, "globalConfig": None})


def test_every_key_has_a_description() -> None:
    undescribed = [
        f"{name}.{key}"
        for name, definition in schema()["$defs"].items()
        for key, field in definition.get("properties", {}).items()
        if not name.endswith("Config") and name != "SinkItem" and "description" not in field
    ]

    assert undescribed == []


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ((), {"customPlaybooks", "sinksConfig", "record", "globalConfig"}),
        (("customPlaybooks", 3), {"name", "triggers", "actions", "sinks", "stop"}),
        (("customPlaybooks", 0, "triggers", 0), set(TRIGGERS)),
        (("sinksConfig", 0), {*SINKS, *OTHER_KEYS}),
        (("nothing",), set()),
    ],
)
def test_the_valid_keys_at_a_place_are_known(path: tuple[str | int, ...], expected: set[str]) -> None:
    assert keys_at(path) == expected


def test_sinks_that_keep_records_are_spared_by_the_noise_rules() -> None:
    sinks = [
        {"stdout_sink": {"name": "people"}},
        {"file_sink": {"name": "archive", "file_name": "/tmp/archive.jsonl"}},
        {"loki_sink": {"name": "logs", "url": "http://loki"}},
    ]
    noise = {"except_sinks": ["people-too"]}

    config = Config.model_validate({"sinksConfig": sinks, "globalConfig": {"noise": noise}})

    assert [name for name in ("people", "people-too", "archive", "logs") if config.noise.spares(name)] == [
        "people-too",
        "archive",
        "logs",
    ]
