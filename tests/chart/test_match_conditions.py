"""The conditions of the webhook leave out upkeep and nothing else, and can always be evaluated."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cel
import pytest

from app.core.kinds import NOISE, is_noise
from tests.chart.helm import Helm
from tests.chart.webhook_rules import WITH_CONDITIONS, Webhook, render, requests, values

RECORDED = sorted((Path(__file__).parents[1] / "data" / "reviews-k8s-1.20").glob("*.json"))


@pytest.fixture(scope="module")
def webhook(helm: Helm) -> Webhook:
    (found,) = render(helm, [values()], WITH_CONDITIONS)
    return found


def shown(webhook: Webhook, request: Mapping[str, Any]) -> bool:
    """Say whether all conditions hold; raises where one cannot be evaluated."""
    return all(cel.evaluate(condition, {"request": dict(request)}) is True for condition in webhook.conditions.values())


def about(group: str, resource: str, subresource: str = "") -> dict[str, Any]:
    # An API server leaves out an empty subResource, and writes all of a resource.
    place = {"resource": {"group": group, "version": "v1", "resource": resource}}
    return place | ({"subResource": subresource} if subresource else {})


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_recorded_reviews_are_shown(path: Path, webhook: Webhook) -> None:
    assert shown(webhook, json.loads(path.read_text("utf-8"))["request"])


def test_upkeep_is_not_shown_and_all_else_is(webhook: Webhook) -> None:
    places = {(request.group, request.resource, request.subresource) for request, _ in requests()}

    assert {place for place in places if not shown(webhook, about(*place))} == {
        place for place in places if is_noise(*place)
    }


@pytest.mark.parametrize(("group", "path"), sorted(NOISE))
def test_each_piece_of_upkeep_is_left_out(group: str, path: str, webhook: Webhook) -> None:
    resource, _, subresource = path.partition("/")

    assert not shown(webhook, about(group, resource, subresource))
    assert shown(webhook, about("example.com", resource, subresource))


@pytest.mark.parametrize("request_", [{}, {"subResource": "binding"}, {"operation": "CONNECT", "name": "web"}])
def test_a_request_that_lacks_fields_is_shown(request_: dict[str, Any], webhook: Webhook) -> None:
    assert shown(webhook, request_)


def test_upkeep_that_a_trigger_names_is_shown(helm: Helm) -> None:
    triggers = [{"on_lease_update": {}}, {"on_kubernetes_resource_operation": {"resources": ["serviceaccounts/token"]}}]
    playbook = {"triggers": triggers, "actions": [{"resource_babysitter": {}}]}

    (named,) = render(helm, [values(customPlaybooks=[playbook])], WITH_CONDITIONS)

    assert shown(named, about("coordination.k8s.io", "leases"))
    assert shown(named, about("", "serviceaccounts", "token"))
    assert not shown(named, about("", "events"))
    assert not shown(named, about("", "pods", "binding"))


def test_rules_that_leave_nothing_to_exclude_need_no_conditions(helm: Helm) -> None:
    playbook: dict[str, Any] = {"triggers": [{"on_deployment_update": {}}], "actions": [{"resource_babysitter": {}}]}

    (named,) = render(helm, [values({"scope": "playbooks"}, customPlaybooks=[playbook])], WITH_CONDITIONS)

    assert named.conditions == {}
