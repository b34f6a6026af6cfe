"""What the ledger says of an object of a real API server: who set each field, what changed, and what it was."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import pytest

from app.core.blame import Blame
from app.core.change import Entry
from app.core.history import as_recorded, state_at, story
from app.core.paths import render
from app.core.places import leaves
from app.store.database import FILE_NAME, connect_reader
from app.store.objects import of_object
from tests.cli.commands import kubewitness
from tests.e2e.conftest import Place
from tests.e2e.webhooks import eventually

pytestmark = pytest.mark.e2e

IMAGE: Final = "spec.template.spec.containers[nginx].image"
CONTROLLER: Final = "system:serviceaccount:kube-system:horizontal-pod-autoscaler"
ADD_A_SIDECAR: Final = json.dumps(
    {"spec": {"template": {"spec": {"containers": [{"name": "a-sidecar", "image": "busybox:1"}]}}}}
)


def deployment(place: Place, name: str = "web") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(place.kubectl("get", "deployment", name, "-o", "json").stdout)
    return found


def entries_of(place: Place, kind: str, name: str) -> list[Entry]:
    with closing(connect_reader(place.auditor.data / FILE_NAME)) as connection:
        return list(of_object(connection, kind, place.namespace, name))


def run(place: Place, *arguments: str) -> Any:
    """Return what a command prints as JSON."""
    options = (f"--data-dir={place.auditor.data}", f"--namespace={place.namespace}", "-o", "json")
    result = kubewitness(*arguments, *options)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def blamed(place: Place, subject: str, *options: str) -> dict[str, Blame]:
    found = run(place, "blame", subject, f"--kubeconfig={place.cluster.kubeconfig()}", *options)
    return {each.path: each for each in msgspec.convert(found, list[Blame])}


def changed_by_three(place: Place) -> None:
    """Let admin create a Deployment, alice set its image and add a sidecar, and a controller scale it."""
    place.kubectl("create", "deployment", "web", "--image=nginx:1.24")
    place.kubectl("set", "image", "deployment/web", "nginx=nginx:1.25", user="alice")
    place.kubectl("patch", "deployment", "web", "--patch", ADD_A_SIDECAR, user="alice")
    place.kubectl("scale", "deployment/web", "--replicas=3", f"--as={CONTROLLER}", "--as-group=system:masters")


def test_blame_says_who_set_which_field(place: Place) -> None:
    changed_by_three(place)
    place.kubectl("label", "deployment", "web", "team=shop")

    found = blamed(place, "deploy/web")

    assert {path: (found[path].user, found[path].old) for path in (IMAGE, "spec.replicas", "metadata.labels.team")} == {
        IMAGE: ("alice", "nginx:1.24"),
        "spec.replicas": (CONTROLLER, 1),
        "metadata.labels.team": ("admin", msgspec.UNSET),
    }
    assert found["spec.template.spec.containers[a-sidecar].image"].user == "alice"
    assert (found["spec.replicas"].actor, found[IMAGE].actor) == ("controller", "human")
    assert found[IMAGE].field_manager == "kubectl-set"
    assert (found["spec.strategy.type"].user, found["spec.strategy.type"].operation) == ("admin", "CREATE")


def test_every_field_of_the_live_object_is_told_with_its_value(place: Place) -> None:
    changed_by_three(place)

    found = blamed(place, "deployment/web")

    live = leaves(as_recorded(deployment(place)))
    assert {path: each.value for path, each in found.items()} == {render(path): value for path, value in live}
    assert {each.origin for each in found.values()} == {"entry"}


def test_without_the_cluster_the_ledger_knows_the_same(place: Place) -> None:
    changed_by_three(place)

    assert blamed(place, "deployment/web", "--no-live") == blamed(place, "deployment/web")


def test_what_was_there_before_the_ledger_is_said_to_be(place: Place) -> None:
    place.kubectl("label", "namespace", "kube-public", f"team={place.namespace}", "--overwrite", user="alice")

    found = blamed(place, "namespace/kube-public")

    assert (found["metadata.labels.team"].user, found["metadata.labels.team"].origin) == ("alice", "entry")
    assert (found["metadata.name"].user, found["metadata.name"].origin) == ("", "before")


def test_a_secret_is_blamed_without_being_shown(place: Place) -> None:
    place.kubectl("create", "secret", "generic", "db", "--from-literal=password=tiger-in-the-tank")
    patch = '{"stringData": {"password": "lion-on-the-loose"}}'
    place.kubectl("patch", "secret", "db", "--patch", patch, user="alice")

    found = blamed(place, "secret/db")

    assert (found["data.password"].user, found["data.password"].origin) == ("alice", "entry")
    assert found["data.password"].value.startswith("redacted:")


def test_the_state_before_and_after_each_change_is_what_kubectl_saw(place: Place) -> None:
    moments: list[tuple[datetime, dict[str, Any]]] = []
    place.kubectl("create", "deployment", "web", "--image=nginx:1.24")
    for change in _changes():
        moments.append((datetime.now(UTC), deployment(place)))
        place.kubectl(*change)

    entries = entries_of(place, "Deployment", "web")

    for at, seen in moments:
        assert state_at(entries, at) == as_recorded(seen)
        # Also where nobody saw it being made.
        assert state_at(entries[1:], at, deployment(place)) == as_recorded(seen)


def _changes() -> Iterator[tuple[str, ...]]:
    yield "set", "image", "deployment/web", "nginx=nginx:1.25"
    yield "scale", "deployment/web", "--replicas=3"
    yield "patch", "deployment", "web", "--patch", ADD_A_SIDECAR
    yield "set", "env", "deployment/web", "A=1", "B=2"
    yield "annotate", "deployment", "web", "note=x"
    yield "set", "env", "deployment/web", "A-"
    yield "annotate", "deployment", "web", "note-"
    remove = '[{"op": "remove", "path": "/spec/template/spec/containers/0"}]'
    yield "patch", "deployment", "web", "--type=json", "--patch", remove


def test_the_diff_leaves_out_what_went_back(place: Place) -> None:
    place.kubectl("create", "deployment", "web", "--image=nginx:1.24")
    since = datetime.now(UTC).isoformat()
    place.kubectl("scale", "deployment/web", "--replicas=3")
    place.kubectl("set", "image", "deployment/web", "nginx=nginx:1.25")
    place.kubectl("scale", "deployment/web", "--replicas=1")

    assert run(place, "diff", "deployment/web", "--since", since) == [
        {"path": IMAGE, "op": "replace", "old": "nginx:1.24", "new": "nginx:1.25"}
    ]


def test_the_history_tells_of_an_object_that_was_deleted_and_made_again(place: Place) -> None:
    place.kubectl("create", "configmap", "settings", "--from-literal=mode=slow")
    place.kubectl("delete", "configmap", "settings", user="alice")
    place.kubectl("create", "configmap", "settings", "--from-literal=mode=fast")

    first, second = run(place, "history", "cm/settings")

    assert [each["event"] for each in (*first["chapters"], *second["chapters"])] == ["created", "deleted", "recreated"]
    assert first["uid"] != second["uid"]
    assert run(place, "diff", "cm/settings", "--since", first["chapters"][0]["entry"]["at"]) == [
        {"path": "data.mode", "op": "replace", "old": "slow", "new": "fast"}
    ]


def test_what_has_a_finalizer_is_there_until_it_is_gone(place: Place) -> None:
    place.kubectl("create", "configmap", "held")
    place.kubectl("patch", "configmap", "held", "--patch", '{"metadata": {"finalizers": ["example.org/held"]}}')
    place.kubectl("delete", "configmap", "held", "--wait=false")
    [held] = story(entries_of(place, "ConfigMap", "held"))
    place.kubectl("patch", "configmap", "held", "--patch", '{"metadata": {"finalizers": null}}')

    def gone() -> bool:
        [life] = story(entries_of(place, "ConfigMap", "held"))
        return life.deleted is not None

    assert held.deleted is None
    assert eventually(gone, "the end of the ConfigMap")
