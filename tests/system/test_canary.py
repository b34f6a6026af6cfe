"""Secrets that are planted wherever one can hide appear in nothing that the program writes, sends or prints."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest
from typer.testing import CliRunner

from app.cli.main import app
from app.store.encoding import inflated
from tests.system.conftest import Serve
from tests.system.receiver import Receiver
from tests.system.reviews import post, set_image
from tests.system.sentinels import HARMLESS, Sentinels, broken, plants, spellings
from tests.system.server import Document, Server, eventually

CONFIG: Final = """
sinksConfig:
- stdout_sink: {{name: console}}
- file_sink: {{name: file, file_name: "{file}"}}
- webhook_sink: {{name: hook, url: "{url}"}}
customPlaybooks:
- triggers: [{{on_kubernetes_any_resource_all_changes: {{}}}}]
  actions:
  - resource_babysitter: {{}}
- triggers: [{{on_kubernetes_any_resource_all_changes: {{}}}}]
  actions:
  - json_change_tracker: {{url: "{url}"}}
"""


OUTPUTS: Final = ("table", "json", "yaml")
SHOWS_VALUES: Final = {
    *(f"entries list -o {output}" for output in OUTPUTS),
    "/api/v1/entries",
    "rows of entries",
    "rows of findings",
    "webhook",
    "notifications.jsonl",
    "serve-1.log",
}
"""Where a value that is no secret can be read. (The sink `console` prints into the log.)"""


def everything_known(server: Server, receiver: Receiver) -> Iterator[tuple[str, bytes]]:
    """Yield every place that anybody could read, with what stands there."""
    entries = server.entries()
    for entry in entries:
        yield f"/api/v1/entries/{entry['id']}", server.get(f"/api/v1/entries/{entry['id']}").content
    for page in ("/api/v1/entries", "/api/v1/deliveries"):
        yield page, server.get(page, limit="500").content
    yield "/metrics", server.get("/metrics").content
    yield "/readyz", server.get("/readyz").content
    yield "webhook", b"\n".join([*receiver.heads, *receiver.bodies])
    yield from printed(server, entries)
    yield from rows(server)
    for path, content in server.files():
        yield str(path.relative_to(server.directory)), content


def printed(server: Server, entries: list[Document]) -> Iterator[tuple[str, bytes]]:
    """Yield what the command line prints."""
    commands = [["entries", "list", "-o", output] for output in OUTPUTS]
    commands += [["deliveries", "list", "-o", output] for output in OUTPUTS]
    commands += [["entries", "show", entry["id"]] for entry in entries]
    for command in commands:
        printed = CliRunner().invoke(app, [*command, f"--data-dir={server.data}"])
        assert printed.exit_code == 0
        yield " ".join(command), printed.output.encode()


def rows(server: Server) -> Iterator[tuple[str, bytes]]:
    """Yield the bodies in the journal file, which are compressed there."""
    with closing(sqlite3.connect(server.data / "journal.db")) as journal:
        for table in ("entries", "findings"):
            bodies = journal.execute(f"SELECT body FROM {table}")
            yield f"rows of {table}", b"\n".join(inflated(body) for (body,) in bodies)


def leaks(sentinel: Sentinels, known: dict[str, bytes]) -> list[tuple[str, str]]:
    """Return which secret is where."""
    return [
        (secret, place)
        for secret, value in sentinel.values.items()
        for place, content in known.items()
        if any(spelling in content for spelling in spellings(value))
    ]


@pytest.fixture
def sentinel() -> Sentinels:
    return Sentinels()


def test_no_secret_leaves(tmp_path: Path, serve: Serve, receiver: Receiver, sentinel: Sentinels) -> None:
    file = tmp_path / "server" / "notifications.jsonl"
    server = serve(CONFIG.format(file=file, url=receiver.url), "--log-level=debug")
    reviews = list(plants(sentinel))

    with server.client() as client:
        for body in reviews:
            post(client, body)
        for body in broken(sentinel):
            assert client.post("/validate", content=body, headers={"content-type": "application/json"}).is_error
    eventually(
        lambda: {each["state"] for each in server.deliveries()} == {"delivered"}, "every finding reaches every sink"
    )

    known = dict(everything_known(server, receiver))
    assert leaks(sentinel, known) == []
    assert len(server.stored()) == len(reviews)
    # The search can fail: what is no secret is found wherever contents are shown.
    blind = {place for place, content in known.items() if HARMLESS.encode() not in content}
    assert not blind & SHOWS_VALUES


def test_the_credentials_of_the_configuration_do_not_leave_either(
    serve: Serve, receiver: Receiver, sentinel: Sentinels
) -> None:
    receiver.down = True
    server = serve(own_credentials(receiver, sentinel), "--log-level=debug")

    with server.client() as client:
        post(client, set_image("web:2"))
    eventually(lambda: server.metric('kubewitness_deliveries_total{outcome="retried",sink="hook"}'), "an attempt")
    complaints: list[bytes] = []
    for flaw in flaws(sentinel):
        server.config.write_text(own_credentials(receiver, sentinel) + flaw)
        complaints.append(eventually(lambda: refusal(server, known=complaints), "a refusal").encode())

    assert "503" in server.deliveries()[0]["last_error"]
    known = dict(everything_known(server, receiver)) | {"refusals": b"\n".join(complaints)}
    assert leaks(sentinel, known) == []
    receiver.down = False
    server.config.write_text(own_credentials(receiver, sentinel))
    server.until_ready()
    eventually(lambda: receiver.heads, "a request that is let in")
    assert leaks(sentinel, {"the receiver": b"".join(receiver.heads)}) != []


def refusal(server: Server, known: list[bytes]) -> str | None:
    """Return why the configuration is refused now, or one of its sinks is left out, if that is news."""
    checks = server.readyz()[1]["checks"]
    message = " ".join(str(checks[name].get("message", "")) for name in ("config", "sinks")).strip()
    return message if message.encode() not in known else None


def own_credentials(receiver: Receiver, sentinel: Sentinels) -> str:
    """Return a configuration whose sink needs credentials."""
    address = receiver.url.replace("http://", f"http://user:{sentinel('user in the URL')}@")
    options = [
        f"    name: hook\n    url: {address}/{sentinel('path of the URL')}?token={sentinel('query of the URL')}",
        f"    authorization: Bearer {sentinel('authorization')}",
        f"    headers: {{X-Tenant: {sentinel('header')}}}",
    ]
    playbook = "- triggers: [{on_deployment_update: {}}]\n  actions: [{resource_babysitter: {}}]"
    return "\n".join(["customPlaybooks:", playbook, "sinksConfig:", "- webhook_sink:", *options, ""])


def flaws(sentinel: Sentinels) -> Iterator[str]:
    """Yield what makes the last sink of the configuration wrong, with a secret beside it."""
    yield f"    authorisation: Bearer {sentinel('misspelt option')}\n"
    yield f"    ca_file: [{sentinel('wrong type')}]\n"
    yield f"    secret: no-base64-{sentinel('value that is refused')}\n"
    yield f"    timeout_seconds: {sentinel('no number')}\n"
    yield f"    timeout_seconds: 'unclosed {sentinel('broken YAML')}\n"
