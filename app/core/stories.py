"""Stories: what the cluster's controllers write because of a change, such as the Pods of a Deployment's new image.

A story begins with a change that follows from none. It goes on with what controllers write to the same object, and
create, change or delete of what belongs to it: the ReplicaSets of a Deployment, and their Pods. Anybody who may change
an object may write `ownerReferences` into it and have it deleted with its owner. So only that belongs to an owner which
controllers make of such owners, and whose name, which nobody can change, they have made of the owner's.
Status is left out: what becomes of a rollout is news, and nobody hears of it who did not ask for it by name.
"""

from __future__ import annotations

from typing import Final

import msgspec

from app.core.recent import Recent
from app.core.sighting import Owner, Sighting
from app.core.text import shorten

PAUSE: Final = 900_000
"""Milliseconds without a write after which a story is over: a Deployment gives up its progress after 10 minutes."""

LONGEST: Final = 3_600_000
"""Milliseconds after which a story is over in any case."""

_MOST: Final = 16_384
_TITLE: Final = 200

_ACCOUNTS: Final = "system:serviceaccount:kube-system:"
_CONTROLLERS: Final = frozenset(
    {
        f"{_ACCOUNTS}{name}"
        for name in (
            "daemon-set-controller",
            "deployment-controller",
            "endpointslice-controller",
            "endpointslicemirroring-controller",
            "generic-garbage-collector",
            "job-controller",
            "replicaset-controller",
            "replication-controller",
            "statefulset-controller",
        )
    }
    | {"system:kube-controller-manager"}
)
"""Who carries out what others have decided (kubernetes, plugin/pkg/auth/authorizer/rbac/bootstrappolicy). Not among
them: the cronjob-controller, whose Jobs begin by the clock and not because of a change, and the autoscaler."""

_OWNERS: Final[dict[tuple[str, str], frozenset[tuple[str, str]]]] = {
    ("apps", "replicasets"): frozenset({("apps", "Deployment")}),
    ("apps", "controllerrevisions"): frozenset({("apps", "StatefulSet"), ("apps", "DaemonSet")}),
    ("", "pods"): frozenset(
        {
            ("apps", "ReplicaSet"),
            ("apps", "StatefulSet"),
            ("apps", "DaemonSet"),
            ("", "ReplicationController"),
            ("batch", "Job"),
        }
    ),
    ("batch", "jobs"): frozenset({("batch", "CronJob")}),
    ("discovery.k8s.io", "endpointslices"): frozenset({("", "Service"), ("", "Endpoints")}),
}
"""What controllers make, and of what. A volume's claim is not among it: that one goes is never a matter of course."""

_WORKLOADS: Final = frozenset(
    {
        ("apps", "deployments"),
        ("apps", "replicasets"),
        ("apps", "statefulsets"),
        ("apps", "daemonsets"),
        ("", "replicationcontrollers"),
        ("", "pods"),
        ("batch", "jobs"),
    }
)
"""What controllers write to itself because of a change to it; a Node, say, they write to for reasons of its own."""

_NAME_KEPT: Final = 58
"""Characters of its owner's name, and the dash behind it, that a generated name keeps (apiserver, storage/names)."""

_SCHEDULER: Final = "system:kube-scheduler"
_NODES: Final = "system:node:"


class Story(msgspec.Struct, eq=False):
    """A change with the sinks that were told of it. `began` and `went_on` are in milliseconds."""

    entry: str
    about: str
    title: str
    sinks: frozenset[str]
    began: int
    went_on: int
    is_over: bool = False

    def is_running(self, at: int) -> bool:
        """Say whether a write at this moment can still follow from it; a clock that was set back ends it, too."""
        return not self.is_over and abs(at - self.went_on) <= PAUSE and abs(at - self.began) <= LONGEST


class Stories:
    """Remembers which objects the running stories are about. Bounded in number."""

    def __init__(self) -> None:
        self._by_uid: Recent[str, Story] = Recent(_MOST)

    def __len__(self) -> int:
        return len(self._by_uid)

    def clear(self) -> None:
        """Forget all."""
        self._by_uid.clear()

    def follows(self, seen: Sighting) -> Story | None:
        """Return the story that goes on with this change, the youngest of several."""
        if not self._by_uid or not _carries_out(seen):
            return None
        running = (story for uid in _subjects(seen) for story in (self._by_uid.get(uid),) if story is not None)
        story = max((each for each in running if each.is_running(seen.at)), key=_began, default=None)
        if story is not None:
            story.went_on = max(story.went_on, seen.at)
            self._involve(seen, story)
        return story

    def begin(self, seen: Sighting, entry: str, sinks: frozenset[str]) -> None:
        """Begin a story of which these sinks are told."""
        title = shorten(str(seen.change.resource), _TITLE)
        self._involve(seen, Story(entry, seen.uid, title, sinks, seen.at, seen.at))

    def interrupt(self, seen: Sighting) -> None:
        """End the story of an object where somebody changes it and nobody is told: what comes may follow from that."""
        story = self._by_uid.get(seen.uid) if self._by_uid else None
        if story is None or not _decides(seen):
            return
        story.is_over = story.is_over or story.about == seen.uid
        self._by_uid.drop(seen.uid)

    def _involve(self, seen: Sighting, story: Story) -> None:
        if seen.uid:
            self._by_uid.put(seen.uid, story)


def _began(story: Story) -> int:
    return story.began


def _subjects(seen: Sighting) -> list[str]:
    """Return the uids of what the change can be a consequence to; that an object goes does not follow from itself."""
    resource = seen.change.resource
    place = (resource.group, resource.resource)
    subjects = [owner.uid for owner in seen.owners if _is_made_of(owner, seen)] if place in _OWNERS else []
    return [*subjects, seen.uid] if seen.change.operation != "DELETE" and place in _WORKLOADS else subjects


def _is_made_of(owner: Owner, seen: Sighting) -> bool:
    """Say whether controllers make such an object, with such a name, of its owner; a Job they make by the clock."""
    resource = seen.change.resource
    if (owner.group, owner.kind) not in _OWNERS[resource.group, resource.resource]:
        return False
    if owner.kind == "CronJob" and seen.change.operation != "DELETE":
        return False
    return bool(owner.name) and resource.name.startswith(f"{owner.name}-"[:_NAME_KEPT])


def _decides(seen: Sighting) -> bool:
    """Say whether the change decides on something: not what carries it out, nor status, nor an autoscaler's scale."""
    change = seen.change
    if _carries_out(seen) or change.resource.subresource == "status":
        return False
    if change.operation == "UPDATE":
        spec = [path for path in seen.paths if path.partition(".")[0].partition("[")[0] == "spec"]
        return bool(spec) and not (change.actor.kind == "controller" and spec == ["spec.replicas"])
    return change.operation == "DELETE" and not change.resource.subresource


def _carries_out(seen: Sighting) -> bool:
    """Say whether the change is a controller's work. Scales are the autoscaler's, whoever it says that it is."""
    username, subresource = seen.change.user.username, seen.change.resource.subresource
    if not username.startswith("system:") or subresource in {"status", "scale"}:
        return False
    if username == _SCHEDULER:
        return subresource == "binding"
    return username in _CONTROLLERS or (username.startswith(_NODES) and seen.change.operation == "DELETE")
