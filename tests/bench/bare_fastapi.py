"""The least that a validating webhook can do in FastAPI: say yes. What the product is measured against.

Twice: as FastAPI's tutorial would write it, with the body as a declared parameter, and with the body read by hand.
Run as `python -m tests.bench.bare_fastapi PORT CERTIFICATE KEY [declared]`.
"""

from __future__ import annotations

import sys
from typing import Any

import uvicorn
from fastapi import FastAPI, Request

by_hand = FastAPI(openapi_url=None)
declared = FastAPI(openapi_url=None)


def allowed(review: dict[str, Any]) -> dict[str, Any]:
    """Return the answer to a review."""
    answer = {"uid": review["request"]["uid"], "allowed": True}
    return {"apiVersion": review["apiVersion"], "kind": "AdmissionReview", "response": answer}


@by_hand.post("/validate")
async def validate_by_hand(request: Request) -> dict[str, Any]:
    return allowed(await request.json())


@declared.post("/validate")
async def validate_declared(review: dict[str, Any]) -> dict[str, Any]:
    return allowed(review)


def main(port: str, certificate: str, key: str, body: str = "by hand") -> None:
    """Serve on loopback over TLS until a signal ends it."""
    uvicorn.run(
        declared if body == "declared" else by_hand,
        host="127.0.0.1",
        port=int(port),
        ssl_certfile=certificate,
        ssl_keyfile=key,
        access_log=False,
        log_level="warning",
        timeout_keep_alive=120,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
