"""What the API says of a reading, as bytes."""

import json
import math

from tweetdock.core.reading import Reading


def as_bytes(reading: Reading) -> bytes:
    """The reading as the contract's JSON, in one line."""
    text = json.dumps(reading.as_json(), ensure_ascii=False)
    # A network's own words may have half a surrogate pair.
    return text.encode(errors="replace") + b"\n"


def as_line(reading: Reading) -> bytes:
    r"""The reading as one line of ASCII for a tiny client that would not parse JSON.

    Fields are separated by one space and the line ends with `\n`; more may be added at the end:

        412 287 exact 0.4120 0.2870 1.000 1763732112 live

    posts, authors; the grade; where the two needles are to be, 0..1; the share of the window that
    is covered, 0..1, rounded down; when that was, Unix seconds; `live`, `demo` or `replay`.
    """
    tweets, tweeters = reading.dials["tweets"], reading.dials["tweeters"]
    covered = math.floor(reading.covered * 1000) / 1000
    kind = "demo" if reading.demo else "replay" if reading.replay else "live"
    return (
        f"{reading.posts} {reading.authors} {reading.grade} {tweets.position:.4f} "
        f"{tweeters.position:.4f} {covered:.3f} {reading.at_ms // 1000} {kind}\n"
    ).encode()
