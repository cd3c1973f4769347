"""What can be made of settings of which some are wrong, so that the rest can be looked at."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from tweetdock.core.errors import SettingsError, name_of
from tweetdock.settings.gauge import DIALS, SETTINGS, Settings
from tweetdock.settings.setting import table_of

_SOURCES = table_of(Settings)["sources"]
_OURS = frozenset(setting.name for setting in SETTINGS)


@dataclass(frozen=True, slots=True)
class Usable:
    """Settings as far as they can be used.

    settings: None if nothing can be done with them. refused: the names that stand as if they were
    not set. has_sources: the sources are some of those that were asked for.
    """

    settings: Settings | None
    problems: tuple[str, ...] = ()
    refused: frozenset[str] = frozenset()
    has_sources: bool = True


def salvage(env: Mapping[str, str], problems: tuple[str, ...], *, demo: bool) -> Usable:
    """The settings without what is wrong, and without the sources that lack something."""
    sources = () if _SOURCES.name in map(name_of, problems) else _SOURCES.read(env, [])
    settings, refused = None, frozenset[str]()
    if sources:
        settings, refused = _settle(env, demo=demo)
    if settings is None:
        # Each by itself: one that lacks its credentials does not hide the others.
        sources = tuple(source for source in sources if _settle(_of(env, [source]))[0] is not None)
        settings, refused = _settle(_of(env, sources or ["demo"]), demo=demo)
    if settings is None:
        return Usable(None, problems, refused, has_sources=False)
    if not sources:
        refused |= {_SOURCES.name} & {name_of(problem) for problem in problems}
        # What stands in for the sources is no demo that anybody has asked for.
        settings = replace(settings, demo=False)
    return Usable(settings, problems, refused, has_sources=bool(sources))


def _of(env: Mapping[str, str], sources: Iterable[str]) -> dict[str, str]:
    return {**env, _SOURCES.name: ",".join(sources)}


def _settle(
    env: Mapping[str, str], *, demo: bool = False
) -> tuple[Settings | None, frozenset[str]]:
    """The settings without what is wrong, and its names; None if something is missing."""
    refused: set[str] = set()
    while True:
        try:
            return Settings.from_env(env, demo=demo), frozenset(refused & _OURS)
        except SettingsError as error:
            wrong = {name_of(problem) for problem in error.problems} & set(env)
            # A default that does not go together with something that is set.
            wrong = wrong or {name for problem in error.problems for name in _blamed(problem, env)}
        if not wrong:
            return None, frozenset(refused & _OURS)
        refused |= wrong
        env = {name: value for name, value in env.items() if name not in wrong}


def _blamed(problem: str, env: Mapping[str, str]) -> set[str]:
    """What a problem speaks of beside its own name; of the same dial by their short names."""
    dials = tuple(f"TWEETDOCK_{dial.upper()}_" for dial in DIALS)
    dial = next((dial for dial in dials if name_of(problem).startswith(dial)), "")
    words = set(re.findall(r"[A-Z_]{3,}", problem))
    return {name for name in _OURS & set(env) if words & {name, name.removeprefix(dial)}}
