"""The guard before the page: who may ask, how, and what every answer says about itself."""

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass

from tweetdock.core.address import is_ip
from tweetdock.show.web.answers import App, Headers, Message, Receive, Send, refusal

log = logging.getLogger(__name__)

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
FEATURES = "camera=(), geolocation=(), microphone=(), payment=(), usb=()"

SAFE_HEADERS: Headers = [
    (b"cache-control", b"no-store"),
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", FEATURES.encode()),
]

HOST = re.compile(
    r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9_](?:[a-z0-9_.-]{0,250}[a-z0-9_])?)\.?(?::\d{1,5})?"
)


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


def names_of(machine: str, others: Iterable[str]) -> frozenset[str]:
    """The names by which the page may be asked for: this machine's, and those of the settings."""
    name = machine.lower()
    short = name.partition(".")[0]
    own = {name, short, f"{short}.local"} if short else set()
    return frozenset({"localhost", *own, *others})


class Guard:
    """Lets requests through that are well-formed and meant for this machine; an ASGI application.

    A name that is not ours is refused, as a foreign page may have made it point here (DNS
    rebinding), and would read what we answer. A failure of the application ends its request only.

    is_open: the whole network may ask. Then any name that only this network gives will do, as a
    container does not know what the machine that it runs on is called.
    """

    def __init__(
        self, app: App, names: frozenset[str], limits: Limits, *, is_open: bool = False
    ) -> None:
        self._app = app
        self._names = names
        self._is_open = is_open
        self._limits = limits
        self._told: set[tuple[str, int]] = set()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request."""
        has_begun = False

        async def send_safely(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                message = {**message, "headers": with_safe_headers(message["headers"])}
            await send(message)

        answer = self._refusal(scope) or self._app
        try:
            await answer(scope, receive, send_safely)
        except Exception as error:  # noqa: BLE001 - told, and the gauge goes on
            self._tell(scope["path"], error)
            if has_begun:
                return  # the server hangs up, which says that the answer is not whole
            sorry = refusal(scope["path"], 500, "This is a bug of TweetDock; its log has more.")
            await sorry(scope, receive, send_safely)

    def _refusal(self, scope: Message) -> App | None:
        """The answer to a request that is none for us."""
        headers, path = dict(scope["headers"]), scope["path"]
        host = headers.get(b"host", b"").decode("latin-1")
        if not self._is_ours(host):
            return refusal(path, 421, _wrong_host(host))
        if scope["method"] not in ("GET", "HEAD"):
            return refusal(
                path, 405, "TweetDock is only to be read: GET or HEAD.", allow="GET, HEAD"
            )
        if b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0":
            return refusal(path, 413, "A question to TweetDock has no body.", connection="close")
        if len(scope["raw_path"]) + len(scope["query_string"]) > self._limits.target_bytes:
            return refusal("", 414, "This address is too long.")
        return None

    def _is_ours(self, host: str) -> bool:
        found = HOST.fullmatch(host.lower())
        if not found:
            return False
        name = found[1]
        if self._is_open and is_local_name(name):
            return True
        return name in self._names or is_ip(name.strip("[]"))

    def _tell(self, path: str, error: Exception) -> None:
        """Log a bug with its traceback, but not again and again."""
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        kind = type(error).__name__, trace.tb_lineno if trace is not None else 0
        if kind not in self._told:
            self._told.add(kind)
            log.error("page: a bug of TweetDock at %r; please report it", path[:80], exc_info=error)


def is_local_name(name: str) -> bool:
    """Whether a name is given by the local network, so that no foreign page can have it.

    `.local` is for multicast DNS alone (RFC 6762, section 3). A name without a dot comes from the
    network's own router; the few top-level domains with an address are registries' (RFC 7085).
    """
    return name.endswith(".local") or "." not in name


def with_safe_headers(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """The headers, and those that every answer has, unless it has its own."""
    own = list(headers)
    present = {name for name, _ in own}
    return own + [header for header in SAFE_HEADERS if header[0] not in present]


def _wrong_host(host: str) -> str:
    found = HOST.fullmatch(host.lower())
    if not found or found[1].startswith("["):
        return "A request must name this TweetDock's host, by its name or address."
    return (
        f"TweetDock is not known here as {found[1]}. "
        f"If it is, tell it so: TWEETDOCK_WEB_HOSTS={found[1]}"
    )
