"""The keeper, and the archive with its caretaker, as the settings have them."""

import logging
import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from tweetdock.keep.archive import Archive
from tweetdock.keep.caretaker import Caretaker
from tweetdock.keep.closed_files import Shelf
from tweetdock.keep.keeper import Keeper
from tweetdock.settings.gauge import Settings

log = logging.getLogger(__name__)


def make_keeper(
    settings: Settings,
    subjects: Mapping[str, str],
    start: Callable[[str, Callable[[], None]], object],
    house: ExitStack,
    *,
    is_guest: bool,
) -> Keeper:
    """The keeper of a gauge; raises UnavailableError as that does.

    With an archive, a thread begun by `start` looks after its closed files until the house is left.
    """
    if settings.keep.archive is not None and not settings.is_live:
        log.info("archive: a demo or a replay keeps nothing")
    if settings.keep.archive is None or not settings.is_live:
        return Keeper(settings, subjects, None, is_guest=is_guest)
    caretaker = _make_caretaker(settings, settings.keep.archive)
    archive = partial(
        Archive, settings.keep.archive, settings.keep.archive_rotate, caretaker.notice
    )
    keeper = Keeper(settings, subjects, archive, is_guest=is_guest)
    if keeper.has_archive:
        start("archive", caretaker.run)
        house.callback(caretaker.stop)
    return keeper


def _make_caretaker(settings: Settings, path: Path) -> Caretaker:
    shelf = Shelf(path)
    if not settings.keep.offload:
        return Caretaker(shelf, settings.keep.archive_keep, None)
    # An extra, and only these two know it.
    from tweetdock.keep.bucket import Bucket, S3Access  # noqa: PLC0415
    from tweetdock.keep.offload import Offload, OffloadJob  # noqa: PLC0415

    access = S3Access.of(settings.keep)

    def make() -> Offload:
        bucket = Bucket(settings.keep.offload, access)
        host = socket.gethostname()
        return Offload(shelf, bucket, keeps_local=settings.keep.offload_keep, host=host)

    return Caretaker(shelf, settings.keep.archive_keep, OffloadJob(make))
