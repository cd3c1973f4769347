"""How much the tests look at: enough for minutes, or with `--thorough` all that they can."""

from hypothesis import settings

USUAL, THOROUGH = "usual", "thorough"
LEAST_EXAMPLES = 3

settings.register_profile(USUAL, derandomize=True, deadline=None, max_examples=20)
settings.register_profile(THOROUGH, derandomize=True, deadline=None, max_examples=100)


def is_thorough() -> bool:
    """Whether time does not matter; conftest.py has decided before any test is collected."""
    return settings.get_current_profile_name() == THOROUGH


def examples(thorough: int) -> int:
    """How many examples a property is tried by that has so many in the thorough profile."""
    return thorough if is_thorough() else max(thorough // 5, min(thorough, LEAST_EXAMPLES))
