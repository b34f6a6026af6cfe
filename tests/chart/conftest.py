"""The real helm, from the folder of the control plane."""

from __future__ import annotations

import pytest

from tests.chart.helm import Helm
from tests.e2e.environment import Environment


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    environment = Environment()
    found = Helm.find(environment.kubebuilder_assets, tmp_path_factory.mktemp("helm"))
    if found is None:
        message = "there is no helm; run .ci/control-plane, or set KUBEBUILDER_ASSETS to a folder that has it"
        if environment.kubewitness_require_e2e:
            pytest.fail(message)
        pytest.skip(message)
    return found
