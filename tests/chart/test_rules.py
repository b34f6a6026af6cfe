"""The API server shows what the configuration asks for and nothing else: the program's own playbooks are the judge."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from app.core.kinds import BY_NAME, BY_RESOURCE, KINDS, is_noise
from app.core.playbook import Playbook, Playbooks
from app.core.record import Record
from app.core.triggers import TRIGGERS
from tests.chart.helm import Helm
from tests.chart.rendered import CI, rendered
from tests.chart.webhook_rules import (
    BEFORE_CONDITIONS,
    CUSTOM,
    WITH_CONDITIONS,
    Request,
    Webhook,
    invalid,
    render,
    requests,
    values,
)
from tests.core.changes import REDACTOR

REQUESTS = dict(requests())
FINDING = {"create_finding": {"title": "t", "aggregation_key": "k"}}
EVERY_OPERATION = ["UPDATE", "CREATE", "DELETE", "CONNECT"]


def playbook(trigger: Mapping[str, Any], action: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {"triggers": [trigger], "actions": [action or FINDING]}


def narrow(*playbooks: Mapping[str, Any], **others: Any) -> dict[str, Any]:
    return values({"scope": "playbooks"}, customPlaybooks=list(playbooks), **others)


def fired(playbooks: Sequence[Mapping[str, Any]]) -> set[Request]:
    compiled = Playbooks.compile([Playbook.model_validate(each) for each in playbooks])
    return {request for request, change in REQUESTS.items() if compiled.evaluate(change, REDACTOR, "c")}


def matched(webhook: Webhook) -> set[Request]:
    return {request for request in REQUESTS if webhook.matches(request)}


def parameters(name: str) -> dict[str, Any]:
    return {"group": CUSTOM[0], "kind": "Widget"} if name.startswith("on_resource_") else {}


def test_each_trigger_asks_for_what_it_fires_on_and_nothing_else(helm: Helm) -> None:
    playbooks = [playbook({name: parameters(name)}) for name in TRIGGERS]
    webhooks = render(helm, [narrow(each) for each in playbooks])

    wrong = [
        (name, fired([each]) ^ matched(webhook))
        for name, each, webhook in zip(TRIGGERS, playbooks, webhooks, strict=True)
        if fired([each]) != matched(webhook)
    ]

    assert wrong == []


def test_a_failed_job_asks_for_nothing(helm: Helm) -> None:
    (webhook,) = render(helm, [narrow(playbook({"on_job_failure": {}}))])

    assert webhook == Webhook((), {})


def test_the_status_is_asked_for_where_somebody_looks_at_it(helm: Helm) -> None:
    cases = [
        playbook({"on_pod_update": {"change_filters": {"include": ["status.phase"]}}}),
        playbook({"on_pod_update": {}}, {"resource_babysitter": {"fields_to_monitor": ["status"]}}),
        playbook({"on_pod_update": {"change_filters": {"include": ["spec.status-page"]}}}),
    ]

    shown = [
        webhook.matches(Request("UPDATE", "", "pods", "status"))
        for webhook in render(helm, [narrow(each) for each in cases])
    ]

    assert shown == [True, True, False]


KIND_WORDS = st.sampled_from([*BY_NAME, *(resource for _, resource in BY_RESOURCE)])
TARGETS = st.one_of(
    KIND_WORDS,
    st.sampled_from(["pods/exec", "pods/attach", "Deployment", "deployments/scale", "widgets.example.com", "events"]),
    st.sampled_from(
        ["ingresses.networking.k8s.io", "deployments.apps", "serviceaccounts/token", "widgets.example.com/x"]
    ),
)
OPERATION = st.fixed_dictionaries(
    {},
    optional={
        "resources": st.none() | st.lists(TARGETS, max_size=3),
        "operations": st.none() | st.lists(st.sampled_from(["create", "UPDATE", "Delete", "connect"]), max_size=3),
    },
)
BUILT_IN = st.sampled_from(KINDS).map(lambda kind: {"group": kind.groups[0], "kind": kind.kind})
FILTERS = st.none() | st.fixed_dictionaries(
    {}, optional={"include": st.none() | st.lists(st.sampled_from(["status", "spec", "status.phase", "image"]))}
)
TRIGGER = st.one_of(
    st.tuples(
        st.sampled_from([name for name in TRIGGERS if issubclass(TRIGGERS[name][0], TRIGGERS["on_pod_update"][0])]),
        st.fixed_dictionaries({"change_filters": FILTERS}),
    ).map(lambda pair: {pair[0]: pair[1] | parameters(pair[0])}),
    st.tuples(st.sampled_from(["on_resource_create", "on_resource_all_changes"]), BUILT_IN).map(
        lambda pair: dict([pair])
    ),
    OPERATION.map(lambda asked: {"on_kubernetes_resource_operation": asked}),
)
ACTION = st.sampled_from(
    [FINDING, {"resource_babysitter": None}, {"resource_babysitter": {"fields_to_monitor": ["status"]}}]
)
PLAYBOOK = st.builds(
    lambda triggers, action: {"triggers": triggers, "actions": [action]},
    st.lists(TRIGGER, min_size=1, max_size=3),
    ACTION,
)
# Lists are long since each is one run of helm; none is shrunk, since what fails names its own item.
thorough = settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@given(playbooks=st.lists(PLAYBOOK, min_size=20, max_size=20))
@thorough
def test_whatever_playbooks_fire_on_is_shown(playbooks: list[dict[str, Any]], helm: Helm) -> None:
    narrowed = render(helm, [narrow(each) for each in playbooks])
    everything = render(helm, [values(customPlaybooks=[each]) for each in playbooks])

    for each, exact, wide in zip(playbooks, narrowed, everything, strict=True):
        assert fired([each]) <= matched(exact), each
        assert fired([each]) <= matched(wide), each
        assert [invalid(rule) for rule in (*exact.rules, *wide.rules) if invalid(rule)] == []


@given(playbooks=st.lists(PLAYBOOK, min_size=20, max_size=20))
@thorough
def test_what_no_playbook_asks_for_is_not_shown(playbooks: list[dict[str, Any]], helm: Helm) -> None:
    webhooks = render(helm, [narrow(each) for each in playbooks])

    for each, webhook in zip(playbooks, webhooks, strict=True):
        # A babysitter is asked about fields that did not change here, so what would fire is judged by a finding.
        asked = fired([each | {"actions": [FINDING]}]) | fired([each])
        beyond = {(group, resource) for _, group, resource, subresource in matched(webhook) - asked if not subresource}
        assert beyond <= _filtered_out(each), (each, beyond)


def _filtered_out(written: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Return the kinds of triggers whose filters no change here goes through."""
    without = [
        {name: {**(asked or {}), "change_filters": None}}
        for item in written["triggers"]
        for name, asked in item.items()
    ]
    return {(request.group, request.resource) for request in fired([{"triggers": without, "actions": [FINDING]}])}


WORDS = {
    "kind": ["Pod", "deployment", "Deployment|StatefulSet", "Widget", "Dep.*", "Lease"],
    "resource": ["pods", "deployments", "widgets", "[a-m].*", "leases"],
    "subresource": ["", "scale", "exec", "s.*", "status"],
    "api_group": ["", "apps", "example.com", r"example\.com", ".*"],
    "operation": ["CREATE", "update", "DELETE|CONNECT", ".*"],
    "namespace": ["shop", "kube-.*"],
}
ITEM = st.fixed_dictionaries(
    {},
    optional={
        name: st.one_of(st.sampled_from(words), st.lists(st.sampled_from(words), min_size=1, max_size=2))
        for name, words in WORDS.items()
    },
).filter(bool)
RECORD = st.fixed_dictionaries(
    {"include": st.lists(ITEM, min_size=1, max_size=2)}, optional={"status": st.booleans(), "defaults": st.booleans()}
)


@given(records=st.lists(RECORD, min_size=20, max_size=20))
@thorough
def test_whatever_record_includes_is_shown(records: list[dict[str, Any]], helm: Helm) -> None:
    webhook = {"scope": "playbooks", "operations": EVERY_OPERATION}
    cases = [values(webhook, record=each) for each in records]

    for each, shown in zip(records, render(helm, cases), strict=True):
        selector = Record.model_validate(each).compile()
        recorded = {request for request, change in REQUESTS.items() if selector(change)}
        # Bindings and tokens are not among webhook.subresources.
        recorded -= {request for request in REQUESTS if request.subresource in ("binding", "token")}
        assert recorded - matched(shown) == set(), each
        assert [invalid(rule) for rule in shown.rules if invalid(rule)] == []


def test_what_record_includes_by_name_is_all_that_is_shown(helm: Helm) -> None:
    record = {"include": [{"kind": ["Secret", "ConfigMap"], "operation": "DELETE"}, {"resource": "widgets"}]}

    (webhook,) = render(helm, [values({"scope": "playbooks"}, record=record)])

    assert {(each.operation, each.resource, each.subresource) for each in matched(webhook)} == {
        ("DELETE", "secrets", ""),
        ("DELETE", "configmaps", ""),
        ("UPDATE", "widgets", ""),
        ("UPDATE", "widgets", "scale"),
    }


@pytest.mark.parametrize("record", [None, {}, {"exclude": [{"namespace": "x"}]}, {"status": True}])
def test_a_record_without_include_asks_for_nothing_beyond_the_playbooks(
    record: dict[str, Any] | None, helm: Helm
) -> None:
    assert render(helm, [values({"scope": "playbooks"}, record=record)]) == [Webhook((), {})]


def test_a_variable_in_place_of_a_name_asks_for_all_that_it_may_stand_for(helm: Helm) -> None:
    cases: list[dict[str, Any]] = [
        {"on_kubernetes_resource_operation": {"resources": ["{{ env.WATCHED }}"], "operations": ["{{ env.HOW }}"]}},
        {"on_resource_update": {"group": "{{ env.GROUP }}", "kind": "Lease"}},
    ]

    every, updates = render(helm, [narrow(playbook(each)) for each in cases])

    assert {request for request in REQUESTS if not request.subresource} <= matched(every)
    assert updates.matches(Request("UPDATE", "coordination.k8s.io", "leases"))


def everything() -> Iterator[Request]:
    """Yield every update that is no upkeep, as the default values show it."""
    for request in REQUESTS:
        noise = is_noise(request.group, request.resource, request.subresource)
        if request.operation == "UPDATE" and request.subresource != "status" and not noise:
            yield request


def test_the_default_is_every_update_but_upkeep(helm: Helm) -> None:
    (webhook,) = render(helm, [values()], BEFORE_CONDITIONS)

    assert matched(webhook) == set(everything())


def test_with_conditions_one_rule_is_enough(helm: Helm) -> None:
    (webhook,) = render(helm, [values()], WITH_CONDITIONS)

    assert len(webhook.rules) == 1
    assert webhook.conditions
    assert matched(webhook) >= set(everything())


def test_every_operation_is_shown_by_value(helm: Helm) -> None:
    (webhook,) = render(helm, [values({"operations": EVERY_OPERATION})])

    assert matched(webhook) == {
        request
        for request in REQUESTS
        if request.subresource != "status" and not is_noise(request.group, request.resource, request.subresource)
    }


def test_none_keeps_no_upkeep_away(helm: Helm) -> None:
    for version in (BEFORE_CONDITIONS, WITH_CONDITIONS):
        (webhook,) = render(helm, [values({"noise": "none"})], version)

        assert webhook.conditions == {}
        assert webhook.matches(Request("UPDATE", "coordination.k8s.io", "leases"))


@pytest.mark.parametrize("version", [BEFORE_CONDITIONS, WITH_CONDITIONS])
def test_upkeep_that_is_to_be_recorded_is_shown(version: str, helm: Helm) -> None:
    (webhook,) = render(helm, [values(record={"defaults": False})], version)

    assert webhook.conditions == {}
    assert webhook.matches(Request("UPDATE", "coordination.k8s.io", "leases"))


def test_wildcards_and_what_they_cover_do_not_meet_in_a_rule(helm: Helm) -> None:
    subresources = ["*/scale", "deployments/scale", "pods/*", "pods/exec", "*/*"]

    webhooks = [
        webhook
        for version in (BEFORE_CONDITIONS, WITH_CONDITIONS)
        for webhook in render(helm, [values({"subresources": subresources[:count]}) for count in range(6)], version)
    ]

    assert [invalid(rule) for webhook in webhooks for rule in webhook.rules if invalid(rule)] == []


@pytest.mark.parametrize("name", CI)
def test_the_rules_of_the_files_of_values_are_valid(name: str, helm: Helm) -> None:
    for document in rendered(helm, name):
        if document["kind"] == "ValidatingWebhookConfiguration":
            assert [invalid(rule) for rule in document["webhooks"][0]["rules"] if invalid(rule)] == []


def test_rules_name_no_subresource_that_is_not_there(helm: Helm) -> None:
    connect = {"on_kubernetes_resource_operation": {"resources": ["pods"], "operations": ["connect"]}}
    subresources = {"subresources": ["*/scale", "pods/exec"], "scope": "playbooks"}

    triggers: list[dict[str, Any]] = [{"on_configmap_update": {}}, connect]

    webhooks = render(helm, [values(subresources, customPlaybooks=[playbook(each)]) for each in triggers])

    assert [rule["resources"] for webhook in webhooks for rule in webhook.rules] == [["configmaps"], ["pods/exec"]]
