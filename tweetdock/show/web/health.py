"""Whether the gauge is well: every thread lives, and its loop turns."""

from tweetdock.core.reading import Reading
from tweetdock.show.board import Board

SILENT_SECONDS = 10.0


def ailment(board: Board) -> str:
    """What is wrong, in a sentence; empty if nothing is."""
    dead = [name for name, lives in board.vitals.threads().items() if not lives]
    if dead:
        return f"not running: {', '.join(sorted(dead))}"
    return f"no reading for {board.silence_seconds():.0f} seconds" if is_silent(board) else ""


def is_silent(board: Board) -> bool:
    """Whether the loop hangs, so that what it has put up says nothing of now."""
    return board.silence_seconds() > SILENT_SECONDS


def reading_of(board: Board) -> Reading | None:
    """The reading that holds now; None before the first, and while the loop hangs."""
    return None if is_silent(board) else board.reading


def absence(board: Board) -> str:
    """Why there is no reading that holds now, in a sentence."""
    if board.reading is None:
        return "There is no reading yet."
    seconds = board.silence_seconds()
    return f"TweetDock hangs: its last reading is {seconds:.0f} seconds old."
