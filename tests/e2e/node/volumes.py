"""The volumes of a Pod, as folders of this machine that follow what they show."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.e2e.node.api import Api
from tests.e2e.node.sources import MissingError, Sources
from tests.e2e.servers import Document

SHOWN: Final = ("configMap", "secret", "projected", "downwardAPI")
"""Kinds of volumes that show something, and that nobody may write."""

FILE_MODE: Final = 0o644
GROUP_READS: Final = 0o440
GROUP_WRITES: Final = 0o2770


@dataclass(frozen=True, slots=True)
class File:
    """What a file of a volume shall be."""

    content: bytes
    mode: int


class Volumes:
    """The folders of one Pod's volumes, by the volumes' names."""

    def __init__(self, directory: Path, claims: Path, sources: Sources, api: Api) -> None:
        self._directory = directory
        self._claims = claims
        self._sources = sources
        self._api = api
        spec = sources.pod["spec"]
        self._volumes: list[Document] = spec.get("volumes") or []
        self._group: int | None = (spec.get("securityContext") or {}).get("fsGroup")
        self._folders: dict[str, Path] = {}

    def folder(self, name: str) -> Path:
        """Return where a volume is."""
        return self._folders[name]

    def is_shown(self, name: str) -> bool:
        """Whether a volume is read-only by its kind."""
        return any(kind in volume for volume in self._volumes if volume["name"] == name for kind in SHOWN)

    async def make(self) -> None:
        """Make every folder; raises MissingError where something that it shows is not there yet."""
        for volume in self._volumes:
            self._folders[volume["name"]] = await self._folder(volume)

    async def follow(self) -> None:
        """Bring the volumes that show something up to date; what has vanished stays as it was."""
        for volume in self._volumes:
            try:
                if self.is_shown(volume["name"]):
                    await self._folder(volume)
            except MissingError:
                continue

    async def _folder(self, volume: Document) -> Path:
        if "persistentVolumeClaim" in volume:
            return await self._claim(volume["persistentVolumeClaim"]["claimName"])
        folder = self._directory / str(volume["name"])
        if "emptyDir" in volume:
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o777)
            _give(folder, self._group)
        elif any(kind in volume for kind in SHOWN):
            write(folder, await self._files(volume), self._group)
        else:
            raise MissingError(f"the tests' node has no volumes like {volume}")
        return folder

    async def _claim(self, name: str) -> Path:
        claim = await self._api.get(f"/api/v1/namespaces/{self._sources.namespace}/persistentvolumeclaims/{name}")
        if claim is None or claim["status"].get("phase") != "Bound":
            raise MissingError(f'persistentvolumeclaim "{name}" is not bound')
        folder = self._claims / str(claim["metadata"]["uid"])
        # As a fresh disk: root's alone, but for the group that the Pod names.
        folder.mkdir(parents=True, exist_ok=True, mode=0o755)
        _give(folder, self._group)
        return folder

    async def _files(self, volume: Document) -> dict[str, File]:
        if "projected" in volume:
            mode = volume["projected"].get("defaultMode", FILE_MODE)
            files: dict[str, File] = {}
            for source in volume["projected"]["sources"]:
                files |= await self._shown(source, mode)
            return files
        shown = next(volume[kind] for kind in SHOWN if kind in volume)
        return await self._shown(volume, shown.get("defaultMode", FILE_MODE))

    async def _shown(self, source: Document, mode: int) -> dict[str, File]:
        if "serviceAccountToken" in source:
            projection = source["serviceAccountToken"]
            return {projection["path"]: File(await self._sources.token(projection), mode)}
        if "downwardAPI" in source:
            items = source["downwardAPI"].get("items") or []
            return {item["path"]: File(self._field(item), item.get("mode", mode)) for item in items}
        if "configMap" in source:
            return _picked(await self._sources.config_map(source["configMap"]), source["configMap"], mode)
        return _picked(await self._sources.secret(source["secret"]), source["secret"], mode)

    def _field(self, item: Document) -> bytes:
        return self._sources.field(item["fieldRef"]["fieldPath"]).encode()


def _picked(data: Mapping[str, bytes], reference: Document, mode: int) -> dict[str, File]:
    if "items" not in reference:
        return {key: File(content, mode) for key, content in data.items()}
    wanted = [item for item in reference["items"] if item["key"] in data or not reference.get("optional")]
    try:
        return {item["path"]: File(data[item["key"]], item.get("mode", mode)) for item in wanted}
    except KeyError as error:
        raise MissingError(f"references non-existent secret or config key: {error.args[0]}") from None


def write(folder: Path, files: Mapping[str, File], group: int | None = None) -> None:
    """Let a folder have these files, all at once, as a kubelet does: `..data` is a link that is swapped.

    A folder that has them already stays as it is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    current = folder / "..data"
    if current.exists() and _contents(current) == {name: file.content for name, file in files.items()}:
        return
    fresh = folder / f"..{time.time_ns()}"
    fresh.mkdir()
    for name, file in files.items():
        _write(fresh / name, file, group)
    before = current.resolve() if current.is_symlink() else None
    _swap(folder, fresh)
    _link(folder, files)
    if before is not None:
        shutil.rmtree(before)


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _write(path: Path, file: File, group: int | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(file.content)
    path.chmod(file.mode if group is None else file.mode | GROUP_READS)
    if group is not None:
        os.chown(path, 0, group)


def _swap(folder: Path, fresh: Path) -> None:
    link = folder / "..data_tmp"
    link.symlink_to(fresh.name)
    link.replace(folder / "..data")


def _link(folder: Path, files: Mapping[str, File]) -> None:
    wanted = {name.partition("/")[0] for name in files}
    present = {path.name for path in folder.iterdir() if not path.name.startswith("..")}
    for name in wanted - present:
        (folder / name).symlink_to(f"..data/{name}")
    for name in present - wanted:
        (folder / name).unlink()


def _give(folder: Path, group: int | None) -> None:
    """Let the group of a Pod write a volume and all that is in it."""
    if group is None:
        return
    for path in (folder, *folder.rglob("*")):
        os.chown(path, -1, group)
        path.chmod(path.stat().st_mode | (GROUP_WRITES if path.is_dir() else 0o660))
