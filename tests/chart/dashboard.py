"""The Grafana dashboard of the chart: `python -m tests.chart.dashboard` writes it.

The panels are in `tests.chart.dashboard_panels`; here is the form in which Grafana reads them: its dashboard JSON,
schema 39, for Grafana 10 and later.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from tests.chart.dashboard_panels import ROWS, Panel
from tests.chart.helm import CHART

FILE: Final = CHART / "files" / "dashboard.json"

_COLUMNS: Final = 24
_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}


def dashboard() -> dict[str, Any]:
    """Return the dashboard; its data source, namespace and Pods are variables."""
    return {
        "uid": "kubewitness",
        "title": "kubewitness",
        "description": "What the auditor is shown, what it keeps, and whom it tells.",
        "tags": ["kubewitness", "audit"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "1m",
        "time": {"from": "now-6h", "to": "now"},
        "annotations": {"list": []},
        "links": [],
        "templating": {"list": [_source_variable(), _namespace_variable(), _pod_variable()]},
        "panels": list(_placed()),
    }


def text() -> str:
    """Return the content of the file."""
    return json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n"


def _source_variable() -> dict[str, Any]:
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}


def _variable(name: str, label: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": _SOURCE,
        "definition": query,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
    }


def _namespace_variable() -> dict[str, Any]:
    return _variable("namespace", "Namespace", "label_values(kubewitness_build_info, namespace)")


def _pod_variable() -> dict[str, Any]:
    query = 'label_values(kubewitness_build_info{namespace="$namespace"}, pod)'
    everything = {"text": ["All"], "value": ["$__all"]}
    return _variable("pod", "Pod", query) | {
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": everything,
    }


def _placed() -> Iterator[dict[str, Any]]:
    """Yield rows and their panels, each from left to right, with the numbers that Grafana wants."""
    y, number = 0, 1
    for title, panels in ROWS:
        yield {"id": number, "type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": _at(0, y)}
        x, y, number = 0, y + 1, number + 1
        for panel in panels:
            if x + panel.width > _COLUMNS:
                x, y = 0, y + panel.height
            yield _shown(panel, number) | {"gridPos": _at(x, y, panel.width, panel.height)}
            x, number = x + panel.width, number + 1
        y += panels[-1].height


def _at(x: int, y: int, width: int = _COLUMNS, height: int = 1) -> dict[str, int]:
    return {"x": x, "y": y, "w": width, "h": height}


def _shown(panel: Panel, number: int) -> dict[str, Any]:
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": _SOURCE,
        "targets": list(_targets(panel)),
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _STAT if panel.kind == "stat" else _SERIES,
    }


def _targets(panel: Panel) -> Iterator[dict[str, Any]]:
    for letter, (legend, expression) in zip("ABCDEFGH", panel.series.items(), strict=False):
        yield {
            "refId": letter,
            "datasource": _SOURCE,
            "expr": expression,
            "legendFormat": legend,
            "instant": panel.kind == "stat",
            "range": panel.kind != "stat",
        }


def _defaults(panel: Panel) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.red_above is not None:
        steps.append({"color": "red", "value": panel.red_above})
    if panel.red_below is not None:
        steps = [{"color": "red", "value": None}, {"color": "green", "value": panel.red_below}]
    defaults: dict[str, Any] = {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}}
    if panel.kind == "timeseries":
        defaults |= {"min": 0, "custom": {"fillOpacity": 10, "showPoints": "never", "lineWidth": 1}}
    return defaults | ({} if panel.decimals is None else {"decimals": panel.decimals})


_STAT: Final = {
    "colorMode": "value",
    "graphMode": "none",
    "textMode": "auto",
    "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
}
_SERIES: Final = {
    "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
    "tooltip": {"mode": "multi", "sort": "desc"},
}

if __name__ == "__main__":
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(text(), "utf-8")
