"""A Mastodon server's API over HTTP: one question, one answer, and what time it is there."""

import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import quote

from tweetdock.core.clock import Clock
from tweetdock.core.errors import RefusedError, SourceError
from tweetdock.core.times import clock_time, duration
from tweetdock.settings.networks import host_of
from tweetdock.sources.http import WHOLE_SECONDS, LineStream, Session, date_ms
from tweetdock.sources.mastodon.access import Access
from tweetdock.sources.mastodon.instance import Instance, parse_instance, streaming_base
from tweetdock.sources.mastodon.posts import Page, parse_page
from tweetdock.sources.mastodon.refusals import closed, explain, owner, wants_token
from tweetdock.sources.rate_limit import RateLimit

log = logging.getLogger(__name__)

PAGE_SIZE = 40
AGENT = {"User-Agent": "TweetDock"}  # some servers turn away what does not say what it is
ABOUT_ACCESS = (401, 403, 422)
REFUSALS_THAT_TELL = 2  # in a row; a single one may be a whim of something before the server


class Found(NamedTuple):
    """A page, when the server was asked for it (unix ms), and by how much our clock was off.

    moved_ms: our correction; 0 if there was none.
    """

    page: Page
    served_ms: int
    moved_ms: int


class _Answer(NamedTuple):
    """A body, when it was asked for and how long it took by our clock, when it came by theirs.

    server_ms: None if the server did not say.
    """

    body: bytes
    asked_ms: int
    lasted_ms: int
    at_ms: int
    server_ms: int | None


class MastodonClient:
    """Asks one server, and goes by its time.

    token: a user's, or none. It goes along only where strangers are not let in: what a user is
    shown may be less, for the people and languages that they do not want to see.
    access: shared by all who ask this server.
    """

    def __init__(
        self,
        server: str,
        token: str,
        access: Access,
        *,
        clock: Clock,
        whole_seconds: float = WHOLE_SECONDS,
        keeps_raw: bool = False,
    ) -> None:
        self.host = host_of(server)
        self.limit: RateLimit | None = None
        self._server = server.rstrip("/")
        self._token = token
        self._access = access
        self._signs = self._was_signed = False
        self._refusals = 0  # in a row, to us as a stranger, where the token was let in
        self._clock = clock
        self._keeps_raw = keeps_raw
        self._has_server_time = False
        self._session = Session(whole_seconds=whole_seconds)
        # A stream has connections of its own, so that a question's late end does not cut it.
        self._streaming = Session(whole_seconds=whole_seconds)

    @property
    def remark(self) -> str:
        """What the owner should know of what the server shows."""
        return self._access.remark

    def server_ms(self) -> int | None:
        """The server's time, once it has said so."""
        return self._clock.now_ms() if self._has_server_time else None

    def cut(self) -> None:
        """End what is under way."""
        self._session.cut()
        self._streaming.cut()

    def access(self) -> Instance:
        """What the server says of itself; SourceError if it shows us no hashtags at all."""
        self._access.forget()
        try:
            instance = parse_instance(self._get("/api/v2/instance", []).body)
        except RefusedError as refusal:
            # Servers before 4.0, and other software, know no such question.
            if refusal.status not in (404, 410):
                raise self._explain(refusal) from refusal
            instance = Instance()
        if instance.is_closed:
            raise closed(self.host)
        if instance.wants_token and not self._token:
            raise wants_token(self.host)
        self._signs, self._refusals = instance.wants_token, 0
        self._access.learn(instance, self._clock.now_ms())
        return instance

    def page(self, tags: Sequence[str], bounds: Mapping[str, str]) -> Found:
        """A page of the posts with any of the tags; SourceError if there is none."""
        self._spare_limit()
        params = [("limit", str(PAGE_SIZE)), *(("any[]", tag) for tag in tags[1:])]
        path = f"/api/v1/timelines/tag/{quote(tags[0], safe='')}"
        try:
            answer = self._get(path, [*params, *bounds.items()])
        except RefusedError as refusal:
            raise self._explain(refusal) from refusal
        self._access.set_signed(is_signed=self._was_signed)
        page = parse_page(answer.body, answer.at_ms, self.host, keeps_raw=self._keeps_raw)
        moved_ms = self._correct(answer.server_ms, answer.asked_ms)
        return Found(page, self._clock.now_ms() - answer.lasted_ms, moved_ms)

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
        instance = self._access.known(self._clock.now_ms()) or self.access()
        base = streaming_base(instance, self._server)
        if base is None:
            raise owner(f"{self.host} streams without encryption only, which would give the token")
        place = host_of(base)
        if place != self.host and self._access.is_new_place(place):
            log.info("%s streams from %s, which is sent its token too", self.host, place)
        asked_ms = self._clock.now_ms()
        try:
            stream = self._streaming.open(
                "GET",
                f"{base}/api/v1/streaming/hashtag",
                silence_seconds=silence_seconds,
                params={"tag": tag},
                headers={**AGENT, **self._authorization(), "Accept": "text/event-stream"},
            )
        except RefusedError as refusal:
            raise self._explain(refusal, self._token) from refusal
        self._correct(date_ms(stream.headers), asked_ms)
        return stream

    def _get(self, path: str, params: list[tuple[str, str]]) -> _Answer:
        try:
            answer = self._ask(path, params, signs=self._signs)
        except RefusedError as refusal:
            if refusal.status not in ABOUT_ACCESS or not self._token or self._was_signed:
                raise
            answer = self._ask(path, params, signs=True)
            # Some let no stranger in and do not say so; that is tried again at the next access().
            self._refusals += 1
            self._signs = self._refusals >= REFUSALS_THAT_TELL
        else:
            if not self._was_signed:
                self._refusals = 0
        return answer

    def _ask(self, path: str, params: list[tuple[str, str]], *, signs: bool) -> _Answer:
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
        now_ms, server_ms = self._clock.now_ms(), date_ms(response.headers)
        at_ms = now_ms if server_ms is None else server_ms
        return _Answer(response.content, asked_ms, now_ms - asked_ms, at_ms, server_ms)

    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"}

    def _explain(self, refusal: RefusedError, token: str | None = None) -> SourceError:
        if token is None:
            token = self._token if self._was_signed else ""
        return explain(refusal, self.host, token, self._clock.now_ms())

    def _spare_limit(self) -> None:
        limit, now_ms = self.limit, self._clock.now_ms()
        if limit and limit.is_spent(now_ms):
            raise SourceError(
                f"{self.host}'s rate limit is used up until {clock_time(limit.reset_ms)}",
                retry_after=limit.pause_seconds(now_ms, 0.0),
            )

    def _correct(self, server_ms: int | None, asked_ms: int) -> int:
        """Take the server's word for the time, if it gave one; by how much that moved our clock."""
        if server_ms is None:
            return 0
        self._has_server_time = True
        before_ms = self._clock.now_ms()
        if not self._clock.correct(server_ms, asked_ms):
            return 0
        off = duration(abs(server_ms - before_ms) / 1000)
        log.warning("%s's clock and ours are %s apart; its posts go by its own", self.host, off)
        return server_ms - before_ms
