"""Reviews are asked for as the API server takes them, and only a clear yes is one."""

from __future__ import annotations

import msgspec
import pytest

from app.kube.errors import ApiError
from app.kube.reviews import REQUEUE, SEE, Identity, Reviews, binding_command
from tests.kube.review_server import ReviewServer

TOKEN = "eyJhbGciOi.eyJzdWIi.c2ln"


@pytest.fixture
def server() -> ReviewServer:
    return ReviewServer()


async def test_a_token_is_somebodys(server: ReviewServer) -> None:
    server.admit(TOKEN, "alice", uid="u1", groups=["dev", "system:authenticated"], extra={"scopes": ["a"]})

    who = await Reviews(server).identity(TOKEN)

    assert who == Identity(username="alice", uid="u1", groups=("dev", "system:authenticated"), extra={"scopes": ["a"]})
    assert server.asked == [
        {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "metadata": {}, "spec": {"token": TOKEN}}
    ]


async def test_a_token_of_nobody_is_nobodys(server: ReviewServer) -> None:
    assert await Reviews(server).identity("strange") is None


@pytest.mark.parametrize("text", ["", "two words", "line\nbreak", "ümlaut", "\0"])
async def test_what_no_header_could_carry_is_not_even_asked_about(server: ReviewServer, text: str) -> None:
    assert await Reviews(server).identity(text) is None
    assert server.asked == []


@pytest.mark.parametrize(("audiences", "expected"), [(["kubewitness"], True), (["other"], False), ([], False)])
async def test_with_an_audience_only_tokens_for_it_count(
    server: ReviewServer, audiences: list[str], expected: bool
) -> None:
    server.admit(TOKEN, "alice")
    server.audiences[TOKEN] = audiences

    assert (await Reviews(server, "kubewitness").identity(TOKEN) is not None) == expected
    assert server.asked[0]["spec"]["audiences"] == ["kubewitness"]


async def test_an_api_server_that_does_not_know_audiences_vouches_for_none(server: ReviewServer) -> None:
    server.answer = b'{"status": {"authenticated": true, "user": {"username": "alice"}}}'

    assert await Reviews(server, "kubewitness").identity(TOKEN) is None


@pytest.mark.parametrize("user", [b"{}", b'{"username": ""}'])
async def test_somebody_without_a_name_is_nobody(server: ReviewServer, user: bytes) -> None:
    server.answer = b'{"status": {"authenticated": true, "user": %s}}' % user

    assert await Reviews(server).identity(TOKEN) is None


async def test_a_right_is_asked_for_with_all_that_is_known_of_somebody(server: ReviewServer) -> None:
    who = Identity(username="alice", uid="u1", groups=("dev",), extra={"scopes": ["a"]})
    server.rights.add(("alice", "get", "entries", "shop"))

    assert await Reviews(server).may(who, SEE, "shop")
    assert not await Reviews(server).may(who, SEE, "kube-system")
    assert not await Reviews(server).may(who, SEE)
    assert not await Reviews(server).may(who, REQUEUE)
    assert server.asked[0]["spec"] == {
        "user": "alice",
        "uid": "u1",
        "groups": ["dev"],
        "extra": {"scopes": ["a"]},
        "resourceAttributes": {"group": "kubewitness.io", "resource": "entries", "verb": "get", "namespace": "shop"},
    }


@pytest.mark.parametrize(
    "status", [{}, {"allowed": False}, {"allowed": True, "denied": True}, {"evaluationError": "no"}]
)
async def test_only_a_clear_yes_is_one(server: ReviewServer, status: dict[str, object]) -> None:
    server.answer = msgspec.json.encode({"status": status})

    assert not await Reviews(server).may(Identity(username="alice"), SEE)


@pytest.mark.parametrize("answer", [b"", b"<html>", b"{}", b"[]", b'{"status": "Failure"}', b'{"status": {"user": 1}}'])
async def test_an_answer_that_is_none_is_an_error_without_the_token(server: ReviewServer, answer: bytes) -> None:
    server.answer = answer

    with pytest.raises(ApiError, match="the answer cannot be read") as caught:
        await Reviews(server).identity(TOKEN)

    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize(
    ("username", "subject"),
    [
        ("alice", "--user=alice"),
        ("oidc:alice@example.com", "--user=oidc:alice@example.com"),
        ("system:serviceaccount:shop:web", "--serviceaccount=shop:web"),
        ("it's; rm -rf /", "--user='it'\"'\"'s; rm -rf /'"),
    ],
)
def test_the_command_that_grants_a_right_can_be_copied(username: str, subject: str) -> None:
    assert binding_command(username) == (
        f"kubectl create rolebinding kubewitness-view --clusterrole=view {subject} --namespace=NAMESPACE"
    )
