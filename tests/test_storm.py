"""The short form of storm.py: three networks at once, broken at random, and no reading a lie."""

from pathlib import Path

import pytest
from storm import storm


@pytest.mark.thorough
def test_while_everything_breaks_no_reading_is_a_lie_and_in_the_end_all_is_known(
    tmp_path: Path,
) -> None:
    one = storm(tmp_path, seconds=20, seed=2026)
    assert one.lies == []
    assert one.unexplained() == []
    assert all(one.exact[source] for source in ("x-stream", "bluesky", "mastodon"))
