"""What the stand-in keeps of a request, what it answers, and X's limit of requests."""

import json
import math
import threading
from collections import deque
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

from standins import x_faults as faults

LIMITED_CODES = (200, 400, 403)  # X counts these, and tells what remains


@dataclass(frozen=True, slots=True)
class Request:
    """A request that came in; status 0 means that no answer was begun."""

    time: float
    path: str
    params: dict[str, str]
    status: int
    posts_returned: int = 0
    ids_returned: tuple[str, ...] = ()

    def answered(self, answer: "Answer") -> "Request":
        """The same, once it is answered."""
        return replace(
            self,
            status=answer.status,
            posts_returned=answer.posts_returned,
            ids_returned=answer.ids_returned,
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back: names of headers in lower case."""

    status: int
    body: bytes
    headers: dict[str, str]
    posts_returned: int = 0
    ids_returned: tuple[str, ...] = ()

    def head(self, now: float) -> bytes:
        """Write the status line and headers, dated by X's clock."""
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in self.dated(now).headers.items()]
        return "\r\n".join([*lines, "", ""]).encode()

    def dated(self, now: float) -> "Answer":
        """The same with all its headers, dated by X's clock."""
        headers = {"date": formatdate(now, usegmt=True)} | self.headers
        headers |= {"content-length": str(len(self.body)), "server": "tsa_b"}
        return replace(self, headers=headers)


@dataclass(slots=True)
class RateLimit:
    """So many requests in a window that opens with its first; times are X's."""

    limit: int
    window_seconds: float
    used: int = 0
    reset: float = -math.inf

    def spend(self, now: float) -> bool:
        """Count a request, or say that none is left."""
        if now >= self.reset:
            # Whole seconds are all the header can say; waking at them must suffice.
            self.used, self.reset = 0, math.floor(now + self.window_seconds)
        if self.used >= self.limit:
            return False
        self.used += 1
        return True

    def headers(self, remaining: int | None = None, reset: float | None = None) -> dict[str, str]:
        """Write the three headers."""
        left = max(0, self.limit - self.used) if remaining is None else remaining
        return {
            "x-rate-limit-limit": str(self.limit),
            "x-rate-limit-remaining": str(left),
            "x-rate-limit-reset": str(int(self.reset if reset is None else reset)),
        }


@dataclass
class Trouble:
    """The faults to come, and the event that ends those under way."""

    queue: deque[faults.Fault] = field(default_factory=deque)
    always: faults.Fault | None = None
    healed: threading.Event = field(default_factory=threading.Event)


def json_answer(
    code: int,
    body: dict[str, Any],
    headers: dict[str, str],
    posts_returned: int = 0,
    ids_returned: tuple[str, ...] = (),
) -> Answer:
    raw = json.dumps(body, separators=(",", ":")).encode()
    headers = {"content-type": faults.JSON_TYPE} | headers
    return Answer(code, raw, headers, posts_returned, ids_returned)
