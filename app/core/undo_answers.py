"""What there is to say about undoing an entry: how it is done, or why not."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from app.core.change import FieldChange, Resource

Reason = Literal[
    "redacted", "truncated", "dry-run", "moved", "gone", "undone", "subresource", "nothing", "unreadable", "reach"
]
"""Why an entry is not undone: `moved` is an object that is not as the entry left it, `gone` one that is not there,
`undone` one that is as before already, `nothing` an entry that changed nothing, `reach` what would undo far more."""


class Refusal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why an entry is not undone, in a sentence; `path` is the field that is in the way.

    `by`, `at` and `entry_id` are those of the later entry that moved the object on, where one did.
    """

    reason: Reason
    text: str
    path: str = ""
    by: str = ""
    at: str = ""
    entry_id: str = ""


class Undo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How an entry is undone; `command` does the same with kubectl, on one line for a POSIX shell.

    `resource` says where: with `subresource`, there. `changes` are the fields from what they are to what they were.
    `patch` (RFC 6902) tests before it changes; `object` is to be created; `options` (DeleteOptions) let nothing be
    deleted but the object that was created. `cautions` are sentences about what the command cannot make sure of.
    """

    entry_id: str
    action: Literal["patch", "create", "delete"]
    resource: Resource
    command: str
    changes: tuple[FieldChange, ...] = ()
    patch: tuple[dict[str, Any], ...] = ()
    object: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    options: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    cautions: tuple[str, ...] = ()
