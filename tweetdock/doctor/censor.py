"""Keeps secrets out of what is printed, even where a server repeats what it was sent."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from urllib.parse import quote, unquote

from tweetdock.checkup import Finding
from tweetdock.settings import SETTINGS

SHORTEST = 4  # what is shorter would tear words apart, and hide nothing
_IN_ADDRESS = re.compile(r"//([^/\s@]+)@")
_HIDDEN = "..."


class Censor:
    """Takes everything out of findings that is secret in some settings.

    That is the values of the secret settings as they are written, and what stands before the host
    in an address, whichever name it has.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        found = {form for word in _secrets(env) for form in (word, quote(word), quote(word, ""))}
        words = sorted((word for word in found if len(word) >= SHORTEST), key=len, reverse=True)
        self._words = re.compile("|".join(map(re.escape, words))) if words else None

    def clean(self, finding: Finding) -> Finding:
        """The finding without any of them."""
        thing, says, cure = map(self._clean, (finding.thing, finding.says, finding.cure))
        return replace(finding, thing=thing, says=says, cure=cure)

    def _clean(self, text: str) -> str:
        text = _IN_ADDRESS.sub(f"//{_HIDDEN}@", text)
        return self._words.sub(_HIDDEN, text) if self._words else text


def _secrets(env: Mapping[str, str]) -> Iterator[str]:
    for setting in SETTINGS:
        value = env.get(setting.name, "")
        if setting.secret:
            # A list has its secrets behind the names of hosts.
            for word in re.split(r"[\s,\"']+", value):
                yield word
                yield word.partition("=")[2]
    for value in env.values():
        for found in _IN_ADDRESS.findall(value):
            for part in (found, *found.split(":", 1)[1:]):
                yield part
                yield unquote(part)
