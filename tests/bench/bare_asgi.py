"""The least that a validating webhook can do in Python: a bare ASGI endpoint that says yes and remembers nothing.

Run as `python -m tests.bench.bare_asgi PORT CERTIFICATE KEY`.
"""

from __future__ import annotations

import sys
from typing import Any

import msgspec
import uvicorn


class Request(msgspec.Struct):
    uid: str


class Review(msgspec.Struct, rename="camel"):
    api_version: str
    request: Request


decoder = msgspec.json.Decoder(Review)


async def app(_scope: Any, receive: Any, send: Any) -> None:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    review = decoder.decode(body)
    answer = b'{"apiVersion":"%b","kind":"AdmissionReview","response":{"uid":"%b","allowed":true}}' % (
        review.api_version.encode(),
        review.request.uid.encode(),
    )
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


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
        lifespan="off",
        server_header=False,
        date_header=False,
        timeout_keep_alive=120,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
