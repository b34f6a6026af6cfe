"""A value that is secret in an object is hidden in texts that say nothing of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.known_secrets import LONGEST, pattern_of
from app.core.redact import Redactor

REDACTOR = Redactor(b"k" * 32)
PASSWORD = "correct horse battery"


def pod(**variables: Any) -> dict[str, Any]:
    env = [{"name": name, "value": value} for name, value in variables.items()]
    return {"kind": "Pod", "spec": {"containers": [{"name": "app", "image": "import:1", "env": env}]}}


def test_a_secret_variable_is_hidden_with_the_fingerprint_that_it_has_in_the_object() -> None:
    document = pod(DB_PASSWORD=PASSWORD, MODE="nightly import")
    shown = REDACTOR.object("Pod", document)["spec"]["containers"][0]["env"][0]["value"]

    text = REDACTOR.knowing("Pod", document).text(f"nightly import: cannot log in with <{PASSWORD}>.")

    assert text == f"nightly import: cannot log in with <{shown}>."


def test_nothing_is_hidden_that_only_looks_like_it() -> None:
    document = pod(DB_PASSWORD="short", API_TOKEN="x" * (LONGEST + 1), IMAGE="import:1.2.3")

    assert REDACTOR.knowing("Pod", document).text("a short import:1.2.3") == "a short import:1.2.3"


def test_of_two_secrets_the_longer_is_hidden_first() -> None:
    document = pod(A_TOKEN="abcdefgh", B_TOKEN="abcdefgh-and-more")

    text = REDACTOR.knowing("Pod", document).text("abcdefgh-and-more")

    assert text == REDACTOR.fingerprint("abcdefgh-and-more")


def test_signs_of_regular_expressions_in_a_secret_mean_themselves() -> None:
    document = pod(DB_PASSWORD="a.*b(c[d+$^ef")

    assert REDACTOR.knowing("Pod", document).text("aXXb a.*b(c[d+$^ef").startswith("aXXb redacted:")


def test_the_redactor_itself_learns_nothing() -> None:
    REDACTOR.knowing("Pod", pod(DB_PASSWORD=PASSWORD))

    assert REDACTOR.text(PASSWORD) == PASSWORD


@pytest.mark.parametrize(
    ("document", "printed"),
    [
        ({"spec": {"containers": [{"args": ["--token=cmdlinesecret2"]}]}}, "cmdlinesecret2"),
        ({"spec": {"containers": [{"args": ["--a-token=secret-one --b-token=secret-two"]}]}}, "secret-one"),
        ({"spec": {"containers": [{"args": ["--a-token=secret-one --b-token=secret-two"]}]}}, "secret-two"),
        ({"spec": {"containers": [{"command": ["sh", "-c", "curl -u me:pa55wordXYZ https://x"]}]}}, "pa55wordXYZ"),
        (pod(DSN="postgres://u:pa55wordXYZ@db/x"), "pa55wordXYZ"),
        (pod(DSN="postgres://u:pa%2F55wordXYZ@db/x"), "pa/55wordXYZ"),
        (pod(CONNECTION="host=db user=u password='pa55wordXYZ'"), "pa55wordXYZ"),
        (pod(TARGET="postgres://u:pa55wordXYZ@db/x"), "pa55wordXYZ"),
        (pod(CONFIG='{ "user": "u", "password": "pa55wordXYZ" }'), "pa55wordXYZ"),
        (pod(CONFIG='{"deep": "{\\"password\\": \\"pa55wordXYZ\\"}"}'), "pa55wordXYZ"),
        (pod(PLAIN="redacted:0123456789abcdef password=pa55wordXYZ"), "pa55wordXYZ"),
    ],
)
def test_a_part_of_a_value_that_is_secret_is_hidden_when_it_is_printed_bare(
    document: dict[str, Any], printed: str
) -> None:
    text = REDACTOR.knowing("Pod", document).text(f"cannot use {printed} here")

    assert text.startswith("cannot use redacted:")
    assert text.endswith(" here")


def test_what_stands_around_a_secret_part_is_not_hidden() -> None:
    document = pod(TARGET="postgres://username:pa55wordXYZ@database/x")

    assert REDACTOR.knowing("Pod", document).text("username postgres:// @database") == "username postgres:// @database"


def test_a_part_is_bounded_as_a_whole_value_is() -> None:
    document = pod(TARGET="postgres://u:short@db/x", OTHER=f"postgres://u:{'x' * (LONGEST + 1)}@db/x")

    assert REDACTOR.knowing("Pod", document) is REDACTOR


def test_a_secret_of_quotes_and_spaces_alone_is_none() -> None:
    assert REDACTOR.knowing("Pod", pod(A_TOKEN="\"' " * 3 + "   ")).text("nothing here") == "nothing here"


@pytest.mark.parametrize("document", [{}, {"spec": None}, {"spec": {"containers": "x"}}])
def test_an_object_without_secrets_changes_nothing(document: dict[str, Any]) -> None:
    assert REDACTOR.knowing("Pod", document) is REDACTOR


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


HOLED = st.lists(st.text(max_size=3) | st.just("redacted:0123456789abcdef")).map("".join)


@given(JSON | HOLED, JSON | HOLED)
def test_any_two_documents_are_compared(document: Any, shown: Any) -> None:
    pattern_of(document, shown)
