"""Which posts a source has brought of late, so that it need not tell of the end of all others."""


class KnownKeys:
    """Keys of posts, known for one window at least and two at most.

    had_others: posts may be counted that were brought before a restart; until the window has left
    them behind, any key may be one of theirs.
    """

    def __init__(self, window_ms: int, now_ms: int, *, had_others: bool) -> None:
        self._window_ms = window_ms
        self._turned_ms = now_ms
        self._any_until_ms = now_ms + window_ms if had_others else now_ms
        # Hashes: of a post that is taken for ours by mistake only its end is told, to no harm.
        self._recent: set[int] = set()
        self._older: set[int] = set()

    def add(self, key: str) -> None:
        """A post was brought."""
        self._recent.add(hash(key))

    def may_be_ours(self, key: str, now_ms: int) -> bool:
        """Whether a post may have been brought that is still counted."""
        if now_ms - self._turned_ms >= self._window_ms:
            self._older, self._recent = self._recent, set()
            self._turned_ms = now_ms
        return now_ms < self._any_until_ms or hash(key) in self._recent or hash(key) in self._older

    def shift(self, by_ms: int) -> None:
        """The clock was corrected by so much."""
        self._turned_ms += by_ms
        self._any_until_ms += by_ms
