"""The short form of storm.py: three networks at once, broken at random, and no reading a lie."""

from pathlib import Path

import pytest
from storm import storm


def test_in_a_short_storm_no_reading_is_a_lie(tmp_path: Path) -> None:
    one = storm(tmp_path, seconds=4, seed=7, waits=False)
    assert one.lies == []
    assert one.readings > 4


@pytest.mark.thorough
def test_while_everything_breaks_no_reading_is_a_lie_and_in_the_end_all_is_known(
    tmp_path: Path,
) -> None:
    one = storm(tmp_path, seconds=20, seed=2026)
    assert one.lies == []
    assert one.unexplained() == []
    assert all(one.exact[source] for source in ("x-stream", "bluesky", "mastodon"))
