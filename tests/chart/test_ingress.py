"""The Ingress leads to the console, under one name."""

from __future__ import annotations

from tests.chart.helm import Helm, one
from tests.chart.rendered import rendered


def test_there_is_none_by_default(helm: Helm) -> None:
    assert not [each for each in rendered(helm, "default") if each["kind"] == "Ingress"]


def test_it_leads_to_a_port_that_the_service_has(helm: Helm) -> None:
    documents = rendered(helm, "ingress")
    ingress = one(documents, "Ingress", "kubewitness")
    path = ingress["spec"]["rules"][0]["http"]["paths"][0]
    backend = path["backend"]["service"]
    service = one(documents, "Service", backend["name"])

    assert ingress["apiVersion"] == "networking.k8s.io/v1"
    assert (path["path"], path["pathType"]) == ("/", "Prefix")
    assert backend["port"]["name"] == "console"
    assert "console" in {port["name"] for port in service["spec"]["ports"]}


def test_its_host_class_certificate_and_annotations_are_those_of_the_values(helm: Helm) -> None:
    documents = rendered(helm, "ingress")
    ingress = one(documents, "Ingress", "kubewitness")

    assert ingress["spec"]["ingressClassName"] == "nginx"
    assert [rule["host"] for rule in ingress["spec"]["rules"]] == ["changes.example.org"]
    assert ingress["spec"]["tls"] == [{"secretName": "changes-example-org", "hosts": ["changes.example.org"]}]
    assert ingress["metadata"]["annotations"] == {"cert-manager.io/cluster-issuer": "internal"}


def test_what_is_not_in_the_values_is_not_in_it(helm: Helm) -> None:
    documents = helm.template({"console": {"ingress": {"enabled": True, "host": "changes.example.org"}}})
    ingress = one(documents, "Ingress", "kubewitness")

    assert "tls" not in ingress["spec"]
    assert "ingressClassName" not in ingress["spec"]
    assert "annotations" not in ingress["metadata"]
