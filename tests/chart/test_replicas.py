"""Each replica knows the consoles of the others and of the watcher, by addresses that there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import pytest

from app.settings import Settings
from tests.chart.helm import Document, Helm, one

OPTION = "--console-peers="
NAME_VARIABLE = "KUBEWITNESS_CONSOLE_NAME"
SEVERAL = pytest.mark.parametrize(
    "values",
    [
        {"replicas": 3},
        {"replicas": 2, "watcher": {"separate": True}},
        {"watcher": {"separate": True}},
        {"replicas": 2, "fullnameOverride": "somebody", "watcher": {"separate": True}},
    ],
    ids=["three", "two and a watcher", "one and a watcher", "another name"],
)


def container(documents: Sequence[Document], name: str = "kubewitness") -> Document:
    (found,) = one(documents, "StatefulSet", name)["spec"]["template"]["spec"]["containers"]
    return dict(found)


def peers(documents: Sequence[Document], name: str = "kubewitness") -> list[str]:
    """Return the consoles that a StatefulSet's Pods are given, as the program reads them."""
    given = [each.removeprefix(OPTION) for each in container(documents, name)["args"] if each.startswith(OPTION)]
    return [url for text in given for url in Settings(console_peers=text).peers]


def addresses(documents: Sequence[Document]) -> set[str]:
    """Return the names of all Pods of StatefulSets, as the cluster's DNS has them."""
    return {
        f"{each['metadata']['name']}-{number}.{each['spec']['serviceName']}.{each['metadata']['namespace']}.svc"
        for each in documents
        if each["kind"] == "StatefulSet"
        for number in range(each["spec"]["replicas"])
    }


@SEVERAL
def test_the_consoles_are_those_of_all_pods(helm: Helm, values: dict[str, Any]) -> None:
    documents = helm.template(values)
    server = str(values.get("fullnameOverride", "kubewitness"))
    urls = [urlsplit(url) for url in peers(documents, server)]

    assert {each.hostname for each in urls} == addresses(documents)
    ports = {port["name"]: port["containerPort"] for port in container(documents, server)["ports"]}
    assert {each.port for each in urls} == {ports["console"]}


@SEVERAL
def test_the_services_of_these_addresses_have_no_address_of_their_own_and_all_pods(
    helm: Helm, values: dict[str, Any]
) -> None:
    documents = helm.template(values)

    for each in documents:
        if each["kind"] == "StatefulSet":
            service = one(documents, "Service", each["spec"]["serviceName"])["spec"]
            assert service["clusterIP"] == "None"
            assert service["publishNotReadyAddresses"]
            assert service["selector"] == each["spec"]["selector"]["matchLabels"]


def test_a_replica_is_called_as_its_pod(helm: Helm) -> None:
    (variable,) = [each for each in container(helm.template({"replicas": 2}))["env"] if each["name"] == NAME_VARIABLE]

    assert variable["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}


def test_one_replica_that_watches_by_itself_asks_nobody(helm: Helm) -> None:
    documents = helm.template({})

    assert peers(documents) == []
    assert NAME_VARIABLE not in str(documents)


def test_the_watcher_asks_nobody(helm: Helm) -> None:
    documents = helm.template({"replicas": 2, "watcher": {"separate": True}})

    assert peers(documents, "kubewitness-watcher") == []
