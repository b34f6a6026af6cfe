"""What every test shares: deterministic property tests, and an environment without our own variables."""

from __future__ import annotations

import os
import signal

import pytest
from hypothesis import settings

from tests.chart.helm import Helm
from tests.e2e.environment import Environment, do_without

settings.register_profile("quick", max_examples=80, deadline=None, derandomize=True)
settings.load_profile("quick")

# Who was started in the background of a script ignores Ctrl-C, and so would every program that the tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-golden", action="store_true", help="Write tests/sinks/golden and tests/cli/golden anew.")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):  # noqa: TID251  what is read here is only removed
        if name.startswith("KUBEWITNESS_") and name != "KUBEWITNESS_REQUIRE_E2E":
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    found = Helm.find(Environment().kubebuilder_assets, tmp_path_factory.mktemp("helm"))
    if found is None:
        do_without("there is no helm; run .ci/control-plane, or set KUBEBUILDER_ASSETS to a folder that has it")
    return found
