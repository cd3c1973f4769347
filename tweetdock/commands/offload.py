"""The command `offload`: closed files of the archive go into an S3 bucket, verified there."""

import argparse
from collections.abc import Mapping

from tweetdock.commands.output import EXIT_UNAVAILABLE, counted, results
from tweetdock.core.errors import Problem, SettingsError
from tweetdock.keep.bucket import Bucket
from tweetdock.keep.closed_files import ClosedFiles
from tweetdock.keep.offload import Offload, Outcome
from tweetdock.settings.gauge import Settings


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
    """Off-load once and say what became of each file.

    Returns the exit code, or raises SettingsError or OSError.
    """
    given = {"TWEETDOCK_OFFLOAD": arguments.url, "TWEETDOCK_ARCHIVE": arguments.archive}
    if arguments.keep:
        given["TWEETDOCK_OFFLOAD_KEEP"] = "1"
    env = {**env, **{name: value for name, value in given.items() if value}}
    # Errors in the other settings are left for the daemon to report.
    about = "TWEETDOCK_ARCHIVE", "TWEETDOCK_OFFLOAD", "AWS_"
    keep = Settings.from_env(env, about=about).keep
    if keep.archive is None or not keep.offload:
        why = "not set; say where to, such as s3://my-bucket/tweets, and what, by --archive FILE"
        raise SettingsError([Problem("TWEETDOCK_OFFLOAD", why)])
    closed_files = ClosedFiles(keep.archive)
    with results():
        has_said = False
        for outcome in Offload(closed_files, Bucket(keep), keeps_local=keep.offload_keep).run():
            _print(outcome, is_kept=keep.offload_keep)
            has_said = True
        if not has_said:
            print(f"no closed file of {keep.archive} is waiting")  # noqa: T201
        return 0
    return EXIT_UNAVAILABLE  # it ends early if nobody reads the results any more


def _print(outcome: Outcome, *, is_kept: bool) -> None:
    size = counted(outcome.manifest.bytes, "byte")
    lines = counted(outcome.manifest.lines, "line")
    notes = ", already there" * outcome.was_there + ", kept here" * is_kept
    print(f"{outcome.file} -> {outcome.url} ({size}, {lines}{notes})", flush=True)  # noqa: T201
