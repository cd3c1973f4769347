"""All settings: their names, defaults and meanings, checked as a whole before anything starts."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, Self

from tweetdock import values
from tweetdock.errors import SettingsError
from tweetdock.keep.settings import KeepSettings, settle_state_dir
from tweetdock.setting import Setting, set_by, table_of
from tweetdock.sources.x_query import build_query

AVAILABLE_SOURCES = ("x", "demo")
LATER_SOURCES = ("x-stream", "bluesky", "mastodon", "replay")
DIALS = ("tweets", "tweeters")
X_API_URL = "https://api.x.com"
X_QUERY_LENGTH = 4096  # X's own description of the search; a plan may allow fewer
X_SELF_SERVE_QUERY_LENGTH = 512
_PINS = {"tweets": 12, "tweeters": 13}  # both have hardware PWM on every Pi


@dataclass(frozen=True, slots=True, kw_only=True)
class DialSettings:
    """One dial: where its servo hangs and how its needle moves."""

    pin: int = set_by("PIN", values.whole(0, 27), "", "the servo's GPIO (BCM numbers)")
    scale: str = set_by("SCALE", values.scale, "auto", "auto, linear:500 or log:10000")
    min_angle: float = set_by("MIN_ANGLE", values.number(-360, 360), "0", "degrees at count 0")
    max_angle: float = set_by("MAX_ANGLE", values.number(-360, 360), "180", "degrees at full scale")
    min_pulse_us: int = set_by(
        "MIN_PULSE_US", values.whole(300, 3000), "1000", "shortest pulse in microseconds"
    )
    max_pulse_us: int = set_by(
        "MAX_PULSE_US", values.whole(300, 3000), "2000", "longest pulse in microseconds"
    )
    reversed: bool = set_by("REVERSED", values.switch, "0", "1: a higher count is a shorter pulse")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set. Times in seconds; secrets never show in `repr`."""

    hashtags: tuple[str, ...] = set_by(
        "TWEETDOCK_HASHTAGS", values.hashtags, "", "one or several, separated by space or comma"
    )
    x_query: str = set_by(
        "TWEETDOCK_X_QUERY", values.text, "", "a full X query instead of the hashtags"
    )
    sources: tuple[str, ...] = set_by(
        "TWEETDOCK_SOURCES", values.words, "x", "where posts come from, separated by comma"
    )
    x_bearer_token: str = set_by(
        "X_BEARER_TOKEN", values.secret, "", "X's app-only token", secret=True
    )
    x_consumer_key: str = set_by(
        "X_CONSUMER_KEY", values.secret, "", "OAuth 1.0a: the app's key", secret=True
    )
    x_consumer_secret: str = set_by(
        "X_CONSUMER_SECRET", values.secret, "", "OAuth 1.0a: the app's secret", secret=True
    )
    x_access_token: str = set_by(
        "X_ACCESS_TOKEN", values.secret, "", "OAuth 1.0a: the user's token", secret=True
    )
    x_access_token_secret: str = set_by(
        "X_ACCESS_TOKEN_SECRET", values.secret, "", "OAuth 1.0a: the user's secret", secret=True
    )
    x_api_url: str = set_by("X_API_URL", values.url, X_API_URL, "the server that speaks X's API")
    x_look_back_seconds: float = set_by(
        "TWEETDOCK_X_LOOK_BACK_SECONDS",
        values.number(90, 3600),
        "120",
        "how far a search a minute reaches back for posts that X indexed late",
    )
    poll_seconds: float = set_by(
        "TWEETDOCK_POLL_SECONDS", values.number(1, 3600), "5", "from one search to the next"
    )
    window_seconds: float = set_by(
        "TWEETDOCK_WINDOW_SECONDS",
        values.number(60, 518_400),
        "3600",
        "the sliding window; X's search remembers seven days",
    )
    stale_seconds: float = set_by(
        "TWEETDOCK_STALE_SECONDS",
        values.number(10, 86_400),
        "300",
        "after so long without word the needles rest at zero",
    )
    servo_backend: str = set_by(
        "TWEETDOCK_SERVO_BACKEND",
        values.one_of("auto", "pigpio", "lgpio", "mock"),
        "auto",
        "auto, pigpio, lgpio or mock",
    )
    servo_start_seconds: float = set_by(
        "TWEETDOCK_SERVO_START_SECONDS",
        values.number(0, 3600),
        "30",
        "how long a backend that was asked for may be out of reach at start",
    )
    pigpio_addr: str = set_by("PIGPIO_ADDR", values.text, "", "a pigpiod on another host")
    pigpio_port: int = set_by("PIGPIO_PORT", values.whole(1, 65535), "8888", "pigpiod's port")
    web: tuple[str, int] | None = set_by(
        "TWEETDOCK_WEB", values.listen_address, "127.0.0.1:8080", "where the page is, or off"
    )
    log_level: str = set_by(
        "TWEETDOCK_LOG_LEVEL",
        values.one_of("DEBUG", "INFO", "WARNING", "ERROR"),
        "INFO",
        "DEBUG, INFO, WARNING or ERROR",
    )
    log_format: str = set_by(
        "TWEETDOCK_LOG_FORMAT", values.one_of("text", "json"), "text", "text, or json for machines"
    )
    keep: KeepSettings
    tweets: DialSettings
    tweeters: DialSettings
    demo: bool = False

    @property
    def subject(self) -> str:
        """What is counted, as people say it."""
        return self.x_query or " ".join(f"#{tag}" for tag in self.hashtags)

    @classmethod
    def from_env(cls, env: Mapping[str, str], *, demo: bool = False) -> Self:
        """The settings in `env`; raises SettingsError with all problems at once.

        demo: simulated posts and mock dials, whatever `env` says of sources and servos.
        """
        problems = list(_unknown_names(env))
        env = dict(env)
        if demo:
            env |= {"TWEETDOCK_SOURCES": "demo", "TWEETDOCK_SERVO_BACKEND": "mock"}
            env["TWEETDOCK_HASHTAGS"] = env.get("TWEETDOCK_HASHTAGS") or "tweetdock"
        settle_state_dir(env)
        read: dict[str, Any] = {n: s.read(env, problems) for n, s in table_of(cls).items()}
        keep = {n: s.read(env, problems) for n, s in table_of(KeepSettings).items()}
        read["keep"] = KeepSettings(**keep)
        for dial in DIALS:
            table = _dial_table(dial)
            read[dial] = DialSettings(**{n: s.read(env, problems) for n, s in table.items()})
        settings = cls(**read, demo="demo" in read["sources"])
        # What was refused is not complained about again: its default stands in for it.
        refused = {_name(problem) for problem in problems}
        problems.extend(p for p in _conflicts(settings) if _name(p) not in refused)
        if problems:
            raise SettingsError(problems)
        return settings


def _dial_table(dial: str) -> dict[str, Setting]:
    prefix = f"TWEETDOCK_{dial.upper()}_"
    table = {n: replace(s, name=prefix + s.name) for n, s in table_of(DialSettings).items()}
    table["pin"] = replace(table["pin"], default=str(_PINS[dial]))
    return table


SETTINGS: tuple[Setting, ...] = (
    *table_of(Settings).values(),
    *table_of(KeepSettings).values(),
    *(setting for dial in DIALS for setting in _dial_table(dial).values()),
)


def _unknown_names(env: Mapping[str, str]) -> Iterator[str]:
    # Compared without the prefix, by which all names are alike.
    known = {setting.name.removeprefix("TWEETDOCK_"): setting.name for setting in SETTINGS}
    for name in sorted(env):
        if name.startswith("TWEETDOCK_") and name not in known.values():
            near = get_close_matches(name.removeprefix("TWEETDOCK_"), known, 1)
            hint = f"; did you mean {known[near[0]]}?" if near else "; .env.example lists all names"
            yield f"{name}: no such setting{hint}"


def _name(problem: str) -> str:
    return re.split("[=:]", problem, maxsplit=1)[0]


def _conflicts(settings: Settings) -> Iterator[str]:
    yield from _source_conflicts(settings)
    if "x" in settings.sources:
        yield from _x_conflicts(settings)
    if settings.window_seconds < 2 * settings.poll_seconds + 50:
        yield (
            f"TWEETDOCK_WINDOW_SECONDS={settings.window_seconds:g}: too short for a search every "
            f"TWEETDOCK_POLL_SECONDS={settings.poll_seconds:g}; at least twice that and 50 more"
        )
    if settings.stale_seconds <= settings.poll_seconds:
        yield (
            f"TWEETDOCK_STALE_SECONDS={settings.stale_seconds:g}: must be longer than "
            f"TWEETDOCK_POLL_SECONDS={settings.poll_seconds:g}"
        )
    if settings.keep.offload and settings.keep.archive is None:
        yield "TWEETDOCK_OFFLOAD: there is nothing to off-load without TWEETDOCK_ARCHIVE"
    if settings.tweets.pin == settings.tweeters.pin:
        yield (
            f"TWEETDOCK_TWEETERS_PIN={settings.tweeters.pin}: the same as TWEETDOCK_TWEETS_PIN; "
            "each servo needs a GPIO of its own"
        )
    for dial in DIALS:
        one: DialSettings = getattr(settings, dial)
        for low, high in (("min_angle", "max_angle"), ("min_pulse_us", "max_pulse_us")):
            least, most = getattr(one, low), getattr(one, high)
            if least >= most:
                yield (
                    f"TWEETDOCK_{dial.upper()}_{low.upper()}={least:g}: must be below "
                    f"{high.upper()}={most:g}; to turn a dial round set REVERSED=1"
                )


def _source_conflicts(settings: Settings) -> Iterator[str]:
    if not settings.sources:
        yield "TWEETDOCK_SOURCES: names none; a comma list of " + ", ".join(AVAILABLE_SOURCES)
    for source in settings.sources:
        if source.partition(":")[0] in LATER_SOURCES:
            accepted = "not in this version yet; it has " + ", ".join(AVAILABLE_SOURCES)
        elif source not in AVAILABLE_SOURCES:
            accepted = "a comma list of " + ", ".join(AVAILABLE_SOURCES)
        else:
            continue
        yield f"TWEETDOCK_SOURCES={source}: {accepted}"
    if settings.demo and len(settings.sources) > 1:
        yield "TWEETDOCK_SOURCES: made-up posts cannot be mixed with real ones; demo stands alone"


def _x_conflicts(settings: Settings) -> Iterator[str]:
    if not (settings.hashtags or settings.x_query):
        yield "TWEETDOCK_HASHTAGS: not set; name at least one hashtag, such as dockercon"
    query = settings.x_query or build_query(settings.hashtags)
    limit = X_QUERY_LENGTH if settings.x_query else X_SELF_SERVE_QUERY_LENGTH
    if len(query) > limit:
        name = "TWEETDOCK_X_QUERY" if settings.x_query else "TWEETDOCK_HASHTAGS"
        yield f"{name}: {len(query)} characters as a query for X, which takes at most {limit}"
    user = [s.name for s in SETTINGS if s.secret and s.name.startswith("X_")][1:]
    missing = [name for name in user if not getattr(settings, name.lower())]
    if not settings.x_bearer_token and missing:
        yield (
            "X_BEARER_TOKEN: not set, and without it X needs "
            + ", ".join(missing)
            + "; to look around without credentials: python -m tweetdock --demo"
        )
