"""What sinks hear of changes that come one after another: the noise rules with a clock of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from app.core.delivery import Addressee
from app.core.finding import Finding
from app.core.noise import Noise, NoiseOptions, Verdict
from app.core.review import Review, interpret
from tests.core.changes import review

SECOND: Final = 1000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE

ABSENT: Final = object()
"""The value of a field that is not there."""

GARBAGE: Final = "system:serviceaccount:kube-system:generic-garbage-collector"
DEPLOYMENTS: Final = "system:serviceaccount:kube-system:deployment-controller"
REPLICAS: Final = "system:serviceaccount:kube-system:replicaset-controller"
NODE: Final = "system:node:n1"

_OWNERS: Final = {
    "deployment": ("apps/v1", "Deployment", "web"),
    "nightly": ("batch/v1", "CronJob", "nightly"),
    "nightly-1": ("batch/v1", "Job", "nightly-1"),
    "settings": ("v1", "ConfigMap", "settings"),
}
"""Objects that own others, by their uids; all others are ReplicaSets whose name is their uid."""


class Routed(msgspec.Struct, frozen=True):
    finding: Finding
    sinks: tuple[str, ...]


class Heard(msgspec.Struct, frozen=True):
    """An entry, and what became of its findings."""

    entry: str
    verdict: Verdict

    @property
    def addressees(self) -> list[Addressee]:
        return [addressee for each in self.verdict.addressees for addressee in each]

    @property
    def told(self) -> list[str]:
        return [each.sink for each in self.addressees if not each.withheld and not each.fold]

    @property
    def held(self) -> list[str]:
        return [each.sink for each in self.addressees if each.fold]

    @property
    def reasons(self) -> dict[str, str]:
        return {each.sink: each.withheld for each in self.addressees if each.withheld}


class Listening:
    """Shows changes to the noise rules; entries are called `e1`, `e2`, ... by their order."""

    def __init__(self, **options: Any) -> None:
        self.noise = Noise()
        self.options = NoiseOptions.model_validate(options)
        self.at = 1_767_323_045_000
        self.entries = 0

    def untaken(self, about: Review) -> Heard:
        """Show a change that a playbook speaks of, and that no sink takes."""
        return self._hear(about, ())

    def tell(self, about: Review, *sinks: str, after: int = SECOND, playbooks: Sequence[str] = ("changes",)) -> Heard:
        """Show a change of which sinks are to be told, by default `slack`, so many milliseconds after the last one."""
        self.at += after
        return self._hear(about, sinks or ("slack",), playbooks)

    def _hear(self, about: Review, sinks: tuple[str, ...], playbooks: Sequence[str] = ("changes",)) -> Heard:
        self.entries += 1
        entry = f"e{self.entries}"
        routed = [Routed(Finding(playbook=each, title="changed"), sinks) for each in playbooks]
        change = interpret(about)
        return Heard(entry, self.noise.judge(change, about.request, routed, entry, self.options, self.at))

    def pass_by(self, about: Review, after: int = SECOND) -> str:
        """Show a change of which nobody is told; return the entry that it follows from."""
        self.at += after
        return self.noise.notice(interpret(about), about.request, self.options, self.at)


def deployment(old: Any = 1, new: Any = 2, *, generation: int = 0, field: str = "image", **options: Any) -> Review:
    """A Deployment `web` whose `spec.<field>` is changed; it counts generations where one is given."""
    return _update("Deployment", "deployment", old, new, generation, field, **options)


def config_map(old: Any = 1, new: Any = 2, *, field: str = "mode", version: str = "", **options: Any) -> Review:
    """A ConfigMap `settings`, which counts no generations."""
    metadata = {"uid": "settings", "resourceVersion": version}
    before, after = ({"metadata": metadata, "data": {field: value}} for value in (old, new))
    return review("UPDATE", "ConfigMap", name="settings", old=before, new=after, **options)


def _update(
    kind: str, uid: str, old: Any, new: Any, generation: int, field: str, owners: Sequence[str] = (), **options: Any
) -> Review:
    counted = generation + 1 if generation else 0
    before = {"metadata": _metadata(uid, owners, generation=generation), "spec": _spec(field, old)}
    after = {"metadata": _metadata(uid, owners, generation=counted), "spec": _spec(field, new)}
    return review("UPDATE", kind, old=before, new=after, **options)


def _spec(field: str, value: Any) -> dict[str, Any]:
    return {"kept": True} if value is ABSENT else {"kept": True, field: value}


def _metadata(uid: str, owners: Sequence[str], **others: Any) -> dict[str, Any]:
    return {"uid": uid, "ownerReferences": [_reference(each) for each in owners], **others}


def _reference(uid: str) -> dict[str, Any]:
    api_version, kind, name = _OWNERS.get(uid, ("apps/v1", "ReplicaSet", uid))
    return {"apiVersion": api_version, "kind": kind, "name": name, "uid": uid, "controller": True}


def made(kind: str, uid: str, *owners: str, user: str, **options: Any) -> Review:
    """An object that is created; its name is its uid."""
    new = {"metadata": _metadata(uid, owners), "spec": options.pop("spec", {})}
    return review("CREATE", kind, new=new, name=uid, user=user, **options)


def changed(kind: str, uid: str, *owners: str, user: str, **options: Any) -> Review:
    """An object whose `spec.replicas` is changed."""
    return _update(kind, uid, 1, 2, 0, "replicas", owners, name=uid, user=user, **options)


def deleted(kind: str, uid: str, *owners: str, user: str, again: bool = False, **options: Any) -> Review:
    """An object that is deleted; `again` after its deletion began."""
    metadata = _metadata(uid, owners) | ({"deletionTimestamp": "2026-01-02T03:04:05Z"} if again else {})
    return review("DELETE", kind, old={"metadata": metadata, "spec": {}}, name=uid, user=user, **options)
