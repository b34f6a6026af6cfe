"""The real helm, run on the chart of this checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec
import yaml

from app.cli.controlplane import DEFAULT_FOLDER

ROOT: Final = Path(__file__).parents[2]
CHART: Final = ROOT / "deploy" / "chart"
RELEASE: Final = "kubewitness"
NAMESPACE: Final = "kubewitness"

Document: TypeAlias = dict[str, Any]


class HelmError(Exception):
    """Helm refused; the message is what it printed."""


@dataclass(frozen=True, slots=True)
class Helm:
    """A helm that knows no cluster but the one that it is given, and no configuration of the user."""

    program: Path
    home: Path

    @classmethod
    def find(cls, folder: Path | None, home: Path) -> Helm | None:
        """Find it in the folder of the control plane, or else in the PATH."""
        place = (folder or DEFAULT_FOLDER).expanduser()
        found = shutil.which(place / "helm") or shutil.which("helm")
        return cls(Path(found), home) if found else None

    def run(self, *arguments: str, stdin: str = "", kubeconfig: Path | None = None, timeout: float = 50) -> str:
        """Return what it printed; raises HelmError."""
        environment = {"HOME": str(self.home), "PATH": os.defpath}
        if kubeconfig is not None:
            environment["KUBECONFIG"] = str(kubeconfig)
        done = subprocess.run(
            [str(self.program), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
            env=environment,
        )
        if done.returncode:
            raise HelmError(done.stderr + done.stdout)
        return done.stdout

    def template(
        self,
        values: Mapping[str, Any] | None = None,
        *,
        namespace: str = NAMESPACE,
        release: str = RELEASE,
        kube_version: str = "1.34.0",
        api_versions: Sequence[str] = (),
        options: Sequence[str] = (),
    ) -> list[Document]:
        """Return the objects that the chart makes of these values, in an imagined cluster; raises HelmError."""
        versions = [f"--api-versions={version}" for version in api_versions]
        printed = self.run(
            "template",
            release,
            str(CHART),
            f"--namespace={namespace}",
            f"--kube-version={kube_version}",
            "--values=-",
            *versions,
            *options,
            stdin=msgspec.json.encode(dict(values or {})).decode(),
        )
        # The loader in C takes a tenth of the time.
        return [document for document in yaml.load_all(printed, yaml.CSafeLoader) if document]


def one(documents: Sequence[Document], kind: str, name: str | None = None) -> Document:
    """Return the only object of a kind (and name)."""
    found = [each for each in documents if each["kind"] == kind and name in (None, each["metadata"]["name"])]
    assert len(found) == 1, f"{len(found)} of {kind} {name or ''}: {[each['metadata']['name'] for each in found]}"
    return found[0]
