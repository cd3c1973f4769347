"""A Mastodon server's API over HTTP: one question, one answer, and what time it is there."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from tweetdock.core.clock import Clock
from tweetdock.core.errors import LOG_IN, Kind, RefusedError, SourceError
from tweetdock.settings.networks import host_of
from tweetdock.sources.http import (
    WHOLE_SECONDS,
    HttpSession,
    LineStream,
    RateLimit,
    server_now_ms,
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
AGENT = {"User-Agent": "TweetDock"}  # some servers turn away what does not say what it is
ABOUT_ACCESS = (401, 403, 422)
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
    configuration = _part(whole, "configuration")
    feeds = _part(_part(configuration, "timelines_access"), "hashtag_feeds")
    streaming = _part(configuration, "urls").get("streaming")
    return Instance(
        _readers(feeds.get("local")),
        _readers(feeds.get("remote")),
        streaming if isinstance(streaming, str) else "",
        _version(whole),
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


def _part(whole: Any, name: str) -> dict[str, Any]:
    part = whole.get(name) if isinstance(whole, dict) else None
    return part if isinstance(part, dict) else {}


def _version(whole: Any) -> str:
    said = whole.get("version") if isinstance(whole, dict) else None
    return " ".join(said.split())[:LONGEST_VERSION] if isinstance(said, str) else ""


def _readers(value: Any) -> str:
    return value if value in ("authenticated", "disabled") else "public"


class KnownInstance:
    """What a server last said of itself, and whether a token is needed. Used by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._instance, self._learned_ms = Instance(), 0
        self._is_fresh = self._is_signed = False
        self._places: set[str] = set()

    @property
    def remark(self) -> str:
        """What the owner should know of what the server shows."""
        with self._lock:
            signed = "is read as your account on it sees it" if self._is_signed else ""
            return "; ".join(text for text in (signed, self._instance.remark) if text)

    def learn(self, instance: Instance, now_ms: int) -> None:
        """The server has said this, and lets us in."""
        with self._lock:
            self._instance, self._learned_ms, self._is_fresh = instance, now_ms, True

    def forget(self) -> None:
        """What it said may not hold any more."""
        with self._lock:
            self._is_fresh = False

    def if_fresh(self, now_ms: int) -> Instance | None:
        """What it said, if it need not be asked again yet."""
        with self._lock:
            is_young = abs(now_ms - self._learned_ms) < ASK_EVERY_MS
            return self._instance if self._is_fresh and is_young else None

    def set_signed(self, *, is_signed: bool) -> None:
        """Hashtags were read with a user's token, or without."""
        with self._lock:
            self._is_signed = is_signed

    def is_new_place(self, place: str) -> bool:
        """Whether this place to stream from is named for the first time."""
        with self._lock:
            is_new = place not in self._places
            self._places.add(place)
            return is_new


def explain(refusal: RefusedError, host: str, token: str, now_ms: int) -> SourceError:
    """The refusal as what it means, what to do, and a time to wait.

    token: the one that went with the request, or none; it is in no sentence. now_ms: by the
    server's clock. https://docs.joinmastodon.org/entities/Error/
    """
    said = _said(refusal.body)
    because = f": {said.replace(token, '...') if token else said}" if said else ""
    match refusal.status:
        case 401 | 403 | 422 as status:
            return _no_access(host, status, because, is_signed=token != "")
        case 404 | 410 as status:
            return SourceError(
                f"{host} knows no hashtags ({status}), so it may be no Mastodon server",
                f"check {SETTING}",
                kind=Kind.ADDRESS,
            )
        case 429:
            limit = RateLimit.from_headers(refusal.headers, is_refused=True)
            return used_up(limit, f"{host}'s", now_ms)
        case status if 300 <= status < 400:
            return SourceError(
                f"{host} leads elsewhere ({status})",
                f"name the server in {SETTING} as its own page does; or {LOG_IN}",
                kind=Kind.STRANGER,
            )
        case status if status >= 500:
            return SourceError(f"{host} is out of order ({status})", kind=Kind.SERVER)
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


def _said(body: bytes) -> str:
    problem: Any = decode(body)
    said = problem.get("error") if isinstance(problem, dict) else None
    return " ".join(said.split())[:300] if isinstance(said, str) else ""


def new_session(whole_seconds: float = WHOLE_SECONDS) -> HttpSession:
    """What a server is asked through."""
    return HttpSession(setting=SETTING, whole_seconds=whole_seconds)


class TimelinePage(NamedTuple):
    """A page, and when the server was asked for it by its own time (Unix ms).

    server_ms: what time it was there when the page was here; None if the server did not say.
    """

    page: StatusPage
    served_ms: int
    server_ms: int | None


class _Response(NamedTuple):
    """A body, how long it took, and what time it was at the server when it was here.

    server_ms: None if the server did not say.
    """

    body: bytes
    lasted_ms: int
    server_ms: int | None


class MastodonClient:
    """Asks one server.

    token: a user's, or none. It goes along only where strangers are not let in: what a user is
    shown may be less, for the people and languages that they do not want to see.
    known: shared by all who ask this server.
    """

    def __init__(
        self,
        server: str,
        token: str,
        known: KnownInstance,
        *,
        clock: Clock,
        make_session: Callable[[], HttpSession] = new_session,
        keeps_raw: bool = False,
    ) -> None:
        self.host = host_of(server)
        self.limit: RateLimit | None = None
        self._server = server.rstrip("/")
        self._token = token
        self._known = known
        self._signs = self._was_signed = False
        self._refusals = 0  # in a row, to us as a stranger, where the token was let in
        self._clock = clock
        self._keeps_raw = keeps_raw
        self._session = make_session()
        # A stream has connections of its own, so that a question's late end does not cut it.
        self._streaming = make_session()

    @property
    def remark(self) -> str:
        """What the owner should know of what the server shows."""
        return self._known.remark

    def cut(self) -> None:
        """End what is under way."""
        self._session.cut()
        self._streaming.cut()

    def check_access(self) -> Instance:
        """Ask what the server says of itself; SourceError if it shows us no hashtags at all."""
        self._known.forget()
        try:
            instance = parse_instance(self._get("/api/v2/instance", []).body)
        except RefusedError as refusal:
            # Servers before 4.0, and other software, know no such question.
            if refusal.status not in (404, 410):
                raise self._explain(refusal) from refusal
            instance = Instance()
        if instance.is_closed:
            raise SourceError(
                f"{self.host} has closed its hashtag feed",
                f"remove it from {SETTING}, and add another server",
                kind=Kind.QUERY,
            )
        if instance.wants_token and not self._token:
            raise _no_access(self.host, 401, "it says so", is_signed=False)
        self._signs, self._refusals = instance.wants_token, 0
        self._known.learn(instance, self._clock.now_ms())
        return instance

    def page(self, tags: Sequence[str], bounds: Mapping[str, str]) -> TimelinePage:
        """A page of the posts with any of the tags; SourceError if there is none."""
        self._spare_limit()
        params = [("limit", str(PAGE_SIZE)), *(("any[]", tag) for tag in tags[1:])]
        path = f"/api/v1/timelines/tag/{quote(tags[0], safe='')}"
        try:
            answer = self._get(path, [*params, *bounds.items()])
        except RefusedError as refusal:
            raise self._explain(refusal) from refusal
        self._known.set_signed(is_signed=self._was_signed)
        now_ms = self._clock.now_ms()
        at_ms = answer.server_ms or now_ms
        # Whichever clock is behind must not make a post older than it is.
        page = parse_page(answer.body, max(at_ms, now_ms), self.host, keeps_raw=self._keeps_raw)
        return TimelinePage(page, at_ms - answer.lasted_ms, answer.server_ms)

    def is_gone(self, status_id: str) -> bool:
        """Whether a post is there no more for anybody; SourceError if there is no telling.

        https://docs.joinmastodon.org/methods/statuses/#get
        """
        self._spare_limit()
        try:
            self._get(f"/api/v1/statuses/{status_id}", [])
        except RefusedError as refusal:
            if refusal.status in (404, 410):
                return True
            raise self._explain(refusal) from refusal
        return False

    def stream(self, tag: str, silence_seconds: float) -> LineStream:
        """Begin to listen to a tag."""
        instance = self._known.if_fresh(self._clock.now_ms()) or self.check_access()
        base = streaming_base(instance, self._server)
        if base is None:
            what = f"{self.host} streams without encryption only, which would give the token"
            raise SourceError(what, f"remove the token from {TOKENS}", kind=Kind.ADDRESS)
        place = host_of(base)
        if place != self.host and self._known.is_new_place(place):
            log.info("%s streams from %s, which is sent its token too", self.host, place)
        try:
            return self._streaming.open(
                "GET",
                f"{base}/api/v1/streaming/hashtag",
                silence_seconds=silence_seconds,
                params={"tag": tag},
                headers={**AGENT, **self._authorization(), "Accept": "text/event-stream"},
            )
        except RefusedError as refusal:
            raise self._explain(refusal, self._token) from refusal

    def _get(self, path: str, params: list[tuple[str, str]]) -> _Response:
        try:
            answer = self._ask(path, params, signs=self._signs)
        except RefusedError as refusal:
            if refusal.status not in ABOUT_ACCESS or not self._token or self._was_signed:
                raise
            answer = self._ask(path, params, signs=True)
            # Some let no stranger in and do not say so; that is tried again when access is checked.
            self._refusals += 1
            self._signs = self._refusals >= REFUSALS_THAT_TELL
        else:
            if not self._was_signed:
                self._refusals = 0
        return answer

    def _ask(self, path: str, params: list[tuple[str, str]], *, signs: bool) -> _Response:
        asked_ms, self._was_signed = self._clock.now_ms(), signs
        try:
            response = self._session.get(
                f"{self._server}{path}",
                params=params,
                headers={**AGENT, **(self._authorization() if signs else {})},
            )
        except RefusedError as refusal:
            self.limit = RateLimit.from_headers(refusal.headers)
            raise
        self.limit = RateLimit.from_headers(response.headers)
        now_ms = self._clock.now_ms()
        server_ms = server_now_ms(response.headers, asked_ms, now_ms)
        return _Response(response.content, now_ms - asked_ms, server_ms)

    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"}

    def _explain(self, refusal: RefusedError, token: str | None = None) -> SourceError:
        if token is None:
            token = self._token if self._was_signed else ""
        return explain(refusal, self.host, token, self._clock.now_ms())

    def _spare_limit(self) -> None:
        limit, now_ms = self.limit, self._clock.now_ms()
        if limit and limit.is_spent(now_ms):
            raise used_up(limit, f"{self.host}'s", now_ms)
