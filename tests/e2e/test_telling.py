"""One change, many receivers: those that work are told, the others keep neither them nor the change waiting."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from app.cli.controlplane import ControlPlane
from app.cli.processes import free_ports
from tests.e2e.auditor import Auditor, Document
from tests.e2e.program import PROGRAM
from tests.e2e.servers import Hook
from tests.e2e.webhooks import eventually
from tests.sinks.slack_server import TOKEN, Slack, slack_server
from tests.sinks.stands import HttpReceiver, http_receiver
from tests.sinks.test_mail import parsed

pytestmark = pytest.mark.e2e

NAMESPACE: Final = "telling"
LABELS: Final = {"witnessed": "telling"}
SECRET: Final = "sigTokenSecret"
NAMES: Final = ("hook", "slack", "teams", "mail", "broken", "later", "dead")
CONFIGURATION: Final = """
- webhook_sink: {name: hook, url: "%(hook)s"}
- slack_sink: {name: slack, api_key: "%(token)s", slack_channel: alerts, api_url: "%(slack)s"}
- ms_teams_sink: {name: teams, webhook_url: "%(teams)sworkflows/1?sig=%(secret)s"}
- mail_sink: {name: mail, host: 127.0.0.1, port: %(mail)d, tls: none, from_email: a@example.com, to: [b@example.com]}
- webhook_sink: {name: broken, url: "{{ env.NOBODY_SETS_THIS }}"}
- webhook_sink: {name: later, url: "%(hook)s", ca_file: %(folder)s/not-yet.pem}
- webhook_sink: {name: dead, url: "%(dead)s?token=%(secret)s", timeout_seconds: 20}
customPlaybooks:
- triggers:
  - on_deployment_update: {}
  actions:
  - resource_babysitter: {fields_to_monitor: [images]}
  sinks: [%(names)s]
globalConfig: {console_url: "http://127.0.0.1:%(console)d"}
"""


@dataclass
class Post:
    """A mail server's handler: keeps what it takes."""

    taken: list[EmailMessage] = field(default_factory=list)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802  aiosmtpd's
        self.taken.append(parsed(envelope))
        return "250 OK"


@dataclass
class Receivers:
    """Everybody who is to be told; `dead` takes requests and never answers."""

    hook: Hook
    slack: Slack
    teams: HttpReceiver
    post: Post
    mail_port: int
    dead: HttpReceiver


class Told(Auditor):
    """The program with a sink for each receiver, one that makes no sense, and one that cannot be made yet."""

    def __init__(self, directory: Path, receivers: Receivers) -> None:
        super().__init__(directory, "")
        self.receivers = receivers
        self._rules = CONFIGURATION % {
            "hook": receivers.hook.url,
            "slack": receivers.slack.api_url,
            "token": TOKEN,
            "teams": receivers.teams.url,
            "mail": receivers.mail_port,
            "dead": receivers.dead.url,
            "secret": SECRET,
            "folder": directory,
            "names": ", ".join(NAMES),
            "console": self._console_port,
        }

    def deliveries(self, entry: str) -> dict[str, Document]:
        """What became of an entry's deliveries, by sink."""
        return {each["sink"]: each for each in self.entry(entry)["deliveries"]}


@contextlib.contextmanager
def receiving() -> Iterator[Receivers]:
    post, (port,) = Post(), free_ports(1)
    mail = Controller(post, hostname="127.0.0.1", port=port)
    accepted = httpx.Response(202)

    with (
        Hook() as hook,
        slack_server() as slack,
        http_receiver(lambda _: accepted) as teams,
        http_receiver(lambda _: None) as dead,
    ):
        mail.start()
        try:
            yield Receivers(hook, slack, teams, post, port, dead)
        finally:
            mail.stop()


@pytest.fixture(scope="module")
def program(cluster: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    cluster.kubectl("create", "namespace", NAMESPACE)
    cluster.kubectl("label", "namespace", NAMESPACE, "witnessed=telling")
    with receiving() as receivers, Told(tmp_path_factory.mktemp("telling"), receivers) as running:
        # A review that is not answered within 2 s makes kubectl fail.
        webhook = running.webhook(
            "telling", resources=("deployments", "configmaps"), namespace_labels=LABELS, failure_policy="Fail"
        )
        webhook.register(cluster, namespace=NAMESPACE)
        yield running
        receivers.dead.ended.set()  # or the program would wait for its answer
        cluster.kubectl("delete", "validatingwebhookconfiguration", webhook.full_name)


@pytest.fixture(scope="module")
def entry(cluster: ControlPlane, program: Told) -> Document:
    """The entry of a new image."""
    place = f"--namespace={NAMESPACE}"
    cluster.kubectl("create", "deployment", "web", "--image=nginx:1.24", place)
    cluster.kubectl("set", "image", "deployment/web", "nginx=nginx:1.25", place, user="alice")
    found = program.entries(namespace=NAMESPACE, name="web", user="alice", path="images")
    return found[-1]


def test_everybody_who_can_be_told_is_told(program: Told, entry: Document) -> None:
    receivers = program.receivers

    told = eventually(receivers.hook.notifications, "the webhook is told")
    message = eventually(lambda: receivers.slack.messages and receivers.slack.message, "Slack is told")
    card = eventually(lambda: receivers.teams.requests, "Teams is told")[0]
    mail = eventually(lambda: receivers.post.taken, "a mail arrives")[0]

    assert told[0]["entry"]["id"] == entry["id"]
    assert "nginx:1.25" in json.dumps(message)
    assert "nginx:1.25" in card.body.decode()
    body = mail.get_body(("plain",))
    assert body is not None
    assert "nginx:1.25" in body.get_content()


def test_the_change_waits_for_nobody(program: Told, entry: Document) -> None:
    eventually(lambda: program.receivers.dead.requests, "the dead receiver is called")

    # It has given no answer and never will, while the change is made and in the ledger.
    assert not program.receivers.dead.ended.is_set()
    assert program.deliveries(entry["id"])["dead"]["state"] == "pending"
    assert entry["user"]["username"] == "alice"


def test_what_is_meant_for_a_sink_that_cannot_be_made_yet_waits(program: Told, entry: Document) -> None:
    def delivered() -> bool:
        states = {sink: each["state"] for sink, each in program.deliveries(entry["id"]).items()}
        return states == {
            "hook": "delivered",
            "slack": "delivered",
            "teams": "delivered",
            "mail": "delivered",
            "later": "pending",
            "dead": "pending",
        }

    eventually(delivered, "four are delivered and two wait")


def test_the_console_says_which_sinks_are_missing_and_why(program: Told, entry: Document) -> None:
    answer = program.get("/readyz").json()
    metrics = program.get("/metrics").text

    assert answer["status"] == "degraded"
    said = answer["checks"]["sinks"]["message"]
    assert f"{program.directory}/config.yaml:8:" in said
    assert "the environment variable NOBODY_SETS_THIS is not set" in said
    assert "sink 'later': ca_file" in said
    assert 'kubewitness_sink_up{sink="broken"} 0.0' in metrics
    assert 'kubewitness_sink_up{sink="later"} 0.0' in metrics
    assert 'kubewitness_sink_up{sink="dead"} 1.0' in metrics


def test_the_link_in_a_notification_leads_to_the_page_of_the_entry(program: Told, entry: Document) -> None:
    told = eventually(program.receivers.hook.notifications, "the webhook is told")

    page = httpx.get(told[0]["link"], trust_env=False).raise_for_status()

    assert page.headers["content-type"].startswith("text/html")
    assert entry["id"] in page.text


def test_tokens_are_in_nothing_that_the_program_writes_or_answers(program: Told, entry: Document) -> None:
    eventually(lambda: program.receivers.dead.requests, "the dead receiver is called")

    written = b"".join(content for path, content in program.files() if path.name != "config.yaml")
    answered = program.get("/readyz").text + program.get("/metrics").text + program.get("/api/v1/deliveries").text

    assert [secret for secret in (SECRET, TOKEN) if secret in answered or secret.encode() in written] == []


def test_a_test_message_goes_to_every_sink_that_there_is(program: Told, entry: Document) -> None:
    command = [str(PROGRAM), "sinks", "check", "--config", str(program.directory / "config.yaml"), "-o", "json"]

    done = subprocess.run([*command, "--timeout", "2"], capture_output=True, text=True, check=False)

    found: dict[str, Any] = {each["sink"]: each for each in json.loads(done.stdout)}
    assert done.returncode == 1
    assert {name: each["result"] for name, each in found.items()} == {
        "everything": "ok",
        "hook": "ok",
        "slack": "ok",
        "teams": "ok",
        "mail": "ok",
        "broken": "not built",
        "later": "not built",
        "dead": "failed",
    }
    assert SECRET not in done.stdout + done.stderr
    assert TOKEN not in done.stdout + done.stderr
