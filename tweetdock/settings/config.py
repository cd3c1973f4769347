"""Where settings come from: flags before the environment before `.env` in the working folder."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO

from dotenv.parser import Binding, parse_stream

from tweetdock.core.errors import SettingsError
from tweetdock.settings.gauge import Settings

ENV_FILE = ".env"  # in the folder where TweetDock is started


def load(
    flags: Mapping[str, str], environment: Mapping[str, str], folder: Path, *, demo: bool = False
) -> Settings:
    """All settings, checked; raises SettingsError with every problem.

    A name that is set to nothing counts as set: it hides the same name further down.
    """
    file = read_env_file(folder / ENV_FILE)
    return Settings.from_env({**file, **environment, **flags}, demo=demo)


def read_env_file(path: Path) -> dict[str, str]:
    """The names and values in a `.env` file; none if there is no such file.

    Nothing is interpolated, so that `docker run --env-file` reads the same.
    """
    try:
        with path.open(encoding="utf-8-sig") as stream:
            return dict(_values(stream, path.name))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError([f"{path}: cannot be read: {error}"]) from error


def _values(stream: TextIO, name: str) -> Iterator[tuple[str, str]]:
    problems = []
    for binding in parse_stream(stream):
        # A binding begins with the blank lines before it.
        text = binding.original.string
        line = binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")
        if binding.error:
            problems.append(f"{name} line {line}: not of the form NAME=value")
        elif binding.key is not None:
            if _lost_hashtag(binding):
                problems.append(
                    f"{name} line {line}: {binding.key}: ' #' begins a comment "
                    'here; put the value in quotes or leave the # away: "one two"'
                )
            yield binding.key, binding.value or ""
    if problems:
        raise SettingsError(problems)


def _lost_hashtag(binding: Binding) -> bool:
    # In `TWEETDOCK_HASHTAGS=#one #two` the second is a comment to dotenv: it must not go unseen.
    if binding.key != "TWEETDOCK_HASHTAGS":
        return False
    kept = (binding.value or "").count("#")
    # A '#' with a space behind it begins a comment in everybody's eyes.
    written = re.split(r"\s#(?=\s|$)", binding.original.string.partition("=")[2])[0]
    return any(re.findall(r"#(\w?)", written)[kept:])
