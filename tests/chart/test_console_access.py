"""Whom the console lets in is said by the values, in options that the program has."""

from __future__ import annotations

import pytest

from app.settings import Settings
from tests.chart.helm import Helm, HelmError, one
from tests.chart.rendered import container, options, rendered

ACCESS = ("console-users-file", "console-kubernetes-auth", "console-kubernetes-audience", "console-requeue")


def test_the_values_become_options(helm: Helm) -> None:
    given = options(container(rendered(helm, "console-access"), "kubewitness")["args"])

    assert {name: given.get(name) for name in ACCESS} == {
        "console-users-file": "/etc/kubewitness/users/users",
        "console-kubernetes-auth": "true",
        "console-kubernetes-audience": "kubewitness",
        "console-requeue": "true",
    }
    assert {name.replace("-", "_") for name in ACCESS} <= Settings.model_fields.keys()


def test_by_default_the_token_is_the_only_way_and_nothing_is_changed(helm: Helm) -> None:
    given = options(container(rendered(helm, "default"), "kubewitness")["args"])

    assert not given.keys() & set(ACCESS)


def test_the_users_are_those_of_a_secret_which_may_come_later(helm: Helm) -> None:
    documents = rendered(helm, "console-access")
    pod = one(documents, "StatefulSet", "kubewitness")["spec"]["template"]["spec"]
    (volume,) = [each for each in pod["volumes"] if each["name"] == "users"]
    (mount,) = [each for each in pod["containers"][0]["volumeMounts"] if each["name"] == "users"]

    assert volume["secret"] == {"secretName": "kubewitness-users", "optional": True}
    assert mount == {"name": "users", "mountPath": "/etc/kubewitness/users", "readOnly": True}


@pytest.mark.parametrize("console", [{"kubernetesAuth": {"enable": True}}, {"kubernetesAuth": {"audience": "a b"}}])
def test_a_typing_error_is_found(helm: Helm, console: dict[str, object]) -> None:
    with pytest.raises(HelmError, match="kubernetesAuth"):
        helm.template({"console": console})
