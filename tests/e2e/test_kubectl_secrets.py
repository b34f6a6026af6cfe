"""A Secret that changes shows as changed, and its value is nowhere."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import pytest

from tests.e2e.auditor import Auditor
from tests.e2e.conftest import Place
from tests.e2e.webhooks import eventually

pytestmark = pytest.mark.e2e

OLD, NEW, APPLIED = "old-Gl3tscher-value", "new-Kr1stall-value", "applied-Sch1efer-value"


def spellings(value: str) -> Iterator[bytes]:
    """The value as it is, and in base64 however it is aligned."""
    yield value.encode()
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + value.encode())
        # The ends depend on what is around the value; the middle is the same everywhere.
        yield encoded[4:-4]


def places_that_know(auditor: Auditor, value: str) -> list[str]:
    entries = auditor.entries()
    pages = {f"entry {entry['id']}": auditor.get(f"/api/v1/entries/{entry['id']}").content for entry in entries}
    pages["entries"] = json.dumps(entries).encode()
    pages |= {str(path): content for path, content in auditor.files()}
    return [name for name, text in pages.items() if any(spelling in text for spelling in spellings(value))]


def test_a_changed_secret_shows_as_changed_and_never_as_what(place: Place) -> None:
    name = f"token-{place.namespace}"
    place.kubectl("create", "secret", "generic", name, f"--from-literal=password={OLD}")
    patch = json.dumps({"stringData": {"password": NEW}})
    place.kubectl("patch", "secret", name, "--patch", patch, user="alice")
    document = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"password": APPLIED}}
    place.kubectl("apply", "-f", "-", stdin=json.dumps(document))
    place.kubectl("delete", "secret", name)

    [applied, patched] = place.entries(name=name, operation="UPDATE")
    place.auditor.notification(name, lambda told: bool(told["entry"]["operation"] == "DELETE"))
    [change] = patched["changes"]
    assert (change["path"], change["op"]) == ("data.password", "replace")
    assert change["old"] != change["new"]
    assert "data.password" in [change["path"] for change in applied["changes"]]
    for value in (OLD, NEW, APPLIED):
        assert places_that_know(place.auditor, value) == []


def test_the_same_secret_again_has_the_same_fingerprint(place: Place) -> None:
    place.kubectl("create", "secret", "generic", "token", f"--from-literal=password={OLD}")
    for value in (NEW, OLD):
        patch = json.dumps({"stringData": {"password": value}})
        place.kubectl("patch", "secret", "token", "--patch", patch)

    [back], [there] = [entry["changes"] for entry in place.entries(name="token", operation="UPDATE")]
    assert (there["old"], there["new"]) == (back["new"], back["old"])


def test_the_tokens_that_the_control_plane_makes_are_nowhere_either(place: Place) -> None:
    def tokens() -> list[str]:
        listed = json.loads(place.kubectl("get", "secrets", "-o", "json").stdout)["items"]
        return [item["data"]["token"] for item in listed if "token" in item.get("data", {})]

    place.kubectl(
        "create", "-f", "-",
        stdin=json.dumps({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
            "metadata": {"name": "robot", "annotations": {"kubernetes.io/service-account.name": "default"}},
        }),
    )  # fmt: skip

    for token in eventually(tokens, "a token of the service account"):
        assert places_that_know(place.auditor, base64.b64decode(token).decode()) == []


def test_a_value_that_is_no_secret_would_be_found(place: Place) -> None:
    """The search above can fail: it finds what is there."""
    place.kubectl("create", "configmap", "settings", "--from-literal=mode=plain-Wolkenbruch-value")

    assert places_that_know(place.auditor, "plain-Wolkenbruch-value")
