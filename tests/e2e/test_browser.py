"""In a real browser: the pages of the real server, with data of a real API server."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import pytest

from app.cli.controlplane import ControlPlane
from tests.browser.chromium import Chromium, pictures
from tests.e2e.browsed import HOSTILE, NAMESPACE, PRINTABLE, Browsed, a_job_fails, browsed, people_work, strangers_work
from tests.e2e.jobs import Jobs
from tests.e2e.kubelet import Kubelet
from tests.e2e.webhooks import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

ROUNDS = 7
QUIET = {
    "timeline": "/",
    "deployments": f"/?kind=Deployment&namespace={NAMESPACE}&since=24h",
    "object": f"/objects/Deployment/{NAMESPACE}/web",
    "object-compared": f"/objects/Deployment/{NAMESPACE}/web?from=1h",
    "actors": "/actors?since=24h",
    "deliveries": "/deliveries",
    "dead": "/deliveries?state=dead&sink=pager",
    "status": "/status",
}
HOSTILE_ADDRESSES = {
    "object-hostile": "/objects/" + "/".join([quote(PRINTABLE, safe="")] * 3),
    "refused": f"/?{quote(HOSTILE)}={quote(HOSTILE)}",
    "searched": f"/?q={quote(PRINTABLE)}&user={quote(PRINTABLE)}",
    "compared": f"/objects/Deployment/{NAMESPACE}/web?from={quote(HOSTILE)}&to={quote(HOSTILE)}",
    "sink": f"/deliveries?sink={quote(HOSTILE)}&queued={quote(HOSTILE)}",
    "nowhere": f"/{quote(PRINTABLE)}",
}


@pytest.fixture(scope="module")
def chromium() -> Chromium:
    return Chromium.find()


@pytest.fixture(scope="module")
def auditor(
    tmp_path_factory: pytest.TempPathFactory,
    cluster: ControlPlane,
    kubelet: Kubelet,
    kubeconfig: Path,
) -> Iterator[Browsed]:
    """Return the program when everything has happened that its pages are to show."""
    Chromium.find()  # or nobody will look at it
    with (
        browsed(tmp_path_factory.mktemp("browsed"), cluster, kubeconfig) as running,
        closing(Jobs(cluster, kubelet, "browsed-jobs")) as jobs,
    ):
        people_work(cluster)
        strangers_work(cluster, running)
        a_job_fails(jobs, running)
        eventually(lambda: running.get("/api/v1/deliveries", state="dead").json()["items"], "a dead letter")
        yield running


def answered(log: str) -> float:
    """Return when the API server answered kubectl's PATCH, in milliseconds since 1970: klog's local time of day."""
    (line,) = [each for each in log.splitlines() if "PATCH" in each and "200 OK" in each]
    now = datetime.now().astimezone()
    moment = datetime.strptime(f"{now.year} {line.split()[0][1:]} {line.split()[1]}", "%Y %m%d %H:%M:%S.%f")  # noqa: DTZ007
    return moment.replace(tzinfo=now.tzinfo).astimezone(UTC).timestamp() * 1000


def test_a_new_image_is_on_the_page_as_soon_as_kubectl_has_set_it(
    auditor: Browsed, cluster: ControlPlane, chromium: Chromium, capsys: pytest.CaptureFixture[str]
) -> None:
    delays = []
    with chromium.run(auditor.console_url, "live.mjs") as page:
        page.ready()
        for number in range(ROUNDS):
            image = f"nginx:2.{number}-live"
            page.tell(image)
            page.ready()
            set_image = ("set", "image", "deployment/web", f"nginx={image}", "-v=6")
            done = cluster.kubectl(f"--namespace={NAMESPACE}", *set_image)
            delays.append(page.heard() - answered(done.stderr))
        page.tell("end")
        assert page.troubles() == []
    with capsys.disabled():
        print(
            f"\nfrom the API server's answer to the row on the screen: median {statistics.median(delays):.0f} ms,"
            f" {min(delays):.0f} to {max(delays):.0f} ms of {ROUNDS}"
        )


def test_every_page_is_legible_and_nothing_of_a_strangers_runs(auditor: Browsed, chromium: Chromium) -> None:
    pages = QUIET | HOSTILE_ADDRESSES | auditor.addresses()
    folder = pictures("cluster")
    arguments = [each for item in pages.items() for each in item]

    with chromium.run(auditor.console_url, "look.mjs", str(folder), "two", *arguments) as looking:
        troubles = looking.troubles()
        assert not troubles, "\n".join(troubles)


def test_what_is_hostile_is_harmless_when_it_comes_live(auditor: Browsed, chromium: Chromium) -> None:
    with chromium.run(auditor.console_url, "walk.mjs", "live") as page:
        page.ready()

        auditor.review(
            userInfo={"username": HOSTILE}, name=HOSTILE, namespace=HOSTILE, options={"fieldManager": HOSTILE}
        )

        assert page.troubles() == []


@pytest.mark.parametrize("way", ["keys", "range", "plain", "requeue", "failed"])
def test_a_way_through_the_console(auditor: Browsed, chromium: Chromium, way: str) -> None:
    with chromium.run(auditor.console_url, "walk.mjs", way) as walking:
        assert walking.troubles() == []
