"""What the page grants to strangers: so many, so much, for so long."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much the page's server takes on; what is beyond is refused, or dropped.

    watchers: who follow the readings live. connections: these and all others.
    head_bytes: of a request. request_seconds: until a request must have come whole.
    idle_seconds: for how long a connection may wait for its next request.
    unread_seconds: for how long what was sent may be left unread.
    pause_seconds: the least time from one event to the next.
    """

    watchers: int = 250
    connections: int = 400
    head_bytes: int = 16_384
    target_bytes: int = 2_048
    request_seconds: float = 10.0
    idle_seconds: float = 5.0
    unread_seconds: float = 10.0
    pause_seconds: float = 0.25
