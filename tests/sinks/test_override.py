from __future__ import annotations

import msgspec
import pytest
from pydantic import TypeAdapter, ValidationError

from app.core.finding import Notification
from app.sinks._override import Override, overridden
from tests.sinks import samples

LABELS = {"app": "web", "env": "prod", "app.kubernetes.io/name": "shop-web", "team-name": "checkout"}
ANNOTATIONS = {"slack": "ops", "kubernetes.io/service-name": "front"}


def told(annotations: dict[str, str] | msgspec.UnsetType = msgspec.UNSET) -> Notification:
    notification = samples.notification(labels=LABELS)
    finding = msgspec.structs.replace(notification.finding, annotations=annotations)
    return msgspec.structs.replace(notification, finding=finding)


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("cluster_name", "prod"),
        ("$cluster_name", "prod"),
        ("${cluster_name}-alerts", "prod-alerts"),
        ("labels.env", "prod"),
        ("$labels.env", "prod"),
        ("labels.team-name", "checkout"),
        ("labels.app.kubernetes.io/name", "shop-web"),
        ("$labels.team_name", "checkout"),
        ("annotations.slack", "ops"),
        ("annotations.kubernetes.io/service-name", "front"),
        ("${annotations.kubernetes.io/service-name}", "front"),
        ("$cluster_name-alerts-$labels.env-${annotations.kubernetes.io/service-name}", "prod-alerts-prod-front"),
        ("$namespace-$kind", "shop-Deployment"),
        ("labels.absent", ""),
        ("x-$annotations.absent", ""),
    ],
)
def test_overrides_read_as_in_robusta(override: str, value: str) -> None:
    assert overridden(override, told(ANNOTATIONS)) == value


def test_without_annotations_an_override_by_annotation_has_no_value() -> None:
    assert overridden("annotations.slack", told()) == ""


@pytest.mark.parametrize("override", ["alerts", "$lables.team", "$$5"])
def test_an_override_that_overrides_nothing_is_an_error(override: str) -> None:
    with pytest.raises(ValidationError, match=r"names no value|unknown variable"):
        TypeAdapter(Override).validate_python(override)
