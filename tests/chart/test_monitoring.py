"""Alerts, and that Prometheus finds what they are about."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.chart.helm import ROOT, Document, Helm, one
from tests.chart.promql import TARGET, known, parsed, reads, remaining
from tests.chart.rendered import rendered

CASES: Final = Path(__file__).parent / "data" / "alerts.yaml"
MODES: Final[Mapping[str, Mapping[str, Any]]] = {
    "managed": {},
    "cert-manager": {"certificates": {"mode": "certManager"}},
    "provided": {
        "certificates": {
            "mode": "provided",
            "provided": {"secretName": "serving", "caBundle": "-----BEGIN CERTIFICATE-----\n"},
        }
    },
    "no watcher": {"watcher": {"enabled": False}},
    "fail": {"webhook": {"failurePolicy": "Fail"}},
}

_LABEL: Final = re.compile(r"\$labels\.(\w+)")
_HEADING: Final = re.compile(r"^### (\w+)$", re.MULTILINE)


@pytest.fixture(scope="session")
def monitored(helm: Helm) -> Sequence[Document]:
    return rendered(helm, "monitoring")


def groups(documents: Sequence[Document]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = one(documents, "PrometheusRule", "kubewitness")["spec"]["groups"]
    return found


def alerts(documents: Sequence[Document]) -> Iterator[dict[str, Any]]:
    for group in groups(documents):
        yield from group["rules"]


def alerts_of(helm: Helm, values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    documents = helm.template({**values, "prometheusRule": {"enabled": True}})
    return {alert["alert"]: alert for alert in alerts(documents)}


@functools.cache
def alerts_in(helm: Helm, mode: str) -> Mapping[str, dict[str, Any]]:
    return alerts_of(helm, MODES[mode])


def test_nothing_of_it_is_there_by_default(helm: Helm) -> None:
    documents = rendered(helm, "default")

    assert not {document["kind"] for document in documents} & {"ServiceMonitor", "PrometheusRule"}
    assert not any("dashboard" in document["metadata"]["name"] for document in documents)


@pytest.mark.parametrize("mode", MODES)
def test_every_alert_says_how_bad_it_is_and_what_to_do(helm: Helm, mode: str) -> None:
    for name, alert in alerts_in(helm, mode).items():
        assert alert["labels"]["severity"] in {"warning", "critical"}, name
        assert "for" in alert, name
        assert set(alert["annotations"]) == {"summary", "description"}, name
        assert len(alert["annotations"]["summary"]) <= 90, name
        assert re.search(r"kubectl |helm upgrade|write |Write |Put |CPU", alert["annotations"]["description"]), name


@pytest.mark.parametrize("mode", MODES)
def test_every_alert_reads_series_that_there_are_by_labels_that_they_have(helm: Helm, mode: str) -> None:
    series = known()

    for name, alert in alerts_in(helm, mode).items():
        parsed(alert["expr"])
        for read in reads(alert["expr"]):
            assert read.metric in series, name
            assert read.labels <= series[read.metric] | TARGET, name
            own = read.metric.startswith("kubewitness_")
            assert ("namespace" if own else "name") in read.labels or read.metric == "apiserver_request_total", name


def test_every_label_that_an_alert_names_is_one_that_it_has(monitored: Sequence[Document]) -> None:
    for alert in alerts(monitored):
        named = set(_LABEL.findall(" ".join(alert["annotations"].values())))
        assert named <= remaining(alert["expr"]), alert["alert"]


@pytest.mark.parametrize("mode", MODES)
def test_alerts_are_described_in_the_documentation(helm: Helm, mode: str) -> None:
    described = _HEADING.findall((ROOT / "docs" / "alerts.md").read_text("utf-8"))

    assert set(alerts_in(helm, mode)) <= set(described)


def test_the_documentation_describes_no_alert_that_there_is_not(monitored: Sequence[Document]) -> None:
    described = _HEADING.findall((ROOT / "docs" / "alerts.md").read_text("utf-8"))

    assert described == [alert["alert"] for alert in alerts(monitored)]


def test_alerts_are_on_the_namespace_and_the_names_of_the_release(helm: Helm) -> None:
    documents = helm.template({"prometheusRule": {"enabled": True}}, namespace="audit", release="second")
    rules = yaml.safe_dump(one(documents, "PrometheusRule", "second-kubewitness")["spec"])

    assert 'namespace="audit"' in rules
    assert 'pod=~"second-kubewitness-[0-9]+"' in rules
    assert "kubectl -n audit" in rules
    assert 'namespace="kubewitness"' not in rules


@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        pytest.param({}, 14_400, id="managed, a sixth of a day"),
        pytest.param({"certificates": {"managed": {"leafSeconds": 600}}}, 100, id="managed, a sixth of ten minutes"),
        pytest.param(MODES["cert-manager"], 15 * 86_400, id="half of renewBefore"),
        pytest.param(MODES["provided"], 14 * 86_400, id="two weeks for people"),
    ],
)
def test_a_certificate_is_told_after_its_renewal_was_due(helm: Helm, values: Mapping[str, Any], seconds: int) -> None:
    expression = alerts_of(helm, values)["KubewitnessCertificateExpires"]["expr"]

    assert expression.endswith(f"- time() < {seconds}")


def test_only_an_authority_of_its_own_is_watched(helm: Helm) -> None:
    own = {"KubewitnessAuthorityExpires", "KubewitnessCaBundleRepairs"}

    assert own <= alerts_in(helm, "managed").keys()
    assert not own & alerts_in(helm, "cert-manager").keys()
    assert not own & alerts_in(helm, "provided").keys()


def test_without_a_watcher_nobody_is_missed(helm: Helm) -> None:
    assert not [name for name in alerts_in(helm, "no watcher") if re.search("Watch|Jobs", name)]


@pytest.mark.parametrize(
    "webhook",
    [{"scope": "playbooks"}, {"operations": ["DELETE"]}, {"excludedNamespaces": ["kube-system"]}],
)
def test_reviews_are_not_missed_where_changes_may_be_left_out_on_purpose(
    helm: Helm, webhook: Mapping[str, Any]
) -> None:
    assert "KubewitnessReviewsMissing" in alerts_in(helm, "managed")
    assert "KubewitnessReviewsMissing" not in alerts_of(helm, {"webhook": webhook})


@pytest.mark.parametrize(
    ("sinks", "seconds"),
    [
        pytest.param([], 1800, id="no sink"),
        pytest.param([{"webhook_sink": {"name": "a", "url": "https://a.example.org"}}], 1800, id="no grouping"),
        pytest.param(
            [
                {"webhook_sink": {"name": "a", "url": "https://a.example.org", "grouping": {"interval": 86400}}},
                {"webhook_sink": {"name": "b", "url": "https://b.example.org", "grouping": {"group_by": ["kind"]}}},
            ],
            1800 + 86_400,
            id="the longest grouping",
        ),
        pytest.param(
            [{"webhook_sink": {"name": "b", "url": "https://b.example.org", "grouping": {"group_by": ["kind"]}}}],
            1800 + 900,
            id="a grouping by default",
        ),
    ],
)
def test_what_a_grouping_keeps_waiting_is_not_late(helm: Helm, sinks: list[dict[str, Any]], seconds: int) -> None:
    expression = alerts_of(helm, {"sinksConfig": sinks})["KubewitnessDeliveriesLate"]["expr"]

    assert expression.endswith(f"> {seconds}")


def test_each_pod_is_scraped_once(monitored: Sequence[Document]) -> None:
    spec = one(monitored, "ServiceMonitor", "kubewitness")["spec"]
    endpoint = spec["endpoints"][0]
    dropped = re.compile(endpoint["relabelings"][0]["regex"])
    chosen = [
        service["spec"]["selector"]["app.kubernetes.io/component"]
        for service in monitored
        if service["kind"] == "Service"
        and spec["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        and endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
        and not dropped.fullmatch(service["metadata"]["name"])
    ]

    assert sorted(chosen) == ["server", "watcher"]


def test_the_operator_finds_them_by_the_labels_of_the_values(monitored: Sequence[Document]) -> None:
    for kind in ("ServiceMonitor", "PrometheusRule"):
        labels = one(monitored, kind)["metadata"]["labels"]
        assert labels["release"] == "prometheus"
        assert labels["app.kubernetes.io/name"] == "kubewitness"
    assert one(monitored, "ServiceMonitor")["spec"]["endpoints"][0]["interval"] == "15s"


def test_alerts_fire_when_they_should_and_not_before(monitored: Sequence[Document], tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("there is no promtool, which is part of Prometheus")
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": groups(monitored)}), "utf-8")
    shutil.copy(CASES, tmp_path)

    done = subprocess.run(
        [promtool, "test", "rules", str(tmp_path / CASES.name)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case(monitored: Sequence[Document]) -> None:
    cases = yaml.safe_load(CASES.read_text("utf-8"))["tests"]
    fired = {
        re.sub(r'.*alertname="(\w+)".*', r"\1", sample["labels"])
        for case in cases
        for tested in case["promql_expr_test"]
        for sample in tested.get("exp_samples", [])
    }

    assert fired == {alert["alert"] for alert in alerts(monitored)}
