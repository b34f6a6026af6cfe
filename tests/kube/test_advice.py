"""What people are told about calls that the API server refuses."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from app.kube.advice import advice
from app.kube.errors import ApiError
from tests.reference import ROOT


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/api/v1/pods", 'may not list pods in all namespaces: bind to a ClusterRole with apiGroups: [""], '),
        (
            "/apis/batch/v1/namespaces/shop/jobs",
            'may not list jobs.batch in the namespace shop: bind to a Role in shop with apiGroups: ["batch"], ',
        ),
        ("/api/v1/namespaces", "may not list namespaces in all namespaces: "),
        ("/", "may not list  in all namespaces: "),
    ],
)
def test_a_missing_right_is_named_with_the_rule_that_grants_it(path: str, said: str) -> None:
    error = ApiError("GET somewhere: 403 Forbidden", status=403)

    assert advice(error, "list", path).startswith(said)
    assert advice(error, "list", path).endswith(": 403 Forbidden")


def granted(resource: str) -> list[str]:
    """Return the verbs that the guide's ClusterRole grants."""
    text = (ROOT / "docs" / "by-hand.md").read_text("utf-8")
    (role,) = re.findall(r"^kind: ClusterRole\n.*?^---$", text, re.DOTALL | re.MULTILINE)
    rules: list[dict[str, Any]] = next(yaml.safe_load_all(role))["rules"]
    (verbs,) = (rule["verbs"] for rule in rules if resource in rule["resources"])
    return list(verbs)


@pytest.mark.parametrize(("path", "resource"), [("/apis/batch/v1/jobs", "jobs"), ("/api/v1/pods", "pods")])
def test_the_rule_grants_what_the_guide_grants(path: str, resource: str) -> None:
    said = advice(ApiError("403 Forbidden", status=403), "list", path)
    (verbs,) = re.findall(r"verbs: (\[.*?\])", said)

    assert yaml.safe_load(verbs) == granted(resource)


def test_unknown_credentials_are_said_to_be_perhaps_expired() -> None:
    assert "is the token or certificate expired?" in advice(ApiError("401", status=401), "list", "/api/v1/pods")


def test_other_errors_speak_for_themselves() -> None:
    assert advice(ApiError("GET /x: 500", status=500), "list", "/x") == "GET /x: 500"
