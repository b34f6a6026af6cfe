"""Stories: what the cluster's controllers write because of a change, such as the Pods of a Deployment's new image.

A story begins with a change that follows from none. It goes on with what controllers write to the same object, and
create, change or delete of what belongs to it by `ownerReferences`: the ReplicaSets of a Deployment, and their Pods.
Status is left out: what becomes of a rollout is news, and nobody hears of it who did not ask for it by name.
"""

from __future__ import annotations

from typing import Final

import msgspec

from app.core.recent import Recent
from app.core.sighting import Sighting
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
            "endpoint-controller",
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

_SCHEDULER: Final = "system:kube-scheduler"
_NODES: Final = "system:node:"


class Story(msgspec.Struct, eq=False):
    """A change with the sinks that were told of it. `began` and `went_on` are in milliseconds."""

    entry: str
    title: str
    sinks: frozenset[str]
    began: int
    went_on: int

    def is_running(self, at: int) -> bool:
        """Say whether a write at this moment can still follow from it."""
        return at - self.went_on <= PAUSE and at - self.began <= LONGEST


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
        self._involve(seen, Story(entry, shorten(str(seen.change.resource), _TITLE), sinks, seen.at, seen.at))

    def _involve(self, seen: Sighting, story: Story) -> None:
        if seen.uid:
            self._by_uid.put(seen.uid, story)


def _began(story: Story) -> int:
    return story.began


def _subjects(seen: Sighting) -> list[str]:
    """Return the uids of what the change can be a consequence to; that an object goes does not follow from itself."""
    owners = seen.owners
    return owners if seen.change.operation == "DELETE" else [*owners, seen.uid]


def _carries_out(seen: Sighting) -> bool:
    """Say whether the change is a controller's work. Scales are the autoscaler's, whoever it says that it is."""
    username, subresource = seen.change.user.username, seen.change.resource.subresource
    if not username.startswith("system:") or subresource in {"status", "scale"}:
        return False
    if username == _SCHEDULER:
        return subresource == "binding"
    return username in _CONTROLLERS or (username.startswith(_NODES) and seen.change.operation == "DELETE")
