"""What the gauge shows at one moment: counts, dials and how far they can be trusted."""

from dataclasses import asdict, dataclass
from typing import Any

from tweetdock.core.coverage import Grade, worst
from tweetdock.core.times import rfc3339


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceReading:
    """One source's share: its own unique counts, and what they are worth.

    certain_ms: up to when every post of the window is counted (Unix ms).
    heard_ms: when it last delivered; None: never.
    In JSON `certain_until` and `heard_at`, RFC 3339 or null.
    """

    posts: int
    authors: int
    grade: Grade
    covered: float
    detail: str
    certain_ms: int
    heard_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DialReading:
    """One dial: its count, the needle's place on the scale (0..1) and its angle in degrees.

    pegged: the count is above full scale. known: the needle shows the count; else it rests, as
    posts were counted whose authors are not known, and the count is a lower bound.
    scale: as the setting has it. min_angle, max_angle: those of count 0 and of full scale.
    """

    count: int
    position: float
    full_scale: int
    angle: float
    pegged: bool
    known: bool = True
    scale: str = "auto"
    min_angle: float = 0.0
    max_angle: float = 180.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Unique posts and authors in (at - window, at], with grade; the outside contract's JSON.

    hashtags: those that are counted, if it is they that decide. subject: what is counted, as
    people say it. demo: the posts are made up. replay: they are of another time. certain_ms: up to
    when every post of the window is counted (Unix ms); in JSON `certain_until`.
    """

    at_ms: int
    hashtags: tuple[str, ...]
    window_seconds: float
    posts: int
    authors: int
    grade: Grade
    covered: float
    certain_ms: int
    sources: dict[str, SourceReading]
    dials: dict[str, DialReading]
    demo: bool
    replay: bool = False
    subject: str = ""

    def as_json(self) -> dict[str, Any]:
        """The reading as the contract has it; `at` is RFC 3339."""
        whole = asdict(self)
        del whole["at_ms"]
        for source in whole["sources"].values():
            heard_ms = source.pop("heard_ms")
            source["heard_at"] = None if heard_ms is None else rfc3339(heard_ms)
        for one in (whole, *whole["sources"].values()):
            one["certain_until"] = rfc3339(one.pop("certain_ms"))
        return {"at": rfc3339(self.at_ms), **whole}

    @property
    def kind(self) -> str:
        """`demo` or `replay`; empty for real posts of now."""
        return "demo" if self.demo else "replay" if self.replay else ""

    @property
    def worst_source(self) -> str:
        """The source that is worth least of those that say something of themselves, or none."""
        speakers = {name: source for name, source in self.sources.items() if source.detail}
        low = worst(source.grade for source in speakers.values()) if speakers else None
        return next((name for name, source in speakers.items() if source.grade is low), "")

    @property
    def topics(self) -> tuple[str, ...]:
        """What is counted: each hashtag by itself, if that is all; else the whole subject."""
        tags = tuple(f"#{tag}" for tag in self.hashtags)
        is_all = self.subject in ("", " ".join(tags))
        return tags if is_all else (self.subject,)

    @property
    def heading(self) -> str:
        """What is counted, in a line."""
        return " ".join(self.topics)
