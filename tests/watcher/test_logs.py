"""Logs are redacted before they are cut, and what begins before the part that was read does not give secrets away."""

from __future__ import annotations

import threading

import pytest

from app.core.evidence import WantedLog
from app.core.redact import Redactor
from app.watcher.logs import LogLimits, LogReader, Reading, redacted
from tests.builders import KEY
from tests.watcher.pods import Logs

REDACTOR = Redactor(KEY)
BODY = "Zm9vYmFyYmF6cXV4\n" * 5


def test_a_log_that_was_read_whole_is_kept_whole() -> None:
    assert redacted("first\nüber\n".encode(), REDACTOR, cut=False) == "first\nüber\n"


def test_of_a_log_that_was_cut_the_broken_first_line_is_left_out() -> None:
    assert redacted(b"opsecret\nnext\n", REDACTOR, cut=True) == "next\n"


def test_of_one_endless_line_the_beginning_is_left_out() -> None:
    shown = redacted(b"s" * 100 + b"x" * 48_000, REDACTOR, cut=True)

    assert "s" not in shown
    assert len(shown) > 32 * 1024


@pytest.mark.parametrize("cut", [True, False])
def test_the_end_of_a_key_whose_beginning_was_not_read_is_left_out(cut: bool) -> None:
    key = f"-----BEGIN PRIVATE KEY-----\n{BODY}-----END PRIVATE KEY-----\n"
    text = f"{BODY}-----END RSA PRIVATE KEY-----\nafter\n{key}end\n"

    shown = redacted(text.encode(), REDACTOR, cut)

    assert shown.startswith("after\n")
    assert shown.endswith("end\n")
    assert "Zm9v" not in shown


def test_what_is_no_text_is_kept_as_far_as_it_is() -> None:
    assert redacted(b"ok \xff\xfe\n", REDACTOR, cut=False) == "ok \ufffd\ufffd\n"


class Noting(Redactor):
    """Notes in which thread it works."""

    threads: set[int]

    def text(self, text: str) -> str:
        self.threads = {threading.get_ident()}
        return super().text(text)


async def test_nobody_else_in_the_event_loop_waits_for_the_search_of_a_log() -> None:
    redactor = Noting(KEY)
    wanted = WantedLog("app", 0)

    log = await LogReader(Logs(), redactor, LogLimits()).read(
        Reading(namespace="shop", pod="crash-1", wanted=wanted, ended=True), lambda: False
    )

    assert log.text == "app of crash-1\n"
    assert threading.get_ident() not in redactor.threads
