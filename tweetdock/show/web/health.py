"""Whether the gauge is well: every thread lives, and its loop turns."""

from tweetdock.show.board import Board

SILENT_SECONDS = 10.0


def ailment(board: Board) -> str:
    """What is wrong, in a sentence; empty if nothing is."""
    dead = [name for name, lives in board.vitals.threads().items() if not lives]
    if dead:
        return f"not running: {', '.join(sorted(dead))}"
    silence = board.silence_seconds()
    if silence > SILENT_SECONDS:
        return f"no reading for {silence:.0f} seconds"
    return ""
