"""How the property tests run: the same examples each time, however slow the machine."""

from hypothesis import settings

settings.register_profile("tweetdock", derandomize=True, deadline=None)
settings.load_profile("tweetdock")
