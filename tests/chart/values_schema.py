"""values.schema.json: the program's own schema of its configuration, and the model of all other values.

It is a draft-07 schema, which every Helm 3 and 4 knows, and shaped for what Helm prints: an `anyOf` of types becomes
one schema of several types, so that an error is one line with the path of what is wrong.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any, Final, TypeAlias

from app.config.model import schema
from tests.chart.values_model import Values

Schema: TypeAlias = dict[str, Any]

DIALECT: Final = "http://json-schema.org/draft-07/schema#"
VARIABLE: Final = r"\{\{\s*env\."
OF_TEXT: Final = ("pattern", "minLength", "maxLength")
_NOISE: Final = frozenset({"title", "default", "writeOnly", "discriminator"})
_SPELLINGS: Final = {
    "integer": r"^\s*[+-]?[0-9_]+(\.0+)?\s*$",
    "number": r"^\s*[+-]?[0-9_.]+([eE][+-]?[0-9]+)?\s*$",
    "boolean": r"^([Tt]rue|TRUE|[Ff]alse|FALSE|[Yy]es|YES|[Nn]o|NO|[Oo]n|ON|[Oo]ff|OFF|[TtFfYyNn01])$",
}
"""How a number or a truth may be written as a text, as it comes from a variable or `--set-string`."""


def values_schema(descriptions: dict[tuple[str, ...], str], defaults: dict[str, Any]) -> Schema:
    """Return the schema of all values; each described as its comment in values.yaml does."""
    program, rest = schema(), Values.model_json_schema()
    definitions = program["$defs"]
    _accept_what_validators_read(definitions, program)
    own = {**rest, "definitions": rest.pop("$defs")}
    for name in own["definitions"]:
        assert name not in definitions, name
    document = {
        "definitions": definitions | own["definitions"],
        "properties": _with_variables(program["properties"]) | own["properties"],
    }
    document["definitions"].update({name: _with_variables(each) for name, each in definitions.items()})
    document["definitions"].update(dict(_nullable(document["definitions"])))
    document = _plain(_shaped(document, document["definitions"]))
    _without_required(document, own["definitions"])
    _require(document, defaults, document["definitions"])
    _describe(document, descriptions)
    # A chart that has this one as a dependency gives it its `global` values.
    properties = document["properties"] | {"global": {"type": "object"}}
    return {
        "$schema": DIALECT,
        "title": "Values of kubewitness",
        "type": "object",
        "additionalProperties": False,
        "required": document["required"],
        "properties": properties,
        "definitions": dict(sorted(_used(properties, document["definitions"]).items())),
    }


def text(descriptions: dict[tuple[str, ...], str], defaults: dict[str, Any]) -> str:
    """Return the file."""
    return json.dumps(values_schema(descriptions, defaults), indent=1, ensure_ascii=False) + "\n"


def _accept_what_validators_read(definitions: dict[str, Schema], program: Schema) -> None:
    """Write down what the program reads beside what its models say: words in any case, texts in place of lists."""
    severity, operation = definitions["Severity"], definitions["OperationTrigger"]["properties"]
    severity["enum"] = _any_case(severity["enum"])
    names = operation["operations"]["items"]
    names["enum"] = _any_case(names["enum"])
    for field in ("operations", "resources"):
        operation[field]["type"] = ["array", "null"]
    for key, field in (("MailConfig", "to"), ("MailConfig", "cc"), ("MailConfig", "bcc"), ("MailConfig", "reply_to")):
        definitions[key]["properties"][field]["type"] = ["array", "string"]
    definitions["AppriseConfig"]["properties"]["urls"]["type"] = ["array", "string"]
    definitions["KafkaConfig"]["properties"]["kafka_url"] |= {"type": ["string", "array"], "items": {"type": "string"}}
    options = definitions["KafkaConfig"]["properties"]["producer_options"]
    options["additionalProperties"] = {"type": ["string", "number", "boolean"]}


def _any_case(words: list[str]) -> list[str]:
    return [spelt for word in words for spelt in (word.lower(), word.upper(), word.capitalize())]


def _with_variables(value: Any) -> Any:
    """Let `{{ env.NAME }}` stand for any word, number or truth of the program's configuration."""
    if isinstance(value, list):
        return [_with_variables(each) for each in value]
    if not isinstance(value, dict):
        return value
    if isinstance(value.get("anyOf"), list) and any(each.get("type") == "string" for each in value["anyOf"]):
        return value | {"anyOf": [_with_variables(each) if "items" in each else each for each in value["anyOf"]]}
    changed = {key: each if key == "enum" else _with_variables(each) for key, each in value.items()}
    kind = value.get("type")
    if isinstance(kind, str) and kind in _SPELLINGS:
        return {**changed, "type": [kind, "string"], "pattern": f"{_SPELLINGS[kind]}|{VARIABLE}"}
    if "pattern" in changed and isinstance(changed["pattern"], str):
        return {**changed, "pattern": f"{changed['pattern']}|{VARIABLE}"}
    if isinstance(changed.get("enum"), list):
        return _unless_variable(changed)
    return changed


def _unless_variable(words: Schema) -> Schema:
    return {
        **{key: each for key, each in words.items() if key != "enum"},
        "if": {"type": "string", "pattern": VARIABLE},
        "else": {"enum": words["enum"]},
    }


def _shaped(value: Any, definitions: dict[str, Schema]) -> Any:
    """Make one schema of every `anyOf` whose alternatives have different types."""
    if isinstance(value, list):
        return [_shaped(each, definitions) for each in value]
    if not isinstance(value, dict):
        return value
    if not isinstance(value.get("anyOf"), list):
        return {key: _shaped(each, definitions) for key, each in value.items()}
    rest, optional = (
        {key: each for key, each in value.items() if key != "anyOf"},
        value["anyOf"][-1] == {"type": "null"},
    )
    objects = [each["$ref"] for each in value["anyOf"] if f"{_name(each.get('$ref', ''))}OrNull" in definitions]
    if optional and len(objects) == len(value["anyOf"]) - 1:
        return {**rest, **_any_object(objects, definitions)}
    branches = [_resolved(branch, definitions) for branch in value["anyOf"]]
    return {**_merged([_shaped(branch, definitions) for branch in branches]), **rest}


def _any_object(references: list[str], definitions: dict[str, Schema]) -> Schema:
    """Return a schema of any of these objects, or null. Two are Robusta's older `match`: an item, or a scope."""
    if len(references) == 1:
        return {"$ref": f"{references[0]}OrNull"}
    item, scope = references
    keys = [{"required": [key]} for key in definitions[_name(scope)]["properties"]]
    return {"if": {"anyOf": keys, "type": "object"}, "then": {"$ref": scope}, "else": {"$ref": f"{item}OrNull"}}


def _nullable(definitions: dict[str, Schema]) -> Iterator[tuple[str, Schema]]:
    """Yield a definition for each object that may be left empty."""
    for name, each in definitions.items():
        if each.get("type") == "object":
            yield f"{name}OrNull", {**each, "type": ["object", "null"]}


def _resolved(branch: Schema, definitions: dict[str, Schema]) -> Schema:
    """Return a copy of the definition that is meant."""
    return copy.deepcopy(definitions[_name(branch["$ref"])]) if "$ref" in branch else branch


def _name(reference: str) -> str:
    return reference.rpartition("/")[2]


def _types(branch: Schema) -> list[str]:
    kind = branch["type"]
    return [kind] if isinstance(kind, str) else list(kind)


def _merged(branches: list[Schema]) -> Schema:
    result: Schema = {}
    for branch in branches:
        result |= _widened(branch, result)
    return result | {"type": list(dict.fromkeys(kind for branch in branches for kind in _types(branch)))}


def _widened(branch: Schema, earlier: Schema) -> Schema:
    """Return the keywords of an alternative, which mean something for its own types only."""
    for key in OF_TEXT:
        assert key not in branch or key not in earlier, f"{key} of two alternatives: {branch}, {earlier}"
    if "else" in branch:
        return branch | {"if": {"anyOf": [branch["if"], {"type": "null"}]}}
    if "enum" in branch:
        return branch | {"enum": [*branch["enum"], None]}
    return branch


def _plain(value: Any, *, named: bool = False) -> Any:
    """Leave out what says nothing to Helm, and write references as draft-07 does. `named`: the keys are names."""
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if not isinstance(value, dict):
        return value
    kept = value.items() if named else ((key, each) for key, each in value.items() if key not in _NOISE)
    return {
        key: f"#/definitions/{_name(each)}"
        if key == "$ref" and not named
        else _plain(each, named=not named and key in ("properties", "definitions"))
        for key, each in kept
    }


def _without_required(document: Schema, own: dict[str, Schema]) -> None:
    """Let people leave out values: Helm has the defaults."""
    for name in own:
        document["definitions"][name].pop("required", None)


def _require(section: Schema, defaults: dict[str, Any], definitions: dict[str, Schema]) -> None:
    """Require what has a default: Helm adds it before it checks, and it lacks only where somebody left it blank.

    A blank `replicas:` would be no replica, and blank `operations:` none at all. What may be empty may be blank, and so
    may mappings that are free: that takes the default's keys away.
    """
    required = []
    for name, default in defaults.items():
        value = section["properties"][name]
        if isinstance(default, dict):
            part = definitions.get(_name(value.get("$ref", ""))) if default else None
            if part is None:
                continue
            _require(part, default, definitions)
        elif default in ("", []):
            continue
        required.append(name)
    if required:
        section["required"] = required


def _describe(document: Schema, descriptions: dict[tuple[str, ...], str]) -> None:
    for path, description in descriptions.items():
        *parents, name = path
        parent = document
        for each in parents:
            parent = document["definitions"][_name(parent["properties"][each]["$ref"])]
        if "$ref" not in parent["properties"][name]:
            parent["properties"][name]["description"] = description


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield _name(value["$ref"])
        value = list(value.values())
    for each in value if isinstance(value, list) else ():
        yield from _references(each)


def _used(properties: Schema, definitions: dict[str, Schema]) -> dict[str, Schema]:
    found: dict[str, Schema] = {}
    waiting = list(_references(properties))
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = definitions[name]
            waiting.extend(_references(definitions[name]))
    return found
