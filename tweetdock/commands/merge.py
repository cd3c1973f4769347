"""The command `merge`: archives of listeners that ran side by side become one."""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path

from tweetdock.commands.output import EXIT_UNAVAILABLE, complain, counted, results, warn_of
from tweetdock.core.errors import ArchiveError
from tweetdock.core.post import Span
from tweetdock.core.times import duration, rfc3339
from tweetdock.keep.archive_reader import FileSummary
from tweetdock.keep.merge import Merged, Shared, merge


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the arguments to a parser."""
    parser.description = (
        "Make one archive of several: each post once, in order of time, "
        "with the gaps that all of them share."
    )
    parser.add_argument(
        "archives", nargs="+", type=Path, metavar="ARCHIVE", help="such as tweets.jsonl.gz"
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="the archive to write"
    )
    parser.add_argument("--force", action="store_true", help="replace FILE if it exists")


def run(arguments: argparse.Namespace, env: Mapping[str, str]) -> int:  # noqa: ARG001 - as all commands
    """Merge and say what came of it; returns the exit code."""
    try:
        merged = merge(arguments.archives, arguments.output, force=arguments.force)
    except ArchiveError as error:
        complain(error)
        return EXIT_UNAVAILABLE
    warn_of(merged.inputs)
    with results():
        for line in _summary(merged):
            print(line)  # noqa: T201 - what it is for
    return 0


def _summary(merged: Merged) -> Iterator[str]:
    yield f"{merged.output}: {counted(merged.lines, 'post')}, each once and in order"
    names = [str(summary.path) for summary in merged.inputs]
    width = max(map(len, names))
    for name, summary in zip(names, merged.inputs, strict=True):
        yield f"  from {name:<{width}}  {_describe_file(summary)}"
    yield f"  {counted(merged.doubles, 'double')} left out"
    for shared in merged.shared:
        yield from _gaps(shared, len(merged.inputs))
    for name, summary in zip(names, merged.inputs, strict=True):
        if not summary.knows_coverage:
            yield f"unknown: {name} does not say which times it covers"


def _describe_file(summary: FileSummary) -> str:
    parts = [counted(summary.lines, "line")]
    if summary.damaged:
        parts.append(counted(summary.damaged, "damaged place"))
    if summary.foreign:
        parts.append(f"{counted(summary.foreign, 'foreign line')} left out")
    return ", ".join(parts)


def _gaps(shared: Shared, listeners: int) -> Iterator[str]:
    since, until = shared.whole
    yield f"{shared.source}: {rfc3339(since)} to {rfc3339(until)}, {_length(shared.whole)}"
    if not shared.gaps:
        yield "  no gap"
        return
    missing = sum(gap.until_ms - gap.since_ms for gap in shared.gaps)
    whose = "gaps that all share" if listeners > 1 else "gaps"
    yield f"  {whose}: {len(shared.gaps):,}, {_length(Span(0, missing))} in all"
    for gap in shared.gaps:
        yield f"    {rfc3339(gap.since_ms)} to {rfc3339(gap.until_ms)}  {_length(gap)}"


def _length(span: Span) -> str:
    seconds = (span.until_ms - span.since_ms) / 1000
    return duration(seconds) if seconds >= 1 else "under 1 s"
