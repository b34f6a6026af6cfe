"""The objects of a release: what each is called, what it is for, and what stands in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.config import file
from app.settings import CommonSettings, Settings, WatchSettings
from tests.chart.helm import CHART, NAMESPACE, Document, Helm, one
from tests.chart.rendered import CI, CLUSTER_WIDE, container, options, pod_templates, rendered, values_of

SECTIONS = ("customPlaybooks", "sinksConfig", "record", "globalConfig")
EVERY = pytest.mark.parametrize("name", CI)


def configuration(documents: Sequence[Document], name: str = "kubewitness") -> str:
    return str(one(documents, "ConfigMap", name)["data"]["kubewitness.yaml"])


def server_options(documents: Sequence[Document], name: str = "kubewitness") -> dict[str, str]:
    return options(container(documents, name)["args"])


def written(model: type[CommonSettings], arguments: Sequence[str]) -> dict[str, Any]:
    """Return what the program understands of these arguments; an unknown one is an error."""
    given = {name.replace("-", "_"): value for name, value in options(arguments).items()}
    assert set(given) <= set(model.model_fields), set(given) - set(model.model_fields)
    return model.model_validate(given).model_dump()


@EVERY
def test_helm_finds_nothing_to_say_about_the_chart(helm: Helm, name: str) -> None:
    printed = helm.run("lint", "--strict", str(CHART), f"--values={CI[name]}", f"--namespace={NAMESPACE}")

    assert "0 chart(s) failed" in printed
    assert "[WARNING]" not in printed


@EVERY
def test_every_object_says_where_it_is_and_whose(helm: Helm, name: str) -> None:
    for document in rendered(helm, name):
        metadata = document["metadata"]
        assert ("namespace" not in metadata) == (document["kind"] in CLUSTER_WIDE), metadata
        assert metadata["labels"]["app.kubernetes.io/managed-by"] == "Helm"
        assert metadata["labels"]["app.kubernetes.io/instance"] == "kubewitness"
        assert metadata["labels"]["app.kubernetes.io/component"] in {"server", "watcher", "hook", "test"}


@EVERY
def test_no_two_objects_have_the_same_name(helm: Helm, name: str) -> None:
    named = [
        (each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in rendered(helm, name)
    ]

    assert len(named) == len(set(named))


@EVERY
def test_selectors_find_the_pods_and_carry_no_version(helm: Helm, name: str) -> None:
    documents = rendered(helm, name)
    pods = {owner: template["metadata"]["labels"] for owner, template in pod_templates(documents)}

    for document in documents:
        if document["kind"] in {"StatefulSet", "Service"}:
            selector = document["spec"]["selector"]
            wanted = selector.get("matchLabels", selector)
            assert set(wanted) == {f"app.kubernetes.io/{part}" for part in ("name", "instance", "component")}
            assert any(wanted.items() <= labels.items() for labels in pods.values())


@EVERY
def test_pods_and_claims_have_no_label_that_a_new_chart_would_change(helm: Helm, name: str) -> None:
    for document in rendered(helm, name):
        if document["kind"] == "StatefulSet":
            spec = document["spec"]
            parts = [spec["template"], *spec.get("volumeClaimTemplates", ())]
            assert not any("version" in key or "chart" in key for part in parts for key in part["metadata"]["labels"])


@EVERY
def test_the_configuration_is_what_the_values_say(helm: Helm, name: str) -> None:
    values = values_of(name)
    label = values.get("fullnameOverride", "kubewitness")

    said = yaml.safe_load(configuration(rendered(helm, name), label))

    assert said == {"customPlaybooks": [], "sinksConfig": [], "record": {}, "globalConfig": {}} | {
        section: values[section] for section in SECTIONS if section in values
    }


@EVERY
def test_the_program_takes_the_configuration(helm: Helm, name: str, tmp_path: Path) -> None:
    label = values_of(name).get("fullnameOverride", "kubewitness")
    path = tmp_path / "kubewitness.yaml"
    path.write_text(configuration(rendered(helm, name), label), "utf-8")

    file.load(path, {"RECEIVER_URL": "http://receiver.example"})


def test_texts_that_look_like_something_else_stay_texts(helm: Helm, tmp_path: Path) -> None:
    texts = [
        "yes",
        "on",
        "0755",
        "1e3",
        "12:30",
        "190:20:30",
        "2026-11-22",
        "null",
        "~",
        "{{ env.A }}",
        "a: b",
        " x ",
        "#",
        "é\n\nb",
    ]
    sinks = [{"stdout_sink": {"name": text}} for text in texts]

    documents = helm.template({"sinksConfig": sinks, "globalConfig": {"cluster_name": "{{ .Release.Name }}"}})

    said = yaml.safe_load(configuration(documents))
    assert said["sinksConfig"] == sinks
    assert said["globalConfig"]["cluster_name"] == "{{ .Release.Name }}"


def test_a_section_without_a_value_is_left_to_the_program(helm: Helm) -> None:
    documents = helm.template({"customPlaybooks": None, "sinksConfig": None, "record": None, "globalConfig": None})

    assert not yaml.safe_load(configuration(documents))


def test_a_new_configuration_restarts_no_pod(helm: Helm) -> None:
    before, after = rendered(helm, "default"), rendered(helm, "seed")
    values = {key: value for key, value in values_of("seed").items() if key != "env"}

    assert one(helm.template(values), "StatefulSet") == one(before, "StatefulSet") != one(after, "StatefulSet")


def test_the_configuration_is_mounted_as_a_folder_that_follows_the_config_map(helm: Helm) -> None:
    mounts = container(rendered(helm, "default"), "kubewitness")["volumeMounts"]

    (mount,) = [each for each in mounts if each["name"] == "config"]
    assert mount == {"name": "config", "mountPath": "/etc/kubewitness/config", "readOnly": True}


@EVERY
def test_the_server_is_started_with_options_that_it_knows(helm: Helm, name: str) -> None:
    label = values_of(name).get("fullnameOverride", "kubewitness")

    command, *arguments = container(rendered(helm, name), label)["args"]

    assert command == "serve"
    understood = written(Settings, arguments)
    assert understood["secret"] == understood["webhook_configuration"] == understood["tls_service"] == label
    assert (understood["admission_port"], understood["console_port"]) == (10250, 8080)
    assert understood["console_host"] == "0.0.0.0"


def test_the_separate_watcher_is_started_with_options_that_it_knows(helm: Helm) -> None:
    command, *arguments = container(rendered(helm, "separate-watcher"), "witness-watcher")["args"]

    assert command == "watch"
    understood = written(WatchSettings, arguments)
    assert understood["lease_name"] == "witness-watcher"
    assert str(understood["ledger_url"]).startswith("http://witness.kubewitness.svc:8080")
    assert str(understood["ledger_token_file"]) == "/etc/kubewitness/secret/console-token"
    assert understood["console_port"] == 8080


def test_numbers_reach_the_program_as_they_were_written(helm: Helm) -> None:
    managed = {"leafSeconds": 1000000, "authoritySeconds": 315360000, "overlapSeconds": 3600}
    values = {"certificates": {"managed": managed}, "retention": {"days": 1000000, "size": 5368709120}}

    understood = written(Settings, container(helm.template(values), "kubewitness")["args"][1:])

    assert understood["tls_authority_seconds"] == 315360000
    assert (understood["tls_leaf_seconds"], understood["tls_overlap_seconds"]) == (1000000, 3600)
    assert (understood["retention_days"], understood["retention_size"]) == (1000000, 5368709120)


def test_numbers_of_the_command_line_do_so_too(helm: Helm) -> None:
    documents = helm.template(
        options=["--set=retention.size=5368709120,certificates.managed.authoritySeconds=99000000"]
    )

    said = server_options(documents)

    assert (said["retention-size"], said["tls-authority-seconds"]) == ("5368709120", "99000000")


def test_the_server_watches_jobs_unless_another_does_or_nobody(helm: Helm) -> None:
    assert server_options(rendered(helm, "default"))["lease-name"] == "kubewitness-watcher"
    assert server_options(rendered(helm, "default"))["watch"] == "true"
    for name, label in (("separate-watcher", "witness"), ("operations", "kubewitness")):
        assert not {"watch", "lease-name"} & set(server_options(rendered(helm, name), label))


def test_leases_are_there_for_whoever_watches_and_empty(helm: Helm) -> None:
    def leases(name: str) -> list[str]:
        found = [each for each in rendered(helm, name) if each["kind"] == "Lease"]
        assert not any("spec" in each for each in found)
        return [each["metadata"]["name"] for each in found]

    assert leases("default") == ["kubewitness-watcher", "kubewitness-watcher-failed-jobs"]
    assert leases("separate-watcher") == ["witness-watcher", "witness-watcher-failed-jobs"]
    assert leases("operations") == []


@EVERY
def test_the_secret_is_there_and_none_of_its_data_is_helms(helm: Helm, name: str) -> None:
    secret = one(rendered(helm, name), "Secret")

    assert not {"data", "stringData", "immutable"} & set(secret)
    assert secret["type"] == "Opaque"


def test_the_services_lead_to_ports_that_the_server_opens(helm: Helm) -> None:
    documents = rendered(helm, "default")
    ports = {each["name"]: each["containerPort"] for each in container(documents, "kubewitness")["ports"]}

    service = one(documents, "Service", "kubewitness")["spec"]["ports"]
    assert {each["name"]: (each["port"], ports[each["targetPort"]]) for each in service} == {
        "admission": (443, 10250),
        "console": (8080, 8080),
    }
    assert one(documents, "Service", "kubewitness-replicas")["spec"]["clusterIP"] == "None"


@EVERY
def test_every_port_says_its_protocol(helm: Helm, name: str) -> None:
    """Before Kubernetes 1.21 a server-side apply, which is Helm 4's, refuses ports without one."""
    for document in rendered(helm, name):
        if document["kind"] == "Service":
            assert all(port["protocol"] == "TCP" for port in document["spec"]["ports"])
    for _, template in pod_templates(rendered(helm, name)):
        for each in template["spec"]["containers"]:
            assert all(port["protocol"] == "TCP" for port in each.get("ports", ()))


def test_the_webhook_calls_the_service_and_never_forbids_by_default(helm: Helm) -> None:
    (webhook,) = one(rendered(helm, "default"), "ValidatingWebhookConfiguration")["webhooks"]

    assert webhook["name"] == "changes.kubewitness.svc"
    assert webhook["clientConfig"] == {
        "service": {"name": "kubewitness", "namespace": NAMESPACE, "port": 443, "path": "/validate"}
    }
    assert (webhook["failurePolicy"], webhook["timeoutSeconds"]) == ("Ignore", 2)
    assert (webhook["sideEffects"], webhook["matchPolicy"]) == ("NoneOnDryRun", "Equivalent")
    assert webhook["admissionReviewVersions"] == ["v1"]
    assert webhook["rules"]


def test_the_own_namespace_and_the_excluded_ones_are_left_out(helm: Helm) -> None:
    documents = helm.template({"webhook": {"excludedNamespaces": ["kube-system", "kubewitness"]}})

    (webhook,) = one(documents, "ValidatingWebhookConfiguration")["webhooks"]

    assert webhook["namespaceSelector"] == {
        "matchExpressions": [
            {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kubewitness", "kube-system"]}
        ]
    }


def test_aks_is_told_to_leave_the_webhook_as_it_is(helm: Helm) -> None:
    configuration = one(rendered(helm, "default"), "ValidatingWebhookConfiguration")

    assert configuration["metadata"]["annotations"]["admissions.enforcer/disabled"] == "true"


def test_provided_certificates_are_served_and_their_authority_is_registered(helm: Helm) -> None:
    documents, values = rendered(helm, "provided-certificates"), values_of("provided-certificates")["certificates"]
    statefulset, (webhook,) = (
        one(documents, "StatefulSet"),
        one(documents, "ValidatingWebhookConfiguration")["webhooks"],
    )

    said = server_options(documents)
    (volume,) = [each for each in statefulset["spec"]["template"]["spec"]["volumes"] if each["name"] == "tls"]

    assert (said["tls-source"], said["tls-dir"]) == ("files", "/etc/kubewitness/tls")
    assert not any(name.endswith("-seconds") for name in said)
    assert volume["secret"]["secretName"] == values["provided"]["secretName"]
    bundle = yaml.safe_load(f"!!binary {webhook['clientConfig']['caBundle']}")
    assert bundle.decode() == values["provided"]["caBundle"]


def test_managed_certificates_need_no_file(helm: Helm) -> None:
    said = server_options(rendered(helm, "default"))

    assert said["tls-source"] == "secret"
    assert "tls-dir" not in said


def test_the_journal_is_kept_in_a_claim_of_the_size_and_class_of_the_values(helm: Helm) -> None:
    statefulset = one(helm.template({"persistence": {"size": "20Gi", "storageClassName": "fast"}}), "StatefulSet")

    (claim,) = statefulset["spec"]["volumeClaimTemplates"]

    assert claim["metadata"]["name"] == "data"
    assert claim["spec"]["storageClassName"] == "fast"
    assert claim["spec"]["resources"]["requests"]["storage"] == "20Gi"
    assert "persistentVolumeClaimRetentionPolicy" not in statefulset["spec"]


def test_without_persistence_the_journal_has_a_bounded_folder_of_its_pod(helm: Helm) -> None:
    statefulset = one(rendered(helm, "no-persistence"), "StatefulSet")

    (data,) = [each for each in statefulset["spec"]["template"]["spec"]["volumes"] if each["name"] == "data"]

    assert data["emptyDir"] == {"sizeLimit": "1Gi"}
    assert "volumeClaimTemplates" not in statefulset["spec"]


def test_a_digest_comes_before_a_tag(helm: Helm) -> None:
    digest = values_of("no-persistence")["image"]["digest"]

    assert container(rendered(helm, "no-persistence"), "kubewitness")["image"].endswith(f"kubewitness@{digest}")
    assert re.search(r":\d+\.\d+\.\d+", container(rendered(helm, "default"), "kubewitness")["image"])


@EVERY
def test_all_pods_have_the_same_image_and_its_credentials(helm: Helm, name: str) -> None:
    found = [template["spec"] for _, template in pod_templates(rendered(helm, name))]
    images = {each["image"] for spec in found for each in spec["containers"]}
    credentials = {str(spec.get("imagePullSecrets")) for spec in found}

    assert len(images) == len(credentials) == 1


@pytest.mark.parametrize("owner", ["witness", "witness-watcher"])
def test_server_and_watcher_get_what_sinks_need(helm: Helm, owner: str) -> None:
    values, documents = values_of("separate-watcher"), rendered(helm, "separate-watcher")
    (template,) = [each for name, each in pod_templates(documents) if name == owner]
    only = container(documents, owner)

    assert only["envFrom"] == values["envFrom"]
    assert values["extraVolumes"][0] in template["spec"]["volumes"]
    assert values["extraVolumeMounts"][0] in only["volumeMounts"]
    assert values["podLabels"].items() <= template["metadata"]["labels"].items()
    assert values["podAnnotations"].items() <= template["metadata"]["annotations"].items()
    assert one(documents, "ServiceAccount", owner)["metadata"]["annotations"] == values["serviceAccount"]["annotations"]


@EVERY
def test_all_pods_may_run_where_the_values_say(helm: Helm, name: str) -> None:
    values = values_of(name)
    for _, template in pod_templates(rendered(helm, name)):
        for key in ("nodeSelector", "tolerations", "priorityClassName"):
            assert template["spec"].get(key) == values.get(key)


@EVERY
def test_every_mount_has_its_volume(helm: Helm, name: str) -> None:
    for document in rendered(helm, name):
        claims = {each["metadata"]["name"] for each in document.get("spec", {}).get("volumeClaimTemplates", ())}
        for _, template in pod_templates([document]):
            volumes = {each["name"] for each in template["spec"]["volumes"]} | claims
            assert {each["name"] for each in template["spec"]["containers"][0]["volumeMounts"]} == volumes


def test_a_release_of_another_name_and_namespace_names_all_its_objects_by_it(helm: Helm) -> None:
    documents = helm.template({}, release="audit", namespace="security")

    assert {each["metadata"]["name"] for each in documents if each["kind"] == "Service"} == {
        "audit-kubewitness",
        "audit-kubewitness-replicas",
    }
    (webhook,) = one(documents, "ValidatingWebhookConfiguration")["webhooks"]
    assert webhook["clientConfig"]["service"]["name"] == "audit-kubewitness"
    assert webhook["clientConfig"]["service"]["namespace"] == "security"
    assert all(each["metadata"]["name"].startswith("audit-kubewitness") for each in documents)


def test_a_long_name_leaves_room_for_endings(helm: Helm) -> None:
    documents = helm.template({}, release="a" * 53)

    assert max(len(each["metadata"]["name"]) for each in documents) <= 63
