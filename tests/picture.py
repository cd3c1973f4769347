"""The README's picture: a day of the demo, lived through at once, as the real page shows it.

python tests/picture.py docs/page.png
"""

from __future__ import annotations

import sys
from pathlib import Path

from browser import Site, chromium

from tweetdock.core.gauge import Gauge
from tweetdock.core.post import Batch, Feed, Span
from tweetdock.settings.gauge import Settings
from tweetdock.sources.demo import posts_in

DAY_MS, HOUR_MS, MINUTE_MS, STEP_MS = 86_400_000, 3_600_000, 60_000, 10_000
UNTIL_MS = 1_790_000_000_000 // DAY_MS * DAY_MS + 14 * HOUR_MS + 17 * MINUTE_MS  # a lively hour
ENV = {"TWEETDOCK_SOURCES": "demo", "TWEETDOCK_HASHTAGS": "dockercon"}


def live_through(site: Site, since_ms: int, until_ms: int) -> None:
    """Have the demo's posts counted and shown, step by step."""
    feed = Feed("demo", STEP_MS)
    gauge = Gauge(Settings.from_env(ENV).gauge, [feed], since_ms)
    at_ms = since_ms
    while at_ms < until_ms:
        span = Span(at_ms - HOUR_MS if at_ms == since_ms else at_ms, at_ms + STEP_MS)
        at_ms = span.until_ms
        batch = Batch(source=feed.source, posts=tuple(posts_in(span)), covers=span)
        gauge.deliver(batch, at_ms)
        site.publish(gauge.read(at_ms))


def main(path: Path) -> None:
    """Take the picture."""
    with chromium() as browser, Site() as site:
        live_through(site, UNTIL_MS - 7 * HOUR_MS, UNTIL_MS)
        context = browser.new_context(
            viewport={"width": 1200, "height": 830}, locale="en-GB", timezone_id="UTC"
        )
        site.guests.append(context)
        page = context.new_page()
        page.goto(site.url)
        page.wait_for_selector("#chart canvas")
        path.write_bytes(page.screenshot(type="png"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
