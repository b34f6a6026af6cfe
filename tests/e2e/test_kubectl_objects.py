"""What kubectl does to objects of other kinds, and what the ledger and the sink say about it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.auditor import Document
from tests.e2e.conftest import Place
from tests.e2e.webhooks import eventually

pytestmark = pytest.mark.e2e


def manifest(api_version: str, kind: str, **fields: Any) -> str:
    return json.dumps({"apiVersion": api_version, "kind": kind, **fields})


def test_an_edit_in_an_editor_shows_the_line(place: Place) -> None:
    place.kubectl("create", "configmap", "settings", "--from-literal=mode=slow")
    place.kubectl("edit", "configmap", "settings", editor="sed -i s/slow/fast/", user="alice")

    [entry] = place.entries(name="settings", operation="UPDATE")
    assert entry["changes"] == [{"path": "data.mode", "op": "replace", "old": "slow", "new": "fast"}]
    assert entry["user"]["username"] == "alice"
    assert entry["field_manager"] == "kubectl-edit"


def test_a_dry_run_is_recorded_as_one_and_told_to_nobody(place: Place) -> None:
    name = f"settings-{place.namespace}"
    place.kubectl("create", "configmap", name, "--from-literal=mode=slow")
    for mode, dry_run in (("dry", "--dry-run=server"), ("wet", "--dry-run=none")):
        patch = json.dumps({"data": {"mode": mode}})
        place.kubectl("patch", "configmap", name, "--type=merge", "--patch", patch, dry_run)

    wet, dry = place.entries(name=name, operation="UPDATE")
    assert (wet["dry_run"], dry["dry_run"]) == (False, True)
    assert dry["changes"] == [{"path": "data.mode", "op": "replace", "old": "slow", "new": "dry"}]
    # A sink gets notifications in the order of the entries: when the later one is there, the earlier will not come.
    place.auditor.notification(name, lambda document: bool(document["entry"]["id"] == wet["id"]))
    told = {document["entry"]["id"] for document in place.auditor.notifications(name)}
    assert dry["id"] not in told


def test_a_change_of_rights_shows_the_verb(place: Place) -> None:
    place.kubectl("create", "role", "reader", "--verb=get", "--resource=pods")
    rules = [{"op": "add", "path": "/rules/0/verbs/-", "value": "delete"}]
    place.kubectl("patch", "role", "reader", "--type=json", "--patch", json.dumps(rules), user="alice")

    [entry] = place.entries(name="reader", kind="Role", operation="UPDATE")
    assert entry["resource"]["group"] == "rbac.authorization.k8s.io"
    assert entry["changes"] == [{"path": "rules[0].verbs[1]", "op": "add", "new": "delete"}]


def test_custom_resources_are_recorded_like_any_other(place: Place) -> None:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    names = {"kind": "Backup", "plural": "backups", "singular": "backup"}
    spec = {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]}
    place.cluster.kubectl(
        "create", "-f", "-",
        stdin=manifest(
            "apiextensions.k8s.io/v1", "CustomResourceDefinition",
            metadata={"name": "backups.example.com"}, spec=spec,
        ),
    )  # fmt: skip
    place.cluster.kubectl("wait", "--for=condition=Established", "crd/backups.example.com")
    nightly = manifest("example.com/v1", "Backup", metadata={"name": "nightly"}, spec={"keep": 7})
    eventually(
        lambda: place.kubectl("apply", "-f", "-", stdin=nightly, check=False).returncode == 0,
        "the API server serves the new kind",
    )
    place.kubectl("patch", "backup", "nightly", "--type=merge", "--patch", '{"spec":{"keep":1}}')

    [definition] = place.auditor.entries(kind="CustomResourceDefinition", operation="CREATE")
    assert definition["resource"]["name"] == "backups.example.com"
    [entry] = place.entries(kind="Backup", operation="UPDATE")
    assert entry["changes"] == [{"path": "spec.keep", "op": "replace", "old": 7, "new": 1}]
    assert entry["resource"]["group"] == "example.com"


def test_a_generated_name_is_the_entrys_name(place: Place) -> None:
    created = place.kubectl(
        "create", "-o", "name", "-f", "-", stdin=manifest("v1", "ConfigMap", metadata={"generateName": "run-"})
    )

    [entry] = place.entries(kind="ConfigMap", operation="CREATE", user="admin")
    assert f"configmap/{entry['resource']['name']}" == created.stdout.strip()


def test_delete_all_leaves_an_entry_for_each_object(place: Place) -> None:
    for name in ("one", "two"):
        place.kubectl("create", "configmap", name)
    place.kubectl("delete", "configmaps", "one", "two", "--wait=false", user="alice")
    place.kubectl("create", "configmap", "three")
    place.kubectl("delete", "configmaps", "--all", "--wait=false", user="alice")

    deleted = {entry["resource"]["name"] for entry in place.entries(operation="DELETE", user="alice")}
    assert {"one", "two", "three"} <= deleted


def test_a_deleted_collection_leaves_an_entry_for_each_object_by_its_name(place: Place) -> None:
    for name in ("one", "two", "three"):
        place.kubectl("create", "secret", "generic", name, "--from-literal=a=b")
    place.cluster.kubectl("delete", "--raw", f"/api/v1/namespaces/{place.namespace}/secrets", user="alice")

    deleted = {entry["resource"]["name"] for entry in place.entries(operation="DELETE", user="alice")}
    assert {"one", "two", "three"} <= deleted


def test_an_object_that_waits_for_a_finalizer_is_followed_to_its_end(place: Place) -> None:
    metadata = {"name": "kept", "finalizers": ["example.com/wait"]}
    place.kubectl("create", "-f", "-", stdin=manifest("v1", "ConfigMap", metadata=metadata))
    place.kubectl("delete", "configmap", "kept", "--wait=false", user="alice")
    release = '{"metadata":{"finalizers":null}}'
    place.kubectl("patch", "configmap", "kept", "--type=merge", "--patch", release)

    assert place.entries(name="kept", operation="DELETE", user="alice")
    [released] = place.actions(name="kept", operation="UPDATE", user="admin")
    [change] = released["changes"]
    assert (change["op"], change["old"]) == ("remove", ["example.com/wait"])


def test_exec_leaves_who_ran_what_where(place: Place) -> None:
    spec = {"nodeName": "nowhere", "containers": [{"name": "shell", "image": "busybox"}]}
    place.kubectl("create", "-f", "-", stdin=manifest("v1", "Pod", metadata={"name": "box"}, spec=spec))
    # The review precedes the connection, which fails: there is no node.
    place.kubectl("exec", "box", "--", "cat", "/etc/shadow", user="alice", check=False)

    entries = place.entries(name="box", operation="CONNECT", user="alice")
    assert {entry["resource"]["subresource"] for entry in entries} == {"exec"}
    kept: Document = place.auditor.entry(entries[0]["id"])
    assert kept["object"]["command"] == ["cat", "/etc/shadow"]
