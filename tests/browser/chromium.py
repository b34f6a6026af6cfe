"""Debian's Chromium, driven by the scripts beside this file; each ends with the list of what went wrong."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec
from pydantic_settings import BaseSettings, SettingsConfigDict

from tests.e2e.environment import do_without

HERE: Final = Path(__file__).parent
LOCK: Final = HERE / "package-lock.json"
PATIENCE_SECONDS: Final = 600.0


def pictures(name: str) -> Path:
    """Return an empty folder for what pages look like: build output, kept until the next run."""
    folder = HERE.parents[1] / "build" / "screenshots" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class Environment(BaseSettings):
    """`BROWSER_MODULES` is a folder whose `node_modules` has playwright-core and axe-core."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    browser_modules: Path | None = None


def _modules() -> Path:
    """Return where the npm packages are: what `.ci/browser` made for the lock file as it is."""
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]
    return Environment().browser_modules or Path.home() / ".cache" / "kubewitness" / f"browser-{digest}"


@dataclass(frozen=True, slots=True)
class Chromium:
    """A browser that can be started: every script gets one of its own."""

    node: str
    program: str
    modules: Path

    @classmethod
    def find(cls) -> Self:
        """Return the browser of this machine; without one, tests are skipped, or fail where all must be there."""
        node, program, modules = shutil.which("node"), shutil.which("chromium"), _modules()
        if node is None or program is None or not (modules / "node_modules" / "playwright-core").is_dir():
            do_without("there is no Node.js, Chromium, playwright-core or axe-core; run .ci/browser")
        return cls(node, program, modules)

    def run(self, base: str, script: str, *arguments: str) -> Script:
        """Start a script on the console at `base`."""
        command = [self.node, str(HERE / script), str(self.modules), self.program, base, *arguments]
        return Script(command)


class Script:
    """A script that runs; ended with its `with` block, and after a few minutes in any case."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._watchdog = threading.Timer(PATIENCE_SECONDS, self._process.kill)
        self._watchdog.daemon = True

    def __enter__(self) -> Self:
        self._watchdog.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._watchdog.cancel()
        # Not killed at once: the script closes its browser when nobody speaks to it any more.
        self._process.communicate()

    def tell(self, word: str) -> None:
        """Say something that the script waits for."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()

    def heard(self) -> Any:
        """Wait for the next thing that the script says."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the script ended without a word"
        return msgspec.json.decode(line)

    def ready(self) -> None:
        """Wait until the script is where something must happen."""
        word = self.heard()
        assert word == "ready", word

    def troubles(self) -> list[str]:
        """Wait for the end; return what went wrong."""
        found = self.heard()
        assert isinstance(found, list), found
        return [str(each) for each in found]
