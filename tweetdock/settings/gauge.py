"""All settings: their names, defaults and meanings, checked as a whole before anything starts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Self

from tweetdock.core.address import is_loopback
from tweetdock.core.errors import Problem, SettingsError, plain
from tweetdock.core.gauge import GaugeSettings
from tweetdock.settings import parse
from tweetdock.settings.keeping import KeepSettings
from tweetdock.settings.networks import (
    REPLAY,
    NetworkSettings,
    XSettings,
    asks_x,
    called,
    is_only_replay,
    replayed_file,
    source_problems,
    wants_hashtags,
)
from tweetdock.settings.setting import Setting, set_by, table_of

USUAL_PAGE = "127.0.0.1:8080"
LAST_US = (300, 3000)  # the shortest and the longest pulse; no servo takes more


@dataclass(frozen=True, slots=True, kw_only=True)
class DialSettings:
    """One dial: the pin of its servo, and how its needle moves."""

    pin: int = set_by("the servo's GPIO (BCM numbers)", parse.whole(0, 27))
    scale: str = set_by("auto, linear:500 or log:10000", parse.scale, "auto")
    min_angle: float = set_by("degrees at count 0", parse.number(-360, 360), "0")
    max_angle: float = set_by("degrees at full scale", parse.number(-360, 360), "180")
    min_pulse_us: int = set_by("shortest pulse in microseconds", parse.whole(*LAST_US), "1000")
    max_pulse_us: int = set_by("longest pulse in microseconds", parse.whole(*LAST_US), "2000")
    mid_pulse_us: int | None = set_by(
        "the pulse at the middle angle, if that is not halfway",
        parse.optional(parse.whole(*LAST_US)),
    )
    reversed: bool = set_by("1: a higher count is a shorter pulse", parse.switch, "0")

    @property
    def start_us(self) -> int:
        """The pulse at count 0."""
        return self.max_pulse_us if self.reversed else self.min_pulse_us

    @property
    def end_us(self) -> int:
        """The pulse at full scale."""
        return self.min_pulse_us if self.reversed else self.max_pulse_us

    @property
    def middle_us(self) -> float:
        """The pulse at the middle angle."""
        halfway = (self.min_pulse_us + self.max_pulse_us) / 2
        return halfway if self.mid_pulse_us is None else self.mid_pulse_us

    def problems(self, prefix: str) -> Iterator[Problem]:
        """What of it does not go together; prefix: how the names of its settings begin."""
        for low, high in (("min_angle", "max_angle"), ("min_pulse_us", "max_pulse_us")):
            least, most = getattr(self, low), getattr(self, high)
            if least >= most:
                yield Problem(
                    f"{prefix}{low.upper()}",
                    f"must be below {high.upper()}={most:g}; to turn a dial round set REVERSED=1",
                    f"{least:g}",
                )
        middle = self.mid_pulse_us
        if middle is not None and not self.min_pulse_us < middle < self.max_pulse_us:
            yield Problem(
                f"{prefix}MID_PULSE_US",
                "must be between "
                f"MIN_PULSE_US={self.min_pulse_us} and MAX_PULSE_US={self.max_pulse_us}",
                f"{middle}",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set. Times in seconds; secrets never show in `repr`.

    A setting is named TWEETDOCK_ and its field in capitals, if no other name is given.
    """

    hashtags: tuple[str, ...] = set_by(
        "one or several, separated by space or comma", parse.hashtags
    )
    sources: tuple[str, ...] = set_by("where posts come from, separated by comma", parse.words, "x")
    poll_seconds: float = set_by("seconds from one search to the next", parse.number(1, 3600), "5")
    window_seconds: float = set_by(
        "the sliding window, in seconds; X's search goes back seven days",
        parse.number(60, 518_400),
        "3600",
    )
    stale_seconds: float = set_by(
        "after so many seconds without data the needles go to zero", parse.number(10, 86_400), "300"
    )
    servo_backend: str = set_by(
        "auto, pigpio, lgpio or mock", parse.one_of("auto", "pigpio", "lgpio", "mock"), "auto"
    )
    servo_start_seconds: float = set_by(
        "for how many seconds a chosen backend may be unreachable at the start",
        parse.number(0, 3600),
        "30",
    )
    pigpio_addr: str = set_by("a pigpiod on another host", parse.host, name="PIGPIO_ADDR")
    pigpio_port: int = set_by("pigpiod's port", parse.whole(1, 65535), "8888", name="PIGPIO_PORT")
    pigpiod_options: tuple[str, ...] = set_by(
        "more options for the pigpiod that TweetDock starts, such as -t 0", parse.arguments
    )
    web: tuple[str, int] | None = set_by(
        "where the page is, or off", parse.listen_address, USUAL_PAGE
    )
    web_hosts: tuple[str, ...] = set_by(
        "host names of the page, beside this machine's own", parse.hosts
    )
    log_level: str = set_by(
        "DEBUG, INFO, WARNING or ERROR", parse.one_of("DEBUG", "INFO", "WARNING", "ERROR"), "INFO"
    )
    log_format: str = set_by("text, or json for machines", parse.one_of("text", "json"), "text")
    x: XSettings
    networks: NetworkSettings
    keep: KeepSettings
    tweets: DialSettings
    tweeters: DialSettings
    demo: bool = False

    @property
    def subject(self) -> str:
        """What is counted, as people write it; empty for recordings only."""
        if self.is_only_replay:
            return ""
        query = self.x.query if asks_x(self.sources) else ""
        followed = self.x.follow if "x-stream" in self.sources else ()
        tags = (f"#{tag}" for tag in self.counted_hashtags)
        return " ".join(filter(None, [query, *tags, *map(str, followed)]))

    @property
    def summary(self) -> str:
        """What is counted, and where."""
        if self.demo:
            return "a demo: made-up posts"
        sources = ", ".join(
            f"a replay of {replayed_file(source).name}" if source.startswith(REPLAY) else source
            for source in self.sources
        )
        return f"{self.subject} on {sources}" if self.subject else sources

    @property
    def shown_subject(self) -> str:
        """The subject as everybody may see it: of recordings their files' names."""
        names = called(self.sources)
        files = (names[s].removeprefix(REPLAY) for s in self.sources if s.startswith(REPLAY))
        return " ".join(filter(None, [plain(self.subject), *files]))

    @property
    def counted_hashtags(self) -> tuple[str, ...]:
        """The hashtags that are looked for; none where X's own query or a recording decides."""
        others = {"bluesky", "mastodon"} & set(self.sources)
        is_query = asks_x(self.sources) and self.x.query != "" and not others
        return () if is_query or self.is_only_replay else self.hashtags

    @property
    def is_page_demanded(self) -> bool:
        """Whether the owner has named an address for the page, and counts on it."""
        return self.web not in (None, parse.listen_address(USUAL_PAGE))

    @property
    def is_page_open(self) -> bool:
        """Whether other machines can see the page."""
        return self.web is not None and not is_loopback(self.web[0])

    @property
    def is_replay(self) -> bool:
        """Whether posts of another time are played."""
        return any(source.startswith(REPLAY) for source in self.sources)

    @property
    def is_only_replay(self) -> bool:
        """Whether nothing but posts of another time is played."""
        return is_only_replay(self.sources)

    @property
    def is_live(self) -> bool:
        """Whether real posts of now are counted: only those are saved."""
        return not (self.demo or self.is_replay)

    @property
    def dials(self) -> dict[str, DialSettings]:
        """Both dials by name, in the order of their servos."""
        return {"tweets": self.tweets, "tweeters": self.tweeters}

    @property
    def gauge(self) -> GaugeSettings:
        """The settings of the gauge itself."""
        return GaugeSettings(
            window_seconds=self.window_seconds,
            # In seconds of the person at the dials, however fast a replay runs.
            stale_seconds=self.stale_seconds * self.networks.speed,
            dials=self.dials,
            hashtags=self.counted_hashtags,
            subject=self.shown_subject,
            demo=self.demo,
            replay=self.is_replay,
        )

    @classmethod
    def from_env(
        cls, env: Mapping[str, str], *, demo: bool = False, about: tuple[str, ...] = ("",)
    ) -> Self:
        """The settings in `env`; raises SettingsError with all problems at once.

        demo: simulated posts and mock dials, whatever `env` says of sources and servos. about:
        what is wrong with settings whose names begin otherwise is up to others.
        """
        settings, problems = cls.read(env, demo=demo)
        if problems := [problem for problem in problems if problem.name.startswith(about)]:
            raise SettingsError(problems)
        return settings

    @classmethod
    def read(cls, env: Mapping[str, str], *, demo: bool = False) -> tuple[Self, list[Problem]]:
        """The settings as far as they can be used, and every problem.

        What is refused has its default, if there is one; what does not go together is as it is.
        """
        problems = list(_unknown_names(env))
        env = dict(env)
        if demo:
            env |= {"TWEETDOCK_SOURCES": "demo", "TWEETDOCK_SERVO_BACKEND": "mock"}
            env["TWEETDOCK_HASHTAGS"] = env.get("TWEETDOCK_HASHTAGS") or "tweetdock"
        if env.get("XDG_STATE_HOME") and not env.get("TWEETDOCK_STATE_DIR"):
            env["TWEETDOCK_STATE_DIR"] = str(Path(env["XDG_STATE_HOME"]) / "tweetdock")
        read: dict[str, Any] = {n: s.read(env, problems) for n, s in table_of(cls).items()}
        for part, (owner, table) in PARTS.items():
            read[part] = owner(**{n: s.read(env, problems) for n, s in table.items()})
        settings = cls(**read, demo=read["sources"] == ("demo",))
        # A refused setting has its default: no second problem about it.
        refused = {problem.name for problem in problems}
        if "TWEETDOCK_X_QUERY" in refused:
            refused.add("TWEETDOCK_HASHTAGS")  # which a query stands instead of
        conflicts = [found for found in settings._conflicts() if found.name not in refused]
        return settings, problems + conflicts

    def lacks(self, source: str) -> Iterator[Problem]:
        """Without what a source cannot be asked, each as a problem."""
        if not self.hashtags and wants_hashtags(source, self.x):
            yield Problem(
                "TWEETDOCK_HASHTAGS", "not set; name at least one hashtag, such as dockercon"
            )
        if asks_x((source,)):
            yield from self.x.lacks(self.hashtags, self.sources)
        if source == "mastodon" and not self.networks.mastodon:
            yield Problem(
                "TWEETDOCK_MASTODON", "not set; name at least one server, such as mastodon.social"
            )

    def _conflicts(self) -> Iterator[Problem]:
        sources = self.sources
        yield from source_problems(sources)
        yield from dict.fromkeys(lack for source in sources for lack in self.lacks(source))
        yield from self.x.problems(sources)
        yield from self.networks.problems(sources, self.window_seconds)
        if self.window_seconds < 2 * self.poll_seconds + 50:
            yield Problem(
                "TWEETDOCK_WINDOW_SECONDS",
                "too short for a search every "
                f"TWEETDOCK_POLL_SECONDS={self.poll_seconds:g}; at least twice that and 50 more",
                f"{self.window_seconds:g}",
            )
        quiet = max(self.poll_seconds, self.networks.quiet_seconds(sources))
        if self.stale_seconds <= quiet:
            yield Problem(
                "TWEETDOCK_STALE_SECONDS",
                "must be longer than "
                f"{quiet:g} seconds, for which a working source of these may be silent",
                f"{self.stale_seconds:g}",
            )
        if self.keep.offload and self.keep.archive is None:
            yield Problem(
                "TWEETDOCK_OFFLOAD", "there is nothing to off-load without TWEETDOCK_ARCHIVE"
            )
        if self.tweets.pin == self.tweeters.pin:
            yield Problem(
                "TWEETDOCK_TWEETERS_PIN",
                "the same as TWEETDOCK_TWEETS_PIN; each servo needs a GPIO of its own",
                f"{self.tweeters.pin}",
            )
        yield from self.tweets.problems("TWEETDOCK_TWEETS_")
        yield from self.tweeters.problems("TWEETDOCK_TWEETERS_")


PARTS: dict[str, tuple[type, dict[str, Setting]]] = {
    "x": (XSettings, table_of(XSettings, "TWEETDOCK_X_")),
    "networks": (NetworkSettings, table_of(NetworkSettings)),
    "keep": (KeepSettings, table_of(KeepSettings)),
    # Both pins have hardware PWM on every Pi.
    "tweets": (DialSettings, table_of(DialSettings, "TWEETDOCK_TWEETS_", pin="12")),
    "tweeters": (DialSettings, table_of(DialSettings, "TWEETDOCK_TWEETERS_", pin="13")),
}

SETTINGS: tuple[Setting, ...] = (
    *table_of(Settings).values(),
    *(setting for _, table in PARTS.values() for setting in table.values()),
)

# Without the prefix, which makes all names similar.
_KNOWN = {setting.name.removeprefix("TWEETDOCK_"): setting.name for setting in SETTINGS}


def _unknown_names(env: Mapping[str, str]) -> Iterator[Problem]:
    for name in sorted(env):
        if name.startswith("TWEETDOCK_") and name not in _KNOWN.values():
            near = get_close_matches(name.removeprefix("TWEETDOCK_"), _KNOWN, 1)
            hint = (
                f"; did you mean {_KNOWN[near[0]]}?" if near else "; .env.example lists all names"
            )
            yield Problem(name, f"no such setting{hint}")
