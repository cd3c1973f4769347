"""The command `offload`: closed files of the archive go into an S3 bucket, verified there."""

import argparse
from collections.abc import Mapping
from pathlib import Path

from tweetdock.commands.output import EXIT_SETTINGS, EXIT_UNAVAILABLE, complain, counted, results
from tweetdock.core.errors import Problem, SettingsError
from tweetdock.keep.bucket import Bucket
from tweetdock.keep.closed_files import ClosedFiles
from tweetdock.keep.offload import Offload, Outcome
from tweetdock.settings.gauge import Settings
from tweetdock.settings.keeping import KeepSettings

# Errors in the other settings are left for the daemon to report.
_READ = {"TWEETDOCK_ARCHIVE", "TWEETDOCK_OFFLOAD", "TWEETDOCK_OFFLOAD_KEEP"}


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the arguments to a parser."""
    parser.description = (
        "Send the closed files of the archive to an S3 bucket. A file is removed here once a true "
        "copy of it has been seen there; what fails stays, and goes with the next run."
    )
    parser.epilog = (
        "Credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, ~/.aws or the role of "
        "the machine; AWS_ENDPOINT_URL is an S3-compatible server other than Amazon's."
    )
    parser.add_argument(
        "url", nargs="?", metavar="s3://bucket/prefix", help="where to; or TWEETDOCK_OFFLOAD"
    )
    parser.add_argument(
        "--archive", metavar="FILE", help="the archive's open file; or TWEETDOCK_ARCHIVE"
    )
    parser.add_argument(
        "--keep",
        action="store_true",
        help="mark files instead of removing them; or TWEETDOCK_OFFLOAD_KEEP=1",
    )


def run(arguments: argparse.Namespace, env: Mapping[str, str]) -> int:
    """Off-load once and say what became of each file; returns the exit code, or raises OSError."""
    given = {"TWEETDOCK_OFFLOAD": arguments.url, "TWEETDOCK_ARCHIVE": arguments.archive}
    if arguments.keep:
        given["TWEETDOCK_OFFLOAD_KEEP"] = "1"
    try:
        archive, keep = _read({**env, **{name: value for name, value in given.items() if value}})
    except SettingsError as error:
        for problem in error.problems:
            complain(problem)
        return EXIT_SETTINGS
    with results():
        return _offload(archive, keep)
    return EXIT_UNAVAILABLE  # it ends early if nobody reads the results any more


def _read(env: Mapping[str, str]) -> tuple[Path, KeepSettings]:
    settings, found = Settings.read(env)
    # Of what is set: what does not go together may go together with the words of this command.
    problems = [p for p in found if (p.name in _READ and p.value) or p.name.startswith("AWS_")]
    refused = {problem.name for problem in problems}
    keep = settings.keep
    if keep.archive is None and "TWEETDOCK_ARCHIVE" not in refused:
        why = "not set; say which one with --archive FILE"
        problems.append(Problem("TWEETDOCK_ARCHIVE", why))
    if not keep.offload and "TWEETDOCK_OFFLOAD" not in refused:
        why = "not set; say where to, such as s3://my-bucket/tweets"
        problems.append(Problem("TWEETDOCK_OFFLOAD", why))
    if problems or keep.archive is None:
        raise SettingsError(problems)
    return keep.archive, keep


def _offload(archive: Path, keep: KeepSettings) -> int:
    closed_files = ClosedFiles(archive)
    offload = Offload(closed_files, Bucket(keep), keeps_local=keep.offload_keep)
    code, has_said = 0, False
    for outcome in offload.run():
        has_said = True
        if outcome.trouble:
            complain(outcome.trouble)
            code = EXIT_UNAVAILABLE
        else:
            _print(outcome)
    for path in closed_files.in_use():
        has_said = True
        print(f"{path.name} is in use by another TweetDock; left to that")  # noqa: T201
    if not has_said:
        print(f"no closed file of {archive} is waiting")  # noqa: T201
    return code


def _print(outcome: Outcome) -> None:
    size = counted(outcome.bytes, "byte")
    notes = ", already there" * outcome.was_there + ", kept here" * outcome.is_kept
    line = f"{outcome.file} -> {outcome.url} ({size}, {counted(outcome.lines, 'line')}{notes})"
    print(line, flush=True)  # noqa: T201
