"""How a container is started: its command, with everything that its spec says about where and as whom it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.node import environment
from tests.e2e.node.image import Image, image
from tests.e2e.node.root import Mount, script
from tests.e2e.node.sandbox import Sandbox
from tests.e2e.node.sources import MissingError, Sources
from tests.e2e.node.volumes import Volumes
from tests.e2e.servers import Document


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What the containers of a Pod have in common; `changed` is called whenever a status is another one."""

    directory: Path
    sandbox: Sandbox
    sources: Sources
    volumes: Volumes
    service_variables: Callable[[], dict[str, str]]
    changed: Callable[[], None]

    @property
    def spec(self) -> Document:
        """The Pod's spec."""
        spec: Document = self.sources.pod["spec"]
        return spec


@dataclass(frozen=True, slots=True)
class Launch:
    """What starts one container of a Pod."""

    shared: Shared
    spec: Document

    @property
    def message(self) -> Path:
        """Where the container may leave a word on its end."""
        return self.shared.directory / f"{self.spec['name']}.message"

    async def variables(self) -> Mapping[str, str]:
        """Return its environment; raises MissingError."""
        given = await environment.variables(self.spec, self.shared.sources, self.shared.service_variables())
        name = self.shared.sources.field("metadata.name")
        basic = {"HOME": "/root" if self._user == 0 else "/", "HOSTNAME": name}
        return {**basic, **self._image.environment, **given}

    def command(self, variables: Mapping[str, str]) -> tuple[str, ...]:
        """Return the command that starts it, with a file system of its own; raises MissingError."""
        shared, name = self.shared, self.spec["name"]
        root, made = shared.directory / f"{name}.root", shared.directory / f"{name}.sh"
        root.mkdir(exist_ok=True)
        self.message.write_bytes(b"")
        self.message.chmod(0o666)
        read_only = bool(self._security.get("readOnlyRootFilesystem"))
        made.write_text(script(root, paths=self._image.paths, mounts=self._mounts(), read_only=read_only))
        inside = (*self.privileges(variables), *self._arguments(variables))
        return (*shared.sandbox.enter(), "unshare", "--mount", "sh", str(made), *inside)

    def privileges(self, variables: Mapping[str, str]) -> tuple[str, ...]:
        """Return the beginning of a command that runs the rest as the container's user; raises MissingError."""
        security = self._security
        if security.get("runAsNonRoot") and self._user == 0:
            raise MissingError("container has runAsNonRoot and image will run as root")
        group = security.get("runAsGroup", self._image.user)
        groups = [security["fsGroup"]] if "fsGroup" in security else []
        groups += security.get("supplementalGroups") or []
        directory = self.spec.get("workingDir")
        return (
            *("setpriv", f"--reuid={self._user}", f"--regid={group}"),
            f"--groups={','.join(map(str, groups))}" if groups else "--clear-groups",
            *("--bounding-set=-all", "--inh-caps=-all"),
            *(("--no-new-privs",) if security.get("allowPrivilegeEscalation") is False else ()),
            *("env", "-i", *((f"--chdir={directory}",) if directory else ())),
            *(f"{name}={value}" for name, value in variables.items()),
        )

    def _arguments(self, variables: Mapping[str, str]) -> list[str]:
        command = self.spec.get("command") or [*self._image.entrypoint]
        arguments = self.spec.get("args") or ([] if self.spec.get("command") else [*self._image.command])
        return [environment.expanded(each, variables) for each in (*command, *arguments)]

    def _mounts(self) -> Sequence[Mount]:
        volumes = self.shared.volumes
        mounts = [
            Mount(source=self.shared.directory / "hosts", target="/etc/hosts"),
            Mount(source=self.message, target=self.spec.get("terminationMessagePath", "/dev/termination-log")),
        ]
        for mount in self.spec.get("volumeMounts") or []:
            # What a link shows now, as a kubelet: such a mount does not follow its source.
            source = (volumes.folder(mount["name"]) / mount.get("subPath", "")).resolve()
            read_only = mount.get("readOnly", False) or volumes.is_shown(mount["name"])
            mounts.append(Mount(source=source, target=mount["mountPath"], read_only=read_only))
        return mounts

    @property
    def _image(self) -> Image:
        return image(self.spec["image"])

    @property
    def _security(self) -> Document:
        pod, own = self.shared.spec.get("securityContext") or {}, self.spec.get("securityContext") or {}
        return {**pod, **own}

    @property
    def _user(self) -> int:
        return int(self._security.get("runAsUser", self._image.user))
