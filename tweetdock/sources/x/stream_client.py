"""X's stream, its rules and its users through tweepy: what it would ask is asked our way."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import requests
import tweepy
from tweepy.streaming import BaseStream

from tweetdock.sources.http import WHOLE_SECONDS, LineStream, Session
from tweetdock.sources.x.client import TWEEPY_HOST
from tweetdock.sources.x.rules import TAG

# The entities say whose a hashtag is: the post's own or that of one that it quotes.
FIELDS = [
    *("author_id", "created_at", "edit_history_tweet_ids", "entities", "note_tweet"),
    "referenced_tweets",
]
ARCHIVED_FIELDS = [*FIELDS, "conversation_id", "in_reply_to_user_id", "lang", "public_metrics"]


class XStreamClient:
    """Opens the stream, and asks what belongs to it, on connections of their own.

    Every trouble is a SourceError, every refusal a RefusedError. silence_seconds: after so long
    without a byte the stream is dead. whole_seconds: how long any other exchange may take.
    """

    def __init__(
        self,
        bearer_token: str,
        *,
        api_url: str,
        silence_seconds: float,
        whole_seconds: float = WHOLE_SECONDS,
        keeps_raw: bool = False,
    ) -> None:
        moved = {TWEEPY_HOST: api_url}
        self._fields = ARCHIVED_FIELDS if keeps_raw else FIELDS
        self._stream_session = Session(moved=moved, whole_seconds=whole_seconds)
        self._stream = _Stream(bearer_token, self._stream_session, silence_seconds)
        self._session = Session(moved=moved, whole_seconds=whole_seconds)
        self._rules = tweepy.StreamingClient(bearer_token, return_type=requests.Response)
        self._users = tweepy.Client(bearer_token, return_type=requests.Response)
        self._rules.session = self._users.session = self._session
        # Asked by another thread.
        self._look_session = Session(moved=moved, whole_seconds=whole_seconds)
        self._look = tweepy.StreamingClient(bearer_token, return_type=requests.Response)
        self._look.session = self._look_session

    def open(self) -> LineStream:
        """Begin the stream."""
        self._stream.filter(tweet_fields=self._fields)
        return self._stream.take()

    def rules(self) -> tuple[bytes, Mapping[str, str]]:
        """The rules that there are, as X sends them, and the answer's headers."""
        response = cast("requests.Response", self._rules.get_rules())
        return response.content, response.headers

    def look(self) -> bytes:
        """The same while the stream is open; may be asked for by another thread."""
        return _body(self._look.get_rules())

    def add_rules(self, values: Sequence[str]) -> bytes:
        """Add rules, as ours."""
        return _body(self._rules.add_rules([tweepy.StreamRule(v, TAG) for v in values]))

    def delete_rules(self, ids: Sequence[str]) -> None:
        """Delete rules."""
        self._rules.delete_rules(list(ids))

    def user(self, name: str) -> bytes:
        """The account of that name."""
        return _body(self._users.get_user(username=name))

    def following(self, identity: str, token: str | None, most: int) -> bytes:
        """A page of the accounts that one follows."""
        return _body(
            self._users.get_users_following(identity, max_results=most, pagination_token=token)
        )

    def cut(self) -> None:
        """End whatever is under way, from another thread."""
        self._stream_session.cut()
        self._session.cut()

    def cut_look(self) -> None:
        """End a `look` under way, likewise."""
        self._look_session.cut()


class _OpenedOnly(BaseStream):  # type: ignore[misc]  # tweepy ships no types
    """Stands where tweepy would connect, loop and sleep; the request is all that it takes."""

    opened: LineStream | None = None
    silence_seconds: float

    def _connect(
        self,
        method: str,
        url: str,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        **_: Any,
    ) -> None:
        self.session.headers["User-Agent"] = self.user_agent
        self.opened = self.session.open(
            method,
            url,
            silence_seconds=self.silence_seconds,
            params=params,
            headers=headers,
        )


class _Stream(tweepy.StreamingClient, _OpenedOnly):  # type: ignore[misc]  # likewise
    """tweepy's client, which builds the address and the token's header before it connects."""

    def __init__(self, bearer_token: str, session: Session, silence_seconds: float) -> None:
        super().__init__(bearer_token)
        self.session = session
        self.silence_seconds = silence_seconds

    def take(self) -> LineStream:
        """What was opened last."""
        opened, self.opened = self.opened, None
        assert opened is not None  # noqa: S101 - `filter` opens it or raises
        return opened


def _body(response: Any) -> bytes:
    return cast("requests.Response", response).content
