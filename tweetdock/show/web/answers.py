"""Answers without much ado: bytes of a type, and refusals in plain words."""

import json
from dataclasses import dataclass, field

from tweetdock.show.web.asgi import Message, Receive, Send

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
PIECE_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, a body and its headers; an ASGI application that sends them."""

    body: bytes
    kind: str = TEXT
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    async def __call__(self, scope: Message, _receive: Receive, send: Send) -> None:
        """Send it; its body in pieces, so that it does not wait in memory for a slow reader."""
        fields = {"cache-control": "no-store", **self.headers}
        if self.status != 304:  # nothing is said of a body that is elsewhere
            fields |= {"content-length": str(len(self.body)), "content-type": self.kind}
        headers = [(name.encode(), value.encode("latin-1")) for name, value in fields.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        end = 0 if scope["method"] == "HEAD" else len(self.body)
        for at in range(0, end, PIECE_BYTES):
            piece = self.body[at : at + PIECE_BYTES]
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def refusal(path: str, status: int, why: str, **headers: str) -> Answer:
    """An error, as JSON for who asks the API, as a line for people."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if path.startswith("/api/") and not path.endswith(".txt"):
        return Answer(json.dumps({"error": why}).encode() + b"\n", JSON, status, named)
    return Answer(f"{why}\n".encode(), TEXT, status, named)
