"""The dashboard shows what there is, from whichever data source."""

from __future__ import annotations

import json
from itertools import combinations
from typing import Any, Final

import pytest

from tests.chart import dashboard
from tests.chart.helm import Document, Helm, one
from tests.chart.promql import TARGET, groupings, known, parsed, reads, remaining
from tests.chart.rendered import rendered

SHOWN: Final[dict[str, Any]] = json.loads(dashboard.FILE.read_text("utf-8"))
PANELS: Final = [panel for panel in SHOWN["panels"] if panel["type"] != "row"]
QUERIES: Final = [target for panel in PANELS for target in panel["targets"]]
TARGETS: Final = [
    pytest.param(target, id=f"{panel['title']} {target['refId']}") for panel in PANELS for target in panel["targets"]
]


@pytest.fixture(scope="session")
def config_map(helm: Helm) -> Document:
    return one(rendered(helm, "monitoring"), "ConfigMap", "kubewitness-dashboard")


def test_the_file_is_as_its_panels_are() -> None:
    assert dashboard.FILE.read_text("utf-8") == dashboard.text(), "out of date; run: python -m tests.chart.dashboard"


def test_the_sidecar_gets_it_to_the_letter(config_map: Document) -> None:
    assert json.loads(config_map["data"]["kubewitness.json"]) == SHOWN
    assert config_map["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_every_panel_says_what_it_shows_and_in_what_unit() -> None:
    assert len({panel["id"] for panel in SHOWN["panels"]}) == len(SHOWN["panels"])
    for panel in PANELS:
        assert panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["targets"], panel["title"]


def test_no_data_source_is_written_down() -> None:
    variable = {"type": "prometheus", "uid": "${datasource}"}

    assert {each["name"] for each in SHOWN["templating"]["list"]} == {"datasource", "namespace", "pod"}
    for owner in (*PANELS, *QUERIES, *SHOWN["templating"]["list"][1:]):
        assert owner["datasource"] == variable


@pytest.mark.parametrize("target", TARGETS)
def test_every_expression_reads_series_that_there_are(target: dict[str, Any]) -> None:
    series = known()
    expression = target["expr"]

    parsed(expression)
    for read in reads(expression):
        assert read.metric in series
        assert read.labels <= series[read.metric] | TARGET
        assert read.labels >= ({"namespace", "pod"} if read.metric.startswith("kubewitness_") else {"name"})
    assert groupings(expression) <= TARGET.union(*(series[read.metric] for read in reads(expression)))


@pytest.mark.parametrize("target", TARGETS)
def test_every_legend_is_made_of_labels_that_remain(target: dict[str, Any]) -> None:
    named = {part.split("}}")[0] for part in target["legendFormat"].split("{{")[1:]}

    assert named <= remaining(target["expr"])


def test_panels_do_not_cover_each_other() -> None:
    for one_panel, other in combinations(SHOWN["panels"], 2):
        a, b = one_panel["gridPos"], other["gridPos"]
        apart = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"] or a["y"] + a["h"] <= b["y"]
        assert apart or b["y"] + b["h"] <= a["y"], (one_panel["title"], other["title"])
        assert a["x"] + a["w"] <= 24


def test_every_metric_is_on_it_or_left_out_on_purpose() -> None:
    read = {each.metric for target in QUERIES for each in reads(target["expr"])}
    shown = {name for name in known() if name.startswith("kubewitness_")} & read
    left_out = {
        "kubewitness_config_reloads_total",
        "kubewitness_certificate_reloads_total",
        "kubewitness_deliveries_told_together_total",
        "kubewitness_entries_forgotten_total",
        "kubewitness_journal_over_limit",
        "kubewitness_watch_lists_total",
        "kubewitness_watch_reconnects_total",
        "kubewitness_evidence_logs_total",
        "kubewitness_evidence_dropped_total",
    }

    assert _families(shown) | left_out == _families({name for name in known() if name.startswith("kubewitness_")})


def _families(names: set[str]) -> set[str]:
    endings = ("_bucket", "_sum", "_count", "_created")
    stripped = {next((name.removesuffix(end) for end in endings if name.endswith(end)), name) for name in names}
    counters = {name.removesuffix("_total") for name in stripped if name.endswith("_total")}
    return stripped - counters
