"""Paths are written for people and read back; patterns match whole segments anywhere in a path."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.paths import Item, Path, compile_pattern, parse, render, subpaths

IMAGE: Path = ("spec", "template", "spec", "containers", Item(0, "nginx"), "image")
RESTARTED = "kubectl.kubernetes.io/restartedAt"

WRITTEN = [
    (("spec", "replicas"), "spec.replicas"),
    (IMAGE, "spec.template.spec.containers[nginx].image"),
    (("metadata", "annotations", RESTARTED), f"metadata.annotations[{RESTARTED}]"),
    (("args", Item(2)), "args[2]"),
    (("ports", Item(0, "80/TCP"), "name"), "ports[80/TCP].name"),
    (("data", "a.b[c]\\d"), "data[a.b[c\\]\\\\d]"),
    (("", "a"), "[].a"),
    (("data", "a\nb"), "data.a\nb"),
    ((), ""),
]


@pytest.mark.parametrize(("path", "text"), WRITTEN)
def test_a_path_is_written_with_dots_and_brackets(path: Path, text: str) -> None:
    assert render(path) == text


@given(st.lists(st.text(max_size=6) | st.text("ab.[]\\/-1", max_size=5), min_size=1, max_size=5))
def test_a_written_path_is_read_back(segments: list[str]) -> None:
    assert parse(render(tuple(segments))) == tuple(segments)


MALFORMED = [
    ("", "cannot be empty"),
    (".", "a field name is missing before '.'"),
    ("a.", "a field name is missing before the end"),
    ("a..b", "a field name is missing before '.'"),
    ("a[b", "a field name is missing before '\\['"),
    ("a]", "a field name is missing before '\\]'"),
    ("a.[b]", "write the bracket without a dot"),
    (".a", "a field name is missing before '.'"),
]


@pytest.mark.parametrize(("text", "message"), MALFORMED)
def test_a_malformed_pattern_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compile_pattern(text)


MATCHES = [
    ("image", IMAGE, True),
    ("containers[nginx]", IMAGE, True),
    ("containers[0].image", IMAGE, True),
    ("containers[1].image", IMAGE, False),
    ("containers[*].image", IMAGE, True),
    ("containers.nginx.image", IMAGE, True),
    ("spec.template", IMAGE, True),
    ("template.image", IMAGE, False),
    ("images", IMAGE, True),
    ("images", ("spec", "initContainers", Item(0), "image"), True),
    ("images", ("spec", "image"), False),
    ("image", ("spec", "containers", Item(0), "imagePullPolicy"), False),
    ("spec.replicas.more", ("spec", "replicas"), False),
    ("*", ("spec",), True),
    ("ports[80]", ("spec", "ports", Item(1, "80/TCP")), True),
    ("ports[80/UDP]", ("spec", "ports", Item(1, "80/TCP")), False),
    (f"annotations[{RESTARTED}]", ("metadata", "annotations", RESTARTED), True),
    (f"annotations.{RESTARTED}", ("metadata", "annotations", RESTARTED), True),
    ("io/restartedAt", ("metadata", "annotations", RESTARTED), False),
    ("data.app.yaml", ("data", "app.yaml"), True),
    ("data.app", ("data", "app.yaml"), False),
]


@pytest.mark.parametrize(("pattern", "path", "expected"), MATCHES)
def test_a_pattern_matches_whole_segments_anywhere(pattern: str, path: Path, expected: bool) -> None:
    assert compile_pattern(pattern).matches(path) is expected


@given(st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=5), st.data())
def test_every_run_of_segments_matches_its_path(segments: list[str], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(segments) - 1))
    run = segments[start : data.draw(st.integers(start + 1, len(segments)))]

    assert compile_pattern(render(tuple(run))).matches(tuple(segments))


CONTAINERS: list[Any] = [{"name": "web", "image": "nginx:1"}, {"image": "busybox"}]


def test_the_fields_inside_a_value_have_paths_of_their_own() -> None:
    assert [render(path) for path in subpaths(("containers",), CONTAINERS)] == [
        "containers[web]", "containers[web].name", "containers[web].image", "containers[1]", "containers[1].image",
    ]  # fmt: skip


@pytest.mark.parametrize(("pattern", "expected"), [("images", True), ("containers[web]", True), ("command", False)])
def test_a_pattern_touches_what_came_or_went_with_a_value(pattern: str, expected: bool) -> None:
    assert compile_pattern(pattern).touches(("spec", "containers"), None, CONTAINERS) is expected
