"""Two replicas and a watcher, each with a ledger of its own: the console of each shows the entries of all."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, Final

import httpx
import pytest

from app.remote.headers import MISSING
from tests.chart.helm import ROOT, Helm
from tests.e2e.installed import CONSOLE_PORT, Release
from tests.e2e.load import Load
from tests.e2e.node.ground import Ground
from tests.e2e.servers import Document
from tests.e2e.webhooks import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(200)]

NAME: Final = "kubewitness-several"
PLACE: Final = "recorded"
DEMO: Final = ROOT / "deploy/demos/job_crash.yaml"
VALUES: Final[dict[str, Any]] = {
    "replicas": 2,
    "watcher": {"separate": True},
    "customPlaybooks": [
        {"triggers": [{"on_job_failure": {}}], "actions": [{"job_info_enricher": {}}]},
    ],
    "sinksConfig": [{"stdout_sink": {"name": "out"}}],
}


@pytest.fixture(scope="module")
def release(ground: Ground, helm: Helm) -> Iterator[Release]:
    ground.kubectl("create", "namespace", PLACE)
    with Release(helm, ground.cluster, NAME) as made:
        made.install(VALUES)
        yield made


@pytest.fixture(scope="module")
def shared(ground: Ground, release: Release) -> tuple[Document, Document]:
    """Entries that the first and the second replica have recorded: one connection leads to one of them."""

    def each_has_one() -> tuple[Document, Document] | None:
        own = [items(release, pod, is_local=True, kind="ConfigMap", namespace=PLACE) for pod in servers(release)]
        return (own[0][0], own[1][0]) if all(own) else None

    with Load(ground.cluster, PLACE, writers=6):
        return eventually(each_has_one, "changes that each replica has recorded")


def servers(release: Release) -> list[Document]:
    return sorted(release.pods(), key=lambda pod: str(pod["metadata"]["name"]))


def items(release: Release, pod: Document, *, is_local: bool = False, **filters: str) -> list[Document]:
    found: list[Document] = release.ask(pod, "/api/v1/entries", is_local=is_local, **filters).json()["items"]
    return found


def ids(entries: list[Document]) -> set[str]:
    return {each["id"] for each in entries}


def test_the_console_of_each_shows_what_the_other_has_recorded(
    release: Release, shared: tuple[Document, Document]
) -> None:
    for pod in servers(release):
        answer = release.ask(pod, "/api/v1/entries", namespace=PLACE, limit="500")
        assert ids([*shared]) <= ids(answer.json()["items"])
        assert MISSING not in answer.headers


def test_an_entry_says_which_replica_has_recorded_it(release: Release, shared: tuple[Document, Document]) -> None:
    for pod in servers(release):
        told = [release.ask(pod, f"/api/v1/entries/{each['id']}").json()["replica"] for each in shared]
        assert told == [f"{NAME}-0", f"{NAME}-1"]


def test_a_failed_job_of_the_watcher_is_on_the_console_of_each(ground: Ground, release: Release) -> None:
    demo = DEMO.read_text().replace("sleep 10", "sleep 0.1").replace("backoffLimit: 1", "backoffLimit: 0")
    ground.kubectl("apply", f"--namespace={PLACE}", "--filename=-", stdin=demo)

    for pod in servers(release):
        (entry,) = eventually(functools.partial(items, release, pod, operation="FAILED"), "the failed Job")
        whole = release.ask(pod, f"/api/v1/entries/{entry['id']}").json()
        assert whole["replica"] == f"{NAME}-watcher-0"
        assert [each["state"] for each in whole["deliveries"]]
        assert items(release, pod, is_local=True, operation="FAILED") == []


def test_each_names_itself_first_and_all_others(release: Release) -> None:
    for pod in servers(release):
        names = [each["name"] for each in release.ask(pod, "/api/v1/replicas").json()["items"]]
        assert names[0] == pod["metadata"]["name"]
        assert sorted(names) == [f"{NAME}-0", f"{NAME}-1", f"{NAME}-watcher-0"]


def test_what_one_records_is_streamed_by_the_other(
    ground: Ground, release: Release, shared: tuple[Document, Document]
) -> None:
    assert shared
    first, second = servers(release)
    url = f"http://{first['status']['podIP']}:{CONSOLE_PORT}/api/v1/stream?view=id&kind=ConfigMap"
    headers = {"Authorization": f"Bearer {release.token}"}
    before = ids(items(release, second, is_local=True, limit="500"))
    with httpx.stream("GET", url, headers=headers, trust_env=False, timeout=20) as answer:
        lines = answer.iter_lines()
        assert next(lines).startswith("retry")
        with Load(ground.cluster, PLACE, writers=6) as load:
            load.more(40)
        wanted = ids(items(release, second, is_local=True, kind="ConfigMap", limit="500")) - before
        assert wanted
        for line in lines:
            wanted -= {each for each in wanted if each in line}
            if not wanted:
                break


def test_a_replica_that_is_gone_is_named_until_it_is_back(release: Release, shared: tuple[Document, Document]) -> None:
    release.kubectl("scale", f"statefulset/{NAME}", "--replicas=1")
    (kept,) = eventually(lambda: pods if len(pods := servers(release)) == 1 else None, "one Pod", seconds=60)

    def missing() -> str:
        return str(release.ask(kept, "/api/v1/entries", namespace=PLACE).headers.get(MISSING, ""))

    assert f"{NAME}-1: " in eventually(missing, "who is missing", seconds=30)
    assert f"Entries of <strong>{NAME}-1</strong> are missing at the moment" in release.ask(kept, "/").text
    assert ids([shared[0]]) <= ids(items(release, kept, namespace=PLACE, limit="500"))

    release.kubectl("scale", f"statefulset/{NAME}", "--replicas=2")
    release.ready(2)
    eventually(lambda: not missing(), "nobody is missing", seconds=60)
    assert ids([*shared]) <= ids(items(release, kept, namespace=PLACE, limit="500"))
