"""The users of the console: bcrypt alone, read anew when the file changes, and never shown."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from structlog.testing import capture_logs

from app.config.users_file import UsersFile, UsersFileError, read_users

HASH: Final = "$2y$05$" + "abcdefghijklmnopqrstuv" + "ABCDEFGHIJKLMNOPQRSTUVWXYZ01234"
OTHER: Final = HASH.replace("$2y$05$", "$2b$12$")


def written(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


def test_users_are_read_with_comments_and_blank_lines_left_out(tmp_path: Path) -> None:
    path = written(tmp_path / "users", f"# who runs this\nalice:{HASH}\n\nbøb b.:{OTHER}\n")

    assert read_users(path) == {"alice": HASH, "bøb b.": OTHER}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("alice", "takes NAME:HASH"),
        (f":{HASH}", "takes NAME:HASH"),
        (f"a\x1b[31m:{HASH}", "takes NAME:HASH"),
        ("alice:secret", "is no bcrypt hash; `htpasswd -B`"),
        ("alice:$apr1$abcdefgh$0123456789012345678901", "is no bcrypt hash"),
        ("alice:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "is no bcrypt hash"),
        (f"alice:{HASH}x", "is no bcrypt hash"),
        (f"alice:{HASH.replace('$05$', '$99$')}", "is no bcrypt hash"),
        (f"alice:{HASH}:1000:Alice", "is no bcrypt hash"),
    ],
)
def test_a_line_that_is_none_is_named_and_not_shown(tmp_path: Path, line: str, said: str) -> None:
    path = written(tmp_path / "users", f"bob:{HASH}\n{line}\n")

    with pytest.raises(UsersFileError, match=f"^{path}:2: ") as caught:
        read_users(path)

    assert said in str(caught.value)
    assert "secret" not in str(caught.value)
    assert HASH not in str(caught.value)


@pytest.mark.parametrize("content", [None, b"alice:\xff\xfe"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "users"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(UsersFileError, match=str(path)):
        read_users(path)


def test_a_changed_file_is_read_anew(tmp_path: Path) -> None:
    users = UsersFile(written(tmp_path / "users", f"alice:{HASH}\n"))
    before = dict(users())

    written(tmp_path / "new", f"bob:{HASH}\n").replace(tmp_path / "users")

    assert (before, dict(users())) == ({"alice": HASH}, {"bob": HASH})


def test_a_file_that_is_damaged_or_gone_leaves_the_last_users_and_is_told_once(tmp_path: Path) -> None:
    path = written(tmp_path / "users", f"alice:{HASH}\n")
    users = UsersFile(path)
    users()
    with capture_logs() as logs:
        written(path, "alice:secret\n")
        damaged = [dict(users()) for _ in range(3)]
        path.unlink()
        gone = dict(users())

    assert [*damaged, gone] == [{"alice": HASH}] * 4
    assert [each["event"] for each in logs] == ["users not read"] * 2
    assert "secret" not in str(logs)


def test_as_long_as_there_is_no_file_there_are_no_users(tmp_path: Path) -> None:
    users = UsersFile(tmp_path / "users")

    before = dict(users())
    written(tmp_path / "users", f"alice:{HASH}\n")

    assert (before, dict(users())) == ({}, {"alice": HASH})
