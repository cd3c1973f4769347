"""The watchers of live readings: each gets the newest, and nobody holds up another."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING

from tweetdock.show.board import Board
from tweetdock.show.web.answers import as_bytes
from tweetdock.show.web.guard import Limits

if TYPE_CHECKING:
    from tweetdock.core.reading import Reading

RETRY = b"retry: 2000\n\n"


class Watchers:
    """The page's watchers, as many as the limits allow.

    Belongs to the loop of asyncio in which `begin` is called, but for what the board calls.
    """

    def __init__(self, board: Board, limits: Limits) -> None:
        self._board = board
        self._limits = limits
        self._number = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Event()
        self._is_due = False
        self._due_at = 0.0
        self._shown: Reading | None = None
        self._event = b""
        self._has_ended = False
        board.watch(self._published)

    def __len__(self) -> int:
        return self._number

    @property
    def has_room(self) -> bool:
        """Whether one more may watch."""
        return self._number < self._limits.watchers and not self._has_ended

    def begin(self) -> None:
        """Follow the board from now on."""
        self._loop = asyncio.get_running_loop()

    def end(self) -> None:
        """End the answers to all of them."""
        self._has_ended = True
        self._wake_all()

    async def events(self) -> AsyncIterator[bytes]:
        """The readings for one watcher, the newest again and again."""
        self._number += 1
        try:
            yield RETRY
            # What was put up before the loop hung is not sent to who comes later.
            is_late = self._board.is_silent
            if not is_late:
                self._make_event()
            seen = self._shown if is_late else None
            while not self._has_ended:
                changed = self._changed
                if seen is self._shown:
                    await changed.wait()
                # Asked for the next when all that was sent before is on its way: only then the
                # newest is chosen, so that who reads slowly misses readings, and sees no old ones.
                yield b""
                if seen is not self._shown:
                    seen = self._shown
                    yield b"" if self._board.is_silent else self._event
        finally:
            self._number -= 1

    def _published(self) -> None:
        """A new reading is up; called in the gauge's own loop, which waits for nothing."""
        if self._loop is not None and self._number:
            with suppress(RuntimeError):  # asyncio's loop is closed
                self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        if self._is_due or self._loop is None:
            return
        self._is_due = True
        self._loop.call_at(max(self._due_at, self._loop.time()), self._tell)

    def _tell(self) -> None:
        self._is_due = False
        if self._loop is not None:
            self._due_at = self._loop.time() + self._limits.pause_seconds
        self._make_event()
        self._wake_all()

    def _wake_all(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _make_event(self) -> None:
        """Make an event of the newest reading, one for all."""
        reading = self._board.reading
        if reading is not None and reading is not self._shown:
            self._shown = reading
            self._event = b"id: %d\ndata: %b\n" % (reading.at_ms, as_bytes(reading))
