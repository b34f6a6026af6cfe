"""The lines of kubectl mean what they should to a shell, whatever strangers have put into names and values."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from app.core.api_paths import collection_path, object_path
from app.core.change import Resource
from app.core.undo_command import (
    create_line,
    delete_line,
    patch_line,
    scale_line,
    written,
)

WEB: Final = Resource(
    group="apps", version="v1", kind="Deployment", resource="deployments", namespace="shop", name="web"
)
HOSTILE: Final = "a'b\"c$(touch x)`touch x`\\n!!\n\t%s \x1b[31m\x7f\u202e\u2028\x85é😀\U000e0041;&|<>*"
ODD: Final = Resource(
    group="rbac.authorization.k8s.io", version="v1", kind="ClusterRole", resource="clusterroles", name="-n $(x) 'y'"
)


@pytest.fixture
def shell(tmp_path: Path) -> Path:
    """Return a folder with a kubectl that writes down what it is given."""
    kubectl = tmp_path / "kubectl"
    kubectl.write_text('#!/bin/sh\nprintf "%s\\0" "$@"\n[ "$1" = patch ] || cat\n')
    kubectl.chmod(0o755)
    return tmp_path


def words(folder: Path, line: str) -> list[str]:
    """Return the arguments that kubectl gets from a shell, and last its standard input."""
    done = subprocess.run(
        ["/bin/sh", "-c", line],
        cwd=folder,
        env={"PATH": f"{folder}:/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
    )
    assert sorted(path.name for path in folder.iterdir()) == ["kubectl"]
    return done.stdout.decode().split("\0")


def test_a_patch_arrives_as_it_is(shell: Path) -> None:
    patch = ({"op": "test", "path": "/data/" + HOSTILE, "value": {HOSTILE: [HOSTILE]}},)

    *options, kind, given_patch, _ = words(shell, patch_line(WEB, patch))

    command = "patch deployments.v1.apps/web -n shop --field-manager=kubewitness-undo --type=json".split()
    assert [*options, kind] == [*command, "-p"]
    assert json.loads(given_patch) == list(patch)


def test_an_object_arrives_as_it_is(shell: Path) -> None:
    document = {"data": {HOSTILE: HOSTILE}}

    *options, received = words(shell, create_line(WEB, document))

    assert options == ["create", "-n", "shop", "--field-manager=kubewitness-undo", "-f", "-"]
    assert json.loads(received) == document


def test_what_is_deleted_is_named_by_its_path(shell: Path) -> None:
    *options, received = words(shell, delete_line(ODD, {"preconditions": {"uid": "u-1"}}))

    path = "/apis/rbac.authorization.k8s.io/v1/clusterroles/-n%20%24%28x%29%20%27y%27"
    assert options == ["delete", f"--raw={path}", "-f", "-"]
    assert json.loads(received) == {"preconditions": {"uid": "u-1"}}


def test_a_name_like_an_option_is_none(shell: Path) -> None:
    assert words(shell, patch_line(ODD, ()))[1] == "clusterroles.v1.rbac.authorization.k8s.io/-n $(x) 'y'"


def test_a_name_that_nobody_sees_is_the_same_to_the_shell(shell: Path) -> None:
    name = msgspec.structs.replace(ODD, name=HOSTILE)

    assert words(shell, patch_line(name, ()))[1] == f"clusterroles.v1.rbac.authorization.k8s.io/{HOSTILE}"


def test_a_line_is_one_line_and_shows_everything_that_it_does() -> None:
    name = msgspec.structs.replace(WEB, name=HOSTILE)
    change = {"op": "add", "path": "/data/x", "value": HOSTILE}

    lines = [patch_line(name, (change,)), scale_line(name, 1, 2), create_line(WEB, change), delete_line(name, change)]

    assert [line for line in lines if not line.isprintable()] == []


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_a_patch_is_the_same_to_a_reader_of_yaml(value: Any) -> None:
    # kubectl reads a patch that begins with `[` as YAML.
    assert yaml.safe_load(written([value])) == [value]
    assert json.loads(written([value])) == [value]


def test_the_paths_are_those_of_the_kubernetes_api() -> None:
    node = Resource(version="v1", kind="Node", resource="nodes", name="n1")
    scale = Resource(group="apps", version="v1", resource="deployments", namespace="a", name="b", subresource="scale")

    assert collection_path(WEB) == "/apis/apps/v1/namespaces/shop/deployments"
    assert object_path(node) == "/api/v1/nodes/n1"
    assert object_path(scale) == "/apis/apps/v1/namespaces/a/deployments/b/scale"
