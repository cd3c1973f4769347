"""The doctor's checks of a Mastodon server: what it shows, to whom, and if its stream opens."""

import time
from collections.abc import Callable, Iterator
from functools import partial

from tweetdock.core.clock import Clock
from tweetdock.core.errors import Kind, SourceError
from tweetdock.doctor.checks import Finding, Verdict
from tweetdock.doctor.connections import (
    SERVER_SECONDS,
    Endpoint,
    clock_finding,
    connect_to,
    limit_finding,
    unreachable,
)
from tweetdock.settings.networks import host_of
from tweetdock.sources.mastodon.client import (
    Instance,
    KnownInstance,
    MastodonClient,
    new_session,
    streaming_base,
)

SETTING = "TWEETDOCK_MASTODON"
PARTS = {Kind.CREDENTIALS: "token", Kind.LIMIT: "limit", Kind.QUERY: "feed"}
STEPS = 3  # questions, each with a share of the time that is left


class MastodonCheckup:
    """Asks a server for its description, for a page of a hashtag, and for its stream.

    All of that is free. token: a user's, or none; the stream shows whether it is accepted.
    """

    def __init__(
        self,
        server: str,
        token: str,
        tag: str,
        *,
        poll_seconds: float,
        wall: Callable[[], float] = time.time,
        check_seconds: float = SERVER_SECONDS,
    ) -> None:
        self._host = host_of(server)
        self._server = server
        self._token = token
        self._tag = tag
        self._poll_seconds = poll_seconds
        self._wall = wall
        self._clock = Clock(wall, time.monotonic)
        self._check_seconds = check_seconds
        self._endpoint = Endpoint.through_proxy("mastodon", server, SETTING)

    def check(self) -> Iterator[Finding]:
        """All findings, from the connection to the stream."""
        until = time.monotonic() + self._check_seconds
        reached = connect_to(self._endpoint)
        if reached.verdict is Verdict.FAIL:
            yield reached
            return
        whole_seconds = max(1.0, (until - time.monotonic()) / STEPS)
        client = MastodonClient(
            self._server,
            self._token,
            KnownInstance(),
            clock=self._clock,
            make_session=partial(new_session, whole_seconds),
        )
        try:
            instance = client.check_access()
            client.page([self._tag], {})
        except SourceError as error:
            yield from self._failed(error, reached)
            return
        yield reached
        yield self._feed(instance, client.remark)
        if (server_ms := client.server_ms()) is not None:
            machine_ms = round(self._wall() * 1000)
            yield clock_finding("mastodon", f"{self._host}'s", server_ms, machine_ms)
        yield self._limit(client)
        yield from self._stream(client, instance, until)

    def _feed(self, instance: Instance, remark: str) -> Finding:
        # A server may send anything.
        version = "".join(filter(str.isprintable, instance.version))
        software = f"Mastodon {version}" if version else "which does not say its version"
        who = "its users" if instance.wants_token else "everybody"
        says = f"{self._host}, {software}, shows #{self._tag} to {who}"
        if not instance.remark:
            says = f"{says}; it {remark}" if remark else says
            return Finding("mastodon feed", Verdict.PASS, says)
        cure = f"for the other posts add another server to {SETTING}"
        return Finding("mastodon feed", Verdict.WARN, f"{says}, but it {instance.remark}", cure)

    def _limit(self, client: MastodonClient) -> Finding:
        return limit_finding(
            "mastodon",
            client.limit,
            self._clock.now_ms(),
            wanted_seconds=self._poll_seconds,
            what=f"requests to {self._host}",
        )

    def _stream(
        self, client: MastodonClient, instance: Instance, until: float
    ) -> Iterator[Finding]:
        if not self._token:
            says = f"no token for {self._host}, so it is polled, and posts come some seconds later"
            yield Finding("mastodon live", Verdict.PASS, says)
            return
        host = host_of(streaming_base(instance, self._server) or self._server)
        # As much time for the first line as for the connection.
        seconds = max(1.0, (until - time.monotonic()) / 2)
        try:
            lines = client.stream(self._tag, seconds)
        except SourceError as error:
            if error.kind is Kind.CREDENTIALS:
                yield Finding("mastodon token", Verdict.FAIL, error.what, error.cure)
            else:
                yield self._no_stream(error)
            return
        yield Finding("mastodon token", Verdict.PASS, f"{self._host} accepts its token")
        try:
            lines.read()
        except SourceError as error:
            yield self._no_stream(error)
        else:
            yield Finding("mastodon live", Verdict.PASS, f"{host} opens its stream")
        finally:
            lines.close()

    def _no_stream(self, error: SourceError) -> Finding:
        cure = (
            "nothing for now: it is polled, and posts come some seconds later; if it stays so, "
            f"tell the people who run {self._host}"
        )
        return Finding("mastodon live", Verdict.WARN, f"no stream: {error.what}", cure)

    def _failed(self, error: SourceError, reached: Finding) -> Iterator[Finding]:
        part = PARTS.get(error.kind)
        if part is None:
            yield unreachable(self._endpoint, error)
            return
        yield reached
        verdict = Verdict.WARN if error.kind is Kind.LIMIT else Verdict.FAIL
        cure = error.cure or (
            "try again later, TweetDock waits by itself; does another program use this address?"
        )
        yield Finding(f"mastodon {part}", verdict, error.what, cure)
