from __future__ import annotations

import re
from pathlib import Path

import kubernetes.client.api
import pytest

from app.core.kinds import BY_NAME, BY_RESOURCE, KINDS, is_noise, kind_of

PLACE = re.compile(
    r"resource_path='/(?:api|apis/(?P<group>[^/]+))/v\w+/(?P<namespaced>namespaces/\{namespace\}/)?"
    r"(?P<resource>[a-z]+)(?:/\{name\})?'"
)


def served() -> dict[tuple[str, str], bool]:
    """Return every (group, resource) that the Kubernetes client can read or write, and whether it is namespaced."""
    found: dict[tuple[str, str], bool] = {}
    for module in Path(kubernetes.client.api.__file__).parent.glob("*_api.py"):
        for match in PLACE.finditer(module.read_text()):
            key = (match["group"] or "", match["resource"])
            found[key] = found.get(key, False) or match["namespaced"] is not None
    return found


def test_every_resource_of_the_kubernetes_client_is_known() -> None:
    missing = {key for key in served() if key not in BY_RESOURCE}

    assert len(served()) > 70
    assert missing == set()


def test_the_reach_of_every_resource_is_that_of_the_client() -> None:
    wrong = {key for key, namespaced in served().items() if BY_RESOURCE[key].namespaced is not namespaced}

    assert wrong == set()


def test_no_kind_is_listed_twice() -> None:
    assert len(BY_NAME) == len(KINDS)
    assert len(BY_RESOURCE) == sum(len(kind.groups) for kind in KINDS)


@pytest.mark.parametrize(
    ("group", "resource", "kind"),
    [
        ("apps", "deployments", "Deployment"),
        ("apps", "deployments/scale", "Deployment"),
        ("extensions", "ingresses", "Ingress"),
        ("", "pods", "Pod"),
        ("", "replicationcontrollers", "ReplicationController"),
        ("", "deployments", None),
        ("example.com", "widgets", None),
    ],
)
def test_the_kind_of_a_resource_depends_on_its_group(group: str, resource: str, kind: str | None) -> None:
    assert kind_of(group, resource) == kind


def test_upkeep_is_told_from_what_people_do() -> None:
    assert is_noise("coordination.k8s.io", "leases", "")
    assert is_noise("", "pods", "binding")
    assert not is_noise("", "pods", "exec")
    assert not is_noise("example.com", "leases", "")
