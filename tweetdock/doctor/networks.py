"""What the doctor looks at in the networks: one check or more for each source of the settings."""

from collections.abc import Callable, Iterator
from pathlib import Path

from tweetdock.core.post import feed_name
from tweetdock.doctor.findings import Check, Finding, Verdict
from tweetdock.settings.gauge import Settings
from tweetdock.settings.networks import REPLAY, asks_x, host_of, replayed_file
from tweetdock.sources.choice import credentials_of
from tweetdock.sources.recordings import Text

Look = Callable[[], Iterator[Finding]]


def source_checks(settings: Settings, lines: Callable[[Path], Iterator[Text]]) -> Iterator[Check]:
    """The checks, each for a thread of its own; nothing is asked yet.

    lines: gives a file's lines, packed or not; may raise OSError. A look ends within 15 seconds.
    Servers are strangers: one may send back what it was sent, so findings may have secrets in them.
    """
    sources = settings.sources
    if asks_x(sources):
        yield Check("x", _look_at_x(settings))
    if "bluesky" in sources:
        yield Check("bluesky", _look_at_bluesky(settings))
    if "mastodon" in sources:
        for server in settings.networks.mastodon:
            thing = feed_name("mastodon", host_of(server))
            yield Check(thing, _look_at_mastodon(settings, server))
    if "demo" in sources:
        yield Check("demo", _look_at_demo)
    for source in sources:
        if source.startswith(REPLAY):
            yield Check("replay", _look_at_replay(source, lines))


# Each network brings libraries of its own: only those in use are imported.


def _look_at_x(settings: Settings) -> Look:
    def look() -> Iterator[Finding]:
        from tweetdock.doctor.x import XCheckup  # noqa: PLC0415

        yield from XCheckup(settings, credentials_of(settings)).look()

    return look


def _look_at_bluesky(settings: Settings) -> Look:
    def look() -> Iterator[Finding]:
        from tweetdock.doctor.bluesky import BlueskyCheckup  # noqa: PLC0415

        yield from BlueskyCheckup(settings.networks.jetstream).look()

    return look


def _look_at_mastodon(settings: Settings, server: str) -> Look:
    def look() -> Iterator[Finding]:
        from tweetdock.doctor.mastodon import MastodonCheckup  # noqa: PLC0415

        token = settings.networks.mastodon_tokens.get(host_of(server), "")
        tag, seconds = settings.hashtags[0], settings.poll_seconds
        yield from MastodonCheckup(server, token, tag, poll_seconds=seconds).look()

    return look


def _look_at_replay(source: str, lines: Callable[[Path], Iterator[Text]]) -> Look:
    def look() -> Iterator[Finding]:
        from tweetdock.doctor.replay import ReplayCheckup  # noqa: PLC0415

        yield from ReplayCheckup(source, replayed_file(source), lines).look()

    return look


def _look_at_demo() -> Iterator[Finding]:
    yield Finding("demo", Verdict.PASS, "the posts are made up, which takes no network")
