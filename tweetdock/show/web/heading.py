"""What is counted, as the page and its tab are headed."""

from html import escape

from tweetdock.core.plain import plain
from tweetdock.core.reading import Reading
from tweetdock.show.web.words import window_words

NAME = "TweetDock"
LONG = 36  # signs in a heading
LONGEST = 160  # signs of a query; who has a longer one knows it by its beginning
SHEET = 90  # signs of hashtags that a screen on a wall has room for
SORTS = {
    "Demo": "These posts are made up.",
    "Replay": "These posts are of another time.",
}


def sort_of(reading: Reading) -> str:
    """What these posts are instead of real ones of now: a demo or a replay; empty if they are."""
    return "Demo" if reading.demo else "Replay" if reading.replay else ""


def title(reading: Reading | None) -> str:
    """The page's name, in plain text; reading: None while there is none."""
    if reading is None:
        return NAME
    sort = sort_of(reading)
    words = " ".join(_parts(reading))
    return f"{sort}: {words} \u00b7 {NAME}" if sort else f"{words} \u00b7 {NAME}"


def heading(reading: Reading | None, *, kiosk: bool) -> str:
    """The page's heading as HTML; in a kiosk, which nobody can scroll, no longer than its room."""
    if reading is None:
        return f'<h1>{NAME}</h1><p class="window">Tweets and tweeters on two dials</p>'
    parts = _parts(reading)
    shown = _with_room(parts) if kiosk else parts
    words = [f"<bdi>{escape(part)}</bdi>" for part in shown]
    if len(shown) < len(parts):
        words.append(f"<span>and {len(parts) - len(shown)} more</span>")
    long = ' class="long"' if sum(map(len, parts)) > LONG else ""
    sort = sort_of(reading)
    said = f'<p class="sort"><strong>{sort}</strong> {SORTS[sort]}</p>' if sort else ""
    return (
        f'<h1{long}>{" ".join(words)}</h1><p class="window">Tweets and tweeters of the '
        f"{window_words(reading.window_seconds)}, each counted once</p>{said}"
    )


def _parts(reading: Reading) -> list[str]:
    topics = map(plain, reading.topics)
    return [t if len(t) <= LONGEST else t[: LONGEST - 1] + "\u2026" for t in topics] or [NAME]


def _with_room(parts: list[str]) -> list[str]:
    """The first ones, as many as there is room for, and at least one."""
    signs, shown = 0, 0
    for part in parts:
        signs += len(part) + 1
        if shown and signs > SHEET:
            break
        shown += 1
    return parts[:shown]
