from __future__ import annotations

import pytest

from app.config.yaml_lines import YamlError, parse


@pytest.mark.parametrize(
    ("content", "place", "message"),
    [
        (b"a:\n\tb: 1", (2, 1), "is indented with a tab"),
        (b"a: 1\nb: \xff", (2, 4), "is not UTF-8 text"),
        (b"a: 1\nb: \x07", (2, 4), "has a control character"),
        (b"a: [1\nb: 2", (2, 2), "expected ',' or ']', but got ':'"),
        (b"a: 'x", (1, 6), "found unexpected end of stream"),
        (b"a: {{ env.X }}", (1, 5), "put {{ ... }} in quotes"),
        (b"a: *b", (1, 4), "is an alias; put it in quotes"),
        (b"a: &x [*x]", (1, 4), "aliases unfold without end"),
        (b"a: !x y", (1, 4), "could not determine a constructor"),
        (b"a: 1\n---\nb: 1", (2, 1), "but found another document"),
        (b"[" * 2000, (1, 1), "is nested too deeply"),
    ],
)
def test_what_is_not_yaml_is_told_with_its_place(content: bytes, place: tuple[int, int], message: str) -> None:
    with pytest.raises(YamlError) as caught:
        parse(content)

    assert message in str(caught.value)
    assert caught.value.place == place


def test_aliases_that_multiply_are_stopped() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]

    with pytest.raises(YamlError, match="aliases unfold without end"):
        parse("\n".join(lines).encode())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("10:30", "10:30"),
        ("2026-01-01", "2026-01-01"),
        ("0123", "0123"),
        ("true", True),
        ("12", 12),
        ("1.5", 1.5),
        ("~", None),
        ("", None),
        ("'12'", "12"),
    ],
)
def test_scalars_mean_what_they_say(text: str, value: object) -> None:
    assert parse(f"a: {text}".encode()).value == {"a": value}


def test_a_byte_order_mark_is_no_content() -> None:
    assert parse(b"\xef\xbb\xbfa: 1").value == {"a": 1}


def test_anchors_and_merge_keys_work() -> None:
    document = parse(b"base: &base {a: 1, b: 2}\nmore: {<<: *base, b: 3}\n")

    assert document.value["more"] == {"a": 1, "b": 3}
    assert document.flaws == []


def test_a_repeated_key_is_a_flaw_at_its_second_place() -> None:
    (flaw,) = parse(b"a:\n  b: 1\n  c: 2\n  b: 3\n").flaws

    assert (flaw.path, flaw.place, flaw.message) == (("a", "b"), (4, 3), "is written twice, first in line 2")


def test_places_are_those_of_values_and_keys() -> None:
    document = parse(b"a:\n- b: [x, y]\n")

    assert document.place(("a", 0, "b", 1)) == (2, 10)
    assert document.place(("a", 0, "b"), of_key=True) == (2, 3)
    assert document.place(("a", 0, "missing")) == (2, 3)
    assert document.place(("a", 0, "b", 1, "inside")) == (2, 10)
    assert document.place(()) == (1, 1)
