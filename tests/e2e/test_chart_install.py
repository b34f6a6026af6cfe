"""`helm install` is a working auditor: the tutorial's values to the letter, with no other step."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Final

import httpx
import msgspec
import pytest
import yaml

from tests.chart.helm import CHART, ROOT, Helm
from tests.e2e.installed import Release
from tests.e2e.node.ground import Ground
from tests.e2e.servers import Document, Hook
from tests.e2e.webhooks import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(150)]

NAME: Final = "kubewitness-tutorial"
DEMOS: Final = ROOT / "deploy/demos"
SEED: Final = CHART / "ci/seed-values.yaml"


@pytest.fixture(scope="module")
def receiver() -> Iterator[Hook]:
    with Hook() as running:
        yield running


@pytest.fixture(scope="module")
def notes() -> list[str]:
    """The lines that helm printed at the end of the installation."""
    return []


@pytest.fixture(scope="module")
def release(ground: Ground, helm: Helm, receiver: Hook, notes: list[str]) -> Iterator[Release]:
    address = receiver.url.replace(f"127.0.0.1:{receiver.port}", ground.node.expose(receiver.port))
    ground.kubectl("create", "namespace", NAME)
    # The only thing that the values themselves ask for.
    ground.kubectl("create", "secret", "generic", "receiver", f"--from-literal=url={address}", f"--namespace={NAME}")
    with Release(helm, ground.cluster, NAME) as made:
        notes += made.install(yaml.safe_load(SEED.read_text())).splitlines()
        yield made


@pytest.fixture
def place(ground: Ground, release: Release, numbers: Iterator[int]) -> str:
    """A namespace of one's own, after the installation."""
    assert release.pods()
    name = f"installed-{next(numbers)}"
    ground.kubectl("create", "namespace", name)
    return name


def told(receiver: Hook, namespace: str) -> list[Document]:
    """What the receiver was told of, without repeats: the API server asks again when a write conflicts with another."""
    found = [each for each in receiver.notifications() if each["entry"]["resource"]["namespace"] == namespace]
    return list({said(each): each for each in reversed(found)}.values())[::-1]


def said(notification: Document) -> bytes:
    entry, finding = notification["entry"], notification["finding"]
    return msgspec.json.encode([entry["operation"], entry["resource"], entry.get("changes"), finding["title"]])


def apply(ground: Ground, namespace: str, demo: str) -> None:
    ground.kubectl("apply", f"--namespace={namespace}", "--filename=-", stdin=demo)


def test_a_change_is_in_the_ledger_which_the_service_shows_to_who_has_the_token(
    ground: Ground, release: Release, place: str
) -> None:
    ground.kubectl("create", "deployment", "web", "--image=nginx:1.24", f"--namespace={place}")
    ground.kubectl("set", "image", "deployment/web", "nginx=nginx:1.25", f"--namespace={place}", user="alice")

    url = f"http://{release.get('service', NAME)['spec']['clusterIP']}:8080/api/v1/entries"
    token = {"Authorization": f"Bearer {release.token}"}
    asked = {"namespace": place, "kind": "Deployment", "user": "alice"}
    answer = httpx.get(url, params=asked, headers=token, trust_env=False)

    # The API server asks again when a write conflicts with a controller's.
    entry, *_repeats = answer.raise_for_status().json()["items"]
    path = "spec.template.spec.containers[nginx].image"
    assert {"path": path, "op": "replace", "old": "nginx:1.24", "new": "nginx:1.25"} in entry["changes"]
    assert httpx.get(url, trust_env=False).status_code == httpx.codes.UNAUTHORIZED


def test_the_tutorials_first_use_case_tells_of_a_new_image(
    ground: Ground, release: Release, place: str, receiver: Hook
) -> None:
    apply(ground, place, (DEMOS / "deployment_before_image_change.yaml").read_text())
    apply(ground, place, (DEMOS / "deployment_after_image_change.yaml").read_text())

    (notification,) = eventually(lambda: told(receiver, place), "a notification")

    assert notification["entry"]["resource"]["kind"] == "Deployment"
    assert notification["entry"]["cluster"] == "production"


def test_the_tutorials_second_use_case_tells_of_a_failed_job(
    ground: Ground, release: Release, place: str, receiver: Hook
) -> None:
    demo = (DEMOS / "job_crash.yaml").read_text()
    # As it is it takes more than two minutes.
    apply(ground, place, demo.replace("sleep 10", "sleep 0.1").replace("backoffLimit: 1", "backoffLimit: 0"))

    (notification,) = eventually(lambda: told(receiver, place), "a notification")

    assert notification["finding"]["title"] == "Job Failed"
    assert "row 600: expected 7 columns, found 6" in str(notification)


def test_the_commands_of_the_notes_show_that_it_works(
    ground: Ground, helm: Helm, release: Release, notes: list[str]
) -> None:
    commands = [line.split() for line in notes if line.startswith(("  kubectl ", "  helm "))]
    printed = [run(ground, helm, command) for command in commands]

    shown = dict(zip(map(shlex.join, commands), printed, strict=True))
    (entries,) = (text for command, text in shown.items() if command.endswith("kubewitness entries list"))
    assert "Deployment/default/witness" in entries
    (tested,) = (text for command, text in shown.items() if command.startswith("helm"))
    assert "Phase:          Succeeded" in tested
    (page,) = (text for command, text in shown.items() if "port-forward" in command)
    assert "<h1" in page
    assert "witness" in page


def run(ground: Ground, helm: Helm, command: list[str]) -> str:
    program, *arguments = command
    if program == "helm":
        return helm.run(*arguments, kubeconfig=ground.cluster.kubeconfig())
    if "exec" in arguments:  # the node's own way: API servers cannot ask it
        _, namespace, _, pod, _, *inside = arguments
        return ground.node.execute(namespace, pod, *inside)
    if "port-forward" in arguments:  # as well; what comes through one comes from the Pod's own loopback
        _, namespace, _, pod, port = arguments
        look = f"import urllib.request as r; print(r.urlopen('http://localhost:{port}/').read().decode())"
        return ground.node.execute(namespace, pod.removeprefix("pod/"), "python", "-c", look)
    return ground.kubectl(*arguments).stdout


def test_its_log_is_shown_by_kubectl_and_has_no_errors(release: Release) -> None:
    lines = release.log(f"{NAME}-0")

    assert "listening" in [line["event"] for line in lines]
    assert [line for line in lines if line["level"] in {"error", "critical"}] == []
