"""What the environment says about real control planes."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import pytest
from pydantic_settings import BaseSettings, SettingsConfigDict


class Environment(BaseSettings):
    """Where the control plane is, and whether doing without one is an error."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    kubebuilder_assets: Path | None = None
    kubewitness_require_e2e: bool = False


def do_without(reason: str) -> NoReturn:
    """Skip what needs something that is not there, or fail where everything must be there."""
    if Environment().kubewitness_require_e2e:
        pytest.fail(reason)
    pytest.skip(reason)
