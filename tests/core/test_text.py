from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core import text as plain
from app.core.change import FieldChange, Resource, User
from app.core.finding import DiffBlock
from tests.sinks import samples


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        pytest.param("a\nb\r\n\tc", "a b c", id="newlines"),
        pytest.param("\x1b[1;31mred\x1b[0m", "red", id="colour"),
        pytest.param("\x9b31mred", "red", id="eight-bit colour"),
        pytest.param("\x1b]0;owned\x07x\x1b]8;;http://a\x1b\\y", "xy", id="title and link"),
        pytest.param("a\x1bcb", "ab", id="terminal reset"),
        pytest.param("user\u202egnp.exe", "user\\u202egnp.exe", id="right-to-left override"),
        pytest.param("a\u2066b\u2069", "a\\u2066b\\u2069", id="isolates"),
        pytest.param("pa\u200byment", "pa\\u200byment", id="zero width"),
        pytest.param("a\x00b\x07", "a\\u0000b\\u0007", id="control characters"),
        pytest.param("a\U000e0041", "a\\U000e0041", id="tag characters"),
        pytest.param("\ud800", "\\ud800", id="lone surrogate"),
        pytest.param("Übergröße 日本 🚀", "Übergröße 日本 🚀", id="honest text is left alone"),
    ],
)
def test_one_line_shows_hostile_text_harmlessly(hostile: str, shown: str) -> None:
    assert plain.one_line(hostile) == shown


@given(st.text(), st.integers(0, 40))
def test_one_line_is_printable_and_short_whatever_comes(text: str, limit: int) -> None:
    line = plain.one_line(text, limit)

    assert line.isprintable()
    assert len(line) <= limit


@given(st.text())
def test_lines_are_printable_whatever_comes(text: str) -> None:
    assert all(line.isprintable() for line in plain.lines(text))


def test_lines_keep_indentation_and_drop_the_empty_end() -> None:
    assert plain.lines("a:\n  b\x1b[0m\r\n\n") == ["a:", "  b"]


@pytest.mark.parametrize(
    ("text", "limit", "short"),
    [
        ("all of it", 9, "all of it"),
        ("rolled out by the controller", 20, "rolled out by the…"),
        ("registry.example/a-long-name", 10, "registry.…"),
        ("abcdee\u0301f", 7, "abcde…"),
        ("abc", 1, "…"),
        ("abc", 0, ""),
    ],
)
def test_shortening_cuts_at_boundaries(text: str, limit: int, short: str) -> None:
    assert plain.shorten(text, limit) == short


def test_cutting_off_the_end_is_visible() -> None:
    assert plain.one_line(" " * 10_000 + "x", 10).endswith("…")


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (msgspec.UNSET, "(none)"),
        (None, "null"),
        ("null", '"null"'),
        (3, "3"),
        ("3", '"3"'),
        ("1.27", '"1.27"'),
        ("1.27.1", "1.27.1"),
        ("2026-01-02", "2026-01-02"),
        (True, "true"),
        ("true", '"true"'),
        ("", '""'),
        (" padded", '" padded"'),
        ("(none)", '"(none)"'),
        ("nginx:1.27", "nginx:1.27"),
        ("a\nb", '"a\\nb"'),
        ("a\u202eb", '"a\\u202eb"'),
        ({"a": [1, "x"]}, '{"a":[1,"x"]}'),
    ],
)
def test_a_value_reads_as_what_it_is(raw: object, shown: str) -> None:
    assert plain.value(raw) == shown


def test_a_field_change_reads_path_old_new() -> None:
    assert plain.change(samples.SCALED) == "spec.replicas: 1 -> 3"
    assert plain.change(FieldChange("a", "add", new=None)) == "a: (none) -> null"


def test_plain_text_says_title_who_what_and_changes() -> None:
    changes = (FieldChange(samples.IMAGE, "replace", "nginx:1.26", "nginx:1.27"),)

    text = plain.plain_text(samples.notification(DiffBlock(changes=changes)), 4096)

    assert text.splitlines() == [
        "[INFO] Deployment/shop/web updated",
        "By: alice with kubectl-edit",
        "What: UPDATE Deployment/shop/web in prod at 2026-01-02T03:04:05Z",
        "spec.template.spec.containers[nginx].image: nginx:1.26 -> nginx:1.27",
    ]


def test_a_finding_without_blocks_shows_the_changes_of_its_entry() -> None:
    assert plain.plain_text(samples.notification(), 4096).endswith("spec.replicas: 1 -> 3")


def test_a_watched_job_has_no_user_to_name() -> None:
    job = samples.notification(user=User(), field_manager="", resource=Resource(kind="Job", name="j"), changes=())

    assert "By:" not in plain.plain_text(job, 4096)


def test_a_hostile_title_cannot_begin_a_line_of_its_own() -> None:
    text = plain.plain_text(samples.hostile(), 100_000)

    assert all(line.isprintable() for line in text.splitlines())
    assert text.splitlines()[0] == "[INFO] evil \\u202eexe.txt\\u0007\\u200b [bold]x[/bold]"


@pytest.mark.parametrize("size_limit", [256, 300, 1000, 4096])
def test_plain_text_keeps_its_size_and_counts_what_it_left_out(size_limit: int) -> None:
    text = plain.plain_text(samples.hostile(), size_limit)

    assert len(text.encode()) <= size_limit
    assert text.rpartition("\n")[2].startswith("… ")
    assert text.endswith("more lines")


def test_whole_lines_are_left_out_and_none_without_need() -> None:
    assert plain.fit(["ab", "cd"], 5) == "ab\ncd"
    assert plain.fit(["a" * 10, "b" * 100, "c"], 30) == "a" * 10 + "\n… 2 more lines"


def test_a_first_line_that_is_too_long_is_cut() -> None:
    text = plain.fit(["ü" * 100, "b"], 30)

    assert text.startswith("üü")
    assert text.endswith("ü\n… 1 more line")
    assert len(text.encode()) <= 30


def test_the_last_lines_of_a_log_are_harmless_and_those_before_them_are_counted() -> None:
    log = "".join(f"row {number}\x1b[0m\r\n" for number in range(100))

    assert plain.last_lines(log, 2) == (["row 98", "row 99"], 98)
    assert plain.last_lines("one\n\x1b[0m\n", 5) == (["one"], 0)
    assert plain.last_lines("", 5) == ([""], 0)
