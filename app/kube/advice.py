"""What a person can do about a call that the API server refuses."""

from __future__ import annotations

from typing import Final

from app.kube.errors import ApiError

_WATCHED: Final = ("list", "watch")
_ALSO: Final = {"jobs": ("get",)}
"""What else is asked of a watched resource: whoever grants a right should not be asked for the next one later."""


def advice(error: ApiError, verb: str, path: str) -> str:
    """Return the error in words for a person; where rights are missing, with the rule that grants them."""
    if error.is_forbidden:
        return f"may not {verb} {_resource(path)}: {_rule(path)}. {error}"
    if error.is_unauthorized:
        return f"the API server does not accept our credentials: is the token or certificate expired? {error}"
    return str(error)


def _parts(path: str) -> tuple[str, str, str]:
    """Return group, namespace and resource of `/api/v1/...` or `/apis/<group>/<version>/...`."""
    root, *rest = path.strip("/").split("/")
    group, rest = ("", rest[1:]) if root == "api" else (rest[0] if rest else "", rest[2:])
    namespace = rest[1] if len(rest) > 2 and rest[0] == "namespaces" else ""  # noqa: PLR2004  namespaces/<name>/<what>
    resource = rest[2] if namespace else "".join(rest[:1])
    return group, namespace, resource


def _resource(path: str) -> str:
    group, namespace, resource = _parts(path)
    place = f"in the namespace {namespace}" if namespace else "in all namespaces"
    return f"{resource}.{group} {place}" if group else f"{resource} {place}"


def _rule(path: str) -> str:
    group, namespace, resource = _parts(path)
    role = f"a Role in {namespace}" if namespace else "a ClusterRole"
    verbs = ", ".join(f'"{verb}"' for verb in (*_ALSO.get(resource, ()), *_WATCHED))
    return f'bind to {role} with apiGroups: ["{group}"], resources: ["{resource}"], verbs: [{verbs}]'
