"""The command `export`: the history of the readings as CSV, or the archive's posts as Parquet."""

import argparse
import csv
import io
import sys
from collections.abc import Mapping

from tweetdock.commands.output import (
    add_archives,
    add_output,
    counted,
    results,
    warn_of,
)
from tweetdock.core.times import rfc3339
from tweetdock.keep.database import read_history
from tweetdock.keep.export import export_posts
from tweetdock.keep.files import new_file
from tweetdock.settings.gauge import Settings

_HEAD = ("at", "per", "posts", "authors", "grade", "window_seconds", "subject")


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the arguments to a parser."""
    parser.description = "Write what TweetDock has kept for other programs."
    kinds = parser.add_subparsers(dest="what", required=True, metavar="history|posts")
    history = kinds.add_parser(
        "history",
        help="the readings that were kept, as CSV",
        description="Write the readings that were kept as CSV: one a minute for the last day, "
        "one an hour before that.",
        allow_abbrev=False,
    )
    history.add_argument("--per", choices=("minute", "hour"), help="these only")
    history.add_argument(
        "--state-dir", metavar="DIR", help="where the state is, if not where the settings say"
    )
    add_output(history, "the file to write; standard output if not given")
    posts = kinds.add_parser(
        "posts",
        help="the posts of archives, as Parquet",
        description="Write the posts of archives as one Parquet file. "
        "Merge archives that overlap first: a double stays a double here.",
        allow_abbrev=False,
    )
    add_archives(posts)
    add_output(posts, "the file to write, such as posts.parquet", required=True)


def run(arguments: argparse.Namespace, env: Mapping[str, str]) -> int:
    """Export; returns the exit code, or raises SettingsError or OSError."""
    if arguments.what == "posts":
        _export_posts(arguments)
    else:
        _export_history(arguments, env)
    return 0


def _export_posts(arguments: argparse.Namespace) -> None:
    inputs = export_posts(arguments.archives, arguments.output, force=arguments.force)
    warn_of(inputs)
    with results():
        lines = sum(archive.lines for archive in inputs)
        print(f"{arguments.output}: {counted(lines, 'post')}")  # noqa: T201


def _export_history(arguments: argparse.Namespace, env: Mapping[str, str]) -> None:
    if arguments.state_dir is not None:
        env = {**env, "TWEETDOCK_STATE_DIR": arguments.state_dir}
    settings = Settings.from_env(env, about=("TWEETDOCK_STATE_DIR",))
    rows = read_history(settings.keep.state_dir, arguments.per)
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(_HEAD)
    writer.writerows((rfc3339(at_ms), per, *rest) for per, at_ms, *rest in rows)
    if arguments.output is None:
        with results():
            sys.stdout.write(table.getvalue())
        return
    with new_file(arguments.output, force=arguments.force) as fresh:
        fresh.write_text(table.getvalue(), encoding="utf-8")
