"""The terminal against an installation in a real cluster: through the API server's service proxy, and as a plugin."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import yaml

from tests.chart.helm import CHART, ROOT, Helm
from tests.e2e.installed import Release
from tests.e2e.node.ground import Ground
from tests.e2e.program import PROGRAM
from tests.e2e.servers import Document

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(150)]

NAME: Final = "kubewitness-terminal"
PLUGIN: Final = PROGRAM.with_name("kubectl-witness")
SEED: Final = CHART / "ci/seed-values.yaml"
IMAGE: Final = "spec.template.spec.containers[nginx].image"


@pytest.fixture(scope="module")
def release(ground: Ground, helm: Helm) -> Iterator[Release]:
    ground.kubectl("create", "namespace", NAME)
    receiver = "--from-literal=url=http://127.0.0.1:1"
    ground.kubectl("create", "secret", "generic", "receiver", receiver, f"--namespace={NAME}")
    with Release(helm, ground.cluster, NAME) as made:
        made.install(yaml.safe_load(SEED.read_text()))
        yield made


@pytest.fixture(scope="module")
def shop(ground: Ground, release: Release) -> str:
    """A namespace in which alice has changed the image of the Deployment `web`."""
    assert release.pods()
    name = "terminal-shop"
    ground.kubectl("create", "namespace", name)
    ground.kubectl("create", "deployment", "web", "--image=nginx:1.24", f"--namespace={name}")
    ground.kubectl("set", "image", "deployment/web", "nginx=nginx:1.25", f"--namespace={name}", user="alice")
    return name


def environment(ground: Ground, kubeconfig: Path) -> dict[str, str]:
    # As a person has it: kubectl and its plugins on the PATH, and a kubeconfig.
    folders = (PLUGIN.parent, ground.cluster.programs.kubectl.parent, os.defpath)
    path = os.pathsep.join(map(str, folders))
    return {"PATH": path, "HOME": str(ground.cluster.directory), "KUBECONFIG": str(kubeconfig), "TZ": "UTC"}


def witness(ground: Ground, *arguments: str, kubeconfig: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run `kubectl witness` as kubectl runs its plugins."""
    given = environment(ground, kubeconfig or ground.cluster.kubeconfig())
    kubectl = str(ground.cluster.programs.kubectl)
    return subprocess.run(
        [kubectl, "witness", *arguments], env=given, capture_output=True, encoding="utf-8", timeout=60, check=False
    )


def shown(ground: Ground, *arguments: str) -> str:
    done = witness(ground, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_kubectl_lists_what_the_cluster_has_recorded(ground: Ground, shop: str) -> None:
    listed = shown(ground, "entries", "list", "-n", shop, "--kind", "Deployment", "--user", "alice")

    header, *rows = listed.splitlines()
    assert header.split() == ["ID", "AGE", "USER", "OPERATION", "OBJECT", "CHANGE"]
    assert rows[-1].split()[2:] == [
        "alice",
        "UPDATE",
        f"Deployment/{shop}/web",
        f"{IMAGE}:",
        "nginx:1.24",
        "→",
        "nginx:1.25",
    ]


def test_an_entry_is_shown_by_the_beginning_of_its_id(ground: Ground, shop: str) -> None:
    listed = json.loads(shown(ground, "entries", "list", "-n", shop, "--user", "alice", "-o", "json"))

    entry: Document = json.loads(shown(ground, "entries", "show", listed[-1]["id"][:18], "-o", "json"))

    assert entry["id"] == listed[-1]["id"]
    assert entry["changes"] == [{"path": IMAGE, "op": "replace", "old": "nginx:1.24", "new": "nginx:1.25"}]


def test_an_objects_story_its_blame_and_its_difference_come_from_the_cluster(ground: Ground, shop: str) -> None:
    story = shown(ground, "history", "deployment/web", "-n", shop)
    difference = shown(ground, "diff", "deployment/web", "-n", shop, "--since", "1h", "-o", "json")
    blamed = json.loads(shown(ground, "blame", "deployment/web", "-n", shop, "--path", "images", "-o", "json"))

    assert f"{IMAGE}: nginx:1.24 → nginx:1.25" in story
    assert json.loads(difference)
    assert [(each["path"], each["user"], each["value"]) for each in blamed] == [(IMAGE, "alice", "nginx:1.25")]


def test_the_tail_prints_what_comes(ground: Ground, shop: str) -> None:
    kubectl = str(ground.cluster.programs.kubectl)
    command = [kubectl, "witness", "entries", "tail", "-n", shop, "--since", "1m", "-o", "json"]
    given = environment(ground, ground.cluster.kubeconfig())
    with subprocess.Popen(command, env=given, stdout=subprocess.PIPE, text=True, encoding="utf-8") as tail:
        assert tail.stdout is not None
        try:
            ground.kubectl("scale", "deployment/web", "--replicas=2", f"--namespace={shop}")
            assert "spec.replicas" in next(line for line in tail.stdout if "spec.replicas" in line)
        finally:
            tail.send_signal(signal.SIGINT)
        assert "Traceback" not in tail.stdout.read()

    assert tail.returncode == 0


def test_a_change_is_undone_through_the_cluster_alone(ground: Ground, shop: str) -> None:
    ground.kubectl("create", "deployment", "other", "--image=nginx:1.24", f"--namespace={shop}")
    ground.kubectl("label", "deployment", "other", "team=blue", f"--namespace={shop}")
    found = ("entries", "list", "-n", shop, "--name", "other", "--path", "metadata.labels", "-o", "json")
    entry = json.loads(shown(ground, *found))[-1]

    assert "is as it was before this change" in shown(ground, "undo", entry["id"], "--apply")

    live = ground.kubectl("get", "deployment", "other", f"--namespace={shop}", "-o", "jsonpath={.metadata.labels.team}")
    assert live.stdout == ""


def test_deliveries_are_listed(ground: Ground, shop: str) -> None:
    header = shown(ground, "deliveries", "list").splitlines()[0]

    assert header.split()[:4] == ["DELIVERY", "AGE", "SINK", "STATE"]


def account(ground: Ground, name: str, *rules: tuple[str, ...]) -> Path:
    """Return the kubeconfig of a service account that has these rights in the installation's namespace."""
    ground.kubectl("create", "serviceaccount", name, f"--namespace={NAME}")
    subject = f"--serviceaccount={NAME}:{name}"
    for number, rule in enumerate(rules):
        role = f"{name}-{number}"
        ground.kubectl("create", "role", role, *rule, f"--namespace={NAME}")
        ground.kubectl("create", "rolebinding", role, f"--role={role}", subject, f"--namespace={NAME}")
    token = ground.kubectl("create", "token", name, f"--namespace={NAME}").stdout.strip()
    config = yaml.safe_load(ground.cluster.kubeconfig().read_text())
    config["users"] = [{"name": "account", "user": {"token": token}}]
    config["contexts"][0]["context"]["user"] = "account"
    path = ground.cluster.directory / f"{name}.kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


LIST: Final = ("--verb=list", "--resource=services")
PROXY: Final = ("--verb=get", "--resource=services/proxy", f"--resource-name={NAME}:console")
SECRET: Final = ("--verb=get", "--resource=secrets", f"--resource-name={NAME}")


def run_what_is_advised(ground: Ground, message: str) -> None:
    """Run the commands that a message puts between backquotes."""
    for command in message.split("`")[1::2]:
        program, *arguments = command.split()
        assert program == "kubectl"
        ground.kubectl(*arguments)


def test_who_may_look_for_nothing_is_told_what_to_say(ground: Ground, shop: str) -> None:
    kubeconfig = account(ground, "nobody")

    done = witness(ground, "entries", "list", "-n", shop, kubeconfig=kubeconfig)

    assert done.returncode == 1
    assert "may not list services in all namespaces" in done.stderr
    assert "--witness-namespace and --release" in done.stderr


def test_the_commands_that_a_message_names_grant_what_is_missing(ground: Ground, shop: str) -> None:
    kubeconfig = account(ground, "newcomer")
    where = ("--witness-namespace", NAME, "--release", NAME)
    command = ("entries", "list", "-n", shop, "--limit", "1", "-o", "json", *where)

    no_way = witness(ground, *command, kubeconfig=kubeconfig)
    assert no_way.returncode == 1
    assert f"may not get services/proxy in the namespace {NAME}" in no_way.stderr
    run_what_is_advised(ground, no_way.stderr)

    no_token = witness(ground, *command, kubeconfig=kubeconfig)
    assert no_token.returncode == 1
    assert f"may not get the Secret {NAME}/{NAME}, which holds the console's token" in no_token.stderr
    run_what_is_advised(ground, no_token.stderr)

    allowed = witness(ground, *command, kubeconfig=kubeconfig)
    assert (allowed.returncode, allowed.stderr) == (0, "")
    assert len(json.loads(allowed.stdout)) == 1


def test_a_token_in_a_file_does_without_the_secret(ground: Ground, release: Release, shop: str, tmp_path: Path) -> None:
    kubeconfig = account(ground, "holder", LIST, PROXY)
    token = tmp_path / "token"
    token.write_text(release.token)
    command = ("entries", "list", "-n", shop, "--limit", "1", "--witness-namespace", NAME)

    done = witness(ground, *command, "--token-file", str(token), kubeconfig=kubeconfig)

    assert (done.returncode, done.stderr) == (0, "")


def test_words_are_completed_from_the_cluster(ground: Ground, shop: str) -> None:
    given = environment(ground, ground.cluster.kubeconfig())
    asking = {"_KUBECTL_WITNESS_COMPLETE": "complete_bash", "COMP_CWORD": "2"}
    line = {"COMP_WORDS": "kubectl-witness history deployment/w"}

    done = subprocess.run([PLUGIN], env={**given, **asking, **line}, capture_output=True, text=True, check=False)

    assert "deployment/web" in done.stdout.split()
    assert done.stderr == ""


def test_without_a_cluster_a_completion_is_silent(tmp_path: Path) -> None:
    asking = {"_KUBECTL_WITNESS_COMPLETE": "complete_bash", "COMP_CWORD": "2", "PATH": os.defpath}
    line = {"COMP_WORDS": "kubectl-witness history deployment/w", "HOME": str(tmp_path)}

    done = subprocess.run([PLUGIN], env={**asking, **line}, capture_output=True, text=True, check=False)

    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_kubectl_finds_the_plugin(ground: Ground) -> None:
    given = environment(ground, ground.cluster.kubeconfig())
    assert shutil.which("kubectl-witness", path=given["PATH"]) == str(PLUGIN)

    done = witness(ground, "history", "--help")

    assert done.stdout.startswith("Usage: kubectl witness history")
    assert "\n  kubectl witness history deployment/web -n shop\n" in done.stdout


def test_kubectl_completes_by_the_script_of_the_guide(ground: Ground, shop: str, tmp_path: Path) -> None:
    (script,) = re.findall(r"```sh\n(.*?)```", (ROOT / "docs/terminal.md").read_text("utf-8"), re.DOTALL)
    program = tmp_path / "kubectl_complete-witness"
    program.write_text(script)
    program.chmod(0o755)
    given = environment(ground, ground.cluster.kubeconfig())
    given["PATH"] = f"{tmp_path}{os.pathsep}{given['PATH']}"

    def completed(*line: str) -> list[str]:
        command = [str(ground.cluster.programs.kubectl), "__complete", "witness", *line]
        return subprocess.run(command, env=given, capture_output=True, text=True, check=False).stdout.splitlines()

    assert completed("history", "deployment/w") == ["deployment/web", ":4"]
    assert completed("entries", "list", "-n", shop[:10]) == [shop, ":4"]
    assert {"list", "show", "tail"} <= set(completed("entries", ""))
