"""docker-compose.yml is valid, and what it says of its services fits together."""

from __future__ import annotations

import re
from typing import Any, Final

import jsonschema_rs
import msgspec
import pytest
import yaml

from app.config.file import load
from app.settings import Settings
from tests.dockerfile import ROOT

SCHEMA: Final = ROOT / "tests/data/compose-spec.json"
"""schema/compose-spec.json of github.com/compose-spec/compose-spec at 170098ba07d9 (Apache-2.0), unchanged."""

FOLDER: Final = ROOT / "deploy/compose"
COMPOSE: Final[dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
SERVICES: Final[dict[str, dict[str, Any]]] = COMPOSE["services"]
OWN: Final = sorted(name for name, service in SERVICES.items() if service["image"].startswith("kubewitness:"))
ONE_SHOT: Final = {"certificates", "register"}


def waits() -> list[tuple[str, str, str]]:
    """Return who waits for whom to be what."""
    return [
        (name, other, how["condition"])
        for name, service in SERVICES.items()
        for other, how in service.get("depends_on", {}).items()
    ]


def mounts() -> list[str]:
    return [mount for service in SERVICES.values() for mount in service.get("volumes", ())]


def webhook() -> dict[str, Any]:
    (found,) = yaml.safe_load((FOLDER / "webhook.yaml").read_text("utf-8"))["webhooks"]
    return dict(found)


def test_the_file_is_what_the_compose_specification_allows() -> None:
    jsonschema_rs.validator_for(msgspec.json.decode(SCHEMA.read_bytes())).validate(COMPOSE)


def test_a_misspelt_key_would_be_seen() -> None:
    misspelt = COMPOSE | {"services": {"auditor": {"image": "x", "read_onyl": True}}}

    with pytest.raises(jsonschema_rs.ValidationError, match="read_onyl"):
        jsonschema_rs.validator_for(msgspec.json.decode(SCHEMA.read_bytes())).validate(misspelt)


def test_services_wait_for_what_can_happen() -> None:
    healthy = {other for _, other, condition in waits() if condition == "service_healthy"}
    ended = {other for _, other, condition in waits() if condition == "service_completed_successfully"}

    assert ended == ONE_SHOT
    assert healthy <= {name for name, service in SERVICES.items() if "healthcheck" in service}
    assert not ended & {name for name, service in SERVICES.items() if "healthcheck" in service}


def test_images_have_exact_versions_and_one_service_builds_ours() -> None:
    assert OWN == ["auditor", "certificates", "receiver", "watcher"]
    assert {service["image"] for service in SERVICES.values()} - {"kubewitness:compose"} == {SERVICES["k3s"]["image"]}
    assert re.search(r"/k3s:v1\.\d+\.\d+-k3s\d+$", SERVICES["k3s"]["image"])
    assert [name for name, service in SERVICES.items() if "build" in service] == ["certificates"]
    assert {SERVICES[name]["pull_policy"] for name in OWN} == {"never"}


def test_every_volume_is_declared_and_used_and_every_folder_exists() -> None:
    used = {mount.split(":")[0] for mount in mounts()}
    folders = {source for source in used if source.startswith("./")}

    assert used - folders == set(COMPOSE["volumes"])
    assert all((ROOT / folder).is_dir() for folder in folders)
    assert all(mount.endswith(":ro") for mount in mounts() if mount.startswith("./"))


@pytest.mark.parametrize("name", [*OWN, "register"])
def test_services_can_do_nothing_that_they_need_not(name: str) -> None:
    service = SERVICES[name]

    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_nothing_has_privileges_or_is_reached_from_outside() -> None:
    assert not [
        name for name, service in SERVICES.items() if service.keys() & {"privileged", "cap_add", "ports", "pid"}
    ]


def test_a_service_has_the_time_to_end_that_the_program_takes() -> None:
    settings = Settings()
    needed = settings.drain_seconds + settings.flush_seconds

    assert all(int(SERVICES[name]["stop_grace_period"].removesuffix("s")) > needed for name in ("auditor", "watcher"))


def test_both_programs_read_a_configuration_that_tells_the_receiver() -> None:
    config = load(FOLDER / "kubewitness.yaml", {})
    port, address = SERVICES["receiver"]["command"][0], (FOLDER / "kubewitness.yaml").read_text("utf-8")

    assert len(config.custom_playbooks) == 2
    assert f"http://receiver:{port}/" in address
    assert all(
        "--config=/etc/kubewitness/compose/kubewitness.yaml" in SERVICES[name]["command"]
        for name in ("auditor", "watcher")
    )


def test_the_webhook_leads_to_the_auditor_and_waits_longer_than_a_commit() -> None:
    settings = Settings()

    assert webhook()["clientConfig"] == {"url": f"https://auditor:{settings.admission_port}/validate"}
    assert webhook()["timeoutSeconds"] > settings.commit_budget_seconds
    assert "auditor" in SERVICES["certificates"]["command"]
    assert webhook()["failurePolicy"] == "Ignore"
