"""The least that a validating webhook can do in FastAPI: say yes. What the product is measured against.

Run as `python -m tests.bench.bare_fastapi PORT CERTIFICATE KEY`.
"""

from __future__ import annotations

import sys
from typing import Any

import uvicorn
from fastapi import FastAPI, Request

app = FastAPI(openapi_url=None)


@app.post("/validate")
async def validate(request: Request) -> dict[str, Any]:
    review = await request.json()
    answer = {"uid": review["request"]["uid"], "allowed": True}
    return {"apiVersion": review["apiVersion"], "kind": "AdmissionReview", "response": answer}


def main(port: str, certificate: str, key: str) -> None:
    """Serve on loopback over TLS until a signal ends it."""
    uvicorn.run(
        app,
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
