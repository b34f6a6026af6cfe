"""Manifests of objects as files: where each has its place, and what a change makes of it. Pure.

A change of an object carries its field changes and a patch, not the object. So the patch is applied to the file that is
there; where that does not fit, since the object was never seen whole or a change was missed, the file says in comments
what is known, and never holds a value that is known to be wrong without saying so.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import jsonpatch
import msgspec
import yaml

from app.core import text as plain
from app.core.change import Entry, FieldChange

INCOMPLETE: Final = (
    "# Incomplete: this object was not seen whole since it was created, or a change of it was missed.",
    "# Known of it since then:",
)
KNOWN: Final = "#   "

CLUSTER_SCOPED: Final = "_cluster"
"""Stands in place of the namespace; no namespace can be called so."""

LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_VOLATILE: Final = (
    "managedFields",
    "resourceVersion",
    "uid",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
)
_NOISE: Final = (
    "/status",
    *(f"/metadata/{name}" for name in _VOLATILE),
    f"/metadata/annotations/{LAST_APPLIED.replace('/', '~1')}",
)

_PART_LIMIT: Final = 200
_HARMLESS: Final = re.compile(r"[a-z0-9._-]")
_DIGEST: Final = 16
# Long texts stay on their line, so that a diff shows them as they are.
_WIDEST: Final = 10_000
# Windows cannot have files of these names: https://learn.microsoft.com/en-us/windows/win32/fileio/naming-a-file
_DEVICES: Final = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)")


class Rewritten(NamedTuple):
    """What a file becomes: None is no file. `is_whole` says that it holds all that the change says."""

    content: bytes | None
    is_whole: bool = True


def path(entry: Entry) -> str:
    """Return `<cluster>/<namespace>/<kind>.<group>/<name>.yaml`, of harmless parts, the same on every file system."""
    resource = entry.resource
    kind = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    parts = (
        part(entry.cluster.lower() or "kubernetes"),
        part(resource.namespace) if resource.namespace else CLUSTER_SCOPED,
        part(kind.lower()),
        part(resource.name),
    )
    return f"{'/'.join(parts)}.yaml"


def part(text: str) -> str:
    """Return a name as one part of a path: all but lower-case letters, digits, `-`, `_` and inner dots as `%XX`.

    So it can neither leave its folder nor be one of git's own, and names that differ in case alone stay apart. What is
    too long ends in a digest.
    """
    escaped = "".join(each if _HARMLESS.fullmatch(each) else _percent(each) for each in text)
    if escaped.startswith((".", "_")) or _DEVICES.match(escaped):
        escaped = _percent(escaped[0]) + escaped[1:]
    if escaped.endswith("."):
        escaped = f"{escaped[:-1]}%2E"
    if len(escaped) <= _PART_LIMIT:
        return escaped or "%00"
    return f"{escaped[: _PART_LIMIT - _DIGEST - 1]}-{hashlib.sha256(text.encode()).hexdigest()[:_DIGEST]}"


def _percent(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode(errors="surrogatepass"))


def rewritten(current: bytes | None, entry: Entry) -> Rewritten:
    """Return what the file of an object becomes by a change of it."""
    match entry.operation:
        case "CREATE" if not entry.resource.subresource:
            return _created(entry)
        case "DELETE" if not entry.resource.subresource:
            return Rewritten(None)
        case "UPDATE" if entry.resource.subresource != "status":
            return _updated(current, entry)
    # What creates a token or an eviction, connects or fails does not change the object's manifest.
    return Rewritten(current)


def _created(entry: Entry) -> Rewritten:
    if entry.object is msgspec.UNSET:
        return Rewritten(_file(["metadata.name: " + plain.value(entry.resource.name)], None), is_whole=False)
    return Rewritten(_file([], clean(entry.object)))


def _updated(current: bytes | None, entry: Entry) -> Rewritten:
    known, manifest = _read(current or b"")
    changes = [change for change in entry.changes if not _is_noise(_as_pointer(change.path))]
    patched = None if manifest is None or entry.truncated is True else _patched(manifest, entry)
    if not changes and patched is None:
        return Rewritten(current, is_whole=entry.truncated is not True)
    kept = [line for line in known if not any(line.startswith(_known_prefix(each)) for each in changes)]
    if patched is not None:
        return Rewritten(_file(kept, clean(patched)), is_whole=not kept)
    told = [_known_prefix(each) + plain.value(each.new) for each in changes]
    return Rewritten(_file([*kept, *told], manifest), is_whole=False)


def _known_prefix(change: FieldChange) -> str:
    return f"{plain.one_line(change.path)}: "


def _as_pointer(path: str) -> str:
    """Return enough of a field's path as a pointer to know noise by."""
    return "/" + "/".join(re.split(r"[.\[]", path)[:2])


def _is_noise(pointer: str) -> bool:
    return any(pointer == noise or pointer.startswith(f"{noise}/") for noise in _NOISE)


def clean(document: dict[str, Any]) -> dict[str, Any]:
    """Return the object without its status and what the API server and kubectl write for themselves."""
    kept = {key: value for key, value in document.items() if key != "status"}
    metadata = kept.get("metadata")
    if isinstance(metadata, dict):
        kept["metadata"] = _clean_metadata(metadata)
    return kept


def _clean_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in metadata.items() if key not in _VOLATILE}
    annotations = kept.get("annotations")
    if isinstance(annotations, dict):
        kept["annotations"] = {key: value for key, value in annotations.items() if key != LAST_APPLIED}
    if not kept.get("annotations"):
        kept.pop("annotations", None)
    return kept


def _patched(manifest: dict[str, Any], entry: Entry) -> dict[str, Any] | None:
    """Return the manifest with the patch applied, None where it does not fit."""
    metadata = manifest.get("metadata")
    base = dict(manifest)
    if isinstance(metadata, dict):
        # A patch may add to or take away annotations that were left out as noise, and were all there were.
        base["metadata"] = {**metadata, "annotations": metadata.get("annotations") or {}}
    try:
        patched = jsonpatch.apply_patch(base, list(_checked(entry)))
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, LookupError, TypeError, ValueError):
        return None
    return patched if isinstance(patched, dict) else None


def _checked(entry: Entry) -> Iterator[dict[str, Any]]:
    """Yield the patch, before each operation a test that what it takes away is what was there."""
    groups = list(_groups(entry.patch))
    changes: Sequence[FieldChange | None] = entry.changes if len(groups) == len(entry.changes) else [None] * len(groups)
    for change, group in zip(changes, groups, strict=True):
        first = group[0]
        if _is_noise(first["path"]):
            continue
        if change is not None and change.old is not msgspec.UNSET and first["op"] in {"replace", "remove"}:
            yield {"op": "test", "path": first["path"], "value": change.old}
        yield from group


def _groups(patch: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Yield the operations of each field change: one, but for the moves that restore the order of a list."""
    group: list[dict[str, Any]] = []
    for operation in patch:
        if group and not _belongs(group[-1], operation):
            yield group
            group = []
        group.append(operation)
    if group:
        yield group


def _belongs(one: dict[str, Any], other: dict[str, Any]) -> bool:
    if one["op"] != "move" or other["op"] != "move":
        return False
    return str(one["path"]).rpartition("/")[0] == str(other["path"]).rpartition("/")[0]


def _read(content: bytes) -> tuple[list[str], dict[str, Any] | None]:
    """Return what the comments of a file know, and its manifest; None if it has none that can be read."""
    text = content.decode(errors="replace")
    known = [line.removeprefix(KNOWN) for line in text.splitlines() if line.startswith(KNOWN)]
    try:
        manifest = yaml.load(text, Loader=_LOADER)  # noqa: S506  a safe one
    except yaml.YAMLError:
        return known, None
    return known, manifest if isinstance(manifest, dict) else None


def _file(known: list[str], manifest: dict[str, Any] | None) -> bytes:
    comments = [*INCOMPLETE, *(f"{KNOWN}{line}" for line in known)] if known else []
    return "".join([*(f"{line}\n" for line in comments), as_yaml(manifest) if manifest else ""]).encode()


# The safe ones, in C where there is C.
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER: Final = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def as_yaml(document: dict[str, Any]) -> str:
    """Return the object as YAML with sorted keys; what is not printable is escaped."""
    text = _dumped(document, allow_unicode=True)
    return text if text.replace("\n", "").isprintable() else _dumped(document, allow_unicode=False)


def _dumped(document: dict[str, Any], *, allow_unicode: bool) -> str:
    # As JSON has no shared objects, there is nothing to write as anchors, which change with what is beside them.
    apart = msgspec.json.decode(msgspec.json.encode(document))
    return str(yaml.dump(apart, Dumper=_DUMPER, allow_unicode=allow_unicode, default_flow_style=False, width=_WIDEST))
