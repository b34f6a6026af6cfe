"""The key is made once, kept for its owner alone, and complaints name the file."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from app.audit.fingerprint_key import FILE_NAME, FingerprintKeyError, fingerprint_key, keep_fingerprint_key


def test_a_key_is_made_once_and_kept(tmp_path: Path) -> None:
    first = fingerprint_key(tmp_path / "data", None)

    assert len(first) >= 32
    assert fingerprint_key(tmp_path / "data", None) == first


def test_two_folders_have_two_keys(tmp_path: Path) -> None:
    assert fingerprint_key(tmp_path / "a", None) != fingerprint_key(tmp_path / "b", None)


def test_only_its_owner_reads_a_key(tmp_path: Path) -> None:
    fingerprint_key(tmp_path, None)

    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600


def test_a_given_key_is_used_and_none_is_made(tmp_path: Path) -> None:
    given = tmp_path / "shared.key"
    given.write_text("s" * 64 + "\n")

    assert fingerprint_key(tmp_path / "data", given) == b"s" * 64
    assert not (tmp_path / "data").exists()


def test_a_given_key_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(FingerprintKeyError, match=r"shared\.key: cannot read the fingerprint key: No such file"):
        fingerprint_key(tmp_path, tmp_path / "shared.key")


def test_a_key_that_is_too_short_is_refused_with_the_way_to_make_one(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("short\n")

    with pytest.raises(FingerprintKeyError, match="openssl rand -hex 32") as error:
        fingerprint_key(tmp_path, None)

    assert "short\n" not in str(error.value)


def test_a_key_from_elsewhere_is_kept_for_its_owner_alone_and_found_again(tmp_path: Path) -> None:
    keep_fingerprint_key(tmp_path, b"k" * 64)

    assert fingerprint_key(tmp_path, None) == b"k" * 64
    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600


def test_the_key_in_use_replaces_another_and_is_written_once(tmp_path: Path) -> None:
    fingerprint_key(tmp_path, None)
    (tmp_path / f"{FILE_NAME}.new").write_text("half a k")  # of a start that was cut off

    keep_fingerprint_key(tmp_path, b"k" * 64)
    written = (tmp_path / FILE_NAME).stat()
    keep_fingerprint_key(tmp_path, b"k" * 64)

    assert fingerprint_key(tmp_path, None) == b"k" * 64
    assert (tmp_path / FILE_NAME).stat() == written
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]
