"""A Mastodon server's API over HTTP: one question, one answer, and what time it is there."""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from tweetdock.core.clock import Clock
from tweetdock.core.errors import LOG_IN, Kind, RefusedError, SourceError
from tweetdock.settings.networks import host_of
from tweetdock.sources.http import (
    WHOLE_SECONDS,
    A,
    HttpSession,
    LineStream,
    RateLimit,
    RateLimited,
    used_up,
)
from tweetdock.sources.mastodon.posts import StatusPage, decode, parse_page

log = logging.getLogger(__name__)

OVER_HTTP = {"wss": "https", "https": "https", "ws": "http", "http": "http"}
LONGEST_VERSION = 60
ASK_EVERY_MS = 600_000
SETTING = "TWEETDOCK_MASTODON"
TOKENS = "TWEETDOCK_MASTODON_TOKENS"
PAGE_SIZE = 40
REFUSALS_THAT_TELL = 2  # in a row; a single one may come from something before the server


@dataclass(frozen=True, slots=True)
class Instance:
    """What a server says of itself; the defaults are for one that does not say.

    local, remote: who may read hashtags in posts of its own and of other servers' users: `public`,
    `authenticated`, `disabled`. streaming_url: empty if it names none. version: of its software,
    as it names it; empty if it does not say.
    """

    local: str = "public"
    remote: str = "public"
    streaming_url: str = ""
    version: str = ""

    @property
    def is_closed(self) -> bool:
        """Whether nobody may read them."""
        return self.local == self.remote == "disabled"

    @property
    def wants_token(self) -> bool:
        """Whether strangers are not let in.

        One of the two that is not public is enough: a request for both is refused then.
        """
        return "public" not in (self.local, self.remote) or self.local != self.remote

    @property
    def remark(self) -> str:
        """What nobody is shown, in a sentence for the owner."""
        if self.remote == "disabled":
            return "shows posts of its own users only"
        return "shows posts of other servers' users only" if self.local == "disabled" else ""


def parse_instance(body: bytes) -> Instance:
    """The answer of `/api/v2/instance`; what is missing or odd counts as not said.

    https://docs.joinmastodon.org/entities/Instance/
    """
    whole = decode(body)
    feeds = ("configuration", "timelines_access", "hashtag_feeds")
    return Instance(
        _readers(_said(whole, *feeds, "local")),
        _readers(_said(whole, *feeds, "remote")),
        _said(whole, "configuration", "urls", "streaming"),
        " ".join(_said(whole, "version").split())[:LONGEST_VERSION],
    )


def streaming_base(instance: Instance, server: str) -> str | None:
    """Where to stream from: its place over HTTP, or the server itself if it names none.

    None if it is no place that a token may be sent to: one without encryption, unless the server
    itself has none.
    """
    try:
        url = urlsplit(instance.streaming_url)
        is_place = bool(url.hostname) and (url.port or True) and url.scheme in OVER_HTTP
    except ValueError:
        is_place = False
    if not is_place or not instance.streaming_url.isascii():
        return server
    scheme = OVER_HTTP[url.scheme]
    if scheme == "http" and not server.startswith("http://"):
        return None
    host = url.netloc.rpartition("@")[2]
    return f"{scheme}://{host}{url.path}".rstrip("/")


def _said(whole: Any, *path: str) -> str:
    """The text at a place in what a server says; empty if there is none."""
    for name in path:
        whole = whole.get(name) if isinstance(whole, dict) else None
    return whole if isinstance(whole, str) else ""


def _readers(value: str) -> str:
    return value if value in ("authenticated", "disabled") else "public"


class UnknownError(SourceError):
    """The server knows no such thing."""


def explain(refusal: RefusedError, host: str, token: str, now_ms: int) -> SourceError:
    """The refusal as what it means, what to do, and a time to wait.

    token: the one that went with the request, or none; it is in no sentence. now_ms: by the
    server's clock. https://docs.joinmastodon.org/entities/Error/
    """
    said = " ".join(_said(decode(refusal.body), "error").split())[:300]
    because = f": {said.replace(token, '...') if token else said}" if said else ""
    match refusal.status:
        case 401 | 403 | 422 as status:
            return _no_access(host, status, because, is_signed=token != "")
        case 404 | 410 as status:
            return UnknownError(
                f"{host} knows no hashtags ({status}), so it may be no Mastodon server",
                f"check {SETTING}",
                kind=Kind.ADDRESS,
            )
        case 429:
            limit = RateLimit.from_headers(refusal.headers, is_refused=True)
            return used_up(limit, f"{host}'s", now_ms, refusal.retry_after)
        case status if 300 <= status < 400:
            return SourceError(
                f"{host} leads elsewhere ({status})",
                f"name the server in {SETTING} as its own page does; or {LOG_IN}",
                kind=Kind.STRANGER,
            )
        case status if status >= 500:
            what = f"{host} is out of order ({status})"
            return SourceError(what, kind=Kind.SERVER, retry_after=refusal.retry_after)
        case status:
            what = f"{host} answers by an unknown status ({status}){because}"
            return SourceError(what, f"check {SETTING}", kind=Kind.SERVER)


def _no_access(host: str, status: int, because: str, *, is_signed: bool) -> SourceError:
    make = f"make a new token at https://{host}/settings/applications, with the scope read:statuses"
    if not is_signed:
        what = f"{host} shows hashtags only to its users"
        if not because:
            what = f"{host} refuses to be read ({status})"
        return SourceError(what, f"{make}, and set {TOKENS}={host}=...", kind=Kind.CREDENTIALS)
    what = f"{host} refuses to be read ({status}){because}"
    if status == 401:
        what = f"{host} does not accept its token (401)"
    elif status == 403:
        what = f"{host} does not let the token read hashtags (403){because}"
    return SourceError(what, f"{make}, and put it into {TOKENS}", kind=Kind.CREDENTIALS)


def new_session(whole_seconds: float = WHOLE_SECONDS) -> HttpSession:
    """What a server is asked through."""
    return HttpSession(setting=SETTING, whole_seconds=whole_seconds)


class _Answer(NamedTuple):
    """A body, whether a token was sent for it, and when: see StatusPage."""

    body: bytes
    is_signed: bool
    served_ms: int
    server_ms: int | None


class MastodonClient:
    """Asks one server; used by the threads of its timeline and of its streams.

    token: a user's, or none. It goes along only where strangers are not let in: what a user is
    shown may be less, for the people and languages that they do not want to see.
    questions: by which limit they are asked. clock, keeps_raw: for all that read from the server.
    """

    def __init__(
        self,
        server: str,
        token: str,
        *,
        clock: Clock,
        session: HttpSession,
        keeps_raw: bool = False,
    ) -> None:
        self.host = host_of(server)
        self.questions = RateLimited(clock, f"{self.host}'s")
        self._server = server.rstrip("/")
        self._token = token
        self.clock = clock
        self._session = session
        self.keeps_raw = keeps_raw
        self._signs = self._was_signed = False
        self._refusals = 0  # in a row, to us as a stranger, where the token was let in
        self._access = threading.Lock()
        self._instance = Instance()
        self._checked_ms: int | None = None
        # Each once.
        self._tell_place = cache(
            partial(log.info, "%s streams from %s, which is sent its token too", self.host)
        )

    @property
    def remark(self) -> str:
        """What the owner should know of what the server shows."""
        signed = "is read as your account on it sees it" if self._was_signed else ""
        return "; ".join(text for text in (signed, self._instance.remark) if text)

    def cut(self) -> None:
        """End the question under way."""
        self._session.cut()

    def close(self) -> None:
        """Let go of the connections."""
        self._session.close()

    def check_access(self, *, at_once: bool = False) -> Instance:
        """What the server says of itself; SourceError if it shows us no hashtags at all.

        It is asked now and then, or at once.
        """
        with self._access:
            now_ms, checked_ms = self.clock.now_ms(), self._checked_ms
            if checked_ms is None or at_once or not 0 <= now_ms - checked_ms < ASK_EVERY_MS:
                self._checked_ms = None
                self._instance = self._ask_access()
                self._checked_ms = self.clock.now_ms()
            return self._instance

    def _ask_access(self) -> Instance:
        try:
            said = self._get("/api/v2/instance")
        except UnknownError:
            said = self._get("/api/v1/instance")  # servers before 4.0, and other software
        instance = parse_instance(said.body)
        if instance.is_closed:
            raise SourceError(
                f"{self.host} has closed its hashtag feed",
                f"remove it from {SETTING}, and add another server",
                kind=Kind.QUERY,
            )
        if instance.wants_token and not self._token:
            raise _no_access(self.host, 401, "it says so", is_signed=False)
        self._signs, self._refusals = instance.wants_token, 0
        return instance

    def page(self, tag: str, bounds: Mapping[str, str]) -> StatusPage:
        """A page of the posts with a tag; SourceError if there is none."""
        asked_ms = self.clock.now_ms()
        path = f"/api/v1/timelines/tag/{quote(tag, safe='')}"
        try:
            answer = self._get(path, {"limit": str(PAGE_SIZE), **bounds})
        except UnknownError:
            # GoToSocial knows no tag that nobody there has read of yet.
            self.check_access(at_once=True)
            return StatusPage(served_ms=asked_ms)
        self._was_signed = answer.is_signed
        # Whichever clock is behind must not make a post older than it is.
        at_ms = max(answer.server_ms or 0, self.clock.now_ms())
        page = parse_page(
            answer.body, at_ms, self.host, asked_ms=asked_ms, keeps_raw=self.keeps_raw
        )
        return replace(page, served_ms=answer.served_ms, server_ms=answer.server_ms)

    def status(self, status_id: str) -> Any:
        """A status as it is now; None if it is there no more; SourceError if there is no telling.

        https://docs.joinmastodon.org/methods/statuses/#get
        """
        try:
            return decode(self._get(f"/api/v1/statuses/{quote(status_id, safe='')}").body) or {}
        except UnknownError:
            return None

    def stream(self, session: HttpSession, tag: str, silence_seconds: float) -> LineStream:
        """Begin to listen to a tag.

        session: of the stream alone, so that a question's late end does not cut it.
        """
        base = streaming_base(self.check_access(), self._server)
        if base is None:
            what = f"{self.host} streams without encryption only, which would give the token"
            raise SourceError(what, f"remove the token from {TOKENS}", kind=Kind.ADDRESS)
        place = host_of(base)
        if place != self.host:
            self._tell_place(place)
        connect = partial(
            session.open,
            "GET",
            f"{base}/api/v1/streaming/hashtag",
            silence_seconds=silence_seconds,
            params={"tag": tag},
            headers={**_headers(self._token), "Accept": "text/event-stream"},
        )
        limited = RateLimited(self.clock, f"{self.host}'s")  # another one, and for once
        return self._exchange(limited, connect, self._token)[0]

    def _get(self, path: str, params: Mapping[str, str] | None = None) -> _Answer:
        signs = self._signs
        try:
            answer = self._ask(path, params, self._token if signs else "")
            self._refusals = 0
        except SourceError as error:
            if error.kind is not Kind.CREDENTIALS or not self._token or signs:
                raise
            answer = self._ask(path, params, self._token)
            # Some let no stranger in and do not say so; that is tried again when access is checked.
            self._refusals += 1
            self._signs = self._refusals >= REFUSALS_THAT_TELL
        return answer

    def _ask(self, path: str, params: Mapping[str, str] | None, token: str) -> _Answer:
        url, headers = f"{self._server}{path}", _headers(token)
        send = partial(self._session.get, url, params=params, headers=headers)
        response, lasted_ms, server_ms = self._exchange(self.questions, send, token)
        served_ms = (server_ms or self.clock.now_ms()) - lasted_ms
        return _Answer(response.content, token != "", served_ms, server_ms)

    def _exchange(
        self, limited: RateLimited, send: Callable[[], A], token: str
    ) -> tuple[A, int, int | None]:
        try:
            return limited.ask(send)
        except RefusedError as refusal:
            now_ms = refusal.server_ms or self.clock.now_ms()
            raise explain(refusal, self.host, token, now_ms) from refusal


def _headers(token: str) -> dict[str, str]:
    # Some servers turn away what does not say what it is.
    return {"User-Agent": "TweetDock"} | ({"Authorization": f"Bearer {token}"} if token else {})
