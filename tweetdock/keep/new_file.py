"""A file that is there as a whole or not at all, made out of files that stay as they are."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tweetdock.core.errors import ArchiveError, TweetDockError
from tweetdock.keep.files import sync_folder


@contextmanager
def new_file(output: Path, inputs: Sequence[Path] = (), *, force: bool = False) -> Iterator[Path]:
    """A path at which to write `output`, alone in a folder beside it.

    All that is in that folder in the end is moved beside `output`; after an error nothing is.
    force: `output` may exist and is replaced. Raises ArchiveError where it cannot be made, or if
    an input is none.
    """
    for path in inputs:
        _check_input(path)
    _check_output(output, inputs, force=force)
    try:
        with TemporaryDirectory(prefix=".tweetdock-", dir=output.parent) as folder:
            yield Path(folder, output.name)
            # In order of names: a file is in its place before its manifest.
            for path in sorted(Path(folder).iterdir()):
                _sync(path)
                path.replace(output.parent / path.name)
        sync_folder(output.parent)
    except TweetDockError:
        raise
    except OSError as error:
        raise ArchiveError(
            f"{output} cannot be written: {error.strerror or error}; name another place"
        ) from error


def _check_input(path: Path) -> None:
    if not path.exists():
        raise ArchiveError(f"{path} does not exist: check its name")
    # Neither can be read twice, as it has to be.
    if not path.is_file():
        raise ArchiveError(f"{path} is no file: name the files themselves")


def _check_output(output: Path, inputs: Sequence[Path], *, force: bool) -> None:
    if output.is_dir():
        raise ArchiveError(f"{output} is a folder: name a file")
    if not output.parent.is_dir():
        raise ArchiveError(f"the folder {output.parent} does not exist: make it first")
    if output.exists():
        if any(output.samefile(path) for path in inputs):
            raise ArchiveError(f"{output} is one of the files to be read: name another one")
        if not force:
            raise ArchiveError(
                f"{output} exists already: name another file, or replace it by --force"
            )


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
