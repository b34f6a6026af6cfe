"""A finding carries the object's annotations as people may see them: redacted, few and short."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from app.core.annotations import LONGEST, MOST, carried
from app.core.finding import Finding
from tests.core.changes import REDACTOR, change, told

RULES = "[{triggers: [on_deployment_all_changes: {}], actions: [create_finding: {title: t, aggregation_key: k}]}]"


def finding(operation: str = "CREATE", **fields: Any) -> Finding:
    [found] = told(RULES, change(operation, **fields))
    return found


def test_a_finding_has_the_annotations_of_its_object() -> None:
    assert finding(annotations={"example.com/channel": "#shop"}).annotations == {"example.com/channel": "#shop"}


def test_a_deleted_object_had_annotations_too() -> None:
    assert finding("DELETE", annotations={"team": "shop"}).annotations == {"team": "shop"}


@pytest.mark.parametrize("annotations", [None, {}])
def test_without_annotations_there_are_none(annotations: dict[str, str] | None) -> None:
    assert carried(annotations, REDACTOR) is msgspec.UNSET


def test_what_repeats_the_object_is_no_annotation_to_carry() -> None:
    applied = {"kubectl.kubernetes.io/last-applied-configuration": "{}"}

    assert finding(annotations=applied).annotations is msgspec.UNSET
    assert finding(annotations=applied | {"team": "shop"}).annotations == {"team": "shop"}


def test_a_secret_is_replaced_before_it_can_be_cut_in_two() -> None:
    shown = carried({"example.com/password": "hunter2" * 400, "note": "password=hunter2"}, REDACTOR)

    assert shown is not msgspec.UNSET
    assert "hunter2" not in str(shown)


def test_what_is_redacted_already_stays_as_it_is() -> None:
    once = carried({"example.com/password": "hunter2", "note": "password=hunter2", "team": "shop"}, REDACTOR)

    assert once is not msgspec.UNSET
    assert carried(once, REDACTOR) == once


def test_many_long_annotations_are_few_and_short() -> None:
    shown = carried({f"key-{number}": "word " * 1000 for number in range(1000)}, REDACTOR)

    assert shown is not msgspec.UNSET
    assert len(shown) == MOST
    assert max(map(len, shown.values())) <= LONGEST
