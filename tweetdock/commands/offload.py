"""The word `offload`: closed files of the archive go into an S3 bucket, verified there."""

import argparse
import socket
from collections.abc import Mapping
from typing import Any

from tweetdock.commands.streams import EXIT_UNAVAILABLE, complain, counted, results
from tweetdock.errors import SettingsError
from tweetdock.keep.bucket import Bucket, S3Access
from tweetdock.keep.offload import Offload, Outcome
from tweetdock.keep.shelf import Shelf
from tweetdock.settings import SETTINGS

EXIT_SETTINGS = 2

_ACCESS = (
    "AWS_ENDPOINT_URL",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_DEFAULT_REGION",
)


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the words to a parser."""
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
    """Off-load once and say what became of each file; returns the exit code."""
    given = {"TWEETDOCK_OFFLOAD": arguments.url, "TWEETDOCK_ARCHIVE": arguments.archive}
    if arguments.keep:
        given["TWEETDOCK_OFFLOAD_KEEP"] = "1"
    try:
        found = _read({**env, **{name: value for name, value in given.items() if value}})
    except SettingsError as error:
        for problem in error.problems:
            complain(problem)
        return EXIT_SETTINGS
    code = EXIT_UNAVAILABLE  # it ends early if nobody reads the results any more
    try:
        with results():
            code = _bring(found)
    except OSError as error:
        complain(error)
    return code


def _read(env: Mapping[str, str]) -> dict[str, Any]:
    names = ("TWEETDOCK_OFFLOAD", "TWEETDOCK_ARCHIVE", "TWEETDOCK_OFFLOAD_KEEP", *_ACCESS)
    problems: list[str] = []
    found = {s.name: s.read(env, problems) for s in SETTINGS if s.name in names}
    refused = {
        name for name in names if any(p.startswith((f"{name}:", f"{name}=")) for p in problems)
    }
    if not found["TWEETDOCK_OFFLOAD"] and "TWEETDOCK_OFFLOAD" not in refused:
        problems.append("TWEETDOCK_OFFLOAD: not set; say where to, such as s3://my-bucket/tweets")
    if not found["TWEETDOCK_ARCHIVE"] and "TWEETDOCK_ARCHIVE" not in refused:
        problems.append("TWEETDOCK_ARCHIVE: not set; say which one with --archive FILE")
    if problems:
        raise SettingsError(problems)
    return found


def _bring(found: Mapping[str, Any]) -> int:
    shelf = Shelf(found["TWEETDOCK_ARCHIVE"])
    access = S3Access.from_env({name: found[name] for name in _ACCESS})
    bucket = Bucket(found["TWEETDOCK_OFFLOAD"], access)
    keeps_local = found["TWEETDOCK_OFFLOAD_KEEP"]
    offload = Offload(shelf, bucket, keeps_local=keeps_local, host=socket.gethostname())
    code, has_done = 0, False
    for outcome in offload.run():
        has_done = True
        if outcome.trouble:
            complain(outcome.trouble)
            code = EXIT_UNAVAILABLE
        else:
            _say(outcome)
    if not has_done:
        print(f"no closed file of {shelf.path} is waiting")  # noqa: T201
    return code


def _say(outcome: Outcome) -> None:
    size = counted(outcome.bytes, "byte")
    notes = ", already there" * outcome.was_there + ", kept here" * outcome.is_kept
    line = f"{outcome.file} -> {outcome.url} ({size}, {counted(outcome.lines, 'line')}{notes})"
    print(line, flush=True)  # noqa: T201
