"""Pods as the API server has them, and the logs behind them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from app.kube.errors import ApiError

Key = tuple[str, str, bool]
"""Pod, container, whether it is the run before."""


def ended(exit_code: int = 1, reason: str = "Error") -> dict[str, Any]:
    return {"terminated": {"exitCode": exit_code, "reason": reason, "finishedAt": "2026-01-02T03:04:05Z"}}


RUNNING: dict[str, Any] = {"running": {"startedAt": "2026-01-02T03:04:00Z"}}


def waiting(reason: str) -> dict[str, Any]:
    return {"waiting": {"reason": reason}}


def container(state: Mapping[str, Any], *, name: str = "app", run: int = 0, last: Any = None) -> dict[str, Any]:
    return {"name": name, "state": state, "restartCount": run, "lastState": last or {}}


def pod(
    *containers: dict[str, Any],
    name: str = "crash-1",
    job: str = "job",
    phase: str = "Running",
    deleted: bool = False,
    init: tuple[dict[str, Any], ...] = (),
    sidecars: tuple[str, ...] = (),
    created: str = "2026-01-02T03:04:00Z",
    env: Mapping[str, str] | None = None,
    **status: Any,
) -> msgspec.Raw:
    """A Pod of a Job; its uid is `uid-` and its name."""
    metadata: dict[str, Any] = {
        "uid": f"uid-{name}",
        "name": name,
        "namespace": "shop",
        "creationTimestamp": created,
        "labels": {"job-name": job},
        "ownerReferences": [{"kind": "Job", "name": job, "uid": job, "controller": True}],
    }
    if deleted:
        metadata["deletionTimestamp"] = "2026-01-02T03:05:00Z"
    variables = [{"name": name, "value": value} for name, value in (env or {}).items()]
    spec = {
        "containers": [{"name": each["name"], "image": "busybox:1", "env": variables} for each in containers],
        "initContainers": [
            {"name": each["name"], "restartPolicy": "Always" if each["name"] in sidecars else None} for each in init
        ],
    }
    told = {"phase": phase, "containerStatuses": list(containers), "initContainerStatuses": list(init), **status}
    return msgspec.Raw(msgspec.json.encode({"metadata": metadata, "spec": spec, "status": told}))


def failed(name: str = "crash-1", **fields: Any) -> msgspec.Raw:
    """A Pod with one container that ended with 1, under restartPolicy Never."""
    return pod(container(ended()), name=name, phase="Failed", **fields)


def refusal(status: int, message: str = "refused", reason: str = "") -> ApiError:
    return ApiError(f"GET /api/v1/namespaces/shop/pods/crash-1/log: {status}: {message}", status=status, reason=reason)


class Logs:
    """The far side of reading a log. An answer that is an error is raised; `hold` keeps answers back."""

    def __init__(self) -> None:
        self.answers: dict[Key, list[str | ApiError]] = {}
        self.asked: list[Key] = []
        self.parameters: list[Mapping[str, str | int]] = []
        self.limits: list[int] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.reading = asyncio.Event()
        self._open = asyncio.Event()
        self._open.set()

    def say(
        self,
        text: str | ApiError,
        *more: str | ApiError,
        name: str = "crash-1",
        of: str = "app",
        previous: bool = False,
    ) -> None:
        """Let this be the answer, once each, the last for ever."""
        self.answers[name, of, previous] = [text, *more]

    def hold(self) -> None:
        self._open.clear()
        self.reading.clear()

    def release(self) -> None:
        self._open.set()

    async def tail(self, path: str, parameters: Mapping[str, str | int], limit_bytes: int) -> tuple[bytes, bool]:
        name = path.removeprefix("/api/v1/namespaces/shop/pods/").removesuffix("/log")
        key = name, str(parameters["container"]), parameters["previous"] == "true"
        self.asked.append(key)
        self.parameters.append(parameters)
        self.limits.append(limit_bytes)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        self.reading.set()
        try:
            await self._open.wait()
            await asyncio.sleep(0)
        finally:
            self.in_flight -= 1
        return self._answer(key, limit_bytes)

    def _answer(self, key: Key, limit_bytes: int) -> tuple[bytes, bool]:
        answers = self.answers.get(key, [f"{key[1]} of {key[0]}\n"])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, ApiError):
            raise answer
        body = answer.encode()
        return body[-limit_bytes:], len(body) > limit_bytes
