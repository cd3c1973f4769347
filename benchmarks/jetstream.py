"""What following all of Bluesky costs, an event: from its frame to the batch, and off the wire."""

import json
import os
import re
import socket
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle, islice
from pathlib import Path

from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.sync.client import connect

from benchmarks.table import lines, race
from tweetdock.core.clock import Clock
from tweetdock.core.coverage import Spans
from tweetdock.core.post import Batch, Post, Removal
from tweetdock.sources.bluesky.events import Filter, Matched
from tweetdock.sources.bluesky.progress import EventProgress, EventRate, ReplayRequest
from tweetdock.sources.bluesky.source import Bluesky

# The stand-ins are no package of their own: they are found where pytest finds them.
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from standins.jetstream_events import as_sent, delete_post, make_identity, make_like, make_post
from standins.loopback import Loopback

EVENTS = 30_000
PIECE = 100  # frames that one read of 64 KiB brings
START_US = 1_790_000_000_000_000
STEP_US = 2_000
NOW_MS = START_US // 1000 + EVENTS
RECORDED = "jetstream-v1.jsonl"
_DATED = re.compile(rb'"time_us":\d+')


def rows() -> Iterator[str]:
    """Measure; return the table's rows."""
    all_kinds = list(islice(cycle(mix()), EVENTS))
    posts = [frame for frame in all_kinds if b'"app.bsky.feed.post"' in frame]
    posts = list(islice(cycle(posts), EVENTS))
    for what, frames in (("of all kinds", all_kinds), ("posts only", posts)):
        seconds = race(
            {
                "ours": partial(partial, listen, frames),
                "`json.loads` of each": partial(partial, decode, frames),
            }
        )
        a_second = {name: EVENTS / taken for name, taken in seconds.items()}
        name = f"Jetstream, {what}: from frames to batches"
        yield from lines(name, "events/s", a_second.pop("ours"), a_second)
    with Firehose(posts) as firehose:
        seconds = race(
            {
                "ours": lambda: firehose.follow,
                "`websockets.sync.client` alone": lambda: firehose.recv,
            }
        )
    a_second = {name: EVENTS / taken for name, taken in seconds.items()}
    name = "Jetstream, posts only: off a local WebSocket, and to batches"
    yield from lines(name, "events/s", a_second.pop("ours"), a_second)


def mix() -> list[bytes]:
    """Return the recorded events if they are at hand, else made-up ones in their proportions."""
    folder = os.environ.get("TWEETDOCK_RECORDINGS", "")
    if folder:
        return (Path(folder) / RECORDED).read_bytes().splitlines()
    makers: list[tuple[int, Callable[[int], dict[str, object]]]] = [
        (131, make_like),
        (15, lambda number: padded(make_post(number))),
        (2, lambda number: padded(make_post(number, "IndieWeb", "art"))),
        (1, delete_post),
        (3, make_identity),
    ]
    events = [make(number) for share, make in makers for number in range(share)]
    # Spread over each other, as they come.
    mixed = [events[place * 37 % len(events)] for place in range(len(events))]
    return [as_sent(event, START_US + place * STEP_US) for place, event in enumerate(mixed)]


def padded(event: dict[str, object]) -> dict[str, object]:
    """Return a post as long as they are on average."""
    record = event["commit"]["record"]  # type: ignore[index]
    return event | {"commit": {**event["commit"], "record": {**record, "text": "x" * 240}}}  # type: ignore[dict-item]


def decode(frames: list[bytes]) -> None:
    """Decode each event."""
    for frame in frames:
        json.loads(frame)


def listen(frames: list[bytes]) -> int:
    """Make batches of the frames as the source does; return how many posts they have."""
    filter_, found = Filter(["dockercon"]), 0
    ask = ReplayRequest("wss://host", START_US // 1000, START_US // 1000)
    progress = EventProgress(ask, EventRate())
    for start in range(0, len(frames), PIECE):
        times, events = filter_.find(frames[start : start + PIECE])
        progress.advance(times, NOW_MS)
        posts = [e for e in events if isinstance(e, Matched) and e.time_us]
        gone = [e for e in events if not isinstance(e, Matched)]
        spans = progress.new_complete(NOW_MS)
        batch = Batch(
            source="bluesky",
            posts=tuple(Post(e.key, e.author, (e.time_us or 0) // 1000) for e in posts),
            removals=tuple(Removal(str(e), NOW_MS) for e in gone),
            covers=next(iter(spans), None),
        )
        found += len(batch.posts)
    return found


class Firehose:
    """A WebSocket server that sends the same events to whoever comes, as fast as they are taken."""

    def __init__(self, frames: list[bytes]) -> None:
        packer = ServerProtocol(state=State.OPEN)
        for place, frame in enumerate(frames):
            # Each with a time of its own, as it is to be followed.
            packer.send_text(_DATED.sub(b'"time_us":%d' % (START_US + place * STEP_US), frame, 1))
        self._number = len(frames)
        self._bytes = b"".join(packer.data_to_send())
        self._loopback = Loopback(self._send)
        self._url = f"ws://127.0.0.1:{self._loopback.port}/subscribe"

    def __enter__(self) -> "Firehose":
        self._loopback.up()
        return self

    def __exit__(self, *_: object) -> None:
        self._loopback.close()

    def follow(self) -> None:
        """Be the source until everything has become batches."""
        last_ms = (START_US + self._number * STEP_US) // 1000
        clock = Clock(wall=lambda: last_ms / 1000, monotonic=lambda: 0.0)
        window = self._number * STEP_US / 1e6
        source = Bluesky(["dockercon"], clock=clock, hosts=[self._url], window_seconds=window)
        seen = Spans()
        while (seen.until_ms or 0) < last_ms - 4_000:
            for batch in source.poll(Spans(seen)):
                if batch.covers:
                    seen.add(batch.covers)
        source.cut()

    def recv(self) -> None:
        """Read all and do nothing with it."""
        with connect(self._url, compression=None, close_timeout=0.1) as client:
            for _ in range(self._number):
                client.recv(decode=False)

    def _send(self, connection: socket.socket) -> None:
        protocol = ServerProtocol()
        while not (events := protocol.events_received()):
            protocol.receive_data(connection.recv(65536))
        if isinstance(events[0], Request):
            response = protocol.accept(events[0])
            del response.headers["Date"]  # the time here is another
            protocol.send_response(response)
        connection.sendall(b"".join(protocol.data_to_send()) + self._bytes)
        connection.recv(65536)
