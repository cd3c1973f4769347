"""How the tests run: the same examples and dice each time, and no way out."""

from __future__ import annotations

import gc
import os
import random
import stat
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from profiles import THOROUGH, USUAL, is_thorough

if TYPE_CHECKING:
    from collections.abc import Iterator

    from buckets import S3

NOBODY = 65534


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--thorough",
        action="store_true",
        help="all examples, storms and kills; takes a quarter of an hour",
    )


def pytest_configure(config: pytest.Config) -> None:
    # pytest needs a second to compile ten files of tests. Where no bytecode is wanted, as in many
    # containers, each worker would compile all of them in each run.
    sys.dont_write_bytecode = False
    settings.load_profile(THOROUGH if config.getoption("thorough") else USUAL)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Let each of several workers compile its share of all tests, and find the rest compiled."""
    worker: dict[str, Any] | None = getattr(session.config, "workerinput", None)
    if worker and session.config.args == session.config.getini("testpaths"):
        share = slice(int(worker["workerid"].removeprefix("gw")), None, worker["workercount"])
        for path in sorted(Path(__file__).parent.glob("test_*.py"))[share]:
            with suppress(Exception):  # it is told when it is collected
                import_module(path.stem)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked as thorough, unless that is asked for."""
    if is_thorough():
        return
    left_out = [item for item in items if item.get_closest_marker("thorough")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if not item.get_closest_marker("thorough")]


def pytest_collection_finish() -> None:
    """Let each full garbage collection look at what a test has made, and not at all the tests."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def same_jitter() -> None:
    """Let every test draw the same delays each time."""
    random.seed(20170418)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no proxy of this machine's stand between a test and its stand-ins."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def somebody(tmp_path: Path) -> Iterator[None]:
    """Be no root, who may do everything; the folder of the test can be seen by everybody."""
    if os.geteuid() != 0:
        yield
        return
    for folder in (tmp_path, *tmp_path.parents):
        if folder == Path(gettempdir()):
            break
        folder.chmod(
            folder.stat().st_mode | stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH
        )
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@pytest.fixture(scope="session")
def bucket_port() -> Iterator[int]:
    """The port of a server that speaks S3."""
    from buckets import serving  # noqa: PLC0415

    with serving() as port:
        yield port


@pytest.fixture
def s3(bucket_port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    """A bucket behind a proxy that fails on demand."""
    from buckets import bucket_behind_proxy  # noqa: PLC0415

    with bucket_behind_proxy(bucket_port, monkeypatch) as one:
        yield one
