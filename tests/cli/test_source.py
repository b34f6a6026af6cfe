"""Where the reading commands read: a folder, a console, or the console of a cluster through its API server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest
from typer.testing import CliRunner, Result

from app.cli.cluster_transport import ClusterTransport, Place
from app.cli.main import app
from app.remote.transport import RemoteError
from app.web.access import guarded
from app.web.server import listen
from tests.cli.clusters import NAMESPACE, Proxy, service
from tests.cli.commands import kubewitness
from tests.cli.golden_ledger import write
from tests.kube.clients import write_kubeconfig
from tests.remote import consoles
from tests.servers import Answering, Listening
from tests.web.doors import door

COMMANDS: Final = {
    "list": ("entries", "list", "-n", "shop", "--limit", "5"),
    "show": ("entries", "show", "UPDATE Deployment/shop/web"),
    "history": ("history", "deployment/web", "-n", "shop"),
    "blame": ("blame", "deployment/web", "-n", "shop", "--no-live"),
    "diff": ("diff", "deployment/web", "-n", "shop"),
    "deliveries": ("deliveries", "list"),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def ids(data: Path) -> dict[str, str]:
    return write(data)


@pytest.fixture(scope="module")
def console(data: Path, ids: dict[str, str]) -> Iterator[str]:
    assert ids
    with consoles.replica(data) as url:
        yield url


@pytest.fixture
def cluster(console: str) -> Iterator[Proxy]:
    with Proxy(console, token="t0ken-of-the-secret") as running:
        yield running


@pytest.fixture
def kubeconfig(cluster: Proxy, tmp_path: Path) -> Path:
    return write_kubeconfig(tmp_path / "kubeconfig", cluster.url)


def as_plugin(*arguments: object, **environment: str) -> Result:
    """Run a command as kubectl runs its plugins."""
    return CliRunner().invoke(
        app, [*map(str, arguments)], env={"COLUMNS": "400", **environment}, prog_name="kubectl witness"
    )


def failed(result: Result) -> str:
    assert result.exit_code == 1, result.output
    return result.stderr


@pytest.mark.parametrize("output", ["table", "json"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_console_and_a_cluster_tell_what_the_file_tells(
    command: str, output: str, data: Path, ids: dict[str, str], console: str, kubeconfig: Path
) -> None:
    words = [ids.get(word, word) for word in COMMANDS[command]]

    local = kubewitness(*words, "-o", output, "--data-dir", data)

    assert local.exit_code == 0, local.output
    assert len(local.stdout.splitlines()) > 1
    assert kubewitness(*words, "-o", output, "--console", console).stdout == local.stdout
    assert as_plugin(*words, "-o", output, "--kubeconfig", kubeconfig).stdout == local.stdout


def test_as_a_plugin_of_kubectl_the_cluster_is_meant_and_its_own_name_is_told(cluster: Proxy, kubeconfig: Path) -> None:
    listed = as_plugin("entries", "list", KUBECONFIG=str(kubeconfig))
    told = as_plugin("history", "--help").stdout

    assert listed.exit_code == 0, listed.output
    assert f"/api/v1/namespaces/{NAMESPACE}/services/kubewitness:console/proxy/api/v1/entries" in cluster.asked[-1][0]
    assert told.startswith("Usage: kubectl witness history")
    assert "\n  kubectl witness history deployment/web -n shop\n" in told


def test_the_token_is_that_of_the_file_else_of_the_secret_else_the_users_own(
    cluster: Proxy, kubeconfig: Path, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("t0ken-of-the-file\n")

    for arguments, forbidden in (
        ((), ()),
        (("--token-file", token), ()),
        ((), ("/api/v1/namespaces/watching/secrets/",)),
    ):
        cluster.forbidden = forbidden
        assert as_plugin("entries", "list", "--kubeconfig", kubeconfig, *arguments).exit_code == 0

    assert cluster.shown == ["t0ken-of-the-secret", "t0ken-of-the-file", "t0ken"]


def test_of_several_installations_one_is_chosen(cluster: Proxy, kubeconfig: Path) -> None:
    cluster.services = (service("kubewitness"), service("kw", "elsewhere"))
    command = ("entries", "list", "--kubeconfig", kubeconfig)

    message = failed(as_plugin(*command))
    chosen = as_plugin(*command, "--witness-namespace", "elsewhere")

    assert "there are 2 installations in this cluster; say which: --witness-namespace watching" in message
    assert "--witness-namespace elsewhere --release kw" in message
    assert chosen.exit_code == 0, chosen.output
    assert "/namespaces/elsewhere/services/kw:console/" in cluster.asked[-1][0]
    assert as_plugin(*command, "--release", "kw").exit_code == 0


def test_where_nothing_is_installed_that_is_said(cluster: Proxy, kubeconfig: Path) -> None:
    cluster.services = (service("other", port="http"),)

    message = failed(as_plugin("entries", "list", "--kubeconfig", kubeconfig))

    assert "there is no kubewitness in this cluster" in message
    assert "is this the right --context?" in message


def test_who_may_not_list_services_names_the_installation(cluster: Proxy, kubeconfig: Path) -> None:
    cluster.forbidden = ("/api/v1/services", f"/api/v1/namespaces/{NAMESPACE}/services?")
    command = ("entries", "list", "--kubeconfig", kubeconfig)

    assert "say where it is with --witness-namespace and --release" in failed(as_plugin(*command))
    assert "say where it is with --release" in failed(as_plugin(*command, "--witness-namespace", NAMESPACE))
    named = as_plugin(*command, "--witness-namespace", NAMESPACE, "--release", "prod")
    assert named.exit_code == 0
    assert "/services/prod-kubewitness:console/" in cluster.asked[-1][0]


def test_who_may_not_use_the_proxy_is_told_which_commands_grant_it(cluster: Proxy, kubeconfig: Path) -> None:
    cluster.forbidden = (f"/api/v1/namespaces/{NAMESPACE}/services/",)

    message = failed(as_plugin("entries", "list", "--kubeconfig", kubeconfig))

    assert "may not get services/proxy in the namespace watching" in message
    role = "create role kubewitness-console --verb=get --resource=services/proxy --resource-name=kubewitness:console"
    assert f"`kubectl -n watching {role}`" in message
    assert (
        "`kubectl -n watching create rolebinding kubewitness-console --role=kubewitness-console --user=jane`" in message
    )


def test_who_has_no_token_that_the_console_knows_is_told_where_it_is(data: Path, tmp_path: Path) -> None:
    with consoles.served(guarded(consoles.of(data), door(lambda: "the-right-one"))) as strict, Proxy(strict) as cluster:
        cluster.forbidden = (f"/api/v1/namespaces/{NAMESPACE}/secrets/",)
        kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", cluster.url)
        unread = failed(as_plugin("entries", "list", "--kubeconfig", kubeconfig))
        cluster.forbidden, cluster.token = (), "the-wrong-one"
        wrong = failed(as_plugin("entries", "list", "--kubeconfig", kubeconfig))
        cluster.token = "the-right-one"
        right = as_plugin("entries", "list", "--kubeconfig", kubeconfig)

    assert "the console watching/kubewitness does not know your token, and you may not get the Secret" in unread
    assert "--resource=secrets --resource-name=kubewitness`" in unread
    assert "console.kubernetesAuth.enabled" in unread
    assert "the console watching/kubewitness answers 401: " in wrong
    assert right.exit_code == 0, right.output
    assert "the-wrong-one" not in wrong


def test_a_context_of_the_kubeconfig_is_chosen(cluster: Proxy, kubeconfig: Path) -> None:
    assert as_plugin("entries", "list", "--kubeconfig", kubeconfig, "--context", "test").exit_code == 0
    message = failed(as_plugin("entries", "list", "--kubeconfig", kubeconfig, "--context", "other"))

    assert "other" in message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data-dir", "x", "--console", "http://x"), "--data-dir and --console name different ledgers; say one"),
        (("--console", "http://x", "--cluster"), "--console and --cluster name different ledgers; say one"),
        (("--data-dir", "x", "--release", "y"), "is for the cluster's console, not for --data-dir"),
        (("--console", "http://x", "--kubeconfig", "y"), "is for the cluster's console, not for --console"),
        (("--data-dir", "x", "--token-file", "y"), "is for a console: say which with --console or --cluster"),
        (("--console", "example.org"), "takes an address such as http://127.0.0.1:8080, not 'example.org'"),
        (("--console", "http://u:p@example.org"), "takes an address without a password"),
    ],
    ids=str,
)
def test_what_makes_no_sense_together_is_refused(arguments: tuple[str, ...], message: str) -> None:
    result = kubewitness("entries", "list", *arguments)

    assert result.exit_code == 2, result.output
    assert message in result.stderr


def test_the_environment_names_a_ledger_and_options_come_first(data: Path, console: str, tmp_path: Path) -> None:
    def run(*arguments: object, **variables: object) -> Result:
        environment = {f"KUBEWITNESS_{name}": str(value) for name, value in variables.items()}
        return CliRunner().invoke(app, ["entries", "list", *map(str, arguments)], env=environment)

    assert run(CONSOLE=console).exit_code == 0
    assert run("--data-dir", data, CONSOLE="http://127.0.0.1:1").exit_code == 0
    assert "journal.db" in failed(run("--data-dir", tmp_path, CONSOLE=console))
    assert run(CONSOLE=console, DATA_DIR=data).exit_code == 2


def test_a_console_that_nobody_answers_for_is_named(tmp_path: Path) -> None:
    message = failed(kubewitness("entries", "list", "--console", "http://127.0.0.1:1/"))

    assert message.startswith("error: the console at http://127.0.0.1:1 cannot be reached")
    missing = failed(kubewitness("entries", "list", "--console", "http://127.0.0.1:1", "--token-file", tmp_path / "no"))
    assert "cannot read the token" in missing


def test_a_console_that_wants_a_token_is_shown_that_of_the_file(data: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("s3cret\n")

    class Strict(Answering):
        def do_GET(self) -> None:  # noqa: N802  http.server calls it so
            is_right = self.headers["Authorization"] == "Bearer s3cret"
            body = b'{"items": [], "next": null}' if is_right else b'{"detail": "the console needs its token"}'
            self.answer(200 if is_right else 401, body)

    with Listening(Strict) as server:
        command = ("entries", "list", "--console", f"http://127.0.0.1:{server.port}")
        refused, let_in = failed(kubewitness(*command)), kubewitness(*command, "--token-file", token)

    assert "answers 401: the console needs its token; name a file that holds the token with --token-file" in refused
    assert let_in.stdout == "the ledger is empty\n"


def completed(line: str, **environment: str) -> list[str]:
    words = {"COMP_WORDS": f"kubewitness {line}", "COMP_CWORD": str(len(line.split(" ")))}
    asking = {"_KUBEWITNESS_COMPLETE": "complete_bash", **words, **environment}
    result = CliRunner().invoke(app, [], prog_name="kubewitness", env=asking)
    assert result.stderr == ""
    return result.stdout.split()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("history deployment/", ["deployment/web"]),
        ("entries list --kind conf", ["configmap"]),
        ("entries list --kind Conf", ["ConfigMap"]),
        ("entries list -n s", ["shop"]),
        ("entries tail --name web-", ["web-6c959dc85d-dp2p6"]),
        ("entries list --user bob", ["bob", "bob@example.org"]),
        ("entries list --user evil", []),
        ("deliveries list --sink f", ["file"]),
        ("entries list --operation d", ["DELETE"]),
        ("blame deployment/ -n nowhere", []),
    ],
)
def test_words_are_completed_from_wherever_the_ledger_is(
    line: str, words: list[str], data: Path, console: str, kubeconfig: Path
) -> None:
    elsewhere = {"KUBEWITNESS_CLUSTER": "1", "KUBECONFIG": str(kubeconfig)}

    for environment in ({"KUBEWITNESS_DATA_DIR": str(data)}, {"KUBEWITNESS_CONSOLE": console}, elsewhere):
        assert completed(line, **environment) == words, environment


@pytest.mark.parametrize(
    "environment",
    [
        {"KUBEWITNESS_DATA_DIR": "/nowhere"},
        {"KUBEWITNESS_CONSOLE": "http://127.0.0.1:1"},
        {"KUBEWITNESS_CONSOLE": "nonsense"},
        {"KUBEWITNESS_CLUSTER": "1", "KUBECONFIG": "/nowhere"},
        {"KUBEWITNESS_CONSOLE": "http://127.0.0.1:1", "KUBEWITNESS_TOKEN_FILE": "/nowhere"},
    ],
    ids=str,
)
def test_where_nothing_can_be_read_nothing_is_completed(environment: dict[str, str]) -> None:
    assert completed("entries list --user a", **environment) == []


def test_nobody_is_bothered_by_an_api_server_that_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.cli.source.COMPLETION_SECONDS", 0.1)
    monkeypatch.setattr("app.cli.cluster_transport._GRACE", 0.1)
    silent = listen("127.0.0.1", 0, "")  # takes connections, and says nothing
    with closing(silent):
        kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", f"http://127.0.0.1:{silent.getsockname()[1]}")
        environment = {"KUBEWITNESS_CLUSTER": "1", "KUBECONFIG": str(kubeconfig)}
        assert completed("entries list --user a", **environment) == []

        way = ClusterTransport(Place(kubeconfig), seconds=0.1)
        with pytest.raises(RemoteError, match="the API server took longer than"):
            way.get("api/v1/entries", {})
        loop = way._loop
        way.close()

    assert not asyncio.all_tasks(loop)


def test_a_proxy_that_cannot_be_used_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")

    result = kubewitness("entries", "list", "--console", "http://127.0.0.1:1")

    assert result.exit_code == 2
    assert "by way of the proxy that ALL_PROXY, HTTP_PROXY or HTTPS_PROXY names" in " ".join(result.stderr.split())
