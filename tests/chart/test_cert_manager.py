"""With cert-manager: what it signs is what the webhook serves, and what the API server is told to trust."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.chart.helm import Document, Helm, one
from tests.chart.rendered import rendered


def signed(helm: Helm, **values: Any) -> Sequence[Document]:
    return helm.template({"certificates": {"mode": "certManager"}, **values})


def from_example(helm: Helm) -> Sequence[Document]:
    return rendered(helm, "cert-manager")


def webhook_annotations(documents: Sequence[Document]) -> dict[str, str]:
    found: dict[str, str] = one(documents, "ValidatingWebhookConfiguration")["metadata"].get("annotations", {})
    return found


def test_nothing_of_it_is_there_by_default(helm: Helm) -> None:
    documents = rendered(helm, "default")

    assert not [each for each in documents if each["apiVersion"].startswith("cert-manager.io/")]
    assert webhook_annotations(documents) == {"admissions.enforcer/disabled": "true"}


def test_the_certificate_is_for_the_name_that_api_servers_call(helm: Helm) -> None:
    documents = from_example(helm)
    service = one(documents, "ValidatingWebhookConfiguration")["webhooks"][0]["clientConfig"]["service"]
    names = one(documents, "Certificate", "kubewitness-tls")["spec"]["dnsNames"]

    assert f"{service['name']}.{service['namespace']}.svc" in names
    assert len(names) == 3


def test_the_servers_mount_the_secret_that_it_writes(helm: Helm) -> None:
    documents = from_example(helm)
    written = one(documents, "Certificate", "kubewitness-tls")["spec"]["secretName"]
    volumes = one(documents, "StatefulSet", "kubewitness")["spec"]["template"]["spec"]["volumes"]

    assert written in {volume.get("secret", {}).get("secretName") for volume in volumes}


def test_the_webhook_names_the_certificate_beside_its_own_annotations(helm: Helm) -> None:
    documents = signed(helm, webhook={"annotations": {"example.org/owner": "platform"}})
    name = webhook_annotations(documents)["cert-manager.io/inject-ca-from"]

    assert name == "kubewitness/" + one(documents, "Certificate", "kubewitness-tls")["metadata"]["name"]
    assert webhook_annotations(documents)["example.org/owner"] == "platform"
    assert webhook_annotations(documents)["admissions.enforcer/disabled"] == "true"


def test_the_example_uses_an_issuer_that_exists_and_makes_none(helm: Helm) -> None:
    documents = from_example(helm)

    assert one(documents, "Certificate")["spec"]["issuerRef"] == {
        "name": "internal",
        "kind": "ClusterIssuer",
        "group": "cert-manager.io",
    }
    assert not [each for each in documents if each["kind"] == "Issuer"]


def test_an_issuer_of_another_group_is_kept(helm: Helm) -> None:
    reference = {"name": "pca", "kind": "AWSPCAClusterIssuer", "group": "awspca.cert-manager.io"}
    documents = signed(helm, certificates={"mode": "certManager", "certManager": {"issuerRef": reference}})

    assert one(documents, "Certificate")["spec"]["issuerRef"] == reference


def test_without_an_issuer_an_authority_is_made_that_signs_it(helm: Helm) -> None:
    documents = signed(helm)
    leaf = one(documents, "Certificate", "kubewitness-tls")["spec"]
    authority = one(documents, "Certificate", "kubewitness-authority")["spec"]
    issuer = one(documents, "Issuer", leaf["issuerRef"]["name"])["spec"]
    root = one(documents, "Issuer", authority["issuerRef"]["name"])["spec"]

    assert issuer == {"ca": {"secretName": authority["secretName"]}}
    assert root == {"selfSigned": {}}
    assert authority["isCA"]


def test_keys_are_new_at_each_renewal_but_for_the_authority_which_old_certificates_need(helm: Helm) -> None:
    documents = signed(helm)

    assert one(documents, "Certificate", "kubewitness-tls")["spec"]["privateKey"]["rotationPolicy"] == "Always"
    assert one(documents, "Certificate", "kubewitness-authority")["spec"]["privateKey"]["rotationPolicy"] == "Never"


def test_the_authority_is_renewed_before_what_it_signed_ends(helm: Helm) -> None:
    documents = signed(helm)
    leaf = one(documents, "Certificate", "kubewitness-tls")["spec"]
    authority = one(documents, "Certificate", "kubewitness-authority")["spec"]

    assert _hours(leaf["renewBefore"]) < _hours(leaf["duration"]) < _hours(authority["renewBefore"])


def _hours(duration: str) -> int:
    return int(duration.removesuffix("h"))
