"""Rules of webhooks: rendered for many values by one run of helm, and matched as an API server does."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import yaml

from app.core.kinds import KINDS
from app.core.review import Change
from tests.chart.helm import CHART, Helm
from tests.core.changes import change

DEFAULTS: Final[dict[str, Any]] = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
BEFORE_CONDITIONS: Final = "1.24.0"
WITH_CONDITIONS: Final = "1.34.0"

CUSTOM: Final = ("example.com", "widgets")
_CASES: Final = """
{{- range $index, $case := .Values.cases }}
---
kind: ConfigMap
index: {{ $index }}
{{- $root := dict "Values" $case "Capabilities" $.Capabilities "Files" $.Files "Release" $.Release "Chart" $.Chart }}
rules:
  {{- include "auditor.rules" $root | nindent 2 }}
matchConditions:
  {{- include "auditor.matchConditions" $root | nindent 2 }}
{{- end }}
"""


class Request(NamedTuple):
    """What rules ask about a review."""

    operation: str
    group: str
    resource: str
    subresource: str = ""


class Webhook(NamedTuple):
    """What an API server shows: `conditions` are expressions by their names."""

    rules: Sequence[Mapping[str, Any]]
    conditions: Mapping[str, str]

    def matches(self, request: Request) -> bool:
        """Say whether a rule matches, whatever the conditions say."""
        return any(_matches(rule, request) for rule in self.rules)


def _matches(rule: Mapping[str, Any], request: Request) -> bool:
    # As k8s.io/apiserver/pkg/admission/plugin/webhook/predicates/rules does.
    return (
        bool({"*", request.operation} & set(rule["operations"]))
        and bool({"*", request.group} & set(rule["apiGroups"]))
        and any(_means(text, request) for text in rule["resources"])
    )


def _means(text: str, request: Request) -> bool:
    resource, _, subresource = text.partition("/")
    return (
        resource in ("*", request.resource)
        and (text == "*/*" or subresource in (request.subresource, "*"))
        and (subresource != "*" or text == "*/*" or bool(request.subresource))
    )


def invalid(rule: Mapping[str, Any]) -> list[str]:
    """Return why an API server refuses a rule, as k8s.io/kubernetes/pkg/apis/admissionregistration/validation does."""
    found = [key for key in ("operations", "apiGroups", "apiVersions") if "*" in rule[key] and len(rule[key]) > 1]
    found += [f"no {key}" for key in ("operations", "apiGroups", "apiVersions", "resources") if not rule[key]]
    resources = rule["resources"]
    if "*/*" in resources and len(resources) > 1:
        found.append("*/* beside others")
    if "*" in resources and any("/" not in each for each in resources if each != "*"):
        found.append("* beside resources")
    for each in resources:
        resource, slash, subresource = each.partition("/")
        if slash and {f"{resource}/*", f"*/{subresource}"} & (set(resources) - {each}):
            found.append(f"{each} beside a wildcard of it")
    return found


def values(webhook: Mapping[str, Any] | None = None, **others: Any) -> dict[str, Any]:
    """Return the chart's values with these in place of its own."""
    return DEFAULTS | {"webhook": DEFAULTS["webhook"] | (webhook or {})} | others


def render(helm: Helm, cases: Sequence[Mapping[str, Any]], kube_version: str = BEFORE_CONDITIONS) -> list[Webhook]:
    """Return the webhook that the chart makes of each of these values, in a cluster that has CUSTOM."""
    versions = sorted({f"{group}/v1" for kind in KINDS for group in kind.groups if group} | {f"{CUSTOM[0]}/v1"})
    with tempfile.TemporaryDirectory() as folder:
        chart = Path(folder)
        (chart / "templates").mkdir()
        (chart / "templates" / "cases.yaml").write_text(_CASES)
        shutil.copy(CHART / "templates" / "_rules.tpl", chart / "templates")
        shutil.copy(CHART / "Chart.yaml", chart)
        shutil.copytree(CHART / "files", chart / "files")
        printed = helm.run(
            "template",
            "cases",
            folder,
            f"--kube-version={kube_version}",
            "--values=-",
            *(f"--api-versions={version}" for version in versions),
            stdin=msgspec.json.encode({"cases": list(cases)}).decode(),
        )
    documents = sorted(yaml.load_all(printed, yaml.CSafeLoader), key=lambda document: int(document["index"]))
    return [_webhook(document) for document in documents]


def _webhook(document: Mapping[str, Any]) -> Webhook:
    conditions = {each["name"]: each["expression"] for each in document["matchConditions"] or ()}
    return Webhook(document["rules"] or (), conditions)


SUBRESOURCES: Final = {
    ("", "pods"): (
        ("UPDATE", "ephemeralcontainers"),
        ("UPDATE", "resize"),
        ("CREATE", "eviction"),
        ("CREATE", "binding"),
        ("CONNECT", "exec"),
        ("CONNECT", "attach"),
        ("CONNECT", "portforward"),
        ("CONNECT", "proxy"),
    ),
    ("", "services"): (("CONNECT", "proxy"),),
    ("", "nodes"): (("CONNECT", "proxy"),),
    ("", "namespaces"): (("UPDATE", "finalize"),),
    ("", "serviceaccounts"): (("CREATE", "token"),),
    ("", "replicationcontrollers"): (("UPDATE", "scale"),),
    ("apps", "deployments"): (("UPDATE", "scale"),),
    ("apps", "replicasets"): (("UPDATE", "scale"),),
    ("apps", "statefulsets"): (("UPDATE", "scale"),),
    ("certificates.k8s.io", "certificatesigningrequests"): (("UPDATE", "approval"),),
    CUSTOM: (("UPDATE", "scale"),),
}
"""What an API server asks about beside whole objects and their status."""


def requests() -> Iterator[tuple[Request, Change]]:
    """Yield what an API server may ask about, each with a change of every field that it can change."""
    places = [(group, kind.resource, kind.kind) for kind in KINDS for group in kind.groups]
    for group, resource, kind in (*places, (*CUSTOM, "Widget")):
        wholes = [(operation, "") for operation in ("CREATE", "UPDATE", "DELETE")]
        for operation, subresource in (*wholes, ("UPDATE", "status"), *SUBRESOURCES.get((group, resource), ())):
            about = change(
                operation,
                kind,
                group=group,
                resource=resource,
                subresource=subresource,
                old={"status": {"phase": "a"}} if subresource == "status" else {"spec": {"replicas": 1}},
                new={"status": {"phase": "b"}} if subresource == "status" else {"spec": {"replicas": 2}},
            )
            yield Request(operation, group, resource, subresource), about
