"""How an entry is undone: what would make the object as it was before, and what makes sure that it undoes no more."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from app.core.change import Entry, Resource
from app.core.edits import edits
from app.core.paths import parse, render
from app.core.places import leaves
from app.core.raw import mapping, string
from app.core.redact import PREFIX
from app.core.undo_answers import Reason, Refusal, Undo
from app.core.undo_command import LONGEST_ARGUMENT, create_line, delete_line, patch_line, scale_line
from app.core.undo_later import following, refused_by, replaced
from app.core.undo_objects import recreatable
from app.core.undo_patch import Reversal, reversal

__all__ = ["Refusal", "Undo", "undo"]

_FINGERPRINT: Final = re.compile(rf"{PREFIX}[0-9a-f]{{16}}")
_PATCHED: Final = frozenset({"", "scale", "resize"})
"""Subresources that take a patch which undoes an update of them."""

_MORE_THAN_ITSELF: Final = frozenset({("", "Namespace"), ("apiextensions.k8s.io", "CustomResourceDefinition")})
"""Kinds whose deletion deletes objects that others have created."""


def undo(entry: Entry, live: dict[str, Any] | None, *, later: Sequence[Entry] = ()) -> Undo | Refusal:
    """Return how an entry is undone, or why not. Total: any entry has an answer.

    `live` is the object as it is now, not redacted; of a change through `scale`, the Scale. It is None where nobody
    looked: then places are those that were recorded, and only the patch's tests tell whether they still are. It is
    empty where there is no such object. `later` are entries of the object, oldest first, some of them after this one:
    they tell who moved the object on.
    """
    if refusal := _never(entry):
        return refusal
    after = following(entry, later)
    match entry.operation:
        case "CREATE":
            return _deletion(entry, live, after)
        case "DELETE":
            return _creation(entry, live, after)
    return _reversion(entry, live, after)


def _never(entry: Entry) -> Refusal | None:
    """Refuse what cannot be undone whatever the object is now."""
    operation, subresource = entry.operation, entry.resource.subresource
    if entry.dry_run:
        return _refused("dry-run", "It was a dry run: nothing was stored that could be undone.")
    if operation == "FAILED":
        return _refused("nothing", "It is about a Job that failed, not about a change.")
    if operation == "CONNECT":
        return _refused("nothing", "What was done inside a container, or through a proxy, is not recorded.")
    if operation not in ("CREATE", "UPDATE", "DELETE"):
        return _refused("unreadable", f"What {operation} did is not known.")
    if entry.truncated is True:
        return _refused("truncated", "The review was too large to be read whole: what it changed is not known.")
    if not entry.resource.name or not entry.resource.resource:
        return _refused("unreadable", "The name of the object was not recorded.")
    if not _is_one_place(entry.resource):
        return _refused("unreadable", "No object of Kubernetes can have the name that was recorded.")
    if subresource == "ephemeralcontainers":
        return _refused("subresource", "Kubernetes never takes an ephemeral container out of a Pod again.")
    if subresource and (operation != "UPDATE" or subresource not in _PATCHED):
        return _refused("subresource", f"A {operation} of {entry.resource.resource}/{subresource} cannot be undone.")
    return None


def _is_one_place(resource: Resource) -> bool:
    """Say whether each name is one step of a path, as of every stored object: others would lead to another object."""
    # So does an API server: IsValidPathSegmentName of k8s.io/apimachinery.
    names = (resource.group, resource.version, resource.resource, resource.namespace, resource.name)
    return not any(name in (".", "..") or "/" in name or "%" in name for name in names)


def _refused(reason: Reason, text: str, path: str = "") -> Refusal:
    return Refusal(reason=reason, text=text, path=path)


def _redacted(path: str) -> Refusal:
    return _refused("redacted", f"The value of {path} is secret, and was not recorded: only that it changed.", path)


def _is_redacted(*parts: Any) -> bool:
    return any(_FINGERPRINT.search(msgspec.json.encode(each).decode()) for each in parts if each is not msgspec.UNSET)


def _reversion(entry: Entry, live: dict[str, Any] | None, later: Sequence[Entry]) -> Undo | Refusal:
    if refusal := _unknown_values(entry):
        return refusal
    if live is not None and (refusal := _other(entry, live, later)):
        return refusal
    if entry.resource.subresource == "scale":
        return _scaling(entry, live, later)
    found = reversal(entry, live, later)
    if isinstance(found, Refusal):
        return found
    return _patching(entry, found, patch_line(entry.resource, found.patch))


def _unknown_values(entry: Entry) -> Refusal | None:
    for change in entry.changes:
        if not _is_path(change.path):
            return _refused("unreadable", f"The field {change.path!r} cannot be read.", change.path)
    known = edits(entry)
    if not known:
        return _refused("nothing", "It changed nothing but what controllers report, the status.")
    secret = (each.change for each in known if _is_redacted(each.change.path, each.change.old, each.change.new))
    return next((_redacted(change.path) for change in secret), None)


def _is_path(text: str) -> bool:
    try:
        return bool(parse(text))
    except ValueError:
        return False


def _patching(entry: Entry, found: Reversal, command: str) -> Undo:
    cautions = found.cautions
    if len(command.encode()) > LONGEST_ARGUMENT:
        cautions += ("The command is longer than a shell takes: `kubewitness undo` with --apply does it.",)
    return Undo(
        entry_id=entry.id,
        action="patch",
        resource=entry.resource,
        command=command,
        changes=found.changes,
        patch=found.patch,
        cautions=cautions,
    )


def _scaling(entry: Entry, live: dict[str, Any] | None, later: Sequence[Entry]) -> Undo | Refusal:
    # autoscaling/v1 leaves out 0 replicas, and so a patch cannot test for them but as null.
    spec = {"replicas": 0, **mapping(live, "spec")}
    found = reversal(entry, None if live is None else {**live, "spec": spec}, later)
    if isinstance(found, Refusal):
        return found
    [change] = found.changes
    if type(change.old) is not int or type(change.new) is not int:
        return _refused("unreadable", "The number of replicas was not recorded.", change.path)
    guards = tuple(each for each in found.patch if each["path"] == "/metadata/uid")
    test = {"op": "test", "path": "/spec/replicas", "value": change.old or None}
    patch = (*guards, test, {"op": "add", "path": "/spec/replicas", "value": change.new})
    whole = Reversal(patch, found.changes, found.cautions)
    return _patching(entry, whole, scale_line(entry.resource, change.old, change.new))


def _other(entry: Entry, live: dict[str, Any], later: Sequence[Entry]) -> Refusal | None:
    """Refuse where the live object is not the one that the entry is about."""
    known = replaced(entry, later)
    if not live:
        deleted = [each for each in later if each.operation == "DELETE"]
        return refused_by(deleted[-1] if deleted else None, "gone", f"{entry.resource} is not there any more")
    if _uid(live) != entry.resource.uid and entry.resource.uid and _uid(live):
        return known or _refused("gone", f"{entry.resource} is another object now than the one that was changed.")
    return None


def _uid(document: dict[str, Any]) -> str:
    return string(document, "metadata", "uid")


def _deletion(entry: Entry, live: dict[str, Any] | None, later: Sequence[Entry]) -> Undo | Refusal:
    resource = entry.resource
    if (resource.group, resource.kind) in _MORE_THAN_ITSELF:
        remedy = f"kubectl delete {resource.resource} NAME does it, if it is wanted"
        return _refused("reach", f"To delete a {resource.kind} deletes all that others have put into it; {remedy}.")
    if not resource.uid:
        return _refused("unreadable", "The uid of the object was not recorded, so that another one could be deleted.")
    if refusal := (replaced(entry, later) if live is None else _other(entry, live, later)):
        return refusal
    options = {
        "kind": "DeleteOptions",
        "apiVersion": "v1",
        "preconditions": {"uid": resource.uid},
        "propagationPolicy": "Background",
    }
    return Undo(
        entry_id=entry.id,
        action="delete",
        resource=resource,
        command=delete_line(resource, options),
        options=options,
        cautions=tuple(_lost(later)),
    )


def _lost(later: Sequence[Entry]) -> Iterator[str]:
    changes = [each for each in later if each.operation == "UPDATE"]
    if changes:
        count = f"{len(changes)} later change{'' if len(changes) == 1 else 's'}"
        yield f"{count} of the object would be gone with it, the last one by {changes[-1].user.username or 'nobody'}."


def _creation(entry: Entry, live: dict[str, Any] | None, later: Sequence[Entry]) -> Undo | Refusal:
    kept = entry.object
    if type(kept) is not dict or type(kept.get("metadata")) is not dict:
        return _refused("unreadable", "The object was not recorded as it was.")
    document = recreatable(entry.resource, kept)
    secret = next((path for path, value in leaves(document) if _is_redacted(render(path), value)), None)
    if secret is not None:
        return _redacted(render(secret))
    if refusal := _there(entry, live, later):
        return refusal
    return Undo(
        entry_id=entry.id,
        action="create",
        resource=entry.resource,
        command=create_line(entry.resource, document),
        object=document,
        cautions=tuple(_alone(entry, document)),
    )


def _there(entry: Entry, live: dict[str, Any] | None, later: Sequence[Entry]) -> Refusal | None:
    created = [each for each in later if each.operation == "CREATE"]
    if live is None:
        return refused_by(created[-1], "moved", f"{entry.resource}: it was created again since") if created else None
    if not live:
        return None
    if _uid(live) == entry.resource.uid and string(live, "metadata", "deletionTimestamp"):
        return _refused("moved", f"{entry.resource} is still being deleted; its finalizers hold it.")
    if _uid(live) == entry.resource.uid:
        return _refused("undone", f"{entry.resource} is there: it was not deleted after all.")
    return refused_by(created[-1] if created else None, "moved", f"{entry.resource}: there is one again")


def _alone(entry: Entry, document: dict[str, Any]) -> Iterator[str]:
    if entry.resource.kind == "Namespace" and not entry.resource.group:
        yield "What was in the namespace does not come back with it; its own deletions have entries of their own."
    if mapping(document, "metadata").get("ownerReferences"):
        yield "It belonged to another object: if that is gone, Kubernetes deletes it again."
