"""Tokens in files are read anew when the file changes, and never shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from app.config.token_file import TokenFile, TokenFileError, read_token


def test_a_token_is_read_without_the_line_break_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t0ken\r\n")

    assert read_token(tmp_path / "token") == "t0ken"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"a secret", "is no token"),
        (b"one\ntwo", "is no token"),
        (b"\xff", "is no"),
    ],
)
def test_a_file_that_is_no_token_is_named_and_not_shown(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)

    with pytest.raises(TokenFileError, match=why) as caught:
        read_token(path)

    assert str(path) in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_file_that_is_not_there_is_said_not_to_be(tmp_path: Path) -> None:
    with pytest.raises(TokenFileError, match="cannot read the token: No such file or directory"):
        read_token(tmp_path / "token")


def test_an_exchanged_file_gives_the_new_token(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("old")
    token = TokenFile(path)
    assert token() == "old"

    (tmp_path / "draft").write_text("new")
    (tmp_path / "draft").replace(path)

    assert token() == "new"


def test_a_token_comes_with_its_file_and_stays_without_it(tmp_path: Path) -> None:
    path = tmp_path / "token"
    token = TokenFile(path)
    with capture_logs() as logs:
        before = [token(), token()]
        path.write_text("t0ken")
        there = token()
        path.unlink()
        after = [token(), token()]

    assert (before, there, after) == (["", ""], "t0ken", ["t0ken", "t0ken"])
    assert [(each["event"], each["action"]) for each in logs] == [
        ("token not read", "wait"),
        ("token not read", "keep"),
    ]
    assert "t0ken" not in str(logs)
