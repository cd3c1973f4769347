"""Print everything measured as one Markdown table, each row when it is known."""

import os
import platform
from datetime import UTC, datetime

from benchmarks import counter, daemon, ingest, jetstream, keep, stream, watchers
from benchmarks.table import HEAD


def main() -> None:
    """Print the table."""
    machine = f"{os.cpu_count()} cores, {platform.machine()}"
    print(f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, {machine}:\n")
    print(HEAD, flush=True)
    parts = (counter, ingest, stream, jetstream, keep, daemon, watchers)
    for part in parts:
        for row in part.rows():
            print(row, flush=True)


if __name__ == "__main__":
    main()
