"""What is wrong in the values is told where it is written: by helm on the terminal, or else by the program."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.chart.helm import Helm, HelmError
from tests.e2e.installed import Release
from tests.e2e.node.ground import Ground
from tests.e2e.webhooks import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(200)]

ONE_SINK: Final = {"stdout_sink": {"name": "terminal"}}
RIGHT: Final[dict[str, Any]] = {"sinksConfig": [ONE_SINK], "persistence": {"enabled": False}}
MISSPELT: Final[dict[str, Any]] = {
    "customPlaybooks": [{"triggers": [{"on_deploymnt_update": {}}], "actions": [{"resource_babysitter": {}}]}]
}
NO_PATTERN: Final = {"globalConfig": {"redact": {"value_patterns": ["("]}}}
"""A text, as a schema wants it, but no regular expression."""


@pytest.fixture(scope="module")
def release(ground: Ground, helm: Helm) -> Iterator[Release]:
    with Release(helm, ground.cluster, "kubewitness-refuses") as made:
        made.install(RIGHT)
        yield made


def test_helm_refuses_a_misspelt_trigger(release: Release) -> None:
    with pytest.raises(HelmError) as refused:
        release.upgrade(RIGHT | MISSPELT)

    assert "on_deploymnt_update" in str(refused.value)
    assert "/customPlaybooks/0/triggers/0" in str(refused.value)
    assert release.get("configmap", release.name)["data"]["kubewitness.yaml"].count("on_deploymnt_update") == 0


def test_the_program_refuses_what_no_schema_can_see_and_goes_on(ground: Ground, release: Release) -> None:
    release.upgrade(RIGHT | NO_PATTERN)

    (pod,) = release.pods()
    refusal = eventually(lambda: refused(release, pod["metadata"]["name"]), "the refusal in the log")
    assert "is not a regular expression" in str(refusal["problems"])
    assert release.ask(pod, "/readyz").json()["checks"]["config"]["state"] == "degraded"
    ground.cluster.kubectl("create", "configmap", "still", "--namespace=default")
    ground.cluster.kubectl("label", "configmap", "still", "recorded=yes", "--namespace=default")
    assert list(release.entries(kind="ConfigMap", name="still"))

    release.upgrade(RIGHT)
    eventually(lambda: release.ask(pod, "/readyz").json()["checks"]["config"]["state"] == "ok", "the repair")


def refused(release: Release, pod: str) -> dict[str, Any] | None:
    return next((line for line in release.log(pod) if line["event"] == "config_refused"), None)
