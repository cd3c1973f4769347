"""The front of the house: the board with what is to be seen of it, and the page."""

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from tweetdock.core.coverage import Grade
from tweetdock.core.errors import UnavailableError
from tweetdock.keep.history import Row
from tweetdock.servos.needle_thread import Needles
from tweetdock.settings.gauge import DIALS, Settings
from tweetdock.settings.networks import asks_x
from tweetdock.show.board import Board, Vitals
from tweetdock.show.past import Moment, Past
from tweetdock.threads import Companion

if TYPE_CHECKING:
    from tweetdock.show.web.web import Web

log = logging.getLogger(__name__)

GRADES = frozenset(Grade)


def make_board(
    settings: Settings,
    *,
    threads: Callable[[], tuple[Companion, ...]],
    needles: Callable[[], Needles | None],
    cost_usd: Callable[[], float],
) -> Board:
    """The board of a gauge; needles: None while there are none."""

    def angles() -> dict[str, float]:
        found = needles()
        return dict(zip(DIALS, found.angles, strict=True)) if found else {}

    def trouble() -> str:
        found = needles()
        return found.trouble if found else ""

    pays = settings.is_live and asks_x(settings.sources)
    vitals = Vitals(
        threads=lambda: {thread.name: thread.is_alive for thread in threads()},
        needles=angles,
        servo_trouble=trouble,
        cost_usd=lambda: cost_usd() if pays else None,
    )
    return Board(Past(), vitals)


def make_past(kept: Iterable[Row]) -> Past:
    """What was kept, for the chart; rows that a later TweetDock wrote are left out."""

    def moments() -> Iterator[Moment]:
        for row in kept:
            if row.grade in GRADES:
                yield Moment(row.at_ms, row.posts, row.authors, Grade(row.grade))

    return Past(moments())


def open_page(
    settings: Settings, board: Board, start: Callable[[str, Callable[[], None]], Companion]
) -> "Web | None":
    """The page and the API; None if they are off.

    Raises UnavailableError if the owner has named an address that cannot be had; without the
    usual one the gauge goes on.
    """
    if settings.web is None:
        return None
    # Some megabytes, for those who want it.
    from tweetdock.show.web.web import Web  # noqa: PLC0415

    try:
        return Web(settings, board, start)
    except UnavailableError as error:
        if settings.is_page_demanded:
            raise
        log.warning("page: none: %s", error)
        return None
