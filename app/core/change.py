"""The words of the ledger: what one admission review said, or how a Job failed, as immutable values.

Every struct here is what people read as JSON from the API, the sinks and the command line, so field names are
contracts. Optional fields that are empty are left out of the JSON.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Operation = Literal["CREATE", "UPDATE", "DELETE", "CONNECT", "FAILED"]
ChangeOp = Literal["add", "remove", "replace"]


class Resource(msgspec.Struct, frozen=True, kw_only=True):
    """The object that an operation was about; for `deployments/scale` the Deployment, not the Scale."""

    group: str = ""
    version: str = ""
    kind: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""

    def __str__(self) -> str:
        place = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind}/{place}"


class User(msgspec.Struct, frozen=True, kw_only=True):
    """Who asked, as the API server authenticated (or impersonated) them: `userInfo` of the review."""

    username: str = ""
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: dict[str, tuple[str, ...]] = {}


class Actor(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the change was made, as far as the review tells.

    `kind` is `human` or `controller` (service accounts, nodes and the control plane's own identities). `pod` and
    `node` name where a bound service-account token was used, from `userInfo.extra`. `manager_operation` is `Apply`
    or `Update`, of the newest managedFields entry that the field manager wrote.
    """

    kind: Literal["human", "controller"]
    service_account: str = ""
    pod: str = ""
    node: str = ""
    manager_operation: str = ""


class FieldChange(msgspec.Struct, frozen=True):
    """One field's old and new value. Absent is not null: `add` has no old value, `remove` no new one."""

    path: str
    op: ChangeOp
    old: Any = msgspec.UNSET
    new: Any = msgspec.UNSET


class FindingSummary(msgspec.Struct, frozen=True):
    """What an entry says about a finding: enough to list it; the finding itself is stored beside the entry."""

    playbook: str
    title: str
    severity: str


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """The immutable ledger record of one change, or of a Job that failed (operation `FAILED`).

    `id` is a UUIDv7 whose first 60 bits order entries by time of arrival. `at` is RFC 3339, UTC, microseconds.
    `outcome` is `attempted`: an admission review precedes the write; of a failed Job it is `observed`, since that was
    read from the cluster, and nobody in particular did it: `user` is empty. `patch` is RFC 6902 and turns the recorded
    old state into the new one; `object` is kept instead for CREATE, DELETE, CONNECT and FAILED. All values are redacted
    already.

    `repeat_of` is the id of the entry of the same change, where the API server asked again; `story` that of the change
    because of which a controller made this one. Both are set only where a sink was told of that entry.
    """

    id: str
    at: str
    cluster: str = ""
    operation: str = "UPDATE"
    dry_run: bool = False
    outcome: str = "attempted"
    resource: Resource
    user: User
    field_manager: str = ""
    actor: Actor = Actor(kind="human")
    labels: dict[str, str] = {}
    changes: tuple[FieldChange, ...] = ()
    patch: tuple[dict[str, Any], ...] = ()
    findings: tuple[FindingSummary, ...] = ()
    object: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    truncated: bool | msgspec.UnsetType = msgspec.UNSET
    review_uid: str = ""
    repeat_of: str | msgspec.UnsetType = msgspec.UNSET
    story: str | msgspec.UnsetType = msgspec.UNSET
