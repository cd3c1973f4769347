"""One Chromium for all that is tested in it, and a page of its own for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pages import hours_past, reading

from browser import Site, Windows, chromium

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Page


# This folder, not the session: while a browser is driven, its thread has a loop of asyncio.
@pytest.fixture(scope="package")
def windows() -> Iterator[Windows]:
    """Chromium's windows."""
    with chromium() as browser:
        yield Windows(browser)


@pytest.fixture
def look(windows: Windows) -> Iterator[Callable[..., Page]]:
    """Open a page; at the end nothing must have been wrong with it."""
    with windows.visits() as look:
        yield look


@pytest.fixture(scope="package")
def scripts(windows: Windows) -> Iterator[Page]:
    """One page for all tests that only call its scripts, and leave it as it is."""
    with Site(reading(), past=hours_past()) as site, windows.visits() as look:
        yield look(site)
