"""`kubewitness route test`: who would be told, who would not, and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from typer.testing import CliRunner, Result

from app.cli.main import app
from app.core.change import Actor, Entry, FieldChange, Resource, User
from tests.builders import RECORDED_REVIEWS, entry_of, make_body, recorded_review
from tests.cli.commands import harmful, kubewitness
from tests.cli.ledger import HOSTILE, append, hostile_entry

CONFIG = """
customPlaybooks:
- name: images
  triggers: [on_deployment_update: {}]
  actions: [resource_babysitter: {fields_to_monitor: [images]}]
- name: pods
  triggers: [on_pod_create: {}, on_job_failure: {name_prefix: day}]
  actions: [create_finding: {title: "$name", aggregation_key: pods}]
- name: jobs
  triggers: [on_job_failure: {}]
  actions: [create_finding: {title: "$name failed", aggregation_key: job_failure}, job_info_enricher: {}]
sinksConfig:
- stdout_sink: {name: shop-only, scope: {include: [{namespace: shop}]}}
- stdout_sink: {name: owned, scope: {exclude: [{annotations: owner=nobody}]}, default: true}
- webhook_sink: {name: weekend, url: "https://hook.example.com/s3cret", activity: {intervals: [{days: [sat, sun]}]}}
- stdout_sink: {name: paged, default: false}
globalConfig: {cluster_name: production, console_url: "https://witness.example.com"}
"""
IMAGE = RECORDED_REVIEWS / "deployment-update-set-image.json"
MONDAY, SUNDAY = "2026-11-23T12:00:00Z", "2026-11-22T12:00:00Z"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return path


def route(target: object, config: Path, *options: object, at: str = MONDAY) -> Result:
    return kubewitness("route", "test", target, "--config", config, *(("--at", at) if at else ()), *options)


def answer(target: object, config: Path, *options: object, at: str = MONDAY) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(route(target, config, "-o", "json", *options, at=at).stdout)
    return found


def lines(result: Result) -> list[str]:
    return [" ".join(line.split()) for line in result.stdout.splitlines() if line.strip()]


def test_a_review_is_explained_from_the_playbooks_to_the_answer(config: Path) -> None:
    result = route(IMAGE, config)

    assert result.exit_code == 0
    assert lines(result) == [
        "UPDATE Deployment/default/web in production by admin with kubectl-set",
        "as of 2026-11-23 12:00:00 +0000",
        "PLAYBOOK TRIGGER FIRES WHY",
        "images on_deployment_update yes",
        "pods on_pod_create no it is about CREATE, and this is UPDATE",
        "on_job_failure no it is about failed Jobs, and this is a change",
        "jobs on_job_failure no it is about failed Jobs, and this is a change",
        "INFO Deployment/default/web updated ConfigurationChange/KubernetesResource/Change, CONF_CHANGE, by images",
        "SINK TOLD WHY",
        "shop-only no no item of scope.include matches: [0] namespace 'default' does not match 'shop'",
        "owned yes",
        "weekend no not active on mon at 12:00 UTC",
        "paged no the playbook names no sinks, and this one has default: false",
        "1 sink would be told: owned",
    ]


def test_programs_get_the_rule_the_attribute_and_the_patterns(config: Path) -> None:
    found = answer(IMAGE, config)

    (finding,) = found["playbooks"][0]["findings"]
    assert found["told"] == ["owned"]
    assert (finding["severity"], finding["identifier"]) == ("INFO", "ConfigurationChange/KubernetesResource/Change")
    assert finding["sinks"][0] == {
        "sink": "shop-only",
        "takes": False,
        "refusal": {
            "rule": "scope.include",
            "text": "no item of scope.include matches: [0] namespace 'default' does not match 'shop'",
            "attribute": "namespace",
            "patterns": ["shop"],
        },
    }
    assert finding["sinks"][1] == {"sink": "owned", "takes": True}
    assert yaml.safe_load(route(IMAGE, config, "-o", "yaml").stdout)["told"] == ["owned"]


def test_the_moment_decides_who_is_active(config: Path) -> None:
    assert answer(IMAGE, config, at=SUNDAY)["told"] == ["owned", "weekend"]


def test_a_review_may_be_yaml_and_come_from_standard_input(config: Path, tmp_path: Path) -> None:
    path = tmp_path / "review.yaml"
    path.write_text(yaml.safe_dump(json.loads(IMAGE.read_text())))
    arguments = ["route", "test", "-", "--config", str(config), "--at", MONDAY, "-o", "json"]

    piped = CliRunner().invoke(app, arguments, input=path.read_bytes())

    assert json.loads(piped.stdout)["told"] == answer(path, config)["told"] == ["owned"]


def test_one_sink_is_asked_and_what_it_would_get_is_shown(config: Path) -> None:
    result = route(IMAGE, config, "--sink", "owned")
    message = json.loads(result.stdout.split("what owned would get:\n")[1].partition("\n")[0])

    assert result.exit_code == 0
    assert "shop-only" not in result.stdout
    assert message["finding"]["title"] == "Deployment/default/web updated"
    assert message["entry"]["cluster"] == "production"


def test_what_every_taker_would_get_is_shown_without_any_credential(config: Path) -> None:
    found = answer(IMAGE, config, "--render", at=SUNDAY)

    sinks = {each["sink"]: each for each in found["playbooks"][0]["findings"][0]["sinks"]}
    assert "message" not in sinks["paged"]
    assert sinks["weekend"]["message"]["finding"]["title"] == "Deployment/default/web updated"
    assert "s3cret" not in json.dumps(found)


def test_a_sink_that_would_not_be_told_is_exit_code_3(config: Path) -> None:
    result = route(IMAGE, config, "--sink", "weekend")

    assert result.exit_code == 3
    assert lines(result)[-1] == "weekend would not be told"


def test_nobody_is_exit_code_3_and_the_reason_is_said(config: Path) -> None:
    result = route(RECORDED_REVIEWS / "deployment-scale-subresource.json", config)

    assert result.exit_code == 3
    assert "images on_deployment_update yes" in lines(result)
    assert "tells nothing no field changed that resource_babysitter monitors" in lines(result)
    assert lines(result)[-1] == "nobody would be told"


def test_of_a_dry_run_nobody_is_told(config: Path, tmp_path: Path) -> None:
    path = tmp_path / "review.json"
    path.write_bytes(make_body(dryRun=True, **json_request("deployment-update-set-image", "object", "oldObject")))

    result = route(path, config)

    assert result.exit_code == 3
    assert "note: it is a dry run: nothing is stored, and nobody is told, whatever stands here" in lines(result)


def json_request(name: str, *fields: str) -> dict[str, Any]:
    request = json.loads((RECORDED_REVIEWS / f"{name}.json").read_text())["request"]
    return {field: request[field] for field in fields}


def test_a_change_that_is_not_recorded_is_said_to_be_none(config: Path) -> None:
    result = route(RECORDED_REVIEWS / "deployment-update-managed-fields-only.json", config)

    assert result.exit_code == 3
    assert "note: it does not enter the ledger: nothing changed" in lines(result)


def test_labels_of_the_namespace_can_be_given(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG.replace("{namespace: shop}", "{namespace_labels: team=sales}"))

    unknown, given = answer(IMAGE, path), answer(IMAGE, path, "--namespace-label", "team=sales")

    assert (unknown["told"], given["told"]) == (["owned"], ["shop-only", "owned"])
    sink = unknown["playbooks"][0]["findings"][0]["sinks"][0]
    assert sink["undecided"] == ["namespace_labels"]
    assert sink["refusal"]["text"].endswith("[0] namespace_labels is not known")


def in_ledger(folder: Path, *entries: Entry) -> list[str]:
    return [entry.id for entry in append(folder / "data", list(entries))]


def test_an_entry_of_the_ledger_is_found_by_the_beginning_of_its_id(config: Path, tmp_path: Path) -> None:
    (identifier,) = in_ledger(tmp_path, entry_of(recorded_review("deployment-update-set-image")))

    result = route(identifier[:18], config, "--data-dir", tmp_path / "data")

    assert result.exit_code == 0
    assert "owned yes? not certain: annotations not known" in lines(result)
    assert lines(result)[2].startswith("note: an entry of an update holds what changed, not the object")
    assert lines(result)[-1] == "1 sink would be told: owned"


@pytest.mark.parametrize(("field", "word"), [("story", "follows from"), ("repeat_of", "repeats")])
def test_an_entry_that_the_noise_rules_concerned_says_so(config: Path, tmp_path: Path, field: str, word: str) -> None:
    entry = entry_of(recorded_review("deployment-update-set-image"))
    path = tmp_path / "entry.json"
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(entry, **{field: "01a203ca"})))

    told = "sinks that were told of that one were not told of this one, whatever stands here"
    assert f"note: it {word} entry 01a203ca: {told}" in lines(route(path, config))


def test_an_entry_counts_at_its_own_time(config: Path, tmp_path: Path) -> None:
    entry = msgspec.structs.replace(entry_of(recorded_review("deployment-update-set-image")), at=SUNDAY)
    path = tmp_path / "entry.json"
    path.write_bytes(msgspec.json.encode(entry))

    assert answer(path, config, at="")["told"] == ["owned", "weekend"]


@pytest.mark.parametrize("output", ["json", "yaml"])
def test_an_entry_is_read_as_entries_show_prints_it(config: Path, tmp_path: Path, output: str) -> None:
    (identifier,) = in_ledger(tmp_path, entry_of(recorded_review("deployment-update-set-image")))
    path = tmp_path / f"entry.{output}"
    path.write_text(kubewitness("entries", "show", identifier, "-o", output, "--data-dir", tmp_path / "data").stdout)

    assert answer(path, config)["told"] == ["owned"]


JOB = Path(__file__).parents[1] / "data" / "jobs" / "k8s-1.20" / "job-backoff-limit.json"


def failed_job() -> Entry:
    document = json.loads(JOB.read_text())
    return Entry(
        id="01890f3a-0000-7000-8000-000000000000",
        at=MONDAY,
        operation="FAILED",
        outcome="observed",
        resource=Resource(group="batch", version="v1", kind="Job", resource="jobs", namespace="shop", name="nightly"),
        user=User(),
        actor=Actor(kind="controller"),
        changes=(FieldChange("status.conditions[Failed]", "add", new="BackoffLimitExceeded"),),
        object=document,
    )


def test_the_entry_of_a_failed_job_is_explained(config: Path, tmp_path: Path) -> None:
    path = tmp_path / "entry.json"
    path.write_bytes(msgspec.json.encode(failed_job()))

    result = route(path, config, "--sink", "owned")
    message = json.loads(result.stdout.split("what owned would get:\n")[1].partition("\n")[0])

    assert result.exit_code == 0
    assert "pods on_job_failure no the name does not begin with 'day'" in lines(result)
    assert "jobs on_job_failure yes" in lines(result)
    assert "BackoffLimitExceeded" in message["finding"]["description"]
    assert message["finding"]["blocks"]


def test_hostile_text_is_harmless(config: Path, tmp_path: Path) -> None:
    fields = hostile_entry() | {
        "resource": Resource(kind="Deployment", group="apps", resource="deployments", name=HOSTILE)
    }
    fields["changes"] = (FieldChange("spec.template.spec.containers[x].image", "replace", HOSTILE, HOSTILE),)
    path = tmp_path / "entry.json"
    path.write_bytes(msgspec.json.encode(Entry(id="1", at=MONDAY, **fields)))
    config.write_text(CONFIG.replace("namespace: shop", "name: x, user: x"))

    for options in ((), ("--render",), ("--render", "-o", "json"), ("-o", "yaml")):
        result = route(path, config, *options)
        assert result.exit_code == 0, result.output
        assert harmful(result.stdout) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "entry.yaml:1:2: is not valid YAML"),
        ("items: []", "holds neither an AdmissionReview nor one entry"),
        ("[]", "holds neither an AdmissionReview nor one entry"),
        ("request: {}", "entry.yaml: the AdmissionReview has no request.uid"),
        ("{operation: UPDATE, resource: [], user: {}}", "entry.yaml: is no entry"),
    ],
)
def test_a_file_that_says_nothing_is_told_in_one_line(config: Path, tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "entry.yaml"
    path.write_text(content)

    result = route(path, config)

    assert result.exit_code == 1
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("absent.json", "absent.json: there is no such file"),
        ("nonsense!", "'nonsense!' is neither a file nor the beginning of an entry's id"),
        ("ffffffff", "no entries begin with 'ffffffff'"),
    ],
)
def test_what_is_not_there_is_said(config: Path, tmp_path: Path, target: str, message: str) -> None:
    in_ledger(tmp_path, entry_of(recorded_review("configmap-update")))

    result = route(target, config, "--data-dir", tmp_path / "data")

    assert result.exit_code == 1
    assert message in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--sink", "owend"), "no sink is named 'owend'; did you mean owned?"),
        (("--at", "someday"), "'someday' is not a time"),
        (("--namespace-label", "team"), "'team' is no label; write key=value"),
    ],
)
def test_wrong_usage_is_exit_code_2(config: Path, options: tuple[str, ...], message: str) -> None:
    result = route(IMAGE, config, *options, at="")

    assert result.exit_code == 2
    assert message in result.stderr


def test_without_a_configuration_it_says_how_to_name_one() -> None:
    result = kubewitness("route", "test", IMAGE)

    assert result.exit_code == 2
    assert "name one with --config, or set KUBEWITNESS_CONFIG" in result.stderr


def test_a_configuration_with_a_problem_is_told_as_ever(config: Path) -> None:
    config.write_text("customPlaybok: []\n")

    result = route(IMAGE, config)

    assert result.exit_code == 1
    assert "config.yaml:1:1: customPlaybok" in result.stderr


def test_nothing_is_written(config: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))

    route(IMAGE, config, "--render", "--data-dir", tmp_path / "data")

    assert sorted(tmp_path.rglob("*")) == before


def test_a_sink_that_the_server_would_leave_out_is_told_and_the_others_are_explained(tmp_path: Path) -> None:
    broken = '- webhook_sink: {name: broken, url: "{{ env.NOT_SET }}"}\n'
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG.replace("globalConfig", f"{broken}globalConfig"))

    result = route(IMAGE, path)

    assert result.exit_code == 0
    assert "config.yaml:17:37: sinksConfig[4].webhook_sink.url" in result.stderr
    assert "the environment variable NOT_SET is not set" in result.stderr
    assert lines(result)[-1] == "1 sink would be told: owned"
