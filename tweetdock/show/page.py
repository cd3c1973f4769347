"""The page as it is first sent: both dials drawn, the numbers in their places."""

from collections.abc import Mapping

from tweetdock.reading import DialReading, Reading
from tweetdock.settings import DialSettings


def page(reading: Reading | None, dials: Mapping[str, DialSettings], *, kiosk: bool) -> str:
    """The whole page; reading: None while there is none."""
    return "<!doctype html><title>TweetDock</title>"


def dial_svg(name: str, reading: DialReading, dial: DialSettings) -> str:
    """One dial with its needle as an SVG image that stands by itself."""
    return "<svg xmlns='http://www.w3.org/2000/svg'/>"
