"""The rights of the service accounts: by name, without wildcards, and none to make or delete anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tests.chart.helm import Document, Helm, one
from tests.chart.rendered import CI, CLUSTER_WIDE, is_hook, rendered

EVERY = pytest.mark.parametrize("name", CI)
Rule = dict[str, Any]

READS = {
    ("batch", "jobs"): {"get", "list", "watch"},
    ("batch", "cronjobs"): {"get"},
    ("", "pods"): {"list", "watch"},
    ("", "pods/log"): {"get"},
    ("", "events"): {"list"},
}
"""What the watcher reads."""


def roles(documents: Sequence[Document]) -> Iterator[Document]:
    return (each for each in documents if each["kind"] in {"Role", "ClusterRole"})


def rules(documents: Sequence[Document], kind: str, name: str) -> list[Rule]:
    return list(one(documents, kind, name)["rules"])


def granted(found: Sequence[Rule]) -> dict[tuple[str, str], set[str]]:
    """Return the verbs by group and resource of rules without names."""
    return {
        (group, resource): set(rule["verbs"])
        for rule in found
        if "resourceNames" not in rule
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


@EVERY
def test_no_rule_has_a_wildcard(helm: Helm, name: str) -> None:
    for role in roles(rendered(helm, name)):
        for rule in role["rules"]:
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            assert rule.get("resourceNames") != []
            assert "nonResourceURLs" not in rule


MADE = (["events"], ["tokenreviews"], ["subjectaccessreviews"])
"""What may be made: the events of a sink, and questions, which are stored nowhere."""


@EVERY
def test_nothing_may_be_made_or_deleted_but_events_and_questions(helm: Helm, name: str) -> None:
    forbidden = {"create", "delete", "deletecollection", "bind", "escalate", "impersonate"}
    for role in roles(rendered(helm, name)):
        if not is_hook(role):
            for rule in role["rules"]:
                found = forbidden & set(rule["verbs"])
                assert not found or (found == {"create"} and rule["resources"] in MADE)


@EVERY
def test_secrets_leases_and_webhooks_are_named(helm: Helm, name: str) -> None:
    guarded = {"secrets", "leases", "validatingwebhookconfigurations"}
    for role in roles(rendered(helm, name)):
        for rule in role["rules"]:
            if guarded & set(rule["resources"]):
                assert rule["resourceNames"]


@EVERY
def test_every_binding_is_of_an_account_and_a_role_of_the_release(helm: Helm, name: str) -> None:
    documents = rendered(helm, name)
    accounts = {each["metadata"]["name"] for each in documents if each["kind"] == "ServiceAccount"}
    for binding in (each for each in documents if each["kind"] in {"RoleBinding", "ClusterRoleBinding"}):
        role = one(documents, binding["roleRef"]["kind"], binding["roleRef"]["name"])
        assert role["metadata"].get("namespace") == binding["metadata"].get("namespace")
        assert is_hook(role) == is_hook(binding)
        assert {each["name"] for each in binding["subjects"]} <= accounts
        assert {each["namespace"] for each in binding["subjects"]} == {"kubewitness"}
        assert (binding["kind"] in CLUSTER_WIDE) == (role["kind"] in CLUSTER_WIDE)


def test_the_server_may_read_and_fill_its_secret_and_keep_its_webhook(helm: Helm) -> None:
    documents = rendered(helm, "operations")

    assert rules(documents, "Role", "kubewitness") == [
        {
            "apiGroups": [""],
            "resources": ["secrets"],
            "resourceNames": ["kubewitness"],
            "verbs": ["get", "list", "watch", "update"],
        }
    ]
    assert rules(documents, "ClusterRole", "kubewitness")[0] == {
        "apiGroups": ["admissionregistration.k8s.io"],
        "resources": ["validatingwebhookconfigurations"],
        "resourceNames": ["kubewitness"],
        "verbs": ["get", "list", "watch", "patch"],
    }


def test_a_server_whose_certificates_others_make_cannot_change_the_webhook(helm: Helm) -> None:
    (rule,) = [
        each
        for each in rules(rendered(helm, "provided-certificates"), "ClusterRole", "kubewitness")
        if "validatingwebhookconfigurations" in each["resources"]
    ]

    assert rule["verbs"] == ["get", "list", "watch"]


@pytest.mark.parametrize(
    ("values", "label"), [("separate-watcher", "witness-watcher"), ("provided-certificates", "kubewitness")]
)
def test_who_signs_nothing_reads_and_fills_the_secret_and_does_not_follow_it(
    helm: Helm, values: str, label: str
) -> None:
    (secret,) = [each for each in rules(rendered(helm, values), "Role", label) if each["resources"] == ["secrets"]]

    assert secret["verbs"] == ["get", "update"]


def test_whoever_watches_has_the_leases_and_reads_what_failures_are_told_with(helm: Helm) -> None:
    for values, label in (("default", "kubewitness"), ("separate-watcher", "witness-watcher")):
        documents = rendered(helm, values)
        prefix = label.removesuffix("-watcher")
        (leases,) = [each for each in rules(documents, "Role", label) if each["resources"] == ["leases"]]

        assert leases["resourceNames"] == [f"{prefix}-watcher", f"{prefix}-watcher-failed-jobs"]
        assert leases["verbs"] == ["get", "update"]
        assert granted(rules(documents, "ClusterRole", label)) == READS


def test_a_server_that_does_not_watch_reads_no_jobs(helm: Helm) -> None:
    documents = rendered(helm, "separate-watcher")

    assert not granted(rules(documents, "ClusterRole", "witness"))
    assert {each["resources"][0] for each in rules(documents, "Role", "witness")} == {"secrets"}


def test_namespaces_and_events_are_granted_where_the_configuration_asks_for_them(helm: Helm) -> None:
    assert granted(rules(rendered(helm, "operations"), "ClusterRole", "kubewitness")) == {
        ("", "namespaces"): {"list", "watch"},
        ("", "events"): {"create"},
    }
    assert ("", "namespaces") not in granted(rules(rendered(helm, "default"), "ClusterRole", "kubewitness"))


def test_a_separate_watcher_gets_them_too(helm: Helm) -> None:
    sinks = [{"kubernetes_event_sink": {"name": "events", "scope": {"include": [{"namespace_labels": ["a=b"]}]}}}]

    documents = helm.template({"watcher": {"separate": True}, "sinksConfig": sinks})

    for label in ("kubewitness", "kubewitness-watcher"):
        found = rules(documents, "ClusterRole", label)
        assert {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]} in found
        assert {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["list", "watch"]} in found


def test_users_of_the_cluster_are_asked_about_only_where_that_is_wanted(helm: Helm) -> None:
    asked = {("authentication.k8s.io", "tokenreviews"), ("authorization.k8s.io", "subjectaccessreviews")}

    assert asked <= granted(rules(rendered(helm, "console-access"), "ClusterRole", "kubewitness")).keys()
    assert not asked & granted(rules(rendered(helm, "default"), "ClusterRole", "kubewitness")).keys()


def test_whoever_may_view_a_namespace_may_see_its_entries(helm: Helm) -> None:
    role = one(rendered(helm, "console-access"), "ClusterRole", "kubewitness-view")

    assert role["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-view"] == "true"
    assert role["rules"] == [{"apiGroups": ["kubewitness.io"], "resources": ["entries"], "verbs": ["get"]}]
    assert not [each for each in rendered(helm, "default") if each["metadata"]["name"] == "kubewitness-view"]
