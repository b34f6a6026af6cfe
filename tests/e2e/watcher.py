"""`kubewitness watch` as a child process, with the permissions that it needs in a cluster and no others."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml
from typing_extensions import override

from app.cli.controlplane import ControlPlane
from app.store.encoding import inflated
from tests.e2e.program import Program
from tests.e2e.servers import Document, Hook
from tests.e2e.webhooks import eventually

TAKEOVER_TIMEOUT: Final = timedelta(seconds=45)

NAMESPACE: Final = "kubewitness"
"""Where the watcher's service account and its Leases are."""

PLAYBOOK: Final = """
customPlaybooks:
- triggers:
  - on_job_failure: {}
  actions:
  - create_finding:
      title: "Job Failed"
      aggregation_key: "job_failure"
  - job_info_enricher: {}
  - job_events_enricher: {}
  - job_pod_enricher: {}
"""
"""The tutorial's second playbook; without `sinks` it reaches all of them."""

TUTORIAL: Final = f"""{PLAYBOOK.rstrip()}
  sinks:
  - some_sink_name
"""

GUIDE: Final = Path(__file__).parents[2] / "docs" / "by-hand.md"


def promised_rules(kind: str) -> list[Document]:
    """Return the rules of the (Cluster)Role that the guide says the watcher needs."""
    blocks = re.findall(r"^```yaml\n(.*?)^```$", GUIDE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    documents = [each for block in blocks if "kind: ClusterRole\n" in block for each in yaml.safe_load_all(block)]
    (rules,) = [each["rules"] for each in documents if each["kind"] == kind]
    return list(rules)


class Watcher(Program):
    """`kubewitness watch` with the file sink `everything` and a webhook sink called `hook`.

    Watchers with the same `lease` are replicas of each other. Ready means that the Jobs of before are known.
    """

    def __init__(
        self,
        directory: Path,
        cluster: ControlPlane,
        kubeconfig: Path,
        hook: Hook,
        *,
        lease: str = "kubewitness-watcher",
        sink: str = "hook",
        playbooks: str = PLAYBOOK,
        options: Sequence[str] = (),
    ) -> None:
        super().__init__(directory, f"- webhook_sink: {{name: {sink}, url: '{hook.url}'}}\n{playbooks}")
        self.hook = hook
        self.lease = lease
        self._cluster = cluster
        self._options = [f"--kubeconfig={kubeconfig}", f"--lease-name={lease}", *options]

    @override
    def start(self) -> None:
        super().start()
        record = ("get", "leases", f"--namespace={NAMESPACE}", f"{self.lease}-failed-jobs")
        eventually(lambda: not self._cluster.kubectl(*record, check=False).returncode, "the record of failed Jobs")

    def until_leading(self) -> None:
        """Return when this replica tells; a leader that was killed has its Lease for 15 s more."""
        self._processes.wait_until(
            lambda: "this replica tells" in self.get("/readyz").text, "leadership", timeout=TAKEOVER_TIMEOUT
        )

    def failures(self, **filters: str) -> list[Document]:
        """Return the entries of failed Jobs, newest first."""
        return self.entries(operation="FAILED", kind="Job", **filters)

    def hooked(self, uid: str) -> list[Document]:
        """Return what the webhook sink was told about a Job."""
        return [each for each in self.hook.notifications() if each["entry"]["resource"]["uid"] == uid]

    def telling(self, uid: str) -> Document:
        """Wait until both sinks and the ledger have a failed Job, once each; return what they were told."""
        eventually(lambda: self.hooked(uid) and self._written(uid), f"Job {uid} is told")
        (written,), (hooked,) = self._written(uid), self.hooked(uid)
        (entry,) = [each for each in self.failures() if each["resource"]["uid"] == uid]
        assert written["finding"] == hooked["finding"]
        assert written["entry"]["id"] == hooked["entry"]["id"] == entry["id"]
        assert len(entry["findings"]) == 1
        return written

    def until_held(self, text: str) -> None:
        """Return when the journal holds evidence with this text."""
        eventually(lambda: text.encode() in self.rows("evidence"), f"evidence with {text!r}")

    def rows(self, table: str) -> bytes:
        """Return what stands in the rows of a table of the journal, none of it compressed."""
        with closing(sqlite3.connect(self.data / "journal.db")) as journal:
            return b"\n".join(inflated(body) for (body,) in journal.execute(f"SELECT body FROM {table}"))

    def _written(self, uid: str) -> list[Document]:
        return [each for each in self.told() if each["entry"]["resource"]["uid"] == uid]

    @override
    def _arguments(self) -> Sequence[str]:
        return ["watch", *self._common(), *self._options]


class Account:
    """A service account that may do what it is granted; its kubeconfig has its token."""

    def __init__(self, cluster: ControlPlane, name: str) -> None:
        self.name = name
        self._cluster = cluster

    def grant(self, *, without: str = "", any_lease: bool = True) -> Path:
        """Make the account with the guide's rules, but for one resource; return its kubeconfig.

        With `any_lease` its Leases may have any name, so that several watchers can use it.
        """
        cluster_wide = [rule for rule in promised_rules("ClusterRole") if without not in rule["resources"]]
        dropped = {"resourceNames"} if any_lease else set()
        own = [{key: rule[key] for key in rule.keys() - dropped} for rule in promised_rules("Role")]
        documents = [
            _object("v1", "ServiceAccount", self.name),
            _object("rbac.authorization.k8s.io/v1", "ClusterRole", self.name, rules=cluster_wide),
            _object("rbac.authorization.k8s.io/v1", "Role", self.name, rules=own),
            self._binding("ClusterRoleBinding", "ClusterRole"),
            self._binding("RoleBinding", "Role"),
        ]
        items = {"apiVersion": "v1", "kind": "List", "items": documents}
        self._cluster.kubectl("apply", "-f", "-", stdin=msgspec.json.encode(items).decode())
        return self._kubeconfig()

    def _binding(self, kind: str, role: str) -> Document:
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": role, "name": self.name}
        subject = {"kind": "ServiceAccount", "name": self.name, "namespace": NAMESPACE}
        return _object("rbac.authorization.k8s.io/v1", kind, self.name, roleRef=reference, subjects=[subject])

    def _kubeconfig(self) -> Path:
        document = msgspec.json.decode(self._cluster.kubeconfig().read_bytes())
        document["users"] = [{"name": self.name, "user": {"token": self._token()}}]
        document["contexts"][0]["context"] |= {"user": self.name, "namespace": NAMESPACE}
        path = self._cluster.directory / f"{self.name}.kubeconfig"
        path.write_bytes(msgspec.json.encode(document))
        return path

    def _token(self) -> str:
        path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{self.name}/token"
        with self._cluster.client() as client:
            answer = client.post(path, json={"spec": {"expirationSeconds": 3600}}).raise_for_status()
        return str(answer.json()["status"]["token"])


def _object(version: str, kind: str, name: str, **fields: Any) -> Document:
    metadata = {"name": name} if kind.startswith("Cluster") else {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **fields}


def text_of(notification: Document) -> str:
    """Return everything that a finding shows, for looking for words in it."""
    return str(msgspec.json.encode(notification["finding"]).decode())


def table(notification: Document, title: str) -> list[list[str]]:
    """Return the rows of the table with this title."""
    blocks = notification["finding"]["blocks"]
    (found,) = [each for each in blocks if each["type"] == "table" and each["title"] == title]
    rows: list[list[str]] = found["rows"]
    return rows


def logs(notification: Document) -> dict[str, str]:
    """Return the logs that are attached, by the name of their file."""
    blocks = notification["finding"]["blocks"]
    return {each["name"]: each["content"] for each in blocks if each["type"] == "file"}
