"""The variables of a container, and arguments that name them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from tests.e2e.node.sources import MissingError, Sources
from tests.e2e.servers import Document

REFERENCE: Final = re.compile(r"\$(?:\$|\(([^()$]+)\))")


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """Return a text with `$(NAME)` replaced; `$$` is a `$`, and what is unknown stays."""

    def value(found: re.Match[str]) -> str:
        return "$" if found[1] is None else variables.get(found[1], found[0])

    return REFERENCE.sub(value, text)


def service_variables(services: Iterable[Document]) -> dict[str, str]:
    """Return the variables that name Services, as a kubelet sets them, with those of old Docker links."""
    variables: dict[str, str] = {}
    for service in services:
        address = service["spec"].get("clusterIP", "None")
        if address not in ("", "None"):
            variables |= _service(service["metadata"]["name"], address, service["spec"]["ports"])
    return variables


def _service(name: str, address: str, ports: list[Document]) -> dict[str, str]:
    prefix = name.upper().replace("-", "_")
    first = ports[0]
    variables = {
        f"{prefix}_SERVICE_HOST": address,
        f"{prefix}_SERVICE_PORT": str(first["port"]),
        f"{prefix}_PORT": f"{first['protocol'].lower()}://{address}:{first['port']}",
    }
    for port in ports:
        if port.get("name"):
            variables[f"{prefix}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = str(port["port"])
        variables |= _link(f"{prefix}_PORT_{port['port']}_{port['protocol']}", address, port)
    return variables


def _link(prefix: str, address: str, port: Document) -> dict[str, str]:
    protocol, number = port["protocol"].lower(), str(port["port"])
    return {
        prefix: f"{protocol}://{address}:{number}",
        f"{prefix}_PROTO": protocol,
        f"{prefix}_PORT": number,
        f"{prefix}_ADDR": address,
    }


async def variables(container: Document, sources: Sources, services: Mapping[str, str]) -> dict[str, str]:
    """Return what a container's spec asks for; raises MissingError."""
    result: dict[str, str] = {}
    for each in container.get("envFrom") or []:
        data = await _all(each, sources)
        result |= {each.get("prefix", "") + key: value.decode() for key, value in data.items()}
    for each in container.get("env") or []:
        value = await _value(each, sources, {**services, **result})
        if value is not None:
            result[each["name"]] = value
    return {**services, **result}


async def _all(source: Document, sources: Sources) -> Mapping[str, bytes]:
    if "configMapRef" in source:
        return await sources.config_map(source["configMapRef"])
    return await sources.secret(source["secretRef"])


async def _value(variable: Document, sources: Sources, known: Mapping[str, str]) -> str | None:
    source = variable.get("valueFrom")
    if not source:
        return expanded(variable.get("value", ""), known)
    if "fieldRef" in source:
        return sources.field(source["fieldRef"]["fieldPath"])
    if "configMapKeyRef" in source:
        return _key(await sources.config_map(source["configMapKeyRef"]), source["configMapKeyRef"])
    if "secretKeyRef" in source:
        return _key(await sources.secret(source["secretKeyRef"]), source["secretKeyRef"])
    raise MissingError(f"the tests' node has no variables from {source}")


def _key(data: Mapping[str, bytes], reference: Document) -> str | None:
    if reference["key"] in data:
        return data[reference["key"]].decode()
    if reference.get("optional"):
        return None
    raise MissingError(f"couldn't find key {reference['key']} in {reference['name']}")
