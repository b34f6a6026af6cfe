"""What reviews of a real API server, and of stranger ones, leave in the ledger."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonpatch
import msgspec
import pytest
import yaml

from app.core.change import Entry
from app.core.diff import patch
from app.core.redact import Redactor
from app.core.review import MalformedReviewError, decode, decode_oversized, interpret
from tests.builders import (
    KEY,
    RECORDED_REVIEWS,
    about,
    entry_of,
    make_body,
    make_review,
    record,
    recorded_review,
    review_document,
)

EXPECTED: dict[str, Any] = yaml.safe_load((Path(__file__).parents[1] / "data" / "expected-entries.yaml").read_text())
NAMES = sorted(path.stem for path in RECORDED_REVIEWS.glob("*.json"))
UPDATES = [name for name in NAMES if "-update" in name or "scale" in name]
DEEP = b"[" * 2000 + b"]" * 2000


def summary(entry: Entry | None) -> Any:
    """Write an entry as the file of expectations does."""
    if entry is None:
        return "nothing"
    document = json.loads(msgspec.json.encode(entry))
    resource = entry.resource
    parts = (resource.group, resource.version, resource.resource, resource.subresource)
    plural = "/".join(part for part in parts if part)
    how = {
        "user": entry.user.username,
        "actor": " ".join(part for part in (entry.actor.kind, entry.actor.service_account) if part),
        "manager": f"{entry.field_manager} {entry.actor.manager_operation}".strip(),
    }
    return {
        "what": f"{entry.operation} {entry.resource} ({plural})" + (" dry run" if entry.dry_run else ""),
        **{key: value for key, value in how.items() if value},
        "changes": [[each["path"], each["op"], each.get("old"), each.get("new")] for each in document["changes"]],
        "patch": [list(each.values()) for each in document["patch"]],
        "object": sorted(document.get("object", ())),
    }


def test_every_recorded_review_has_an_expectation() -> None:
    assert sorted(EXPECTED) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_recorded_review_leaves_the_expected_entry(name: str) -> None:
    assert summary(record(recorded_review(name))) == EXPECTED[name]


@pytest.mark.parametrize("name", UPDATES)
def test_the_patch_turns_the_old_object_into_the_new_one_exactly(name: str) -> None:
    change = interpret(recorded_review(name))

    assert jsonpatch.apply_patch(change.old, list(patch(change.deltas))) == change.new


@pytest.mark.parametrize("name", [name for name in UPDATES if EXPECTED[name] != "nothing"])
def test_the_recorded_patch_turns_the_redacted_old_object_into_the_redacted_new_one(name: str) -> None:
    change, redactor = interpret(recorded_review(name)), Redactor(KEY)
    assert change.old is not None
    assert change.new is not None
    old, new = (redactor.object(change.resource.kind, each) for each in (change.old, change.new))

    entry = entry_of(recorded_review(name))

    wanted = {key: value for key, value in new.items() if key != "status"}
    patched = jsonpatch.apply_patch(old, list(entry.patch))
    assert {key: value for key, value in patched.items() if key != "status"} == wanted


def test_a_kept_object_has_nothing_of_what_every_write_changes() -> None:
    kept = entry_of(recorded_review("deployment-delete")).object

    assert isinstance(kept, dict)
    assert sorted(kept["metadata"]) == ["labels", "name", "namespace"]
    assert kept["spec"]["template"]["spec"]["containers"][0]["image"] == "busybox:9"


SCALES = [
    ("apps", "deployments", "Deployment"),
    ("apps", "statefulsets", "StatefulSet"),
    ("apps", "replicasets", "ReplicaSet"),
    ("", "replicationcontrollers", "ReplicationController"),
    ("example.com", "widgets", "widgets"),  # of this kind itself nothing was seen yet
]


@pytest.mark.parametrize(("old", "new"), [(3, 0), (0, 3)])
def test_zero_replicas_are_left_out_by_the_api_server_and_written_here(old: int, new: int) -> None:
    fields = scale("apps", "deployments")
    for key, count in (("oldObject", old), ("object", new)):
        fields[key]["spec"] = {"replicas": count} if count else {}

    (change,) = entry_of(make_review(**fields)).changes

    assert (change.path, change.op, change.old, change.new) == ("spec.replicas", "replace", old, new)


def test_a_default_of_a_custom_resource_definition_may_change_from_1_to_true() -> None:
    definition = {"group": "apiextensions.k8s.io", "version": "v1", "kind": "CustomResourceDefinition"}
    review = make_review(kind=definition, oldObject={"default": 1}, object={"default": True})

    (change,) = entry_of(review).changes

    assert (change.old, change.new) == (1, True)


def test_an_annotation_beside_ones_that_do_not_count_is_patched_by_itself() -> None:
    revision = {"deployment.kubernetes.io/revision": "1"}
    review = make_review(
        oldObject={"metadata": {"annotations": revision}}, object={"metadata": {"annotations": revision | {"a": "b"}}}
    )

    assert entry_of(review).patch == ({"op": "add", "path": "/metadata/annotations/a", "value": "b"},)


def test_annotations_that_do_not_count_come_and_go_unnoticed() -> None:
    applied = {"metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}}}

    assert record(make_review(oldObject={"metadata": {}}, object=applied)) is None
    assert record(make_review(oldObject=applied, object={"metadata": {}})) is None


@pytest.mark.parametrize(("group", "plural", "kind"), SCALES)
def test_scaling_is_an_update_of_the_parents_replicas(group: str, plural: str, kind: str) -> None:
    entry = entry_of(make_review(**scale(group, plural)))

    assert (str(entry.resource), entry.resource.subresource) == (f"{kind}/shop/web", "scale")
    assert (entry.resource.group, entry.resource.version) == (group, "v1")
    assert [(each.path, each.old, each.new) for each in entry.changes] == [("spec.replicas", 1, 3)]


def scale(group: str, plural: str) -> dict[str, Any]:
    old, new = ({"kind": "Scale", "metadata": {"name": "web"}, "spec": {"replicas": each}} for each in (1, 3))
    return {
        "kind": {"group": "autoscaling", "version": "v1", "kind": "Scale"},
        "resource": {"group": group, "version": "v1", "resource": plural},
        "subResource": "scale",
        "oldObject": old,
        "object": new,
    }


def test_scaling_a_custom_resource_names_the_kind_that_its_own_reviews_had() -> None:
    change = interpret(make_review(**scale("example.com", "mice")), {("example.com", "mice"): "Mouse"})

    assert str(change.resource) == "Mouse/shop/web"


def test_deletecollection_takes_the_name_from_the_object() -> None:
    entry = entry_of(make_review(operation="DELETE", name="", object=None))

    assert str(entry.resource) == "Deployment/shop/web"


def test_a_generated_name_that_is_not_known_yet_is_shown_as_its_beginning() -> None:
    pod = {"metadata": {"generateName": "web-"}}

    entry = entry_of(make_review(**about("Pod", "pods", operation="CREATE", name="", object=pod, oldObject=None)))

    assert entry.resource.name == "web-"


def test_the_removal_of_a_finalizer_is_told_by_its_name() -> None:
    old, new = ({"metadata": {"name": "web", "finalizers": each}} for each in (["a/x", "b/y"], ["b/y"]))

    entry = entry_of(make_review(oldObject=old, object=new))

    assert [(each.path, each.op) for each in entry.changes] == [("metadata.finalizers[a/x]", "remove")]


def test_a_debug_container_is_a_change_of_the_pod() -> None:
    old: dict[str, Any] = {"metadata": {"name": "web", "uid": "u"}, "spec": {"containers": []}}
    new = {**old, "spec": {"containers": [], "ephemeralContainers": [{"name": "debugger", "image": "busybox"}]}}
    review = make_review(**about("Pod", "pods", subResource="ephemeralcontainers", oldObject=old, object=new))

    entry = entry_of(review)

    assert str(entry.resource) == "Pod/shop/web"
    assert entry.changes[0].path == "spec.ephemeralContainers"


def test_an_eviction_is_about_the_pod_and_keeps_what_was_asked() -> None:
    eviction = {"kind": "Eviction", "metadata": {"name": "web", "uid": "of the eviction"}, "deleteOptions": {}}
    where = {"kind": {"group": "policy", "version": "v1", "kind": "Eviction"}, "subResource": "eviction"}

    review = make_review(**about("Pod", "pods", operation="CREATE", object=eviction, oldObject=None) | where)
    entry = entry_of(review)

    assert str(entry.resource) == "Pod/shop/web"
    assert entry.resource.uid == ""
    assert isinstance(entry.object, dict)
    assert entry.object["kind"] == "Eviction"


@pytest.mark.parametrize(
    ("subresource", "kind"),
    [("exec", "PodExecOptions"), ("attach", "PodAttachOptions"), ("portforward", "PodPortForwardOptions")],
)
def test_a_connection_into_a_pod_is_recorded_with_its_command(subresource: str, kind: str) -> None:
    options = {"kind": kind, "container": "app", "command": ["sh", "-c", "id"]}
    connect = about("Pod", "pods", operation="CONNECT", subResource=subresource, object=options, oldObject=None)

    entry = entry_of(make_review(**connect | {"kind": {"group": "", "version": "v1", "kind": kind}, "options": None}))

    assert (entry.operation, str(entry.resource)) == ("CONNECT", "Pod/shop/web")
    assert isinstance(entry.object, dict)
    assert entry.object["command"] == ["sh", "-c", "id"]


def test_a_namespace_has_no_namespace_of_its_own() -> None:
    entry = entry_of(make_review(**about("Namespace", "namespaces", name="shop", namespace="shop")))

    assert str(entry.resource) == "Namespace/shop"


def test_where_a_bound_token_was_used_is_named() -> None:
    prefix = "authentication.kubernetes.io/"
    extra = {f"{prefix}pod-name": ["argocd-0"], f"{prefix}node-name": ["worker-1"]}

    actor = entry_of(make_review(userInfo={"username": "system:serviceaccount:argo:argocd", "extra": extra})).actor

    assert (actor.kind, actor.service_account) == ("controller", "argo/argocd")
    assert (actor.pod, actor.node) == ("argocd-0", "worker-1")


ACTORS = [
    ("alice", "human", "", ""),
    ("", "human", "", ""),
    ("s", "human", "", ""),
    ("system:admin", "human", "", ""),
    ("system:anonymous", "human", "", ""),
    ("system:", "controller", "", ""),
    ("system:node:", "controller", "", ""),
    ("system:node:worker-1", "controller", "", "worker-1"),
    ("system:serviceaccount:", "controller", "", ""),
    ("system:serviceaccount:a:b:c", "controller", "a/b:c", ""),
    ("system:kube-scheduler", "controller", "", ""),
]


@pytest.mark.parametrize(("username", "kind", "account", "node"), ACTORS)
def test_people_and_controllers_are_told_apart(username: str, kind: str, account: str, node: str) -> None:
    actor = entry_of(make_review(userInfo={"username": username})).actor

    assert (actor.kind, actor.service_account, actor.node) == (kind, account, node)


@pytest.mark.parametrize("name", ["ü", "a b", "'; DROP TABLE entries; --", "\x00", "🦊" * 100, '"', "../..", "%s"])
def test_odd_names_are_kept_as_they_are(name: str) -> None:
    odd = make_review(name=name, namespace=name, userInfo={"username": name})

    entry = entry_of(odd)

    assert (entry.resource.name, entry.resource.namespace, entry.user.username) == (name, name, name)


def test_the_manager_is_the_newest_one_where_the_options_name_none() -> None:
    managed = [
        {"manager": "old", "operation": "Update", "time": "2026-01-01T00:00:00Z"},
        {"manager": "new", "operation": "Apply", "time": "2026-01-02T00:00:00Z"},
        {"manager": "middle", "operation": "Update", "time": "2026-01-01T12:00:00Z"},
        "nonsense",
    ]

    entry = entry_of(make_review(options=None, object={"metadata": {"managedFields": managed}, "spec": 1}))

    assert (entry.field_manager, entry.actor.manager_operation) == ("new", "Apply")


def test_the_same_number_in_another_type_is_a_change_of_a_custom_resource() -> None:
    widget = about("Widget", "widgets", "example.com", oldObject={"spec": {"on": 1}}, object={"spec": {"on": True}})

    assert [each.path for each in entry_of(make_review(**widget)).changes] == ["spec.on"]


def test_an_operation_that_is_not_known_is_recorded_as_such() -> None:
    assert entry_of(make_review(operation="TELEPORT")).operation == "UNKNOWN"


def test_the_kind_is_found_by_the_resource_where_the_review_does_not_say_it() -> None:
    secret = about("", "secrets", object={"data": {"p": "hunter2"}}, oldObject=None, operation="CREATE")

    entry = entry_of(make_review(**secret | {"kind": "nonsense"}))

    assert entry.resource.kind == "Secret"
    assert "hunter2" not in str(entry)


ODD_FIELDS: list[dict[str, Any]] = [
    {"name": 3},
    {"kind": None},
    {"resource": []},
    {"dryRun": "yes"},
    {"options": 5},
    {"object": []},
    {"oldObject": "x"},
    {"subResource": {}},
    {"operation": None},
    {"object": {"metadata": []}},
    {"object": {"metadata": {"labels": [], "annotations": 3, "managedFields": {}}}},
]


@pytest.mark.parametrize("odd", ODD_FIELDS, ids=str)
def test_a_field_of_a_wrong_type_costs_only_that_field(odd: dict[str, Any]) -> None:
    change = interpret(make_review(**odd))

    assert change.user.username == "alice"
    assert change.user.groups == ("system:authenticated",)


@pytest.mark.parametrize("odd", [{"extra": {"scopes": None}}, {"extra": []}, {"groups": "admins"}, {"uid": 7}], ids=str)
def test_an_odd_part_of_the_user_costs_only_that_part(odd: dict[str, Any]) -> None:
    change = interpret(make_review(userInfo={"username": "bob", **odd}))

    assert change.user.username == "bob"


def test_fields_that_are_null_mean_absent() -> None:
    nothing = {"dryRun": None, "options": None, "userInfo": {"username": "bob", "groups": None, "extra": None}}

    change = interpret(make_review(**nothing))

    assert (change.dry_run, change.field_manager, change.user.groups) == (False, "", ())


def test_the_older_version_of_the_api_is_kept_for_the_answer() -> None:
    document = review_document() | {"apiVersion": "admission.k8s.io/v1beta1"}

    assert decode(json.dumps(document).encode()).api_version == "admission.k8s.io/v1beta1"


MALFORMED = [
    pytest.param(b"", "not JSON", id="nothing"),
    pytest.param(b'{"request":{"uid":"a"', "not JSON", id="broken JSON"),
    pytest.param(b'{"request":{"uid":"a","name":"\xff"}}', "not JSON", id="no UTF-8"),
    pytest.param(b'{"request":{"uid":"a","name":1,"namespace":"\xff"}}', "not JSON", id="no UTF-8 behind an odd field"),
    pytest.param(b"[]", "not an AdmissionReview", id="a list"),
    pytest.param(b"{}", "not an AdmissionReview", id="no request"),
    pytest.param(b'{"request":null}', "not an AdmissionReview", id="a null request"),
    pytest.param(b'{"request":{}}', "no request.uid", id="no uid"),
    pytest.param(b'{"request":{"uid":""}}', "no request.uid", id="an empty uid"),
    pytest.param(b'{"request":{"uid":7}}', "no request.uid", id="a uid that is a number"),
    pytest.param(DEEP, "nested too deeply", id="nested, and no review"),
    pytest.param(
        b'{"request":{"uid":"a","options":' + DEEP + b"}}", "nested too deeply", id="nested before any object"
    ),
]


@pytest.mark.parametrize(("body", "message"), MALFORMED)
def test_what_cannot_be_answered_is_malformed_and_the_message_says_why(body: bytes, message: str) -> None:
    with pytest.raises(MalformedReviewError, match=message):
        decode(body)


@pytest.mark.parametrize("odd", [{}, {"name": 3}], ids=["in order", "behind an odd field"])
def test_objects_nested_too_deeply_are_left_out(odd: dict[str, Any]) -> None:
    body = make_body(**odd, object="HERE").replace(b'"HERE"', DEEP)

    review = decode(body)

    assert review.truncated
    assert review.request.user_info.username == "alice"


def test_an_oversized_review_says_what_stands_around_its_objects() -> None:
    body = make_body(dryRun=True, options={"dryRun": ["All"], "fieldManager": "helm"})

    review = decode_oversized(body[:600], body[-200:])

    assert review.truncated
    assert review.request.user_info.username == "alice"
    assert review.request.dry_run is True
    assert review.request.options == {"dryRun": ["All"], "fieldManager": "helm"}


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_dry_run_is_not_mistaken_for_a_field_of_the_object_or_of_the_options(dry_run: bool) -> None:
    spec = {"spec": {"text": '"dryRun":true', "dryRun": not dry_run}}
    body = make_body(oldObject=spec, dryRun=dry_run, options={"dryRun": ["All"] if dry_run else []})

    assert decode_oversized(body[:600], body[-200:]).request.dry_run is dry_run


def test_a_recorded_dry_run_is_one_also_when_it_is_oversized() -> None:
    body = msgspec.json.encode(json.loads((RECORDED_REVIEWS / "configmap-update-dry-run.json").read_bytes()))

    review = decode_oversized(body[:700], body[-300:])

    assert (review.request.name, review.request.dry_run) == ("cm", True)


def test_an_oversized_review_without_an_end_is_still_a_review() -> None:
    review = decode_oversized(make_body()[:600], b"xxxxxx")

    assert (review.truncated, review.request.dry_run) == (True, None)


def test_an_oversized_body_without_a_uid_at_its_beginning_is_malformed() -> None:
    with pytest.raises(MalformedReviewError, match="too large"):
        decode_oversized(b"x" * 1000, b"x" * 100)
