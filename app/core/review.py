"""Admission reviews as the API server sends them, and what each one says happened.

Wire format: `admission.k8s.io/v1` and `v1beta1` AdmissionReview (k8s.io/api/admission). Decoding is lenient: a review
with odd fields still says something, only one without a `request.uid` cannot be answered.
"""

from __future__ import annotations

import itertools
import re
from typing import Any, Final

import msgspec

from app.core.actors import actor_kind
from app.core.change import Actor, Resource, User
from app.core.diff import Delta, diff
from app.core.kinds import kind_of

DEFAULT_API_VERSION: Final = "admission.k8s.io/v1"
OPERATIONS: Final = frozenset({"CREATE", "UPDATE", "DELETE", "CONNECT"})

_IGNORED_METADATA: Final = ("managedFields", "resourceVersion", "generation", "uid", "selfLink", "creationTimestamp")
_IGNORED_ANNOTATIONS: Final = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration",
        "deployment.kubernetes.io/revision",
        "control-plane.alpha.kubernetes.io/leader",
    }
)
"""What changes with every write, or only repeats it: no field of its own for an audit."""

_TYPED_GROUPS: Final = frozenset(
    {"", "apps", "autoscaling", "batch", "networking.k8s.io", "policy", "rbac.authorization.k8s.io", "storage.k8s.io"}
)
"""Groups without free-form fields but a ControllerRevision's `data`; a group that is missing here costs time only."""

_POD: Final = "authentication.kubernetes.io/pod-name"
_NODE: Final = "authentication.kubernetes.io/node-name"
_SERVICE_ACCOUNT: Final = "system:serviceaccount:"


class MalformedReviewError(ValueError):
    """The body is not an AdmissionReview that can be answered; the message says why, without quoting it."""


class GroupVersionKind(msgspec.Struct, frozen=True):
    """`kind` of a review: what the object is."""

    group: str = ""
    version: str = ""
    kind: str = ""


class GroupVersionResource(msgspec.Struct, frozen=True):
    """`resource` of a review: what was addressed."""

    group: str = ""
    version: str = ""
    resource: str = ""


class UserInfo(msgspec.Struct, frozen=True):
    """`userInfo` of a review."""

    username: str = ""
    uid: str = ""
    groups: tuple[str, ...] | None = ()
    extra: dict[str, tuple[str, ...]] | None = None


class Request(msgspec.Struct, frozen=True, rename="camel"):
    """`request` of a review, as far as an audit reads it."""

    uid: str
    kind: GroupVersionKind = GroupVersionKind()
    resource: GroupVersionResource = GroupVersionResource()
    sub_resource: str = ""
    name: str = ""
    namespace: str = ""
    operation: str = ""
    user_info: UserInfo = UserInfo()
    object: Any = None
    old_object: Any = None
    dry_run: bool | None = None
    options: Any = None


class _Wire(msgspec.Struct, frozen=True, rename="camel"):
    request: Request
    api_version: str = DEFAULT_API_VERSION


class Review(msgspec.Struct, frozen=True):
    """An AdmissionReview with its request. `truncated` means that the objects could not be read."""

    request: Request
    api_version: str = DEFAULT_API_VERSION
    truncated: bool = False


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What a review says, with raw values: nothing here may be stored or shown before redaction.

    `old` and `new` are the objects without what every write changes (managedFields, resourceVersion, ...); None where
    the operation has none. `deltas` are the differences of an UPDATE, of `status` too.
    """

    operation: str
    dry_run: bool
    resource: Resource
    user: User
    actor: Actor
    field_manager: str
    labels: dict[str, str]
    annotations: dict[str, str]
    old: dict[str, Any] | None
    new: dict[str, Any] | None
    deltas: tuple[Delta, ...] = ()
    truncated: bool = False


_decoder: Final = msgspec.json.Decoder(_Wire)
_OBJECT_KEY: Final = re.compile(rb',\s*"(?:object|oldObject)"\s*:')
_DRY_RUN_KEY: Final = re.compile(rb'"dryRun"\s*:')
_TRIES: Final = 8
"""Keys of that name that are tried: any of them may stand deeper than where it is looked for."""


def decode(body: bytes) -> Review:
    """Read an AdmissionReview; raises MalformedReviewError where there is no `request.uid` to answer to."""
    try:
        review = _strict(body)
    except RecursionError:
        review = _envelope(body, "it is nested too deeply")
    if not review.request.uid:
        raise MalformedReviewError("the AdmissionReview has no request.uid")
    return review


def decode_oversized(head: bytes, tail: bytes) -> Review:
    """Read what comes before the objects of a review that is too large to be read whole.

    The API server writes `uid`, what, where and who before `object`, and `dryRun` after it (the field order of
    k8s.io/api/admission/v1 AdmissionRequest). Raises MalformedReviewError where no `request.uid` is in the head.
    """
    review = _envelope(head, "it is too large, and no request.uid stands before its objects")
    end = _end(tail)
    if end is None:
        return review
    request = msgspec.structs.replace(review.request, dry_run=end.dry_run, options=end.options)
    return Review(request, review.api_version, truncated=True)


def _strict(body: bytes) -> Review:
    try:
        wire = _decoder.decode(body)
    except msgspec.ValidationError:
        return _lenient(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedReviewError(f"the body is not JSON: {error}") from error
    return Review(wire.request, wire.api_version)


def _end(tail: bytes) -> Request | None:
    """Read what stands behind the objects; `options` and the objects may have a `dryRun` of their own."""
    for match in list(_DRY_RUN_KEY.finditer(tail))[-_TRIES:]:
        try:
            return _decoder.decode(b'{"request":{"uid":"",' + tail[match.start() :]).request
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
    return None


def _envelope(body: bytes, problem: str) -> Review:
    """Read the review up to its first object."""
    for match in itertools.islice(_OBJECT_KEY.finditer(body), _TRIES):
        try:
            review = _lenient(body[: match.start()] + b"}}")
        except (MalformedReviewError, RecursionError):
            continue
        if review.request.uid:
            return Review(review.request, review.api_version, truncated=True)
    raise MalformedReviewError(f"the body cannot be read: {problem}")


def _lenient(body: bytes) -> Review:
    """Read field by field, leaving out what has a wrong type."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedReviewError(f"the body is not JSON: {error}") from error
    request = document.get("request") if isinstance(document, dict) else None
    if not isinstance(request, dict):
        raise MalformedReviewError("the body is not an AdmissionReview with a request")
    version = document.get("apiVersion")
    return Review(
        Request(**{"uid": ""} | _fitting(Request, request)),
        version if isinstance(version, str) else DEFAULT_API_VERSION,
    )


def _fitting(struct: type[msgspec.Struct], document: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a struct that have the right type in the document."""
    fields: dict[str, Any] = {}
    for field in msgspec.structs.fields(struct):
        value = document.get(field.encode_name, msgspec.UNSET)
        try:
            if value is not msgspec.UNSET:
                fields[field.name] = msgspec.convert(value, field.type)
        except msgspec.ValidationError:
            if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct) and isinstance(value, dict):
                fields[field.name] = field.type(**_fitting(field.type, value))
    return fields


def interpret(review: Review, kinds: dict[tuple[str, str], str] | None = None) -> Change:
    """Say what the review says: on which object, by whom, how, and what differs.

    `kinds` are kinds of custom resources seen so far, by group and plural, for naming the parent of a subresource.
    """
    request = review.request
    old, new = _object(request.old_object), _object(request.object)
    described = new if new is not None else old
    metadata = _map(described, "metadata")
    before, after = _comparable(old), _comparable(new)
    _align(before, after)
    if request.sub_resource == "scale":
        before, after = _with_replicas(before), _with_replicas(after)
    deltas: list[Delta] = []
    if request.operation == "UPDATE" and before is not None and after is not None:
        deltas = diff(before, after, typed=_is_typed(request.kind))
    manager, manager_operation = _manager(request, new)
    return Change(
        operation=request.operation if request.operation in OPERATIONS else "UNKNOWN",
        dry_run=bool(request.dry_run),
        resource=_resource(request, metadata, kinds or {}),
        user=_user(request.user_info),
        actor=_actor(request.user_info, manager_operation),
        field_manager=manager,
        labels=_strings(metadata.get("labels")),
        annotations=_strings(metadata.get("annotations")),
        old=before,
        new=after,
        deltas=tuple(deltas),
        truncated=review.truncated,
    )


def _object(value: Any) -> dict[str, Any] | None:
    return value if type(value) is dict else None


def _map(document: dict[str, Any] | None, key: str) -> dict[str, Any]:
    value = document.get(key) if document else None
    return value if type(value) is dict else {}


def _strings(value: Any) -> dict[str, str]:
    return {key: item for key, item in value.items() if type(item) is str} if type(value) is dict else {}


def _string(value: Any) -> str:
    return value if type(value) is str else ""


def _comparable(document: dict[str, Any] | None) -> dict[str, Any] | None:
    """Leave out what every write changes, without touching the document."""
    metadata = document.get("metadata") if document else None
    if document is None or type(metadata) is not dict:
        return document
    kept = metadata.copy()
    for name in _IGNORED_METADATA:
        kept.pop(name, None)
    annotations = kept.get("annotations")
    if type(annotations) is dict and not _IGNORED_ANNOTATIONS.isdisjoint(annotations):
        kept["annotations"] = {key: value for key, value in annotations.items() if key not in _IGNORED_ANNOTATIONS}
    return {**document, "metadata": kept}


def _align(old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
    """Leave out annotations of which none counts, unless the other side has some to compare them with."""
    for one, other in ((old, new), (new, old)):
        metadata = _map(one, "metadata")
        if metadata.get("annotations") == {} and "annotations" not in _map(other, "metadata"):
            del metadata["annotations"]


def _with_replicas(scale: dict[str, Any] | None) -> dict[str, Any] | None:
    """Write out what autoscaling/v1 leaves out: `spec.replicas` where it is 0."""
    return None if scale is None else {**scale, "spec": {"replicas": 0, **_map(scale, "spec")}}


def _is_typed(kind: GroupVersionKind) -> bool:
    """Say whether the schema fixes the type of every field of a kind; that of custom resources need not."""
    return kind.group in _TYPED_GROUPS and kind.kind != "ControllerRevision"


def _resource(request: Request, metadata: dict[str, Any], kinds: dict[tuple[str, str], str]) -> Resource:
    group, plural, subresource = request.resource.group, request.resource.resource, request.sub_resource
    kind = request.kind.kind or kind_of(group, plural) or ""
    if subresource:
        # The review of a subresource may carry another kind (Scale, Eviction, PodExecOptions); the parent is meant.
        kind = kind_of(group, plural) or kinds.get((group, plural)) or _unseen(plural, kind)
    name = request.name or _string(metadata.get("name")) or _string(metadata.get("generateName"))
    namespaced = not (kind == "Namespace" and plural == "namespaces")
    return Resource(
        group=group,
        version=request.resource.version,
        kind=kind,
        resource=plural,
        subresource=subresource,
        namespace=(request.namespace or _string(metadata.get("namespace"))) if namespaced else "",
        name=name,
        uid=_string(metadata.get("uid")) if kind == request.kind.kind or subresource == "scale" else "",
    )


def _unseen(plural: str, kind: str) -> str:
    """Name a custom resource whose own reviews have not been seen yet: by its plural, which is no guess."""
    return kind if kind != "Scale" else plural


def _user(info: UserInfo) -> User:
    return User(username=info.username, uid=info.uid, groups=info.groups or (), extra=info.extra or {})


def _actor(info: UserInfo, manager_operation: str) -> Actor:
    name, extra = info.username, info.extra or {}
    account = name.removeprefix(_SERVICE_ACCOUNT).replace(":", "/", 1) if name.startswith(_SERVICE_ACCOUNT) else ""
    return Actor(
        kind=actor_kind(name),
        service_account=account,
        pod=next(iter(extra.get(_POD, ())), ""),
        node=next(iter(extra.get(_NODE, ())), "") or (name[12:] if name.startswith("system:node:") else ""),
        manager_operation=manager_operation,
    )


def _manager(request: Request, new: dict[str, Any] | None) -> tuple[str, str]:
    """Return the field manager, from the options or the newest managedFields entry, and how it wrote."""
    named = _string(request.options.get("fieldManager")) if type(request.options) is dict else ""
    managed = _map(new, "metadata").get("managedFields") if new else None
    newest: dict[str, Any] = {}
    for entry in managed if type(managed) is list else ():
        if type(entry) is not dict or (named and entry.get("manager") != named):
            continue
        if _string(entry.get("time")) >= _string(newest.get("time")):
            newest = entry
    return named or _string(newest.get("manager")), _string(newest.get("operation"))
