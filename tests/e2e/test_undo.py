"""What is undone is as it was: every kind of change, against a real API server, by the program and by kubectl."""

from __future__ import annotations

import json
import subprocess
from typing import Any, Final

import msgspec
import pytest

from app.core.history import as_recorded
from app.core.undo_command import written
from tests.cli.commands import kubewitness
from tests.e2e.auditor import Document
from tests.e2e.conftest import Place
from tests.e2e.webhooks import eventually
from tests.web.ledgers import client_of, console_of

pytestmark = pytest.mark.e2e

HOSTILE: Final = 'it\'s $(id) "q" \\n `x`\n\tend\x7f\u202eé😀 <&> !'
LABELS: Final = {"app": "web"}
CONTAINERS: Final = [
    {
        "name": "nginx",
        "image": "nginx:1.24",
        "args": ["-a", "-b", "-c"],
        "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
        "ports": [{"containerPort": 80}, {"containerPort": 81, "protocol": "UDP"}],
    },
    {"name": "side", "image": "side:1"},
]
POD: Final = {"containers": CONTAINERS, "tolerations": [{"key": "a", "operator": "Exists"}]}
DEPLOYMENT: Final = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "labels": {"app": "web", "tier": "front"}, "annotations": {"note": HOSTILE}},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": LABELS},
        "template": {"metadata": {"labels": LABELS}, "spec": POD},
    },
}


def core(kind: str, name: str = "web", version: str = "v1", **fields: Any) -> Document:
    """A manifest."""
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **fields}


RULES: Final = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]
SUBJECTS: Final = [{"kind": "User", "name": "bob", "apiGroup": "rbac.authorization.k8s.io"}]
OBJECTS: Final = {
    "deployment": DEPLOYMENT,
    "configmap": core("ConfigMap", data={"mode": "slow", "text": HOSTILE, "dotted.name": "1"}),
    "service": core("Service", spec={"selector": LABELS, "ports": [{"name": "a", "port": 80}]}),
    "serviceaccount": core("ServiceAccount"),
    "role": core("Role", version="rbac.authorization.k8s.io/v1", rules=RULES),
    "rolebinding": core(
        "RoleBinding",
        version="rbac.authorization.k8s.io/v1",
        subjects=SUBJECTS,
        roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "web"},
    ),
    "job": core(
        "Job",
        version="batch/v1",
        spec={"template": {"spec": {"restartPolicy": "Never", "containers": CONTAINERS[1:]}}},
    ),
    "statefulset": core(
        "StatefulSet",
        version="apps/v1",
        spec={
            "serviceName": "web",
            "selector": {"matchLabels": LABELS},
            "template": {"metadata": {"labels": LABELS}, "spec": {"containers": CONTAINERS}},
        },
    ),
    "pod": core("Pod", spec={"containers": CONTAINERS[1:]}),
    "networkpolicy": core(
        "NetworkPolicy", version="networking.k8s.io/v1", spec={"podSelector": {"matchLabels": LABELS}}
    ),
    "persistentvolumeclaim": core(
        "PersistentVolumeClaim",
        spec={"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    ),
    "cronjob": core(
        "CronJob",
        version="batch/v1beta1",
        spec={
            "schedule": "0 0 1 1 *",
            "jobTemplate": {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": CONTAINERS[1:]}}}},
        },
    ),
    "ingress": core(
        "Ingress",
        version="networking.k8s.io/v1",
        spec={"defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}},
    ),
    "horizontalpodautoscaler": core(
        "HorizontalPodAutoscaler",
        version="autoscaling/v1",
        spec={"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}},
    ),
    "poddisruptionbudget": core(
        "PodDisruptionBudget",
        version="policy/v1beta1",
        spec={"minAvailable": 1, "selector": {"matchLabels": LABELS}},
    ),
}
_FIRST = "/spec/template/spec/containers/0"


def patching(kind: str, *operations: Document) -> list[str]:
    return ["patch", kind, "web", "--type=json", "-p", written(operations)]


def operation(op: str, path: str, **fields: Any) -> Document:
    return {"op": op, "path": path, **fields}


CHANGES: Final = {
    "an image": ("deployment", ["set", "image", "deployment/web", "nginx=nginx:1.25", "side=side:2"]),
    "replicas": ("deployment", ["scale", "deployment/web", "--replicas=5"]),
    "no replicas": ("deployment", ["scale", "deployment/web", "--replicas=0"]),
    "replicas without scale": ("deployment", patching("deployment", operation("replace", "/spec/replicas", value=0))),
    "a label": ("deployment", ["label", "deployment/web", "team=a"]),
    "a label removed": ("deployment", ["label", "deployment/web", "tier-"]),
    "an annotation": ("deployment", ["annotate", "deployment/web", f"other={HOSTILE}"]),
    "the only annotation": ("configmap", ["annotate", "configmap/web", "kubernetes.io/x=y"]),
    "an annotation removed": ("deployment", ["annotate", "deployment/web", "note-"]),
    "a restart": ("deployment", ["rollout", "restart", "deployment/web"]),
    "a variable": ("deployment", ["set", "env", "deployment/web", "-c", "nginx", "A=9", "C=3"]),
    "a variable removed": ("deployment", ["set", "env", "deployment/web", "-c", "nginx", "A-"]),
    "resources": ("deployment", ["set", "resources", "deployment/web", "-c", "side", "--limits=cpu=1"]),
    "a container": (
        "deployment",
        patching("deployment", operation("add", _FIRST, value={"name": "new", "image": "new:1"})),
    ),
    "a container removed": ("deployment", patching("deployment", operation("remove", _FIRST))),
    "the order of containers": (
        "deployment",
        patching("deployment", {"op": "move", "from": _FIRST, "path": "/spec/template/spec/containers/1"}),
    ),
    "a port": (
        "deployment",
        patching(
            "deployment",
            operation("replace", f"{_FIRST}/ports/1/containerPort", value=82),
            operation("add", f"{_FIRST}/ports/0/name", value="http"),
        ),
    ),
    "an argument": ("deployment", patching("deployment", operation("replace", f"{_FIRST}/args/1", value="-x"))),
    "an argument more": ("deployment", patching("deployment", operation("add", f"{_FIRST}/args/1", value="-x"))),
    "an argument less": ("deployment", patching("deployment", operation("remove", f"{_FIRST}/args/1"))),
    "no arguments": ("deployment", patching("deployment", operation("remove", f"{_FIRST}/args"))),
    "a toleration": (
        "deployment",
        patching("deployment", operation("add", "/spec/template/spec/tolerations/0", value={"operator": "Exists"})),
    ),
    "a strategy": (
        "deployment",
        patching("deployment", operation("replace", "/spec/strategy", value={"type": "Recreate"})),
    ),
    "a finalizer": (
        "configmap",
        patching("configmap", operation("add", "/metadata/finalizers", value=["example.com/held"])),
    ),
    "data": (
        "configmap",
        patching(
            "configmap",
            operation("replace", "/data/mode", value=HOSTILE),
            operation("remove", "/data/text"),
            operation("remove", "/data/dotted.name"),
            operation("add", "/data/new", value="1"),
        ),
    ),
    "no data": ("configmap", patching("configmap", operation("remove", "/data"))),
    "a port of a service": (
        "service",
        patching("service", operation("add", "/spec/ports/0", value={"name": "b", "port": 443})),
    ),
    "the type of a service": ("service", patching("service", operation("replace", "/spec/type", value="NodePort"))),
    "rules": (
        "role",
        patching(
            "role",
            operation("add", "/rules/0/verbs/0", value="watch"),
            operation("add", "/rules/-", value={"apiGroups": ["apps"], "resources": ["*"], "verbs": ["*"]}),
        ),
    ),
    "a subject less": ("rolebinding", patching("rolebinding", operation("remove", "/subjects/0"))),
    "a selector": (
        "networkpolicy",
        patching("networkpolicy", operation("replace", "/spec/podSelector", value={"matchLabels": {"a": "b"}})),
    ),
    "a schedule": (
        "cronjob",
        patching(
            "cronjob",
            operation("replace", "/spec/schedule", value="0 0 2 2 *"),
            operation("add", "/spec/suspend", value=True),
        ),
    ),
    "a number of an autoscaler": (
        "horizontalpodautoscaler",
        patching("horizontalpodautoscaler", operation("replace", "/spec/maxReplicas", value=9)),
    ),
    "a rule of an ingress": (
        "ingress",
        patching("ingress", operation("add", "/spec/rules", value=[{"host": "web.example"}])),
    ),
    "a label of a secret": ("secret", ["label", "secret/web", "a=b"]),
}


def make(place: Place, kind: str) -> Document:
    """Create an object, and return it as soon as no controller has more to add."""
    if kind == "secret":
        place.kubectl("create", "secret", "generic", "web", "--from-literal=password=hunter22hunter22")
    else:
        place.kubectl("create", "-f", "-", stdin=json.dumps(OBJECTS[kind]), user="alice")
    if kind == "serviceaccount":
        eventually(lambda: seen(place, kind).get("secrets"), "the token of the service account")
    return seen(place, kind)


def seen(place: Place, kind: str) -> Document:
    """Return an object without what every write changes."""
    return as_recorded(json.loads(place.kubectl("get", kind, "web", "-o", "json").stdout))


def is_there(place: Place, kind: str) -> bool:
    found = json.loads(place.kubectl("get", kind, "-o", "json").stdout)["items"]
    return any(each["metadata"]["name"] == "web" and "deletionTimestamp" not in each["metadata"] for each in found)


def newest(place: Place, kind: str, operation: str) -> str:
    """Return the id of the last entry that alice left."""
    found = place.entries(name="web", kind=kind, operation=operation, user="alice")
    return str(found[0]["id"])


def undo(place: Place, identifier: str, *options: str, user: str = "admin") -> Any:
    kubeconfig = place.cluster.kubeconfig(user)
    return kubewitness("undo", identifier, "--kubeconfig", kubeconfig, "--data-dir", place.auditor.data, *options)


def run(place: Place, command: str) -> subprocess.CompletedProcess[str]:
    """Run a line as a person would who pastes it."""
    path = f"{place.cluster.programs.kubectl.parent}:/usr/bin:/bin"
    environment = {"KUBECONFIG": str(place.cluster.kubeconfig()), "HOME": str(place.cluster.directory), "PATH": path}
    return subprocess.run(["/bin/sh", "-c", command], env=environment, capture_output=True, text=True, check=False)


def told(place: Place, identifier: str) -> Document:
    """Return how an entry is undone, by a look at the live object."""
    result = undo(place, identifier, "-o", "json")
    assert result.exit_code == 0, result.output
    document: Document = msgspec.json.decode(result.stdout)["undo"]
    return document


async def told_by_console(place: Place, identifier: str) -> Document:
    """Return how an entry is undone, without a look at the live object."""
    async with client_of(console_of(place.auditor.data)) as client:
        said: Document = (await client.get(f"/api/v1/entries/{identifier}/undo")).json()
    assert said["refusal"] is None, said
    document: Document = said["undo"]
    return document


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_undone_by_the_program(place: Place, name: str) -> None:
    kind, change = CHANGES[name]
    before = make(place, kind)
    place.kubectl(*change, user="alice")
    assert seen(place, kind) != before

    result = undo(place, newest(place, kind, "UPDATE"), "--apply")

    assert result.exit_code == 0, result.output
    assert seen(place, kind) == before


@pytest.mark.parametrize("name", CHANGES)
async def test_a_change_is_undone_by_the_line_of_the_console(place: Place, name: str) -> None:
    kind, change = CHANGES[name]
    before = make(place, kind)
    place.kubectl(*change, user="alice")

    done = run(place, (await told_by_console(place, newest(place, kind, "UPDATE")))["command"])

    assert (done.returncode, done.stderr) == (0, "")
    assert seen(place, kind) == before


def carry_out(place: Place, identifier: str, by_line: bool) -> None:
    """Undo an entry, by the line of kubectl or by the program."""
    if by_line:
        done = run(place, told(place, identifier)["command"])
        assert (done.returncode, done.stderr) == (0, "")
    else:
        result = undo(place, identifier, "--apply")
        assert result.exit_code == 0, result.output


@pytest.mark.parametrize("by_line", [False, True], ids=["program", "kubectl"])
@pytest.mark.parametrize("kind", OBJECTS)
def test_a_deletion_is_undone(place: Place, kind: str, by_line: bool) -> None:
    before = make(place, kind)
    place.kubectl("delete", kind, "web", "--grace-period=0", "--force", user="alice")
    eventually(lambda: not is_there(place, kind), "it is gone")
    identifier = newest(place, kind, "DELETE")

    carry_out(place, identifier, by_line)

    assert without_given(seen(place, kind)) == without_given(before)


def without_given(document: Document) -> Document:
    """Return an object without what is new with each uid: the labels of Jobs, and the tokens of service accounts."""
    found: Document = {key: value for key, value in json.loads(json.dumps(document)).items() if key != "secrets"}
    if found["kind"] == "Job":
        labels = [found["metadata"], found["spec"]["template"]["metadata"], found["spec"]["selector"]]
        for each in labels:
            for field in ("labels", "matchLabels"):
                each.get(field, {}).pop("controller-uid", None)
    return found


@pytest.mark.parametrize("by_line", [False, True], ids=["program", "kubectl"])
@pytest.mark.parametrize("kind", ["deployment", "configmap", "pod", "job"])
def test_a_creation_is_undone(place: Place, kind: str, by_line: bool) -> None:
    make(place, kind)
    identifier = newest(place, kind, "CREATE")

    carry_out(place, identifier, by_line)

    eventually(lambda: not is_there(place, kind), "it is gone")


def test_the_creation_of_one_does_not_delete_another_of_that_name(place: Place) -> None:
    make(place, "configmap")
    line = told(place, newest(place, "configmap", "CREATE"))["command"]
    place.kubectl("delete", "configmap", "web")
    make(place, "configmap")

    assert run(place, line).returncode != 0
    assert is_there(place, "configmap")


def test_the_undo_is_an_entry_of_its_own_and_can_be_undone(place: Place) -> None:
    make(place, "deployment")
    place.kubectl("set", "image", "deployment/web", "nginx=nginx:1.25", user="alice")
    after = seen(place, "deployment")

    undo(place, newest(place, "deployment", "UPDATE"), "--apply", user="alice")
    own = place.entries(name="web", kind="deployment", user="alice", operation="UPDATE")[0]
    result = undo(place, own["id"], "--apply")

    assert own["field_manager"] == "kubewitness-undo"
    assert result.exit_code == 0, result.output
    assert seen(place, "deployment") == after


def test_what_moved_on_is_refused_and_stays(place: Place) -> None:
    make(place, "deployment")
    place.kubectl("set", "image", "deployment/web", "nginx=nginx:1.25", user="alice")
    identifier = newest(place, "deployment", "UPDATE")
    line = told(place, identifier)["command"]
    place.kubectl("set", "image", "deployment/web", "nginx=nginx:1.26")
    now = seen(place, "deployment")

    result = undo(place, identifier, "--apply")

    assert result.exit_code == 1
    assert "containers[nginx].image" in result.stderr
    assert "by admin" in result.stderr
    assert run(place, line).returncode != 0
    assert seen(place, "deployment") == now


def test_a_container_that_moved_is_found(place: Place) -> None:
    before = make(place, "deployment")
    place.kubectl("set", "image", "deployment/web", "side=side:2", user="alice")
    identifier = newest(place, "deployment", "UPDATE")
    place.kubectl(*patching("deployment", operation("add", _FIRST, value={"name": "new", "image": "new:1"})))

    result = undo(place, identifier, "--apply")

    assert result.exit_code == 0, result.output
    containers = seen(place, "deployment")["spec"]["template"]["spec"]["containers"]
    assert containers[1:] == before["spec"]["template"]["spec"]["containers"]


def test_a_secret_is_neither_restored_nor_overwritten(place: Place) -> None:
    before = make(place, "secret")
    place.kubectl("patch", "secret", "web", "-p", '{"stringData":{"password":"other"}}', user="alice")
    now = seen(place, "secret")

    result = undo(place, newest(place, "secret", "UPDATE"), "--apply")

    assert result.exit_code == 1
    assert "data.password is secret" in result.stderr
    assert seen(place, "secret") == now != before


def test_who_may_not_change_it_is_told_what_the_api_server_says(place: Place) -> None:
    make(place, "configmap")
    place.kubectl("label", "configmap/web", "a=b", user="alice")
    identifier = newest(place, "configmap", "UPDATE")
    place.kubectl("delete", "clusterrolebinding", "alice")
    try:
        eventually(lambda: undo(place, identifier, "--apply", user="alice").exit_code == 1, "alice has no rights")
        result = undo(place, identifier, "--apply", user="alice")
    finally:
        place.kubectl("create", "clusterrolebinding", "alice", "--clusterrole=cluster-admin", "--user=alice")

    assert "Forbidden" in result.stderr
    assert seen(place, "configmap")["metadata"]["labels"] == {"a": "b"}


def test_what_has_no_namespace_and_an_odd_name_is_undone(place: Place) -> None:
    name = f"-n {place.namespace} $(x) 'y'"
    kind = core("ClusterRole", name, version="rbac.authorization.k8s.io/v1", rules=RULES)
    place.kubectl("create", "-f", "-", stdin=json.dumps(kind))
    place.kubectl("label", f"clusterrole/{name}", "a=b", user="alice")
    identifier = place.auditor.entries(name=name, kind="ClusterRole", user="alice")[0]["id"]

    done = run(place, told(place, identifier)["command"])

    assert (done.returncode, done.stderr) == (0, "")
    assert "labels" not in json.loads(place.kubectl("get", f"clusterrole/{name}", "-o", "json").stdout)["metadata"]


WIDGETS: Final = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.undone.example"},
    "spec": {
        "group": "undone.example",
        "scope": "Namespaced",
        "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
                "subresources": {"scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"}},
            }
        ],
    },
}


def test_a_custom_resource_is_undone_and_its_scale_where_that_is(place: Place) -> None:
    place.kubectl("apply", "-f", "-", stdin=json.dumps(WIDGETS))
    place.kubectl("wait", "--for=condition=established", "crd/widgets.undone.example")
    widget = core("Widget", version="undone.example/v1", spec={"size": 1, "parts": [{"a": 1.5}, [1, True, None]]})
    eventually(
        lambda: not place.kubectl("create", "-f", "-", stdin=json.dumps(widget), check=False).returncode, "a widget"
    )
    before = seen(place, "widget")
    parts = patching("widget", operation("replace", "/spec/parts", value=[[1, False], {"a": 1}, 3, "<&>"]))

    for change in (["scale", "widget/web", "--replicas=4"], parts):
        for by_line in (True, False):
            place.kubectl(*change, user="alice")
            identifier = place.entries(name="web", user="alice", operation="UPDATE")[0]["id"]
            assert seen(place, "widget") != before
            line = told(place, identifier)["command"]
            done = run(place, line).returncode if by_line else undo(place, identifier, "--apply").exit_code
            assert (done, seen(place, "widget")) == (0, before)
