"""How the package lgpio is had by a Python that does not have it."""

import sys

_LAST_READY_MADE = (3, 12)


def installing(python: tuple[int, int] = sys.version_info[:2]) -> str:
    """What the owner of a Python of this version has to do."""
    if python > _LAST_READY_MADE:
        return (
            "`sudo apt install python3-lgpio`, and a virtual environment made with "
            "--system-site-packages"
        )
    return "pip install 'tweetdock[pi5]'"
