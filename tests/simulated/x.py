"""X in virtual time: its search, its rules and its stream, with the posts of a scenario."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from standins import x_faults as faults
from standins.x_api import XApi
from standins.x_posts import Post, make_post, milliseconds
from standins.x_search import PATH as SEARCH_PATH
from standins.x_search import _fields
from standins.x_stream import PATH as STREAM_PATH
from standins.x_stream import Connect, _Connection

from simulated.network import Answer, Whole
from simulated.truth import Late, Shown, Truth, moments

if TYPE_CHECKING:
    import random

    from standins.in_memory import Question

    from simulated.machine import Machine

FEED = "x"
BEAT_SECONDS = 20.0
# Each lateness that is learnt puts off once more what is read from further back.
LATE = Late(least_ms=119_000, assumed_ms=119_000, notice_ms=240_000)
EDIT_NOTICE_MS = 33 * 60_000  # all is read again each quarter of an hour, and twice must lack it
Lag = Callable[[float], float | None]


def usual_index(dice: random.Random) -> Lag:
    """X's index is up to 25 s late."""
    return lambda _: dice.uniform(1.0, 25.0)


def usual_stream(dice: random.Random) -> Lag:
    """A stream is some seconds late."""
    return lambda _: dice.uniform(1.0, 7.0)


class X:
    """X, asked in memory. index, stream: how late each shows a post of a moment; None: never."""

    def __init__(self, machine: Machine, truth: Truth, dice: random.Random) -> None:
        self._machine = machine
        self._truth = truth
        truth.late[FEED] = LATE
        self._dice = dice
        self.api = XApi(now=machine.true_seconds)
        self.host = urlsplit(self.api.url).netloc
        self.index = usual_index(dice)
        self.stream = usual_stream(dice)
        self.body: _Lines | None = None
        self.spoils: Callable[[Mapping[str, str]], faults.Fault | None] | None = None
        self._sequence = 0

    def post(
        self,
        at: float,
        author: int | None = None,
        *,
        tag: str = "dockercon",
        edits_of: Post | None = None,
    ) -> Post:
        """Let a post be written at a moment (true Unix seconds), which may be still to come."""
        author = self._dice.randrange(200) if author is None else author
        self._sequence += 1
        at_ms = round(at * 1000)
        one = make_post(at_ms, author, tag=tag, sequence=self._sequence % 1000, edits_of=edits_of)
        index = self.index(at)
        shown_ms = math.inf if index is None else at_ms + index * 1000
        one["_indexed_ms"] = shown_ms
        self.api._index.add([one])
        stream, first_shown_ms = self.stream(at), shown_ms
        if stream is not None and at > self._machine.true:
            one["_streamed_ms"] = at_ms + stream * 1000
            self.api.stream.offer([one])
            first_shown_ms = math.floor(min(shown_ms, one["_streamed_ms"]))
        if tag == "dockercon" and shown_ms < math.inf:
            first = one["edit_history_tweet_ids"][0]
            self._truth.add(
                Shown(
                    f"x:{first}",
                    f"x:{author}",
                    milliseconds(first),
                    FEED,
                    first_shown_ms,
                    shown_ms,
                )
            )
        return one

    def untag(self, at: float, post: Post) -> None:
        """Let a post be edited at a moment, so that it has the tag no more."""
        first = post["edit_history_tweet_ids"][0]
        edit = self.post(at, int(post["author_id"]), tag="other", edits_of=post)
        shown = next(one for one in self._truth if one.key == f"x:{first}")
        gone_ms = edit["_indexed_ms"]
        hidden = shown._replace(gone_ms=gone_ms, forgotten_ms=gone_ms + EDIT_NOTICE_MS)
        self._truth.replace(shown, hidden)

    def busy(self, since: float, until: float, per_minute: float) -> list[Post]:
        """Let there be posts from one moment to another."""
        return [self.post(at) for at in moments(self._dice, since, until, per_minute)]

    def close(self) -> None:
        """End it."""
        self.api.close()

    def ask(self, question: Question) -> Answer:
        """What it answers now."""
        if urlsplit(question.target).path == STREAM_PATH:
            return self._open(question)
        url = urlsplit(question.target)
        if url.path == SEARCH_PATH and self.spoils is not None:
            fault = self.spoils(dict(parse_qsl(url.query)))
            if fault is not None:
                self.api.fail(fault)
        answer = self.api.answer(question)
        assert answer is not None
        return answer

    def _open(self, question: Question) -> Answer:
        stream, now = self.api.stream, self._machine.true
        stream.tick()
        params = dict(parse_qsl(urlsplit(question.target).query))
        is_admitted = question.headers.get("authorization") == f"Bearer {self.api.bearer}"
        refusal = stream._refusal(None, params, is_admitted=is_admitted)
        stream.connects.append(Connect(now, refusal.code if refusal else 200, params))
        if refusal:
            return self.api._refused(refusal, now).dated(now)
        fields = _fields({k: v for k, v in params.items() if k == "tweet.fields"})
        self.body = _Lines(self._machine, self.api, fields)
        return Whole(200, self.body, {"Content-Type": faults.JSON_TYPE})


class _Wire:
    """Whom the stand-in asks if somebody still listens."""

    is_left = False

    def recv(self, *_: object) -> bytes:
        if self.is_left:
            return b""
        raise BlockingIOError


class _Lines:
    """The stream as a body."""

    def __init__(self, machine: Machine, api: XApi, fields: frozenset[str]) -> None:
        self._machine = machine
        self._stream = api.stream
        self._wire = _Wire()
        self._connection = _Connection(self._wire, fields)  # type: ignore[arg-type]
        self._stream._open = self._connection
        self._said = -math.inf
        self.is_over = False
        self.is_silent = False

    def take(self) -> bytes | None:
        """What lies ready."""
        self._stream.tick()
        now = self._machine.true
        found = b"".join(one for one in self._connection.pending if isinstance(one, bytes))
        self._connection.pending.clear()
        if self.is_silent:
            return None
        if self.is_over:
            return b""
        if not found and now - self._said >= BEAT_SECONDS:
            found = b"\r\n"
        if found:
            self._said = now
        return found or None

    def due_seconds(self) -> float:
        """Until the next post or heartbeat."""
        later = self._stream._later
        due = min(self._said + BEAT_SECONDS, later[0][0] / 1000 if later else math.inf)
        return max(0.05, due - self._machine.true)

    def left(self) -> None:
        """Nobody listens any more."""
        self._wire.is_left = True
        self._connection.is_over = True
        if self._stream._open is self._connection:
            self._stream._open = None
