"""The command `merge`: archives of listeners that ran side by side become one."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tweetdock.commands.output import (
    add_archives,
    add_output,
    counted,
    results,
    warn_of,
)
from tweetdock.core.coverage import Spans
from tweetdock.core.post import Span
from tweetdock.core.times import duration, rfc3339
from tweetdock.keep.archive_reader import ArchiveReader
from tweetdock.keep.closed_files import Manifest
from tweetdock.keep.merge import merge


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the arguments to a parser."""
    parser.description = (
        "Make one archive of several: each post once, in order of time, "
        "with the gaps that all of them share."
    )
    add_archives(parser)
    add_output(parser, "the archive to write", required=True)


def run(arguments: argparse.Namespace, env: Mapping[str, str]) -> int:  # noqa: ARG001 - as all commands
    """Merge and say what came of it; returns the exit code, or raises OSError."""
    merged = merge(arguments.archives, arguments.output, force=arguments.force)
    warn_of(merged.inputs)
    with results():
        for line in _summary(arguments.output, merged.manifest, merged.inputs):
            print(line)  # noqa: T201 - what it is for
    return 0


def _summary(output: Path, manifest: Manifest, inputs: Sequence[ArchiveReader]) -> Iterator[str]:
    yield f"{output}: {counted(manifest.lines, 'post')}, each once and in order"
    width = max(len(str(archive.path)) for archive in inputs)
    for archive in inputs:
        yield f"  from {archive.path!s:<{width}}  {_describe_file(archive)}"
    doubles = sum(archive.lines for archive in inputs) - manifest.lines
    yield f"  {counted(doubles, 'double')} left out"
    whose = "gaps that all share" if len(inputs) > 1 else "gaps"
    for source, spans in manifest.covers.items():
        yield from _gaps(source, spans, whose)
    for archive in inputs:
        if not archive.covers:
            yield f"unknown: {archive.path} does not say which times it covers"


def _describe_file(archive: ArchiveReader) -> str:
    parts = [counted(archive.lines, "line")]
    if archive.damaged:
        parts.append(counted(archive.damaged, "damaged place"))
    if archive.foreign:
        parts.append(f"{counted(archive.foreign, 'foreign line')} left out")
    return ", ".join(parts)


def _gaps(source: str, spans: Sequence[Span], whose: str) -> Iterator[str]:
    whole = Span(spans[0].since_ms, spans[-1].until_ms)
    yield f"{source}: {rfc3339(whole.since_ms)} to {rfc3339(whole.until_ms)}, {_length(whole)}"
    gaps = Spans(spans).gaps(whole)
    if not gaps:
        yield "  no gap"
        return
    yield f"  {whose}: {len(gaps):,}, {_length(*gaps)} in all"
    for gap in gaps:
        yield f"    {rfc3339(gap.since_ms)} to {rfc3339(gap.until_ms)}  {_length(gap)}"


def _length(*spans: Span) -> str:
    seconds = sum(until - since for since, until in spans) / 1000
    return duration(seconds) if seconds >= 1 else "under 1 s"
