"""Undoing an entry makes the object as it was before; where that cannot be known, there is a reason."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import jsonpatch
import msgspec
import pytest
from hypothesis import given

from app.core.change import Entry, Resource
from app.core.history import as_recorded
from app.core.undo import Refusal, Undo, undo
from tests.builders import about, make_entry, recorded_review
from tests.builders import entry_of as kept
from tests.core.lives import Document, deployment, histories, keyed_histories, life_of, told
from tests.core.patched import patched


def live_from(document: Document, **metadata: Any) -> Document:
    """Return an object as the API server has it: with what every write changes, and a status."""
    own = {"uid": "u-1", "resourceVersion": "77", "generation": 4, **document["metadata"], **metadata}
    return {**document, "metadata": own, "status": {"replicas": 9}}


def done(entry: Entry, live: Document | None, later: list[Entry] | None = None) -> Undo:
    found = undo(entry, live, later=later or [])
    assert isinstance(found, Undo), found
    return found


def refused(entry: Entry, live: Document | None = None, later: list[Entry] | None = None) -> Refusal:
    found = undo(entry, live, later=later or [])
    assert isinstance(found, Refusal), found
    return found


def pod_spec(*names: str, **fields: Any) -> Document:
    """A Deployment with these containers."""
    containers = [{"name": name, "image": f"{name}:1", **fields} for name in names]
    return deployment(template={"spec": {"containers": containers}})


def with_args(*args: str) -> Document:
    return pod_spec("web", args=list(args))


def with_annotations(**annotations: str) -> Document:
    document = deployment(replicas=1)
    return {**document, "metadata": {**document["metadata"], "annotations": annotations}}


def plain(document: Document) -> Document:
    """Return what counts of an object: as it is recorded, and without maps that hold nothing, which nobody stores."""
    recorded = as_recorded(document)
    return {**recorded, "metadata": {key: value for key, value in recorded["metadata"].items() if value != {}}}


@given(histories)
def test_the_patch_turns_the_live_object_into_what_it_was(states: list[Document]) -> None:
    for old, new in itertools.pairwise(states):
        for entry in life_of([old, new]):
            live = live_from(new)

            assert plain(patched(live, done(entry, live).patch)) == plain(old)


@given(keyed_histories)
def test_without_the_live_object_the_recorded_places_do(states: list[Document]) -> None:
    for old, new in itertools.pairwise(states):
        for entry in life_of([old, new]):
            assert plain(patched(new, done(entry, None).patch)) == plain(old)


@given(keyed_histories)
def test_what_is_undone_is_not_undone_twice(states: list[Document]) -> None:
    for old, new in itertools.pairwise(states):
        for entry in life_of([old, new]):
            found = undo(entry, live_from(old))

            assert isinstance(found, Refusal)
            assert found.reason in ("undone", "moved")


@pytest.mark.parametrize("live", [None, live_from(deployment(replicas=3))], ids=["unseen", "live"])
def test_a_replaced_value_is_tested_before_it_is_put_back(live: Document | None) -> None:
    found = done(told(deployment(replicas=1), deployment(replicas=3)), live)

    guard = {"op": "test", "path": "/metadata/uid", "value": "u-1"}
    assert found.patch == (
        guard,
        {"op": "test", "path": "/spec/replicas", "value": 3},
        {"op": "replace", "path": "/spec/replicas", "value": 1},
    )
    [change] = found.changes
    assert (change.path, change.old, change.new) == ("spec.replicas", 3, 1)


def test_a_list_element_is_found_by_its_key_where_it_is_now() -> None:
    entry = told(pod_spec("web"), pod_spec("web", imagePullPolicy="Always"))

    found = done(entry, live_from(pod_spec("sidecar", "web", imagePullPolicy="Always")))

    place = "/spec/template/spec/containers/1"
    assert [each for each in found.patch if each["path"] != "/metadata/uid"] == [
        {"op": "test", "path": f"{place}/name", "value": "web"},
        {"op": "test", "path": f"{place}/imagePullPolicy", "value": "Always"},
        {"op": "remove", "path": f"{place}/imagePullPolicy"},
    ]


def test_a_patch_for_another_element_at_the_place_fails_by_its_tests() -> None:
    patch = done(told(pod_spec("web"), pod_spec("web", imagePullPolicy="Always")), None).patch

    with pytest.raises(jsonpatch.JsonPatchTestFailed):
        patched(live_from(pod_spec("sidecar", "web", imagePullPolicy="Always")), patch)


def test_an_element_that_was_removed_comes_back_only_into_the_object_that_was_seen() -> None:
    entry, live = told(pod_spec("web", "sidecar"), pod_spec("web")), live_from(pod_spec("web"))

    found = done(entry, live)

    assert {"op": "test", "path": "/metadata/resourceVersion", "value": "77"} in found.patch
    assert found.cautions
    with pytest.raises(jsonpatch.JsonPatchTestFailed):
        patched(live_from(pod_spec("web"), resourceVersion="78"), found.patch)


def test_an_element_without_a_key_does_not_come_back_where_the_list_has_changed_since() -> None:
    entry = told(with_args("a", "b", "c"), with_args("a", "c"))
    after = told(with_args("a", "c"), with_args("x", "a", "c"), number=1, user="bob")

    assert refused(entry, live_from(with_args("x", "a", "c")), [after]).by == "bob"
    assert refused(entry, live_from(with_args("a", "b", "c"))).reason == "moved"


def test_an_element_without_a_key_comes_back_after_an_attempt_that_was_repeated() -> None:
    old, new = with_args("a", "b", "c"), with_args("a", "c")
    entry, again = (told(old, new, number=number) for number in (0, 1))

    live = live_from(new)

    assert plain(patched(live, done(entry, live, [entry, again]).patch)) == plain(old)


def test_annotations_that_are_not_recorded_stay() -> None:
    entry = told(deployment(replicas=1), with_annotations(team="a"))
    live = live_from(with_annotations(team="a", **{"deployment.kubernetes.io/revision": "2"}))

    after = patched(live, done(entry, None).patch)

    assert after["metadata"]["annotations"] == {"deployment.kubernetes.io/revision": "2"}
    assert after == patched(live, done(entry, live).patch)


def test_annotations_come_back_whether_there_are_others_or_none() -> None:
    entry = told(with_annotations(team="a", tier="b"), deployment(replicas=1))

    for others in ({}, {"note": "c"}):
        live = live_from(with_annotations(**others) if others else deployment(replicas=1))
        after = patched(live, done(entry, live).patch)
        assert after["metadata"]["annotations"] == {"team": "a", "tier": "b", **others}


def test_a_field_that_is_there_again_is_not_overwritten_by_the_patch() -> None:
    old, new = deployment(replicas=1, paused=True), deployment(replicas=1)
    live = live_from(new)

    patch = done(told(old, new), live).patch

    with pytest.raises(jsonpatch.JsonPatchTestFailed):
        patched({**live, "spec": {"replicas": 1, "paused": False}}, patch)


def test_a_field_that_moved_on_is_named_and_who_moved_it() -> None:
    entry = told(deployment(replicas=1), deployment(replicas=3))
    by_bob = told(deployment(replicas=3), deployment(replicas=5), number=1, user="bob")

    for live in (None, live_from(deployment(replicas=5))):
        found = refused(entry, live, [entry, by_bob])
        assert (found.reason, found.path, found.by) == ("moved", "spec.replicas", "bob")
        assert (found.entry_id, found.at) == (by_bob.id, by_bob.at)
        assert "spec.replicas" in found.text
        assert "bob" in found.text


def test_a_field_that_moved_on_without_an_entry_is_refused_as_well() -> None:
    found = refused(told(deployment(replicas=1), deployment(replicas=3)), live_from(deployment(replicas=5)))

    assert (found.reason, found.path, found.by) == ("moved", "spec.replicas", "")


def test_an_attempt_that_was_repeated_has_not_moved_on() -> None:
    entry, again = (told(deployment(replicas=1), deployment(replicas=3), number=number) for number in (0, 1))

    assert done(entry, None, [entry, again]).action == "patch"


def test_what_went_and_came_back_has_not_moved_on() -> None:
    values = [deployment(replicas=each) for each in (1, 3, 5, 3)]
    entries = [told(*pair, number=number) for number, pair in enumerate(itertools.pairwise(values))]

    assert refused(entries[0], None, entries[:2]).reason == "moved"
    assert done(entries[0], live_from(values[-1]), entries).changes[0].new == 1


def test_a_new_life_is_another_object() -> None:
    entry = told(deployment(replicas=1), deployment(replicas=3))
    other = deployment("u-2", replicas=3)
    anew = [told(deployment(replicas=3), None, number=1, user="bob"), told(None, other, number=2, user="carol")]

    assert refused(entry, None, anew).reason == "gone"
    assert refused(entry, {**other, "metadata": {**other["metadata"], "uid": "u-2"}}).reason == "gone"
    assert refused(entry, {}, anew[:1]).by == "bob"
    with pytest.raises(jsonpatch.JsonPatchTestFailed):
        patched(live_from(other, uid="u-2"), done(entry, None).patch)


def test_a_change_that_is_back_already_says_so() -> None:
    assert refused(told(deployment(replicas=1), deployment(replicas=3)), live_from(deployment(replicas=1))).reason == (
        "undone"
    )


def test_the_order_of_a_list_comes_back() -> None:
    old, new = pod_spec("a", "b", "c"), pod_spec("c", "a", "b")
    entry = told(old, new)

    for live, start in ((None, new), (live_from(new), new), (live_from(pod_spec("c", "a", "b", "d")), None)):
        found = patched(start or live or {}, done(entry, live).patch)
        names = [each["name"] for each in found["spec"]["template"]["spec"]["containers"]]
        assert names[:3] == ["a", "b", "c"]
    assert refused(entry, live_from(pod_spec("b", "c", "a"))).path == "spec.template.spec.containers"


@pytest.mark.parametrize("live", [None, live_from(pod_spec("c", "a", "b"))], ids=["unseen", "live"])
def test_another_order_than_that_which_was_left_fails_by_the_tests(live: Document | None) -> None:
    patch = done(told(pod_spec("a", "b", "c"), pod_spec("c", "a", "b")), live).patch

    with pytest.raises(jsonpatch.JsonPatchTestFailed):
        patched(live_from(pod_spec("b", "a", "c")), patch)


def scaled(old: int, new: int) -> Entry:
    scales = [{"kind": "Scale", "metadata": {"name": "web", "uid": "u-1"}, "spec": {"replicas": n}} for n in (old, new)]
    request = about("Scale", "deployments", "apps", subResource="scale", object=scales[1], oldObject=scales[0])
    request["kind"] = {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    return told(scales[0], scales[1], **request)


def test_scaling_is_undone_through_scale_where_no_replicas_are_written_as_nothing() -> None:
    found = done(scaled(2, 0), {"metadata": {"uid": "u-1"}, "spec": {}})

    assert found.command == "kubectl scale deployments.v1.apps/web -n shop --current-replicas=0 --replicas=2"
    assert found.resource.subresource == "scale"
    assert patched({"metadata": {"uid": "u-1"}, "spec": {}}, found.patch)["spec"] == {"replicas": 2}
    assert refused(scaled(1, 3), {"metadata": {"uid": "u-1"}, "spec": {"replicas": 4}}).reason == "moved"


def test_a_deleted_object_is_created_without_what_only_the_server_gives() -> None:
    old = live_from(deployment(replicas=2), managedFields=[{}], finalizers=["orphan"], labels={"app": "web"})

    found = done(told(old, None), {})

    assert found.object == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web"}},
        "spec": {"replicas": 2},
    }
    assert found.command.startswith("printf %s '{")
    assert found.command.endswith("' | kubectl create -n shop --field-manager=kubewitness-undo -f -")


def test_a_job_is_created_without_the_selector_that_it_was_given() -> None:
    labels = {"controller-uid": "u-1", "job-name": "import", "app": "import"}
    job = {
        "metadata": {"name": "import", "namespace": "shop", "uid": "u-1", "labels": dict(labels)},
        "spec": {"selector": {"matchLabels": {"controller-uid": "u-1"}}, "template": {"metadata": {"labels": labels}}},
    }

    found = done(told(job, None, name="import", **about("Job", "jobs", "batch")), None)

    assert isinstance(found.object, dict)
    assert found.object["spec"] == {"template": {"metadata": {"labels": {"app": "import"}}}}
    assert found.object["metadata"]["labels"] == {"app": "import"}


def test_a_deletion_after_which_there_is_an_object_is_not_undone() -> None:
    old = deployment(replicas=2)
    entry, anew = told(old, None), told(None, deployment("u-2", replicas=1), number=1, user="bob")

    assert refused(entry, live_from(old)).reason == "undone"
    assert refused(entry, live_from(old, deletionTimestamp="2026-01-02T03:04:05Z")).reason == "moved"
    assert refused(entry, live_from(old, uid="u-2"), [anew]).by == "bob"
    assert refused(entry, None, [anew]).by == "bob"


def test_a_creation_is_undone_for_this_very_object_only() -> None:
    new = deployment(replicas=2)
    entry = told(None, new)
    by_bob = told(new, deployment(replicas=3), number=1, user="bob")

    found = done(entry, live_from(new), [by_bob])

    assert isinstance(found.options, dict)
    assert found.options["preconditions"] == {"uid": "u-1"}
    assert "/apis/apps/v1/namespaces/shop/deployments/web" in found.command
    assert "bob" in found.cautions[0]
    assert refused(entry, {}).reason == "gone"
    assert refused(entry, live_from(new, uid="u-2")).reason == "gone"
    assert refused(entry, None, [told(new, None, number=1)]).reason == "gone"


def test_the_creation_of_what_others_have_filled_is_not_undone() -> None:
    namespace = {"metadata": {"name": "shop", "uid": "u-1"}}

    assert refused(told(None, namespace, name="shop", **about("Namespace", "namespaces"))).reason == "reach"


SECRET = {"kind": "Secret", "metadata": {"name": "db", "uid": "u-1"}, "data": {"password": "aHVudGVyMg=="}}
NO_SECRET = {**SECRET, "data": {"password": "b3RoZXI="}}


def test_a_secret_value_is_refused_by_the_name_of_its_field() -> None:
    kind = about("Secret", "secrets", name="db")
    environment = [pod_spec("web", env=[{"name": "API_TOKEN", "value": value}]) for value in ("one", "two")]
    url = [deployment(note=f"postgres://me:{word}@db/shop") for word in ("pass-one", "pass-two")]

    found = [refused(told(SECRET, NO_SECRET, **kind)), refused(told(SECRET, None, **kind), {})]
    found += [refused(told(*environment)), refused(told(*url))]

    assert {each.reason for each in found} == {"redacted"}
    assert [each.path for each in found] == [
        "data.password",
        "data.password",
        "spec.template.spec.containers[web].env[API_TOKEN].value",
        "spec.note",
    ]


def test_a_secret_is_put_back_into_nothing() -> None:
    kind = about("Secret", "secrets", name="db")
    labelled = {**SECRET, "metadata": {**SECRET["metadata"], "labels": {"a": "b"}}}  # type: ignore[dict-item]

    found = done(told(SECRET, labelled, **kind), labelled)

    assert "aHVudGVyMg" not in found.command
    assert refused(told(None, SECRET, **kind), {}).reason == "gone"


def subresource(name: str, **fields: Any) -> Entry:
    _, entry = make_entry(
        resource=Resource(version="v1", kind="Pod", resource="pods", name="web", namespace="shop", subresource=name),
        **fields,
    )
    return entry


ASTRAY = [
    {"name": ".."},
    {"name": "."},
    {"name": "web/.."},
    {"name": "%2e%2e"},
    {"namespace": ".."},
    {"resource": "deployments/../../namespaces"},
    {"group": "../../api"},
    {"version": "v1/.."},
]
"""Names of which a path would be one to something else; reviews that nobody but a forger sends."""


def led_astray(**place: str) -> Entry:
    created = told(None, deployment(replicas=1))
    return msgspec.structs.replace(created, resource=msgspec.structs.replace(created.resource, **place))


NEVER = [
    ("dry-run", told(deployment(replicas=1), deployment(replicas=3), dryRun=True)),
    ("nothing", subresource("exec", operation="CONNECT")),
    ("nothing", make_entry(operation="FAILED")[1]),
    ("nothing", subresource("", operation="UPDATE")),
    ("unreadable", make_entry(operation="UNKNOWN")[1]),
    ("unreadable", make_entry(operation="UPDATE")[1]),
    ("truncated", subresource("", operation="UPDATE", truncated=True)),
    ("subresource", subresource("ephemeralcontainers")),
    ("subresource", subresource("eviction", operation="CREATE")),
    ("subresource", subresource("finalize")),
    ("unreadable", subresource("", operation="DELETE")),
    ("unreadable", subresource("", operation="DELETE", object={})),
    ("unreadable", subresource("", operation="CREATE", object={})),
    *(("unreadable", led_astray(**place)) for place in ASTRAY),
]


@pytest.mark.parametrize(("reason", "entry"), NEVER)
def test_what_cannot_be_undone_has_a_reason(reason: str, entry: Entry) -> None:
    found = refused(entry)

    assert found.reason == reason
    assert found.text.endswith(".")


def test_nothing_is_changed_that_was_given() -> None:
    entry, live = told(pod_spec("web", "sidecar"), pod_spec("web")), live_from(pod_spec("web"))
    before = copy.deepcopy((msgspec.to_builtins(entry), live))

    done(entry, live)

    assert (msgspec.to_builtins(entry), live) == before


def test_what_an_api_server_sent_is_undone() -> None:
    update = recorded_review("deployment-update-set-image")
    entry = kept(update)

    found = done(entry, update.request.object)

    assert [(each.old, each.new) for each in found.changes] == [
        (change.new, change.old) for change in reversed(entry.changes)
    ]
    assert as_recorded(patched(update.request.object, found.patch)) == as_recorded(update.request.old_object)
