"""What keeps secrets out of the doctor's report."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from urllib.parse import quote, unquote

from tweetdock.core.finding import Finding
from tweetdock.settings.gauge import SETTINGS

SHORTEST = 4  # hiding shorter ones would only tear words apart
LEAST_PIECE = 10  # of a secret that a server has cut off, or not repeated in full
_LISTS = ("TWEETDOCK_MASTODON_TOKENS",)  # host=token, so what a host is called is no secret
_BEHIND_SLASHES = r"(?<=//)[^/\s@]+(?=@)"
_IN_ADDRESS = re.compile(rf"{_BEHIND_SLASHES}|[^/\s@:,='\"]+:[^/\s@,]+(?=@)")
_IN_ANY = re.compile(_BEHIND_SLASHES)
_HIDDEN = "..."


class Redactor:
    """Removes from findings everything that is secret in some settings.

    That is the values of the secret settings, however they are spelt, with every longer piece of
    them; and what stands before the host in an address, whichever name it has.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        spelt = {_lower(form) for word in _secrets(env) for form in _spellings(word)}
        pieces = {
            form[start : start + LEAST_PIECE]
            for form in spelt
            if len(form) >= SHORTEST
            for start in range(max(1, len(form) - LEAST_PIECE + 1))
        }
        # Looking ahead: pieces that lie over one another are all found, the longest at each place.
        longest_first = map(re.escape, sorted(pieces, key=len, reverse=True))
        self._pieces = re.compile(f"(?=({'|'.join(longest_first) or '(?!)'}))")

    def clean(self, finding: Finding) -> Finding:
        """The finding without any of them."""
        thing, says, cure = map(self._clean, (finding.thing, finding.says, finding.cure))
        return replace(finding, thing=thing, says=says, cure=cure)

    def _clean(self, text: str) -> str:
        spans = [match.span() for match in _IN_ADDRESS.finditer(text)]
        spans += [match.span(1) for match in self._pieces.finditer(_lower(text))]
        told, end = "", 0
        for start, stop in sorted(spans):
            if start > end or not told:
                told += text[end:start] + _HIDDEN
            end = max(end, stop)
        return told + text[end:]


def _secrets(env: Mapping[str, str]) -> Iterator[str]:
    names = {setting.name for setting in SETTINGS}
    for setting in SETTINGS:
        if setting.secret:
            yield from _words(setting.name, env.get(setting.name, ""))
    for name, value in env.items():
        # A setting or a proxy may be an address without `//`; elsewhere an '@' may mean anything.
        is_address = name in names or name.lower().endswith("_proxy")
        for found in (_IN_ADDRESS if is_address else _IN_ANY).findall(value):
            for part in (found, *found.split(":", 1)[1:]):
                yield part
                yield unquote(part)


def _words(name: str, value: str) -> Iterator[str]:
    if name not in _LISTS:
        yield value
    for word in re.split(r"[\s,]+", value):
        bare = word.strip("\"'")
        _, _, token = bare.partition("=")
        is_of_host = name in _LISTS and len(token) >= SHORTEST
        yield from (token,) if is_of_host else (word, bare, token)


def _spellings(word: str) -> tuple[str, ...]:
    return (word, quote(word), quote(word, ""), json.dumps(word)[1:-1], repr(word)[1:-1])


def _lower(text: str) -> str:
    """In lower case, with each character at the place where it was."""
    return "".join(low if len(low := sign.lower()) == 1 else sign for sign in text)
