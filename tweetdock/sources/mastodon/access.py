"""What a Mastodon server lets us see and where, known to all the ways to it."""

import threading

from tweetdock.sources.mastodon.instance import Instance

ASK_EVERY_MS = 600_000


class Access:
    """What a server said of itself last, and how it is read. Used by several threads."""

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
        """What it said may hold no more."""
        with self._lock:
            self._is_fresh = False

    def known(self, now_ms: int) -> Instance | None:
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
