from __future__ import annotations

from typing import Any

import msgspec
import pytest

from app.core.record import Record
from tests.core.changes import change, image_change, recorded


def records(about: Any, **options: Any) -> bool:
    return Record.model_validate(options).compile()(about)


@pytest.mark.parametrize(
    "name",
    [
        "configmap-create",
        "configmap-update",
        "deployment-scale-subresource",
        "deployment-delete",
        "deployment-update-set-image",
        "replicaset-create-by-controller",
        "secret-update",
    ],
)
def test_changes_are_recorded(name: str) -> None:
    assert records(recorded(name))


@pytest.mark.parametrize("name", ["deployment-status-update-by-controller", "deployment-update-managed-fields-only"])
def test_status_churn_and_updates_without_a_change_are_not_recorded(name: str) -> None:
    assert not records(recorded(name))


def test_status_changes_are_recorded_if_asked_for() -> None:
    assert records(recorded("deployment-status-update-by-controller"), status=True)
    assert not records(recorded("deployment-update-managed-fields-only"), status=True)


def test_a_change_of_status_and_spec_is_recorded() -> None:
    assert records(change(old={"spec": {"a": 1}, "status": {}}, new={"spec": {"a": 2}, "status": {"b": 1}}))


@pytest.mark.parametrize(
    ("kind", "group", "resource", "subresource"),
    [
        ("Lease", "coordination.k8s.io", "leases", ""),
        ("Event", "", "events", ""),
        ("Event", "events.k8s.io", "events", ""),
        ("Endpoints", "", "endpoints", ""),
        ("EndpointSlice", "discovery.k8s.io", "endpointslices", ""),
        ("TokenReview", "authentication.k8s.io", "tokenreviews", ""),
        ("SubjectAccessReview", "authorization.k8s.io", "subjectaccessreviews", ""),
        ("ServiceAccount", "", "serviceaccounts", "token"),
        ("Pod", "", "pods", "binding"),
    ],
)
def test_upkeep_is_recorded_only_without_the_defaults(kind: str, group: str, resource: str, subresource: str) -> None:
    about = change("CREATE", kind, group=group, resource=resource, subresource=subresource)

    assert not records(about)
    assert records(about, defaults=False)


def test_entering_and_evicting_a_pod_is_recorded() -> None:
    assert records(change("CONNECT", "Pod", subresource="exec"))
    assert records(change("CREATE", "Pod", subresource="eviction"))


def test_an_update_that_was_too_large_is_recorded() -> None:
    assert records(msgspec.structs.replace(change(), old=None, new=None, truncated=True))


def test_include_and_exclude_narrow_what_is_recorded() -> None:
    assert records(image_change(), include=[{"namespace": "shop"}])
    assert not records(image_change(), include=[{"namespace": "bank"}])
    assert not records(image_change(), exclude=[{"user": "alice"}])
    assert not records(change("CREATE", "Lease"), include=[{"kind": "lease"}])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "every change but the cluster's own upkeep (leases, events, endpoints, ...)"),
        (
            {"defaults": False, "status": True},
            "every change, with leases, events and other upkeep, with status changes",
        ),
    ],
)
def test_what_is_recorded_is_described(options: dict[str, Any], expected: str) -> None:
    assert Record.model_validate(options).describe() == expected
