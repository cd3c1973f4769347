"""How the tests run: the same examples and the same dice each time, however slow the machine."""

import random

import pytest
from hypothesis import settings

settings.register_profile("tweetdock", derandomize=True, deadline=None)
settings.load_profile("tweetdock")


@pytest.fixture(autouse=True)
def same_jitter() -> None:
    """Let every test draw the same delays each time."""
    random.seed(20170418)
