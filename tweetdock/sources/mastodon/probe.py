"""Asks a Mastodon server for its description, for a page of a hashtag, and for its stream."""

import time
from collections.abc import Callable, Iterator

from tweetdock.core.clock import Clock
from tweetdock.core.errors import Kind, SourceError
from tweetdock.core.finding import Finding
from tweetdock.settings.networks import host_of
from tweetdock.sources.endpoint import ANSWERS, Endpoint, compared, reached, refused
from tweetdock.sources.http import left_of
from tweetdock.sources.mastodon.client import SETTING, Instance, MastodonClient, new_session

ANSWER_SECONDS = 4.0  # for each of three questions


def probe(
    server: str,
    token: str,
    tag: str,
    *,
    poll_seconds: float,
    wall: Callable[[], float] = time.time,
    answer_seconds: float = ANSWER_SECONDS,
) -> Iterator[Finding]:
    """All about a server, from the way there to the stream; it is free.

    token: a user's, or none; the stream shows whether it is accepted.
    """
    clock, host = Clock(wall, time.monotonic), host_of(server)
    session = new_session(answer_seconds)
    client = MastodonClient(server, token, clock=clock, session=session)
    endpoint = Endpoint(server, SETTING)
    try:
        instance = client.check_access()
        server_ms = client.page(tag, {}).server_ms
    except SourceError as error:
        if error.kind in ANSWERS:
            yield reached("mastodon", endpoint)
        yield refused("mastodon", error)
        return
    yield reached("mastodon", endpoint, session.connect_seconds)
    yield _feed(f"{host}, {_software(instance)}, shows #{tag} to", instance, client.remark)
    if server_ms is not None:
        yield compared("mastodon", f"{host}'s", server_ms, round(wall() * 1000))
    what = f"requests to {host}"
    yield left_of(
        "mastodon", client.questions.limit, clock.now_ms(), wanted_seconds=poll_seconds, what=what
    )
    if token:
        yield from _stream(client, host, tag, answer_seconds)
    else:
        says = f"no token for {host}, so it is polled, and posts come some seconds later"
        yield Finding.well("mastodon live", says)


def _software(instance: Instance) -> str:
    # A server may send anything.
    version = "".join(filter(str.isprintable, instance.version))
    return f"Mastodon {version}" if version else "which does not say its version"


def _feed(shows: str, instance: Instance, remark: str) -> Finding:
    says = f"{shows} {'its users' if instance.wants_token else 'everybody'}"
    if not instance.remark:
        return Finding.well("mastodon query", f"{says}; it {remark}" if remark else says)
    cure = f"for the other posts add another server to {SETTING}"
    return Finding.warning("mastodon query", f"{says}, but it {instance.remark}", cure)


def _stream(client: MastodonClient, host: str, tag: str, seconds: float) -> Iterator[Finding]:
    try:
        lines = client.stream(new_session(seconds), tag, seconds)
        yield Finding.well("mastodon credentials", f"{host} accepts its token")
        try:
            lines.read()
        finally:
            lines.close()
    except SourceError as error:
        if error.kind is Kind.CREDENTIALS:
            yield refused("mastodon", error)
            return
        cure = (
            "nothing for now: it is polled, and posts come some seconds later; if it stays so, "
            f"tell the people who run {host}"
        )
        yield Finding.warning("mastodon live", f"no stream: {error.what}", cure)
    else:
        yield Finding.well("mastodon live", f"{lines.host} streams")
