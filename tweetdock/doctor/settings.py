"""The doctor's checks of the settings: where they come from, and each one that cannot be used."""

import stat
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from tweetdock.core.errors import Problem, SettingsError
from tweetdock.core.finding import Finding
from tweetdock.keep.permissions import user
from tweetdock.settings.env_file import ENV_FILE, lines_for_dotenv_only, read_env_file
from tweetdock.settings.gauge import SETTINGS, Settings

_OURS = frozenset(setting.name for setting in SETTINGS)
_SECRET = {setting.name for setting in SETTINGS if setting.secret}


@dataclass(frozen=True, slots=True)
class WrittenSettings:
    """All that the owner has set, by place, of which later ones win; and what of it can be used.

    settings: None if the file cannot be read, as what seems to be missing may stand in it.
    """

    path: Path
    file: Mapping[str, str]
    environment: Mapping[str, str]
    flags: Mapping[str, str]
    settings: Settings | None = None
    problems: tuple[Problem, ...] = ()

    @classmethod
    def read(
        cls,
        folder: Path,
        environment: Mapping[str, str],
        flags: Mapping[str, str],
        *,
        demo: bool = False,
    ) -> "WrittenSettings":
        """What is set for a gauge that starts in this folder."""
        path = folder / ENV_FILE
        try:
            file = read_env_file(path)
        except SettingsError as error:
            return cls(path, {}, environment, flags, problems=error.problems)
        settings, problems = Settings.read({**file, **environment, **flags}, demo=demo)
        return cls(path, file, environment, flags, settings, tuple(problems))

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources that lack nothing: one without its credentials does not hide the others."""
        if self.settings is None or "TWEETDOCK_SOURCES" in self.refused:
            return ()
        lacks = self.settings.lacks
        return tuple(source for source in self.settings.sources if not any(lacks(source)))

    @property
    def refused(self) -> frozenset[str]:
        """The settings that there are problems with, by name."""
        return _OURS & {problem.name for problem in self.problems}

    @property
    def env(self) -> dict[str, str]:
        """What the gauge would use."""
        return {**self.file, **self.environment, **self.flags}

    def place_of(self, name: str) -> str:
        """Where a setting is set, in words; nothing if it is not."""
        places = {
            "on the command line": self.flags,
            "in the environment": self.environment,
            f"in {ENV_FILE}": self.file,
        }
        return next((place for place, names in places.items() if name in names), "")


def check_settings(written: WrittenSettings) -> Iterator[Finding]:
    """A line for each problem; without any, what is counted and where that is set."""
    for problem in written.problems:
        yield Finding.trouble("settings", str(problem), _cure(problem, written))
    if not written.problems and written.settings is not None:
        says = f"{written.settings.summary}; {_places(written)}"
        yield Finding.well("settings", says)
    hidden = sorted(
        name
        for name, value in written.file.items()
        if name in _OURS and written.environment.get(name, value) != value
    )
    if hidden:
        yield Finding.warning(
            "settings",
            f"the environment wins over {ENV_FILE} in {', '.join(hidden)}",
            f"to use {ENV_FILE}, remove it from the environment: unset {' '.join(hidden)}",
        )
    yield from _check_lines(written)
    yield from _check_mode(written)


def _check_lines(written: WrittenSettings) -> Iterator[Finding]:
    with suppress(SettingsError):  # of a file that cannot be read
        if lines := lines_for_dotenv_only(written.path):
            yield Finding.warning(
                "settings",
                f"{ENV_FILE} line {', '.join(map(str, lines))}: "
                "read by TweetDock alone as it is meant, not by Docker or systemd",
                "leave `export` away, and give each comment a line of its own",
            )


def _check_mode(written: WrittenSettings) -> Iterator[Finding]:
    holds = "may hold secrets" if written.settings is None else ""
    if any(written.file.get(name) for name in _SECRET):
        holds = "holds secrets"
    with suppress(OSError):  # it is not there
        file = written.path.stat()
        if holds and file.st_mode & stat.S_IRWXO:
            yield Finding.warning(
                "settings",
                f"{written.path} {holds}, and other users may read it",
                f"chmod 640 {quote(str(written.path))}; if the gauge does not run as "
                f"{user(file.st_uid)}, give the file to the gauge's group before, by chgrp",
            )


def _cure(problem: Problem, written: WrittenSettings) -> str:
    if problem.cure:
        return problem.cure
    place = written.place_of(problem.name)
    if not place and not written.path.exists():
        return f"there is no {written.path}: start in the folder that has it, or write one"
    if not place:
        return f"write it into {written.path}; .env.example explains it"
    if problem.name not in _OURS:
        return f"it is set {place}: correct its name, or remove it"
    return f"it is set {place}: correct it there"


def _places(written: WrittenSettings) -> str:
    places = Counter(written.place_of(name) for name in written.env if name in _OURS)
    parts = [f"{number} {place}" for place, number in places.items()]
    return f"set: {', '.join(parts)}" if parts else "nothing is set"
