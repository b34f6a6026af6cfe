"""The Dockerfile makes what it promises, as far as can be seen without building it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import requires
from pathlib import Path
from typing import Final

import pytest
from packaging.requirements import Requirement

from app import __version__
from app.settings import Settings
from tests.dockerfile import DOCKERFILE, ROOT, Instruction, dockerignore, environment, ignored, instructions, stages

TEXT: Final = DOCKERFILE.read_text("utf-8")
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
BUILD, FINAL = stages(TEXT)
USER: Final = "65532:65532"


def texts(keyword: str, stage: list[Instruction]) -> list[str]:
    return [each.text for each in stage if each.keyword == keyword]


def commands() -> list[str]:
    return [command.strip() for text in texts("RUN", BUILD + FINAL) for command in text.split(";")]


def sources() -> list[str]:
    copied = [each for each in BUILD + FINAL if each.keyword == "COPY" and "--from=" not in each.text]
    return [source for each in copied for source in each.words[:-1]]


def program_files() -> set[str]:
    paths = (path for path in (ROOT / "app").rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {str(path.relative_to(ROOT)) for path in paths}


def closure(name: str) -> set[str]:
    """Return the names of a distribution and of all that it needs on this machine."""
    needed = (Requirement(line) for line in requires(name) or ())
    wanted = [each.name for each in needed if each.marker is None or each.marker.evaluate()]
    return {name}.union(*map(closure, wanted))


def test_continued_lines_are_one_instruction_and_comments_are_none() -> None:
    assert instructions("# a\nRUN x; \\\n# b\n    y\n\nUSER 1\n") == [
        Instruction("RUN", "x; y"),
        Instruction("USER", "1"),
    ]


@pytest.mark.parametrize(
    ("path", "verdict"),
    [
        ("secret", True),
        ("app", False),
        ("app/cli/demo.yaml", False),
        ("app/__pycache__/a.py", True),
        ("app/a.pyc", True),
        ("deploy/app", True),
    ],
)
def test_the_last_pattern_that_matches_decides_what_the_builder_gets(path: str, verdict: bool) -> None:
    assert ignored(path, ["*", "!app", "**/__pycache__", "**/*.py[co]"]) is verdict


def test_both_stages_have_the_same_base_of_an_exact_version_that_the_project_supports() -> None:
    (base,) = (each.text for each in instructions(TEXT) if each.text.startswith("BASE="))
    version = re.fullmatch(r"BASE=python:(\d\.\d+)\.\d+-slim-[a-z]+", base)

    assert version
    assert f"Programming Language :: Python :: {version[1]}" in PROJECT["project"]["classifiers"]
    assert [stage[0].words[0] for stage in (BUILD, FINAL)] == ["${BASE}", "${BASE}"]


def test_everything_that_is_copied_exists_and_reaches_the_builder() -> None:
    patterns = dockerignore()

    assert sources()
    assert all((ROOT / source).exists() and not ignored(source, patterns) for source in sources())
    assert not [path for path in program_files() if ignored(path, patterns)]


@pytest.mark.parametrize(
    "path", [".git/config", ".venv/bin/python", "certs/ca.key", ".demo/certs/ca.key", "data/journal.db"]
)
def test_nothing_else_reaches_the_builder(path: str) -> None:
    assert ignored(path, dockerignore())


def test_nothing_comes_from_the_network_but_what_hashes_or_signatures_vouch_for() -> None:
    installing = [command for command in commands() if re.search(r"\bpip\b.* install\b", command)]

    assert installing
    assert all("--require-hashes" in command or "--no-index" in command for command in installing)
    assert not re.search(r"^ADD|\b(curl|wget|git clone)\b", TEXT, re.MULTILINE)


def test_a_command_that_fails_ends_the_build() -> None:
    several = [text for text in texts("RUN", BUILD + FINAL) if ";" in text]

    assert all(text.startswith("set -eu;") for text in several)
    assert not re.search(r"\|\||[^|]\|[^|]", re.sub(r"'[^']*'", "", "".join(several)))


def test_bytecode_is_made_anew_and_holds_whatever_becomes_of_the_times_of_files() -> None:
    compiling = [command for command in commands() if "compileall" in command]

    assert len(compiling) == 2
    assert all(" -f " in command and "--invalidation-mode unchecked-hash" in command for command in compiling)


def test_what_makes_the_wheel_is_pinned_with_all_that_it_needs() -> None:
    (chosen,) = re.findall(r"/\^\\\((.*?)\\\)==/", TEXT)
    (backend,) = (Requirement(line).name for line in PROJECT["build-system"]["requires"])
    lock = (ROOT / "requirements-dev.lock").read_text("utf-8")

    assert set(chosen.split(r"\|")) == closure(backend)
    assert all(re.search(rf"^{name}==\S+ \\\n    --hash=sha256:", lock, re.MULTILINE) for name in closure(backend))


def test_it_runs_as_a_user_with_a_number_and_a_name_who_owns_the_data_folder() -> None:
    (setup,) = texts("RUN", FINAL)
    folder = environment(FINAL)["KUBEWITNESS_DATA_DIR"]
    user, group = USER.split(":")

    assert texts("USER", FINAL) == [USER]
    assert f"kubewitness:x:{user}:{group}::{folder}:/usr/sbin/nologin' >> /etc/passwd;" in setup
    assert f"kubewitness:x:{group}:' >> /etc/group;" in setup
    assert f"install --directory --owner={user} --group={group} --mode=0750 {folder};" in setup
    assert texts("WORKDIR", FINAL) == [folder]


def test_it_starts_the_program_and_ends_it_as_kubernetes_does() -> None:
    settings = Settings()

    assert texts("ENTRYPOINT", FINAL) == ['["kubewitness"]']
    assert "kubewitness" in PROJECT["project"]["scripts"]
    assert texts("STOPSIGNAL", FINAL) == ["SIGTERM"]
    assert texts("EXPOSE", FINAL) == [f"{settings.console_port} {settings.admission_port}"]


def test_its_labels_say_what_the_project_says() -> None:
    (labels,) = texts("LABEL", FINAL)
    project = PROJECT["project"]

    assert f'image.description="{project["description"]}"' in labels
    assert f'image.licenses="{project["license"]}"' in labels
    assert f"VERSION={__version__}" in texts("ARG", FINAL)


def test_the_wheel_holds_the_program_with_its_data(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("kubewitness-*.whl")

    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if name.startswith("app/")}

    assert held == program_files()
    assert {Path(name).suffix for name in held} >= {".py", ".sql", ".yaml", ".json"}
