"""values.schema.json takes what the program takes, and refuses what it refuses, in words that fit on a terminal."""

from __future__ import annotations

import base64
import gzip
import json
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema_rs
import msgspec
import pytest
import yaml

from app.config.file import read
from app.config.problems import ConfigError
from app.core.triggers import TRIGGERS
from app.sinks.registry import OTHER_KEYS, SINKS
from tests.chart.helm import CHART, ROOT, Helm, HelmError
from tests.chart.rendered import CI
from tests.config.test_robusta_yaml import BLOCKS

SCHEMA = json.loads((CHART / "values.schema.json").read_text("utf-8"))
DEFAULTS = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
EXAMPLES = [*sorted((ROOT / "config").glob("*.yaml")), *sorted((ROOT / "config" / "sinks").glob("*.yaml"))]

IMAGE_CHANGE = """
    customPlaybooks:
    - triggers:
        - on_deployment_update: {}
      actions:
        - resource_babysitter:
            omitted_fields: []
            fields_to_monitor: ["images"]
      sinks:
      - some_sink_name #Optional
"""
FAILED_JOB = """
    customPlaybooks:
    - triggers:
      - on_job_failure: {}  # (1)
      actions:
      - create_finding: # (2)
          title: "Job Failed"
          aggregation_key: "job_failure"
      - job_info_enricher: {} # (3)
      - job_events_enricher: {} # (4)
      - job_pod_enricher: {} # (5)
      sinks:
      - some_sink_name
"""


@pytest.fixture(scope="module")
def validator() -> jsonschema_rs.Draft7Validator:
    return jsonschema_rs.Draft7Validator(SCHEMA)


def values(text: str) -> Any:
    return yaml.safe_load(textwrap.dedent(text))


def whole(given: Any, defaults: Any = DEFAULTS) -> Any:
    """Return values as Helm checks them: with the defaults, and without the defaults that somebody left blank."""
    if not isinstance(given, dict) or not isinstance(defaults, dict):
        return given
    filled = {key: whole(each, defaults.get(key)) for key, each in given.items()}
    return {key: each for key, each in (defaults | filled).items() if each is not None or key not in defaults}


def test_it_is_a_schema_that_every_helm_knows() -> None:
    jsonschema_rs.meta.validate(SCHEMA)

    assert "draft-07" in SCHEMA["$schema"]
    assert "$defs" not in json.dumps(SCHEMA)


@pytest.mark.parametrize("path", [CHART / "values.yaml", *CI.values(), *EXAMPLES], ids=lambda path: path.name)
def test_the_files_of_this_project_are_values(path: Path, validator: jsonschema_rs.Draft7Validator) -> None:
    validator.validate(whole(yaml.safe_load(path.read_text("utf-8")) or {}))


@pytest.mark.parametrize("text", [IMAGE_CHANGE, FAILED_JOB], ids=["image change", "failed job"])
def test_the_playbooks_of_the_tutorial_are_values_to_the_letter(
    text: str, validator: jsonschema_rs.Draft7Validator
) -> None:
    validator.validate(whole(values(text)))


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
def test_sinks_that_people_bring_from_robusta_are_values(block: str, validator: jsonschema_rs.Draft7Validator) -> None:
    validator.validate(whole({"sinksConfig": values(block)}))


@pytest.mark.parametrize("name", TRIGGERS)
def test_every_trigger_is_a_value(name: str, validator: jsonschema_rs.Draft7Validator) -> None:
    parameters = {"group": "example.com", "kind": "Widget"} if name.startswith("on_resource_") else None

    validator.validate(
        whole({"customPlaybooks": [{"triggers": [{name: parameters}], "actions": [{"resource_babysitter": None}]}]})
    )


@pytest.mark.parametrize(
    "text",
    [
        "{customPlaybooks: , sinksConfig: , record: , globalConfig: }",
        "{record: {include: , exclude: }, globalConfig: {redact: , noise: }}",
        "{global: {registry: example.com}}",
        "globalConfig: {cluster_name: '{{ env.CLUSTER }}', console_url: '{{ env.CONSOLE }}'}",
        "globalConfig: {noise: {repeats: '{{ env.REPEATS }}', flapping: false}}",
        "sinksConfig: [{mail_sink: {name: a, host: h, port: '{{ env.PORT }}', from_email: a@x.y, to: 'a@x.y, b@x.y'}}]",
        "sinksConfig: [{webhook_sink: {name: a, url: '{{env.URL}}', format: '{{env.WORD}}', match: {name: [x]}}}]",
        "sinksConfig: [{webhook_sink: {name: a, url: 'http://x', match: {include: [{title: x.*}]}}}]",
        "sinksConfig: [{webhook_sink: {name: a, url: 'http://x', scope: {}, match: }}]",
        "sinksConfig: [{kafka_sink: {name: a, kafka_url: [a, b], topic: '{{ env.T }}', producer_options: {a: 5}}}]",
        "sinksConfig: [{apprise_sink: {name: a, urls: 'json://a json://b'}}]",
        """
        customPlaybooks:
        - triggers: [{on_kubernetes_resource_operation: {operations: [Create, CONNECT]}}]
          actions: [{create_finding: {title: a, aggregation_key: b, severity: high}}]
        - triggers: [{on_kubernetes_resource_operation: {operations: , resources: }}]
          actions: [{resource_babysitter: }]
          stop: 'true'
        """,
    ],
)
def test_what_the_program_reads_in_other_forms_is_a_value(text: str, validator: jsonschema_rs.Draft7Validator) -> None:
    environ = {"CLUSTER": "c", "CONSOLE": "http://c", "REPEATS": "no", "PORT": "25", "WORD": "text", "URL": "http://u"}
    document = {key: each for key, each in values(text).items() if key != "global"}

    read(msgspec.json.encode(document), "values", environ | {"T": "topic"})
    validator.validate(whole(values(text)))


class Refused(NamedTuple):
    values: str
    path: str
    says: str


BABYSITTER = "actions: [{resource_babysitter: {}}]"
REFUSED = {
    "a trigger": Refused(
        f"customPlaybooks: [{{triggers: [{{on_deploymnt_update: {{}}}}], {BABYSITTER}}}]",
        "/customPlaybooks/0/triggers/0",
        "'on_deploymnt_update' not allowed",
    ),
    "an action": Refused(
        "customPlaybooks: [{triggers: [{on_pod_update: {}}], actions: [{resource_babysiter: {}}]}]",
        "/customPlaybooks/0/actions/0",
        "'resource_babysiter' not allowed",
    ),
    "an action's option": Refused(
        "customPlaybooks: [{triggers: [{on_pod_update: {}}], actions: [{resource_babysitter: {fields: [a]}}]}]",
        "/customPlaybooks/0/actions/0/resource_babysitter",
        "'fields' not allowed",
    ),
    "a trigger without its colon": Refused(
        f"customPlaybooks: [{{triggers: [on_pod_update], {BABYSITTER}}}]",
        "/customPlaybooks/0/triggers/0",
        "got string, want object",
    ),
    "no actions": Refused(
        "customPlaybooks: [{triggers: [{on_pod_update: {}}]}]", "/customPlaybooks/0", "missing property 'actions'"
    ),
    "two triggers in one": Refused(
        f"customPlaybooks: [{{triggers: [{{on_pod_update: {{}}, on_pod_create: {{}}}}], {BABYSITTER}}}]",
        "/customPlaybooks/0/triggers/0",
        "maxProperties",
    ),
    "a severity": Refused(
        "customPlaybooks: [{triggers: [{on_pod_update: {}}],"
        " actions: [{create_finding: {title: a, aggregation_key: b, severity: hgh}}]}]",
        "/customPlaybooks/0/actions/0/create_finding/severity",
        "value must be one of 'debug'",
    ),
    "a sink": Refused("sinksConfig: [{slakc_sink: {name: a}}]", "/sinksConfig/0", "'slakc_sink' not allowed"),
    "a sink's option": Refused(
        "sinksConfig: [{stdout_sink: {name: a, formt: json}}]", "/sinksConfig/0/stdout_sink", "'formt' not allowed"
    ),
    "a sink without a name": Refused(
        "sinksConfig: [{stdout_sink: {}}]", "/sinksConfig/0/stdout_sink", "missing property 'name'"
    ),
    "a sink's word": Refused(
        "sinksConfig: [{stdout_sink: {name: a, format: jsn}}]",
        "/sinksConfig/0/stdout_sink/format",
        "value must be one of 'auto', 'text', 'json'",
    ),
    "a sink's number": Refused(
        "sinksConfig: [{mail_sink: {name: a, host: h, to: [a@x.y], port: smtp}}]",
        "/sinksConfig/0/mail_sink/port",
        "'smtp' does not match pattern",
    ),
    "a range": Refused(
        "sinksConfig: [{mail_sink: {name: a, host: h, to: [a@x.y], port: 70000}}]",
        "/sinksConfig/0/mail_sink/port",
        "maximum: got 70,000, want 65,535",
    ),
    "an attribute of a match": Refused(
        "sinksConfig: [{stdout_sink: {name: a, match: {kin: [Pod]}}}]",
        "/sinksConfig/0/stdout_sink/match",
        "'kin' not allowed",
    ),
    "an attribute of a scope": Refused(
        "sinksConfig: [{stdout_sink: {name: a, scope: {include: [{kin: [Pod]}]}}}]",
        "/sinksConfig/0/stdout_sink/scope/include/0",
        "'kin' not allowed",
    ),
    "record": Refused("record: {inclde: []}", "/record", "'inclde' not allowed"),
    "record's truth": Refused("record: {status: maybe}", "/record/status", "'maybe' does not match pattern"),
    "globalConfig": Refused("globalConfig: {cluster_nam: x}", "/globalConfig", "'cluster_nam' not allowed"),
    "noise": Refused(
        "globalConfig: {noise: {flapping: {hold: 1}}}", "/globalConfig/noise/flapping", "'hold' not allowed"
    ),
    "a section": Refused("customPlaybook: []", "", "'customPlaybook' not allowed"),
}
OTHERS = {
    "a value": Refused("replica: 2", "", "'replica' not allowed"),
    "a type": Refused("replicas: two", "/replicas", "got string, want integer"),
    "none at all": Refused("replicas: 0", "/replicas", "minimum"),
    "a word": Refused("webhook: {scope: all}", "/webhook/scope", "one of 'everything', 'playbooks'"),
    "an operation": Refused("webhook: {operations: [update]}", "/webhook/operations/0", "'UPDATE', 'CREATE'"),
    "a subresource": Refused("webhook: {subresources: [scale]}", "/webhook/subresources/0", "'scale' does not match"),
    "a size": Refused("persistence: {size: 8 gigs}", "/persistence/size", "'8 gigs' does not match"),
    "a number left blank": Refused("replicas:", "", "missing property 'replicas'"),
    "operations left blank": Refused("webhook: {operations: }", "/webhook", "missing property 'operations'"),
    "a section left blank": Refused("persistence:", "", "missing property 'persistence'"),
    "a section of a section left blank": Refused("certificates: {managed: }", "/certificates", "missing property"),
    "a tag that YAML reads as a number": Refused("image: {tag: 1.10}", "/image/tag", "got number, want string"),
}


@pytest.mark.parametrize("case", [*REFUSED.values(), *OTHERS.values()], ids=[*REFUSED, *OTHERS])
def test_helm_names_the_place_and_what_is_wrong_with_it(case: Refused, helm: Helm) -> None:
    with pytest.raises(HelmError) as error:
        helm.template(values(case.values))

    first, *_ = [line for line in str(error.value).splitlines() if line.startswith("- at ")]
    assert f"- at '{case.path}': " in first
    assert case.says in first
    assert len(str(error.value)) < 500


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_what_is_refused_is_what_the_program_refuses(case: Refused) -> None:
    with pytest.raises(ConfigError):
        read(case.values.encode(), "values", {})


EMPTY = [place for place, default in DEFAULTS.items() if default in ("", [], {})]


@pytest.mark.parametrize(
    "text",
    [
        *(f"{{{name}: }}" for name in EMPTY),
        "{resources: , watcher: {resources: }}",
        "{image: {tag: , digest: }, persistence: {storageClassName: }}",
        "webhook: {excludedNamespaces: , annotations: }",
        "certificates: {certManager: {issuerRef: }, provided: {secretName: , caBundle: }}",
        "console: {ingress: {enabled: true, host: a.example.com, className: , annotations: , tlsSecretName: }}",
        "{networkPolicy: {enabled: true, console: }, serviceAccount: {annotations: }}",
        "{serviceMonitor: {enabled: true, labels: }, prometheusRule: {enabled: true, labels: }}",
        "dashboard: {enabled: true, labels: }",
    ],
)
def test_what_may_be_empty_may_be_left_blank(text: str, helm: Helm) -> None:
    assert None not in leaves(helm.template(values(text)))


def leaves(value: Any) -> list[Any]:
    inner = value.values() if isinstance(value, dict) else value
    return [leaf for each in inner for leaf in leaves(each)] if isinstance(value, dict | list) else [value]


def test_helm_lint_says_the_same(helm: Helm, tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.write_text(REFUSED["a trigger"].values)

    with pytest.raises(HelmError, match=r"/customPlaybooks/0/triggers/0': .* 'on_deploymnt_update' not allowed"):
        helm.run("lint", str(CHART), f"--values={file}")


def test_every_sink_is_known() -> None:
    assert set(SCHEMA["properties"]["sinksConfig"]["items"]["properties"]) == {*SINKS, *OTHER_KEYS}


def test_every_value_is_known_and_no_other() -> None:
    def keys(properties: dict[str, Any]) -> set[str]:
        found = set()
        for name, each in properties.items():
            definition = SCHEMA["definitions"].get(each.get("$ref", "").rpartition("/")[2], {})
            inner = keys(definition.get("properties", {})) if name not in ("record", "globalConfig") else set()
            found |= {f"{name}.{below}" for below in inner} or {name}
        return found

    def written(mapping: dict[str, Any]) -> set[str]:
        return {
            place
            for name, each in mapping.items()
            for place in ({f"{name}.{below}" for below in written(each)} if isinstance(each, dict) and each else {name})
        }

    schema, file = keys(SCHEMA["properties"]), written(yaml.safe_load((CHART / "values.yaml").read_text("utf-8")))
    free = {"resources", "watcher.resources", "webhook.annotations", "dashboard.labels"}
    issuer = "certificates.certManager.issuerRef"

    assert {name for name in schema if not name.startswith(issuer)} - {"global"} - free == {
        name for name in file if not any(name.startswith(f"{each}.") for each in free) and name != issuer
    }


def test_a_release_has_room_for_it() -> None:
    # Helm keeps the chart in the release's Secret: gzipped, then as base64; a Secret takes 1 MiB.
    content = b"".join(path.read_bytes() for path in CHART.rglob("*") if path.is_file())

    assert len(base64.b64encode(gzip.compress(content))) < 256 * 1024
