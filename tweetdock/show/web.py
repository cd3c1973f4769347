"""The page and the API, in a thread of their own."""

from collections.abc import Callable

from tweetdock.settings import Settings
from tweetdock.show.board import Board
from tweetdock.threads import Companion


class Web:
    """Serves the board until it is stopped.

    Raises UnavailableError if the address cannot be had.
    """

    def __init__(
        self,
        settings: Settings,
        board: Board,
        start: Callable[[str, Callable[[], None]], Companion],
    ) -> None:
        self._board = board

    def stop(self) -> None:
        """End it, with all who watch, in a fifth of a second."""
