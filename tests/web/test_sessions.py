"""A session is a cookie that only replicas open, for twelve hours, and a form is bound to one."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from starlette.datastructures import Headers

from app.web.sessions import (
    COOKIE,
    LIFETIME_SECONDS,
    LONGEST,
    Session,
    Sessions,
    cookies,
    derived,
    is_https,
    set_cookie,
)
from tests.web.doors import SECRET

SESSION = Session(method="users", user="alice", keepsake="a-secret")
NOW = 1_800_000_000.0


def test_every_replica_opens_what_one_has_sealed() -> None:
    sealed = Sessions(SECRET).sealed(SESSION)

    assert Sessions(SECRET).opened(sealed) == SESSION
    assert "alice" not in sealed


@pytest.mark.parametrize("secret", [SECRET[:-1], SECRET + b"x", b""])
def test_nobody_opens_it_with_another_secret(secret: bytes) -> None:
    assert Sessions(secret).opened(Sessions(SECRET).sealed(SESSION)) is None


@pytest.mark.parametrize("sealed", ["", "x", "é", "gAAAAA==", "\0", "a" * 100_000])
def test_what_is_no_session_is_none(sealed: str) -> None:
    assert Sessions(SECRET).opened(sealed) is None


def test_a_session_that_was_changed_anywhere_is_none() -> None:
    sessions = Sessions(SECRET)
    sealed = sessions.sealed(SESSION)

    changed = [sealed[:at] + ("A" if sealed[at] != "A" else "B") + sealed[at + 1 :] for at in range(0, len(sealed), 7)]

    assert [sessions.opened(each) for each in changed] == [None] * len(changed)


@pytest.mark.parametrize(("age", "is_open"), [(LIFETIME_SECONDS - 1, True), (LIFETIME_SECONDS + 1, False)])
def test_a_session_ends_after_twelve_hours_whatever_the_browser_keeps(age: int, is_open: bool) -> None:
    sealed = Sessions(SECRET, lambda: NOW).sealed(SESSION)

    assert (Sessions(SECRET, lambda: NOW + age).opened(sealed) is not None) == is_open


def test_a_token_of_some_thousand_characters_fits_a_cookie() -> None:
    random = b"".join(hashlib.sha512(bytes([n])).digest() for n in range(45))
    token = urlsafe_b64encode(random).decode()[:3700]

    assert len(Sessions(SECRET).sealed(Session(method="kubernetes", user="", keepsake=token))) <= LONGEST


def test_keys_are_derived_as_rfc_5869_says() -> None:
    expected = HKDF(algorithm=SHA256(), length=32, salt=b"kubewitness console", info=b"sessions").derive(SECRET)

    assert derived(SECRET, b"sessions") == expected
    assert derived(SECRET, b"forms") != expected


def test_a_form_of_one_session_is_none_of_another() -> None:
    sessions = Sessions(SECRET)
    token = sessions.form_token("session:a")

    assert Sessions(SECRET).form_token("session:a") == token
    assert token not in {sessions.form_token("session:b"), Sessions(b"other").form_token("session:a")}


def test_no_secret_is_in_a_repr() -> None:
    assert "a-secret" not in repr(SESSION)


def test_all_cookies_of_a_name_are_read_and_no_others() -> None:
    headers = Headers(raw=[(b"cookie", b"a=1; kubewitness-session=x=; b"), (b"cookie", b"kubewitness-session=y")])

    assert cookies(headers, COOKIE) == ["x=", "y"]


def test_of_many_cookies_a_few_are_read() -> None:
    assert len(cookies(Headers({"cookie": f"{COOKIE}=x; " * 100}), COOKIE)) == 4


@pytest.mark.parametrize(
    ("scheme", "headers", "expected"),
    [
        ("http", {}, False),
        ("https", {}, True),
        ("http", {"x-forwarded-proto": "HTTPS"}, True),
        ("http", {"origin": "https://witness.example.com"}, True),
        ("http", {"origin": "http://witness.example.com", "x-forwarded-proto": "http"}, False),
        ("http", {"origin": "null"}, False),
    ],
)
def test_a_cookie_is_for_https_alone_where_that_was_asked(scheme: str, headers: dict[str, str], expected: bool) -> None:
    assert is_https(scheme, Headers(headers)) is expected


def test_a_cookie_is_for_the_console_alone_and_not_for_scripts_or_other_sites() -> None:
    assert set_cookie("a", "b", 60, is_https=True) == "a=b; Max-Age=60; HttpOnly; SameSite=Strict; Secure"
    assert set_cookie("a", "", 0, is_https=False) == "a=; Max-Age=0; HttpOnly; SameSite=Strict"
