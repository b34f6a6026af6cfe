"""What is generated of the chart is as the values, the program and the templates are now."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chart import generate, values_file
from tests.chart.helm import ROOT, Helm

OF_THE_CHART = generate.generated_of_the_chart()
STALE = "is out of date: run `make chart`"


@pytest.mark.parametrize("path", OF_THE_CHART, ids=lambda path: path.name)
def test_what_is_made_of_values_and_program_is_up_to_date(path: Path) -> None:
    assert path.read_text("utf-8") == OF_THE_CHART[path], f"{path.relative_to(ROOT)} {STALE}"


def test_the_manifests_are_up_to_date(helm: Helm) -> None:
    for path, content in generate.generated(helm).items():
        assert path.read_text("utf-8") == content, f"{path.relative_to(ROOT)} {STALE}"


def test_every_value_is_described() -> None:
    values = list(values_file.values(values_file.FILE.read_text("utf-8")))

    assert [".".join(value.path) for value in values if not value.description] == []


def test_every_comment_belongs_to_a_value() -> None:
    text = values_file.FILE.read_text("utf-8")

    assert len(values_file.descriptions(text)) == text.count("# -- ")
