"""What kubectl does to a Deployment, and what the ledger and the sink say about it."""

from __future__ import annotations

import json
from typing import Final

import pytest

from tests.e2e.auditor import Document
from tests.e2e.conftest import Place
from tests.e2e.webhooks import eventually

pytestmark = pytest.mark.e2e

IMAGE: Final = "spec.template.spec.containers[nginx].image"
SCALE: Final = {"path": "spec.replicas", "op": "replace", "old": 1, "new": 3}


def manifest(image: str) -> str:
    container = {"name": "nginx", "image": image}
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    return json.dumps(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web"},
            "spec": {"selector": {"matchLabels": labels}, "template": template},
        }
    )


def changes_by(place: Place, user: str, **filters: str) -> list[Document]:
    return place.actions(name="web", kind="Deployment", operation="UPDATE", user=user, **filters)


def told_about(place: Place) -> list[Document]:
    told = place.auditor.notifications("web")
    return [document for document in told if document["entry"]["resource"]["namespace"] == place.namespace]


def image_change(old: str, new: str) -> Document:
    return {"path": IMAGE, "op": "replace", "old": old, "new": new}


def test_set_image_says_who_changed_which_image_with_what(web: Place) -> None:
    web.kubectl("set", "image", "deployment/web", "nginx=nginx:1.25", user="alice")

    [entry] = changes_by(web, "alice")
    assert entry["changes"] == [image_change("nginx:1.24", "nginx:1.25")]
    assert entry["user"]["groups"] == ["dev-team", "system:authenticated"]
    assert entry["field_manager"] == "kubectl-set"
    assert entry["outcome"] == "attempted"
    assert entry["dry_run"] is False
    assert entry["resource"]["namespace"] == web.namespace
    assert entry["patch"] == [
        {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "nginx:1.25"}
    ]


def test_set_image_reaches_the_sink_as_the_tutorial_promises(web: Place) -> None:
    web.kubectl("set", "image", "deployment/web", "nginx=nginx:1.25", user="alice")

    told = eventually(lambda: told_about(web), "a notification about web")[0]
    assert told["entry"]["id"] in [entry["id"] for entry in web.entries(user="alice")]
    diffs = [block["changes"] for block in told["finding"]["blocks"] if block["type"] == "diff"]
    assert diffs == [[image_change("nginx:1.24", "nginx:1.25")]]


def test_a_change_that_no_playbook_monitors_is_in_the_ledger_and_not_at_the_sink(web: Place) -> None:
    web.kubectl("scale", "deployment/web", "--replicas=3")
    web.kubectl("set", "image", "deployment/web", "nginx=nginx:1.25")

    told = eventually(lambda: told_about(web), "a notification about web")
    image, scale = (entry["changes"] for entry in changes_by(web, "admin"))
    assert (image, scale) == ([image_change("nginx:1.24", "nginx:1.25")], [SCALE])
    # A sink gets notifications in the order of the entries: what is not there by now will not come.
    assert [document["entry"]["changes"] for document in told][:1] == [image]


def test_scale_is_a_change_of_the_deployment(web: Place) -> None:
    web.kubectl("scale", "deployment/web", "--replicas=3", user="alice")

    [entry] = changes_by(web, "alice", path="spec.replicas")
    assert entry["changes"] == [SCALE]
    assert entry["resource"]["subresource"] == "scale"


def test_apply_shows_the_field_and_not_the_annotation_that_repeats_it(place: Place) -> None:
    place.kubectl("apply", "-f", "-", stdin=manifest("nginx:1.24"), user="alice")
    place.kubectl("apply", "-f", "-", stdin=manifest("nginx:1.25"), user="alice")

    [entry] = changes_by(place, "alice")
    assert entry["changes"] == [image_change("nginx:1.24", "nginx:1.25")]
    assert entry["field_manager"] == "kubectl-client-side-apply"


def test_server_side_apply_is_told_by_its_manager(place: Place) -> None:
    for image in ("nginx:1.24", "nginx:1.25"):
        place.kubectl("apply", "--server-side", "--field-manager=release", "-f", "-", stdin=manifest(image))

    [entry] = changes_by(place, "admin")
    assert entry["changes"] == [image_change("nginx:1.24", "nginx:1.25")]
    assert entry["field_manager"] == "release"
    assert entry["actor"]["manager_operation"] == "Apply"


def test_an_apply_that_changes_nothing_leaves_nothing(place: Place) -> None:
    for _ in range(3):
        place.kubectl("apply", "--server-side", "-f", "-", stdin=manifest("nginx:1.24"))

    assert changes_by(place, "admin") == []


def test_patch_shows_each_field(web: Place) -> None:
    patch = '{"spec":{"replicas":3,"revisionHistoryLimit":2}}'
    web.kubectl("patch", "deployment", "web", "--patch", patch)

    [entry] = changes_by(web, "admin")
    limit = {"path": "spec.revisionHistoryLimit", "op": "replace", "old": 10, "new": 2}
    assert sorted(entry["changes"], key=lambda change: str(change["path"])) == [SCALE, limit]


def test_label_shows_the_label(web: Place) -> None:
    web.kubectl("label", "deployment", "web", "tier=front")

    [entry] = changes_by(web, "admin")
    assert entry["changes"] == [{"path": "metadata.labels.tier", "op": "add", "new": "front"}]
    assert entry["labels"] == {"app": "web", "tier": "front"}


def test_rollout_restart_shows_the_annotation_it_leaves(web: Place) -> None:
    web.kubectl("rollout", "restart", "deployment/web")

    [entry] = changes_by(web, "admin")
    [change] = entry["changes"]
    assert (change["path"], change["op"]) == ("spec.template.metadata.annotations", "add")
    assert list(change["new"]) == ["kubectl.kubernetes.io/restartedAt"]
    assert entry["field_manager"] == "kubectl-rollout"


def test_impersonation_shows_who_was_impersonated(web: Place) -> None:
    web.kubectl("scale", "deployment/web", "--replicas=3", "--as=bob", "--as-group=system:masters")

    assert changes_by(web, "admin") == []
    assert changes_by(web, "bob")[0]["changes"] == [SCALE]


def test_delete_keeps_what_was_there(web: Place) -> None:
    web.kubectl("delete", "deployment", "web", user="alice")

    listed = web.entries(name="web", kind="Deployment", operation="DELETE", user="alice")
    assert listed
    kept = web.auditor.entry(listed[0]["id"])
    assert kept["object"]["spec"]["template"]["spec"]["containers"][0]["image"] == "nginx:1.24"


def test_what_controllers_do_is_told_apart_from_what_people_do(web: Place) -> None:
    def replica_sets() -> list[Document]:
        return web.entries(kind="ReplicaSet", operation="CREATE")

    [entry] = eventually(replica_sets, "the Deployment's ReplicaSet")
    assert entry["user"]["username"] == "system:serviceaccount:kube-system:deployment-controller"
    assert entry["actor"]["kind"] == "controller"
    [human] = web.entries(kind="Deployment", operation="CREATE")
    assert human["actor"].get("kind", "human") == "human"
