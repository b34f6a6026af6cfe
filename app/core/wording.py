"""How a change is put into words: its title, who did it and with what, and the variables of templates."""

from __future__ import annotations

from typing import Final

from app.core.facts import node
from app.core.redact import Redactor
from app.core.review import Change
from app.core.templates import Look

_PAST: Final = {"CREATE": "created", "UPDATE": "updated", "DELETE": "deleted", "CONNECT": "connected"}


def title(change: Change) -> str:
    """Return `Deployment/shop/web updated`, as Robusta writes it."""
    part = f" ({change.resource.subresource})" if change.operation == "CONNECT" else ""
    return f"{change.resource} {_PAST.get(change.operation, 'changed')}{part}"


def account(change: Change) -> str:
    """Say who did it and with what, such as `Updated by alice with kubectl-edit`."""
    pod = f" (Pod {change.actor.pod})" if change.actor.pod else ""
    tool = f" with {change.field_manager}" if change.field_manager else ""
    verb = _PAST.get(change.operation, "changed").capitalize()
    return f"{verb} by {change.user.username or 'an unknown user'}{pod}{tool}."


def change_look(change: Change, redactor: Redactor, cluster: str) -> Look:
    """Return the reader of template variables for a change; labels and annotations are redacted."""
    resource = change.resource
    values = {
        "name": resource.name,
        "namespace": resource.namespace,
        "kind": resource.kind,
        "user": change.user.username,
        "operation": change.operation.lower(),
        "cluster": cluster,
    }

    def look(variable: str) -> str:
        head, _, key = variable.partition(".")
        if key:
            strings = change.labels if head == "labels" else change.annotations
            return redactor.strings({key: strings[key]})[key] if key in strings else ""
        return node(change) if variable == "node" else values[variable]

    return look
