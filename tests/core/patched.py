"""What an API server makes of a JSON Patch: RFC 6902, but that a `test` of null succeeds where there is nothing."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import jsonpatch
import jsonpointer


def patched(document: dict[str, Any], operations: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return the document after the patch; raises JsonPatchException where a test fails."""
    result = copy.deepcopy(document)
    for operation in operations:
        if not (is_absence(operation) and jsonpointer.resolve_pointer(result, operation["path"], None) is None):
            result = jsonpatch.apply_patch(result, [operation])
    return result


def is_absence(operation: dict[str, Any]) -> bool:
    """Say whether an operation tests that there is nothing."""
    return operation["op"] == "test" and operation["value"] is None
