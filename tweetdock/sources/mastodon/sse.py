"""Server-sent events, decoded line by line."""

from typing import NamedTuple


class Event(NamedTuple):
    """An event; `data` is None if a part of it was too long to be received."""

    kind: str
    data: bytes | None


class EventDecoder:
    """Puts lines together to events, until the stream that they come from breaks.

    https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation,
    but for `id` and `retry`, which go by unnoticed.
    """

    def __init__(self) -> None:
        self._is_first = True
        self._clear()

    def take(self, line: bytes | None) -> Event | None:
        """The event that this line ends, if it ends one.

        line: without its end; None for one that was too long.
        """
        if line is None:
            self._is_spoilt = True
            return None
        if self._is_first:
            line, self._is_first = line.removeprefix(b"\xef\xbb\xbf"), False
        if not line:
            return self._finish()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"event":
            self._kind = value.decode(errors="replace")
        elif name == b"data":
            self._data.append(value)
        return None  # a comment has an empty name

    def _finish(self) -> Event | None:
        kind, data, is_spoilt = self._kind or "message", self._data, self._is_spoilt
        self._clear()
        if is_spoilt:
            return Event(kind, None)
        return Event(kind, b"\n".join(data)) if data else None

    def _clear(self) -> None:
        self._kind = ""
        self._data: list[bytes] = []
        self._is_spoilt = False
