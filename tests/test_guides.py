"""The guides say what the chart and the program can do: their values, commands, files and permissions exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from app.config.file import read
from tests.chart.helm import Helm, one
from tests.pages import (
    CONFIGURATION,
    PAGES,
    VALUES,
    command_of,
    console_lines,
    inline_code,
    kubewitness_commands,
    paths,
    text_of,
    values_blocks,
    yaml_blocks,
)
from tests.reference import DOCUMENTS, ROOT

_VARIABLE: Final = re.compile(r"\{\{ env\.(\w+) \}\}")
_FREE: Final = ("annotations", "labels", "resources", "affinity", "nodeSelector", "podAnnotations", "podLabels")
"""Values whose keys are the user's, whatever the default has."""

_TREES: Final = sorted(key for key, value in VALUES.items() if isinstance(value, dict) and value)
_VALUE: Final = re.compile(rf"(?:{'|'.join(_TREES)})(?:\.\w+)+(?=$|[:= ])")
_SET: Final = re.compile(r"--set(?:-string|-file|-json)? ([\w.]+)=")
_PATH: Final = re.compile(r"(?<![\w./-])(?:app|certs|config|deploy|docs|tests)/[\w./-]*\w")
_MADE: Final = frozenset({"certs/ca.crt", "certs/ca.key", "certs/tls.crt", "certs/tls.key"})
"""Files that commands of the guides write."""


def problems(given: object, known: object, before: str = "") -> Iterator[str]:
    """Yield the paths of what is given and not known; below an empty mapping or a list everything is."""
    if not (isinstance(given, dict) and isinstance(known, dict) and known):
        return
    for key, value in given.items():
        if key not in known:
            yield before + key
        elif key not in _FREE:
            yield from problems(value, known[key], f"{before}{key}.")


def test_a_value_that_there_is_not_is_found() -> None:
    given = {
        "webhook": {"operation": ["UPDATE"]},
        "certificates": {"certManager": {"issuerRef": {"any": 1}}},
        "replica": 2,
    }

    assert list(problems(given, VALUES)) == ["webhook.operation", "replica"]


@pytest.mark.parametrize("text", values_blocks())
def test_every_value_in_the_guides_is_the_charts(text: str) -> None:
    assert list(problems(yaml.safe_load(text), VALUES)) == []


@pytest.mark.parametrize("text", [text for text in values_blocks() if "sinksConfig:" in text])
def test_the_configuration_among_the_values_is_valid(text: str) -> None:
    given: dict[str, Any] = yaml.safe_load(text)
    sections = {key: given[key] for key in given.keys() & CONFIGURATION}
    environ = {each["name"]: "xoxb-1-1-a" for each in given.get("env", [])}

    read(yaml.safe_dump(sections).encode(), "guide", environ).compile()
    assert set(_VARIABLE.findall(text)) == environ.keys()


USE_CASES: Final = [block for block, _ in yaml_blocks() if "name: some_sink_name" in block]


FIRES_ON: Final = {"create": "CREATE", "update": "UPDATE", "delete": "DELETE", "changes": "CREATE UPDATE DELETE"}
"""Operations by the last word of a trigger's name."""


@pytest.mark.parametrize("text", USE_CASES)
def test_api_servers_show_what_the_use_cases_fire_on(text: str, helm: Helm) -> None:
    triggers = re.findall(r"- on_(\w+):", text)
    objects = helm.template(yaml.safe_load(text))
    (webhook,) = one(objects, "ValidatingWebhookConfiguration", "kubewitness")["webhooks"]

    assert triggers
    fires_on = {each for trigger in triggers for each in FIRES_ON.get(trigger.rpartition("_")[2], "").split()}
    assert fires_on <= {operation for rule in webhook["rules"] for operation in rule["operations"]}


def test_there_are_values_for_every_use_case() -> None:
    text = text_of(ROOT / "docs/use-cases.md")

    for trigger in (
        "on_deployment_update",
        "on_job_failure",
        "on_ingress_all_changes",
        "on_secret_all_changes",
        "on_pod_",
    ):
        assert f"- {trigger}" in text


def values_that_are_named() -> set[str]:
    codes = [code for page in PAGES for code in inline_code(text_of(page))]
    set_by_option = [name for line in [*console_lines(), *codes] for name in _SET.findall(line)]
    assert set_by_option
    in_words = [match[0] for code in codes if (match := _VALUE.match(code)) and not match[0].endswith((".yaml", ".md"))]
    return {*set_by_option, *in_words}


def test_every_value_that_a_guide_names_exists() -> None:
    named = values_that_are_named()

    assert {"webhook.operations", "persistence.enabled", "watcher.separate"} <= named
    assert named <= set(paths(VALUES)), named - set(paths(VALUES))


def commands_in_words() -> list[list[str]]:
    codes = [code for page in PAGES for code in inline_code(text_of(page))]
    called = [code.replace("kubectl witness", "kubewitness") for code in codes]
    return sorted({code: code.split() for code in called if code.startswith("kubewitness ")}.values())


@pytest.mark.parametrize("words", commands_in_words(), ids=" ".join)
def test_every_command_that_a_guide_names_exists(words: list[str]) -> None:
    known, path = kubewitness_commands(), command_of(words)
    is_group = any(each.startswith(" ".join(words)) for each in known)

    assert path or is_group, f"there is no command {' '.join(words)!r}"
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known.get(path, set())


def test_every_file_that_a_command_names_exists() -> None:
    named = {path for line in console_lines() for path in _PATH.findall(line)} - _MADE

    assert {"deploy/chart", "deploy/manifests/install.yaml", "deploy/demos/job_crash.yaml"} <= named
    assert {path for path in named if not (ROOT / path).exists()} == set()


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: page.name)
def test_every_guide_can_be_found_from_the_readme(page: Path) -> None:
    assert f"(docs/{page.name}" in text_of(ROOT / "README.md")


def rules(text: str, kind: str) -> list[dict[str, Any]]:
    documents = [each for each in yaml.safe_load_all(text) if each and each["kind"] == kind]
    return [rule for document in documents for rule in document["rules"]]


def permissions(of: list[dict[str, Any]]) -> set[tuple[str, str, str]]:
    return {
        (group, resource, verb)
        for rule in of
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_the_watcher_by_hand_may_do_what_the_charts_may() -> None:
    (by_hand,) = [text for text, _ in yaml_blocks() if "kind: ClusterRole\n" in text]
    charts = text_of(ROOT / "deploy/manifests/install.yaml")
    own, cluster = permissions(rules(by_hand, "Role")), permissions(rules(by_hand, "ClusterRole"))

    # By hand nobody makes the Leases before.
    assert own - permissions(rules(charts, "Role")) == {("coordination.k8s.io", "leases", "create")}
    assert permissions(rules(charts, "ClusterRole")) - cluster == {
        ("admissionregistration.k8s.io", "validatingwebhookconfigurations", verb)
        for verb in ("get", "list", "watch", "patch")
    }
