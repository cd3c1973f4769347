"""What the doctor looks at in the networks: one check or more for each source of the settings."""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from tweetdock.checkup import Check, Finding, Verdict
from tweetdock.post import feed_name
from tweetdock.setting import table_of
from tweetdock.settings import Settings
from tweetdock.sources.choice import credentials_of
from tweetdock.sources.replay.lines import Text
from tweetdock.sources.settings import REPLAY, XSettings, asks_x, host_of, replayed_file

SHORTEST = 4  # characters; what is shorter is no secret, and stands in many a word
LEAST_PIECE = 10  # of a secret that was cut off
Look = Callable[[], Iterator[Finding]]


def source_checks(settings: Settings, lines: Callable[[Path], Iterator[Text]]) -> list[Check]:
    """The checks, each for a thread of its own; nothing is asked yet, and no finding has a secret.

    lines: gives a file's lines, packed or not; may raise OSError. A look ends within 15 seconds.
    """
    secrets = [secret for secret in _secrets(settings) if len(secret) >= SHORTEST]
    return [
        Check(check.thing, _discreet(check.look, secrets)) for check in _checks(settings, lines)
    ]


def discreet(text: str, secrets: Iterable[str]) -> str:
    """The text with dots for each secret, and for what is left of one that was cut off."""
    for secret in secrets:
        for spelt in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1], repr(secret)[1:-1]):
            for end in range(len(spelt), min(LEAST_PIECE, len(spelt)) - 1, -1):
                text = re.sub(re.escape(spelt[:end]), "...", text, flags=re.IGNORECASE)
    return text


# Each network brings libraries of its own: only those in use are imported.


def _checks(settings: Settings, lines: Callable[[Path], Iterator[Text]]) -> Iterator[Check]:
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


def _look_at_x(settings: Settings) -> Look:
    def look() -> Iterator[Finding]:
        from tweetdock.sources.x.checkup import XCheckup  # noqa: PLC0415

        yield from XCheckup(settings, credentials_of(settings)).look()

    return look


def _look_at_bluesky(settings: Settings) -> Look:
    def look() -> Iterator[Finding]:
        from tweetdock.sources.bluesky.checkup import BlueskyCheckup  # noqa: PLC0415

        yield from BlueskyCheckup(settings.networks.jetstream).look()

    return look


def _look_at_mastodon(settings: Settings, server: str) -> Look:
    def look() -> Iterator[Finding]:
        from tweetdock.sources.mastodon.checkup import MastodonCheckup  # noqa: PLC0415

        token = settings.networks.mastodon_tokens.get(host_of(server), "")
        tag, seconds = settings.hashtags[0], settings.poll_seconds
        yield from MastodonCheckup(server, token, tag, poll_seconds=seconds).look()

    return look


def _look_at_replay(source: str, lines: Callable[[Path], Iterator[Text]]) -> Look:
    def look() -> Iterator[Finding]:
        from tweetdock.sources.replay.checkup import ReplayCheckup  # noqa: PLC0415

        yield from ReplayCheckup(source, replayed_file(source), lines).look()

    return look


def _look_at_demo() -> Iterator[Finding]:
    yield Finding("demo", Verdict.PASS, "the posts are made up, which takes no network")


def _secrets(settings: Settings) -> Iterator[str]:
    table = table_of(XSettings)
    yield from (getattr(settings.x, name) for name, one in table.items() if one.secret)
    yield from settings.networks.mastodon_tokens.values()


def _discreet(look: Look, secrets: list[str]) -> Look:
    # Servers are strangers: one may send back in its refusal what it was sent.
    def quietly() -> Iterator[Finding]:
        for found in look():
            says, cure = discreet(found.says, secrets), discreet(found.cure, secrets)
            yield replace(found, says=says, cure=cure)

    return quietly
