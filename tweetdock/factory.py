"""Makes the parts of the daemon that depend on several folders: keeper, board and page."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tweetdock.core.coverage import Grade
from tweetdock.core.dial import DIALS
from tweetdock.core.errors import UnavailableError
from tweetdock.keep.archive import Archive
from tweetdock.keep.closed_files import ClosedFiles, ClosedFilesThread
from tweetdock.keep.database import HistoryRow
from tweetdock.keep.keeper import Keeper
from tweetdock.servos.needles import NeedleThread
from tweetdock.settings.gauge import Settings
from tweetdock.settings.networks import asks_x
from tweetdock.show.board import Board, Health, Moment, Past
from tweetdock.threads import WatchedThread

if TYPE_CHECKING:
    from tweetdock.show.web.web import Web

log = logging.getLogger(__name__)

_GRADES = frozenset(Grade)


def make_keeper(
    settings: Settings,
    subjects: Mapping[str, str],
    start: Callable[[str, Callable[[], None]], object],
    stack: ExitStack,
    *,
    is_guest: bool,
) -> Keeper:
    """The keeper of a gauge; raises UnavailableError as that does.

    With an archive, a thread begun by `start` describes, sends and removes its closed files until
    the stack ends.
    """
    if settings.keep.archive is not None and not settings.is_live:
        log.info("archive: a demo or a replay saves nothing")
    if settings.keep.archive is None or not settings.is_live:
        return Keeper(settings, subjects, None, is_guest=is_guest)
    closed_files_thread = _make_closed_files_thread(settings, settings.keep.archive)
    archive = partial(
        Archive, settings.keep.archive, settings.keep.archive_rotate, closed_files_thread.wake
    )
    keeper = Keeper(settings, subjects, archive, is_guest=is_guest)
    if not keeper.is_guest:
        start("archive", closed_files_thread.run)
        stack.callback(closed_files_thread.stop)
    return keeper


def _make_closed_files_thread(settings: Settings, path: Path) -> ClosedFilesThread:
    closed_files = ClosedFiles(path)
    if not settings.keep.offload:
        return ClosedFilesThread(closed_files, settings.keep.archive_keep, None)
    # An extra, and only these two know it.
    from tweetdock.keep.bucket import Bucket  # noqa: PLC0415
    from tweetdock.keep.offload import Offload  # noqa: PLC0415

    def offload() -> None:
        # Anew each time, as credentials may have been mended meanwhile.
        bucket = Bucket(settings.keep)
        list(Offload(closed_files, bucket, keeps_local=settings.keep.offload_keep).run())

    return ClosedFilesThread(closed_files, settings.keep.archive_keep, offload)


def make_board(
    settings: Settings,
    *,
    threads: Callable[[], tuple[WatchedThread, ...]],
    needle_thread: Callable[[], NeedleThread | None],
    cost_usd: Callable[[], float],
) -> Board:
    """The board of a gauge; needle_thread: None while there is none."""

    def angles() -> dict[str, float]:
        found = needle_thread()
        return dict(zip(DIALS, found.angles, strict=True)) if found else {}

    def servo_trouble() -> str:
        found = needle_thread()
        return found.trouble if found else ""

    pays = settings.is_live and asks_x(settings.sources)
    health = Health(
        threads=lambda: {thread.name: thread.is_alive for thread in threads()},
        needles=angles,
        servo_trouble=servo_trouble,
        cost_usd=lambda: cost_usd() if pays else None,
    )
    return Board(Past(), health)


def make_past(kept: Iterable[HistoryRow]) -> Past:
    """The saved readings, for the chart; without grades that only a later TweetDock knows."""

    def moments() -> Iterator[Moment]:
        for row in kept:
            if row.grade in _GRADES:
                yield Moment(row.at_ms, row.posts, row.authors, Grade(row.grade))

    return Past(moments())


def open_page(
    settings: Settings, board: Board, start: Callable[[str, Callable[[], None]], WatchedThread]
) -> "Web | None":
    """The page and the API; None if they are off.

    Raises UnavailableError if the owner has named an address that cannot be used; without the
    default address the gauge runs without a page.
    """
    if settings.web is None:
        return None
    # Some megabytes, only if there is a page.
    from tweetdock.show.web.web import Web  # noqa: PLC0415

    try:
        return Web(settings, board, start)
    except UnavailableError as error:
        if settings.is_page_demanded:
            raise
        log.warning("page: none: %s", error)
        return None
