"""The word `health`: whether the gauge that runs on this machine is well, for Docker and others."""

import argparse
from collections.abc import Mapping

from tweetdock.commands.streams import results
from tweetdock.errors import SettingsError
from tweetdock.exits import EXIT_AILING
from tweetdock.settings import SETTINGS
from tweetdock.show.checkup import ailment_at

WEB = "TWEETDOCK_WEB"


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the words to a parser."""
    parser.description = (
        "Ask the gauge that runs on this machine, by its page, whether it is well: 0 if it is, "
        "1 and the reason if not. Without a page nobody can be asked, and that is no ailment."
    )
    parser.add_argument("--web", metavar="HOST:PORT", help=f"where its page is; or {WEB}")


def run(arguments: argparse.Namespace, env: Mapping[str, str]) -> int:
    """Ask once and say the answer; returns the exit code."""
    web = _read({**env, WEB: arguments.web or env.get(WEB, "")})
    ailment = ailment_at(*web) if web else ""
    with results():
        print(ailment or ("well" if web else f"{WEB}=off: nobody can be asked"))  # noqa: T201
    return EXIT_AILING if ailment else 0


def _read(env: Mapping[str, str]) -> tuple[str, int] | None:
    """Where the page is; None if it is off."""
    problems: list[str] = []
    (setting,) = (setting for setting in SETTINGS if setting.name == WEB)
    web: tuple[str, int] | None = setting.read(env, problems)
    if web is not None and web[1] == 0:
        problems.append(f"{WEB}={env[WEB]}: the port that it has become is to be named by --web")
    if problems:
        raise SettingsError(problems)
    return web
