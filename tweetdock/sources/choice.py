"""The sources by the names that the settings use."""

from tweetdock.clock import Clock
from tweetdock.memory import Bookmark
from tweetdock.settings import X_API_URL, Settings
from tweetdock.sources.polling import Source
from tweetdock.sources.x_query import build_query


def subject_of(name: str, settings: Settings) -> str:
    """What the source of that name is asked for, in its own language."""
    if name == "demo":
        return " ".join(settings.hashtags)
    query = settings.x_query or build_query(settings.hashtags)
    # What a server of one's own has to tell is not what X has.
    return query if settings.x_api_url == X_API_URL else f"{query} at {settings.x_api_url}"


def make_source(
    name: str, settings: Settings, bookmark: Bookmark, *, not_before_ms: int = 0
) -> Source:
    """The source of that name; nothing is asked yet. Each goes by a clock of its own server.

    bookmark: where it left off before a restart. not_before_ms: a time known to have passed.
    """
    clock = Clock(not_before_ms=not_before_ms)
    # Each brings libraries of its own: only those in use are imported.
    if name == "demo":
        from tweetdock.sources.demo import Demo  # noqa: PLC0415

        return Demo(
            clock=clock,
            window_seconds=settings.window_seconds,
            poll_seconds=settings.poll_seconds,
        )
    from tweetdock.sources.x import Credentials, XSearch  # noqa: PLC0415

    return XSearch(
        settings.x_query or build_query(settings.hashtags),
        Credentials(
            bearer_token=settings.x_bearer_token,
            consumer_key=settings.x_consumer_key,
            consumer_secret=settings.x_consumer_secret,
            access_token=settings.x_access_token,
            access_token_secret=settings.x_access_token_secret,
        ),
        clock=clock,
        api_url=settings.x_api_url,
        window_seconds=settings.window_seconds,
        poll_seconds=settings.poll_seconds,
        look_back_seconds=settings.x_look_back_seconds,
        keeps_raw=settings.keep.archive is not None,
        bookmark=bookmark,
    )
