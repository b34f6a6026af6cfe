from __future__ import annotations

import pytest

from app.sinks import _markdown as markdown

VISIBLE = str.maketrans({markdown.ZERO_WIDTH: "·"})


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("@channel me@example.com", "@·channel me@·example.com"),
        ("<@U1> <!here> <b>", "<·@·U1> <·!·here> <·b>"),
        (
            "https://evil.example www.evil.example mailto:a@b.c",
            "https:·//evil.example www·.evil.example mailto·:a@·b.c",
        ),
        ("#general ~general", "#·general ~·general"),
        (":skull: 10:20:30", ":·skull: 10:20:30"),
        ("&amp; &#64; a & b", "&·amp; &·#·64; a & b"),
        ("nginx:1.27 a < b, 3 # 4, x @ y", "nginx:1.27 a < b, 3 # 4, x @ y"),
    ],
)
def test_what_would_do_something_is_broken_and_reads_the_same(text: str, shown: str) -> None:
    assert markdown.inert(text).translate(VISIBLE) == shown
    assert markdown.inert(text).replace(markdown.ZERO_WIDTH, "") == text


@pytest.mark.parametrize("text", ["# title", "- item", "1. item", "> quote", "| a | b |", "---", "  + item"])
def test_no_line_begins_a_block(text: str) -> None:
    assert markdown.ZERO_WIDTH in markdown.lookalike(text)
    assert markdown.ZERO_WIDTH in markdown.escaping("\\*")(text)


def test_without_escapes_marks_become_look_alikes() -> None:
    text = "*b* _i_ `c` ~~s~~ [a](b) $$x$$ \\"

    shown = markdown.lookalike(text)

    assert not set("*_`~[]$\\") & set(shown)
    assert "(b)" in shown
    assert len(shown.replace(markdown.ZERO_WIDTH, "")) == len(text)


def test_with_escapes_marks_stay_what_they_are() -> None:
    assert markdown.escaping("\\*_[]")("*b* [a](b) \\_") == r"\*b\* \[a\](b) \\\_"


def test_no_backtick_ends_code() -> None:
    assert markdown.code("a`b``c") == f"`a{markdown.BACKTICK}b{markdown.BACKTICK * 2}c`"
    assert markdown.fence(["```", "x"]) == f"```\n{markdown.BACKTICK * 3}\nx\n```"
    assert markdown.code("") == "` `"


def test_a_link_ends_where_it_ends() -> None:
    assert markdown.link("https://a.example/(x) y", "Open") == "[Open](https://a.example/%28x%29%20y)"
