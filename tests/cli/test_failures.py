"""What people can mend or must know is told in one line, without a traceback."""

from __future__ import annotations

import pytest
import typer

from app.cli.failures import FAILED, told


def test_an_object_that_is_nested_too_deeply_is_said_to_be(capsys: pytest.CaptureFixture[str]) -> None:
    def endless() -> None:
        endless()

    with pytest.raises(typer.Exit) as ended, told():
        endless()

    assert ended.value.exit_code == FAILED
    assert "error: the object has hundreds of maps or lists within each other" in capsys.readouterr().err
