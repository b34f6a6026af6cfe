"""The node of the tests runs Pods as their specs say, so that what a chart makes is tried for real."""

from __future__ import annotations

import errno
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app import __version__
from app.cli.controlplane import ControlPlaneError, Programs
from tests.e2e.node import ground as grounds
from tests.e2e.node.commands import run
from tests.e2e.node.environment import expanded
from tests.e2e.node.ground import Ground
from tests.e2e.node.image import ROOT
from tests.e2e.node.network import Network
from tests.e2e.node.yard import Yard, is_ready, only, python, server, shell
from tests.e2e.webhooks import eventually

pytestmark = pytest.mark.e2e

UNPRIVILEGED = {"runAsUser": 65532, "runAsGroup": 65532, "runAsNonRoot": True, "allowPrivilegeEscalation": False}

FOREVER = 100_000_000 + os.getpid()
"""Seconds that no other run on this machine sleeps: processes are looked for everywhere."""


@pytest.fixture
def yard(ground: Ground, numbers: Iterator[int]) -> Yard:
    return Yard(ground, f"yard-{next(numbers)}")


def mount(name: str, path: str, **fields: str) -> dict[str, str]:
    return {"name": name, "mountPath": path, **fields}


def test_a_container_has_its_user_its_groups_and_no_rights(yard: Yard) -> None:
    script = "id -u; id -g; id -G; grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/self/status; hostname"
    container = shell(script, securityContext=UNPRIVILEGED)

    printed = yard.output("rights", container, securityContext={"fsGroup": 2000})

    nothing = f"{0:016x}"
    rights = [f"CapEff:\t{nothing}", f"CapBnd:\t{nothing}", "NoNewPrivs:\t1"]
    assert printed.splitlines() == ["65532", "65532", "65532 2000", *rights, "rights"]


def test_a_container_that_must_not_be_root_is_not_started_as_root(yard: Yard) -> None:
    yard.run("root", shell("id -u", securityContext={"runAsNonRoot": True}))

    status = yard.wait("root", lambda status: "containerStatuses" in status and refusal(status), "refused")

    assert refusal(status) == "container has runAsNonRoot and image will run as root"


def refusal(status: dict[str, object]) -> str:
    waiting = only(status)["state"].get("waiting", {})
    return str(waiting.get("message", "")) if waiting.get("reason") == "CreateContainerConfigError" else ""


def test_nothing_but_volumes_can_be_written_where_the_root_is_read_only(yard: Yard) -> None:
    script = "for path in / /tmp /etc /usr /var/lib /shared /home; do touch $path/new 2>/dev/null && echo $path; done"
    container = shell(
        f"{script}; true", securityContext={"readOnlyRootFilesystem": True}, volumeMounts=[mount("shared", "/shared")]
    )

    printed = yard.output("locked", container, volumes=[{"name": "shared", "emptyDir": {}}])

    assert printed.split() == ["/shared"]


def test_what_a_container_writes_and_sees_is_not_the_machines(yard: Yard, tmp_path: Path) -> None:
    script = f"touch /var/lib/{yard.namespace} && ls /var/lib; ls {tmp_path} 2>/dev/null || echo unseen"

    printed = yard.output("open", shell(script))

    assert printed.split() == [yard.namespace, "unseen"]
    assert not Path("/var/lib", yard.namespace).exists()


def test_a_volume_above_the_checkout_does_not_hide_the_program(yard: Yard) -> None:
    mounts = [mount("tmp", str(ROOT))]

    printed = yard.output(
        "below", python("print('runs')", volumeMounts=mounts), volumes=[{"name": "tmp", "emptyDir": {}}]
    )

    assert printed == "runs\n"


def test_init_containers_come_first_and_the_group_may_write_volumes(yard: Yard) -> None:
    mounts = [mount("shared", "/shared"), mount("disk", "/disk")]
    claim(yard, "disk")
    first = shell("sleep 0.2; echo first > /shared/file", volumeMounts=mounts, name="first")
    second = shell("cat /shared/file; touch /disk/mine && stat -c %g /disk/mine", volumeMounts=mounts)
    second["securityContext"] = UNPRIVILEGED
    volumes = [{"name": "shared", "emptyDir": {}}, {"name": "disk", "persistentVolumeClaim": {"claimName": "disk"}}]

    printed = yard.output("turns", second, initContainers=[first], volumes=volumes, securityContext={"fsGroup": 2000})

    assert printed.split() == ["first", "2000"]


def claim(yard: Yard, name: str) -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    yard.create({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec})


def test_volumes_follow_what_they_show_all_at_once(yard: Yard) -> None:
    yard.kubectl("create", "configmap", "settings", "--from-literal=a=1", "--from-literal=b=1")
    script = 'cat /all/a; until [ -e /all/c ]; do sleep 0.05; done; cat /all/*; cat /one; touch /all/d || echo " no"'
    mounts = [mount("settings", "/all"), mount("settings", "/one", subPath="a")]
    volumes = [{"name": "settings", "configMap": {"name": "settings"}}]
    yard.run("follower", shell(script, volumeMounts=mounts), volumes=volumes)
    yard.wait("follower", lambda status: status["phase"] == "Running", "runs")

    changed = '{"data": {"a": "2", "b": null, "c": "3"}}'
    eventually(lambda: yard.kubectl("logs", "follower") == "1", "the first content")
    yard.kubectl("patch", "configmap", "settings", "--patch", changed)

    yard.wait("follower", lambda status: status["phase"] == "Succeeded", "sees the change")
    assert yard.kubectl("logs", "follower").splitlines()[0].startswith("1231")
    assert yard.kubectl("logs", "follower").endswith(" no\n")


def test_secrets_have_their_items_modes_and_group(yard: Yard) -> None:
    yard.kubectl("create", "secret", "generic", "keys", "--from-literal=a=1", "--from-literal=b=2")
    volumes = [
        {
            "name": "keys",
            "secret": {"secretName": "keys", "defaultMode": 0o400, "items": [{"key": "a", "path": "x/y"}]},
        },
        {"name": "none", "secret": {"secretName": "none", "optional": True}},
    ]
    mounts = [mount("keys", "/keys"), mount("none", "/none")]
    container = shell(
        "ls /keys /none; stat -L -c '%a %g' /keys/x/y; cat /keys/x/y", volumeMounts=mounts, securityContext=UNPRIVILEGED
    )

    printed = yard.output("keys", container, volumes=volumes, securityContext={"fsGroup": 2000})

    assert printed.split() == ["/keys:", "x", "/none:", "440", "2000", "1"]


def test_a_pod_waits_for_what_it_shows(yard: Yard) -> None:
    volumes = [{"name": "late", "configMap": {"name": "late"}}]
    yard.run("patient", shell("cat /late/word", volumeMounts=[mount("late", "/late")]), volumes=volumes)
    waiting = yard.wait("patient", message, "waits")
    assert message(waiting) == 'configmap "late" not found'

    yard.kubectl("create", "configmap", "late", "--from-literal=word=come")

    yard.wait("patient", lambda status: status["phase"] == "Succeeded", "runs")
    assert yard.kubectl("logs", "patient") == "come"


def message(status: dict[str, object]) -> str:
    return str(only(status)["state"].get("waiting", {}).get("message", "")) if "containerStatuses" in status else ""


def test_variables_come_from_everywhere(yard: Yard) -> None:
    yard.kubectl("create", "configmap", "words", "--from-literal=word=hello")
    yard.kubectl("create", "secret", "generic", "keys", "--from-literal=key=open")
    yard.kubectl("create", "service", "clusterip", "my-shop", "--tcp=80:8080")
    environment = [
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "key"}}},
        {"name": "NONE", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "none", "optional": True}}},
        {"name": "BOTH", "value": "$(POD)-$(KEY)"},
    ]
    sources = [{"prefix": "THE_", "configMapRef": {"name": "words"}}]
    script = 'echo "$BOTH $THE_word ${NONE-unset} $MY_SHOP_SERVICE_HOST $ADDRESS" "$@"'
    eventually(lambda: yard.get("service", "my-shop")["spec"]["clusterIP"], "an address")
    container = shell(script, env=environment, envFrom=sources, args=["sh", "$(THE_word)", "$$(POD)", "$(UNKNOWN)"])

    printed = yard.output("names", container).split()

    shop = yard.get("service", "my-shop")["spec"]["clusterIP"]
    address = yard.get("pod", "names")["status"]["podIP"]
    assert printed == ["names-open", "hello", "unset", shop, address, "hello", "$(POD)", "$(UNKNOWN)"]


def test_an_odd_number_of_dollars_expands() -> None:
    assert expanded("$$$(A) $(B) $ $$", {"A": "1"}) == "$1 $(B) $ $"


def test_what_is_on_a_claim_survives_its_pod_and_goes_with_the_claim(yard: Yard) -> None:
    claim(yard, "disk")
    volumes = [{"name": "disk", "persistentVolumeClaim": {"claimName": "disk"}}]
    mounts = [mount("disk", "/disk")]
    yard.output("writer", shell("echo kept > /disk/file", volumeMounts=mounts), volumes=volumes)
    yard.kubectl("delete", "pod", "writer")

    assert yard.output("reader", shell("cat /disk/file", volumeMounts=mounts), volumes=volumes) == "kept\n"

    folder = Path(
        yard.get("persistentvolume", yard.get("pvc", "disk")["spec"]["volumeName"])["spec"]["hostPath"]["path"]
    )
    assert (folder / "file").exists()
    yard.kubectl("delete", "pod/reader", "pvc/disk")
    eventually(lambda: not folder.exists(), "the contents are gone")


ASK = """
import os, httpx
place = "/var/run/secrets/kubernetes.io/serviceaccount"
token = open(place + "/token").read()
host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
for url in (f"https://{host}:{port}", "https://kubernetes.default.svc"):
    headers = {"Authorization": "Bearer " + token}
    print(httpx.get(url + "/api/v1/nodes", headers=headers, verify=place + "/ca.crt").json()["message"])
"""


def test_a_pod_reaches_the_api_server_as_its_service_account(yard: Yard) -> None:
    lines = yard.output("asker", python(ASK)).splitlines()

    user = f"system:serviceaccount:{yard.namespace}:default"
    assert [line.split('"')[1] for line in lines] == [user, user]


def test_the_image_of_the_product_is_this_checkout(yard: Yard) -> None:
    container = {"name": "main", "image": "ghcr.io/someone/kubewitness:9", "args": ["--version"]}

    printed = yard.output("product", container | {"securityContext": UNPRIVILEGED | {"readOnlyRootFilesystem": True}})

    assert __version__ in printed


def test_a_command_can_be_run_in_a_pod_that_runs(yard: Yard) -> None:
    yard.run("host", server(securityContext=UNPRIVILEGED))
    yard.ready("host")

    printed = yard.ground.node.execute(yard.namespace, "host", "sh", "-c", "kubewitness --version; hostname; id -u")

    assert printed.split()[-3:] == [__version__, "host", "65532"]


def test_readiness_decides_who_is_behind_a_service(yard: Yard) -> None:
    probe = {"httpGet": {"path": "/readyz", "port": "http"}, "periodSeconds": 1, "failureThreshold": 1}
    container = server(readinessProbe=probe, volumeMounts=[mount("tmp", "/tmp")])
    volumes = [{"name": "tmp", "emptyDir": {}}]
    yard.run("late", container, volumes=volumes, labels={"app": "late"})
    address = yard.serve("late", selector={"app": "late"})
    yard.wait("late", lambda status: status["phase"] == "Running" and not is_ready(status), "runs, but is not ready")
    assert refuses(address)

    yard.ground.node.execute(yard.namespace, "late", "touch", "/tmp/ready")

    yard.ready("late")
    yard.behind("late", "late")
    assert eventually(lambda: answer(address), "an answer") == "late"
    yard.kubectl("delete", "pod", "late")
    eventually(lambda: refuses(address), "nobody listens")


def refuses(address: str) -> bool:
    with socket.socket() as client:
        return client.connect_ex((address, 80)) == errno.ECONNREFUSED


def answer(address: str) -> str:
    try:
        return httpx.get(f"http://{address}", trust_env=False).text
    except httpx.TransportError:
        return ""


def test_a_container_that_does_not_live_is_started_again(yard: Yard) -> None:
    probe = {"exec": {"command": ["test", "-e", "/tmp/alive"]}, "periodSeconds": 1, "failureThreshold": 1}
    script = "echo begin; trap 'echo told; exit 7' TERM; touch /tmp/alive; sleep 1; rm /tmp/alive; sleep 60 & wait"
    startup = {**probe, "failureThreshold": 5}
    yard.run("ill", shell(script, livenessProbe=probe, startupProbe=startup), restartPolicy="Always")

    status = yard.wait("ill", lambda status: restarts(status) == 1, "started again")

    assert only(status)["lastState"]["terminated"]["exitCode"] == 7
    assert yard.kubectl("logs", "ill", "--previous") == "begin\ntold\n"


def restarts(status: dict[str, object]) -> int:
    return int(only(status)["restartCount"]) if "containerStatuses" in status else 0


def test_a_container_that_ends_waits_longer_each_time(yard: Yard) -> None:
    script = "echo why > /dev/termination-log; exit 3"
    yard.run("crash", shell(script), restartPolicy="OnFailure")

    status = yard.wait("crash", lambda status: restarts(status) and waits(status), "waits")

    assert only(status)["lastState"]["terminated"]["message"] == "why\n"
    assert (only(status)["lastState"]["terminated"]["exitCode"], status["phase"]) == (3, "Running")
    yard.wait("crash", lambda status: restarts(status) == 2, "started again")


def waits(status: dict[str, object]) -> bool:
    return bool(only(status)["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff")


def test_a_job_fails_when_its_pods_do(yard: Yard) -> None:
    pod = {"containers": [shell("echo no; exit 4")], "restartPolicy": "Never"}
    spec = {"backoffLimit": 0, "template": {"spec": pod}}
    yard.create({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "hopeless"}, "spec": spec})

    yard.kubectl("wait", "job/hopeless", "--for=condition=Failed", "--timeout=30s")

    assert yard.kubectl("logs", "job/hopeless") == "no\n"
    (found,) = yard.get("pods", "--selector=job-name=hopeless")["items"]
    assert (found["status"]["phase"], only(found["status"])["state"]["terminated"]["exitCode"]) == ("Failed", 4)


def test_a_pod_is_told_to_end_by_its_hook_and_then_by_a_signal(yard: Yard) -> None:
    claim(yard, "diary")
    volumes = [{"name": "diary", "persistentVolumeClaim": {"claimName": "diary"}}]
    hook = {"preStop": {"exec": {"command": ["sh", "-c", "echo hook >> /diary/order"]}}}
    script = "trap 'echo signal >> /diary/order; exit 0' TERM; echo begin > /diary/order; sleep 60 & wait"
    yard.run("polite", shell(script, lifecycle=hook, volumeMounts=[mount("diary", "/diary")]), volumes=volumes)
    folder = Path(yard.get("persistentvolume", volume(yard, "diary"))["spec"]["hostPath"]["path"])
    eventually((folder / "order").exists, "begins")

    yard.kubectl("delete", "pod", "polite")

    assert (folder / "order").read_text().split() == ["begin", "hook", "signal"]


def volume(yard: Yard, name: str) -> str:
    return str(eventually(lambda: yard.get("pvc", name)["spec"].get("volumeName"), "a volume"))


def test_a_pod_that_does_not_listen_is_killed_with_all_its_children(yard: Yard) -> None:
    sleep = f"sleep {FOREVER}"
    script = f"trap '' TERM; setsid {sleep} & echo begun; {sleep}"
    yard.run("stubborn", shell(script), terminationGracePeriodSeconds=1)
    eventually(lambda: len(yard.processes(f"^{sleep}")) == 2, "two processes")

    yard.kubectl("delete", "pod", "stubborn", "--timeout=30s")

    assert not yard.processes(f"^{sleep}")


def test_a_service_spreads_connections_and_leaves_them_where_they_are(yard: Yard) -> None:
    for name in ("one", "two"):
        yard.run(name, server(linger_seconds=20), labels={"app": "web"})
    yard.ready("one", "two")
    address = yard.serve("web", "one", "two", selector={"app": "web"})
    eventually(lambda: {answer(address) for _ in range(4)} == {"one", "two"}, "both answer")
    with httpx.Client(base_url=f"http://{address}", trust_env=False) as client:
        first = client.get("/").text

        yard.kubectl("delete", "pod", first, "--wait=false")

        (other,) = {"one", "two"} - {first}
        yard.behind("web", other)
        eventually(lambda: {answer(address) for _ in range(4)} == {other}, "only the other gets new connections")
        assert client.get("/").text == first


NAMES = """
import os, socket, time
def addresses(name):
    while True:
        try:
            return sorted({found[4][0] for found in socket.getaddrinfo(name, 80, socket.AF_INET)})
        except socket.gaierror:
            time.sleep(0.05)
for name in ("web", "web." + os.environ["SPACE"], "web." + os.environ["SPACE"] + ".svc", "all", "one.all"):
    print(*addresses(name))
"""


def test_services_have_names(yard: Yard) -> None:
    for name in ("one", "two"):
        yard.run(name, server(), labels={"app": "web"}, hostname=name, subdomain="all")
    yard.ready("one", "two")
    web = yard.serve("web", "one", "two", selector={"app": "web"})
    yard.serve("all", "one", "two", selector={"app": "web"}, clusterIP="None")
    one, two = (yard.get("pod", name)["status"]["podIP"] for name in ("one", "two"))

    variable = {"name": "SPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}}
    printed = yard.output("asker", python(NAMES, env=[variable]))

    assert printed.splitlines() == [web, web, web, " ".join(sorted([one, two])), one]


def test_the_node_goes_on_after_a_restart_of_the_api_server(yard: Yard) -> None:
    yard.run("before", shell("until [ -e /tmp/end ]; do sleep 0.1; done; echo over"))
    yard.wait("before", lambda status: status["phase"] == "Running", "runs")

    yard.ground.cluster.restart_api_server()

    assert yard.output("after", shell("echo begun")) == "begun\n"
    yard.ground.node.execute(yard.namespace, "before", "touch", "/tmp/end")
    yard.wait("before", lambda status: status["phase"] == "Succeeded", "ends")


def test_pods_reach_a_port_of_the_tests(yard: Yard) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = yard.ground.node.expose(listener.getsockname()[1])
        yard.run(
            "caller",
            python("import socket, sys; socket.create_connection(sys.argv[1:]).send(b'hi')", *address.split(":")),
        )
        listener.settimeout(10)
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(10) == b"hi"


def test_networks_do_not_collide() -> None:
    with Network() as one, Network() as two:
        assert one.services != two.services
        assert one.gateway in run("ip", "-4", "-brief", "addr", "show", one.bridge)


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[str]]:
    """Another run, which prints the name of its bridge."""
    script = "import signal; from tests.e2e.node.network import Network"
    script += "\nwith Network() as network: print(network.bridge, flush=True); signal.pause()"
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
        yield running
        running.kill()


def test_the_network_of_a_run_that_was_killed_goes_before_the_next_one(stranger: subprocess.Popen[str]) -> None:
    assert stranger.stdout is not None
    bridge = stranger.stdout.readline().strip()
    with Network() as other:
        assert {bridge, other.bridge} <= bridges()
    stranger.kill()
    stranger.wait()
    assert bridge in bridges()

    with Network():
        pass

    assert bridge not in bridges()


def bridges() -> set[str]:
    return {line.split()[0] for line in run("ip", "-brief", "link", "show", "type", "bridge").splitlines()}


def test_nothing_is_left_after_the_block(programs: Programs, tmp_path: Path) -> None:
    with grounds.ground(programs, tmp_path) as own:
        yard = Yard(own, "last")
        yard.run("sleeper", shell(f"sleep {FOREVER}"), terminationGracePeriodSeconds=100)
        eventually(lambda: yard.processes(f"^sleep {FOREVER}"), "runs")
        bridge = own.network.bridge
        assert bridge in run("ip", "link")

    with pytest.raises(ControlPlaneError):
        own.kubectl("get", "pods")
    assert not yard.processes(f"^sleep {FOREVER}")
    number = re.sub(r"\D", "", bridge)
    eventually(lambda: not re.search(rf"{bridge}|kw{number}-", run("ip", "link")), "no network")
    assert str(tmp_path) not in Path("/proc/mounts").read_text()
