"""Whether we run in a container, where an address means something else."""

from collections.abc import Sequence
from pathlib import Path

# What Docker and Podman put into each.
MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))


def is_contained(marks: Sequence[Path] = MARKS) -> bool:
    """Whether one of the marks of a container is there."""
    return any(mark.exists() for mark in marks)
