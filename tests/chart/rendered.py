"""What the chart makes of the values that it is tried with, each rendered once."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from tests.chart.helm import CHART, Document, Helm

CI: Final[dict[str, Path]] = {
    path.name.removesuffix("-values.yaml"): path for path in sorted((CHART / "ci").glob("*-values.yaml"))
}
"""The files of values by their names, such as `seed`."""

CLUSTER_WIDE: Final = frozenset(
    {"ClusterRole", "ClusterRoleBinding", "ValidatingWebhookConfiguration", "ClusterIssuer"}
)


def values_of(name: str) -> dict[str, Any]:
    """Return the values of one of these files."""
    return yaml.safe_load(CI[name].read_text("utf-8")) or {}


@functools.cache
def rendered(helm: Helm, name: str) -> Sequence[Document]:
    """Return the objects of one of these files, in a cluster of today."""
    return helm.template(values_of(name))


def is_hook(document: Document) -> bool:
    """Say whether Helm makes it for an occasion, and not as a part of the release."""
    return "helm.sh/hook" in document["metadata"].get("annotations", {})


def pod_templates(documents: Sequence[Document]) -> Iterator[tuple[str, Document]]:
    """Yield every Pod and template of Pods, with the name of its owner."""
    for document in documents:
        name = document["metadata"]["name"]
        if document["kind"] == "Pod":
            yield name, document
        elif "template" in document.get("spec", {}) and document["kind"] != "Certificate":
            yield name, document["spec"]["template"]


def container(documents: Sequence[Document], name: str) -> Document:
    """Return the only container of the Pods of an owner."""
    (found,) = [template for owner, template in pod_templates(documents) if owner == name]
    (only,) = found["spec"]["containers"]
    return dict(only)


def options(arguments: Sequence[str]) -> dict[str, str]:
    """Return options by name, those without a value as `true`."""
    pairs = (argument.removeprefix("--").partition("=") for argument in arguments if argument.startswith("--"))
    return {name: value or "true" for name, _, value in pairs}
