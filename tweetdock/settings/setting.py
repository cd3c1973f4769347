"""One setting: its name in the environment, how it is read, what it is when not set."""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

from tweetdock.core.errors import Problem
from tweetdock.settings.parse import may_be_secret, text, word

_TWO_MEANINGS = (
    "may mean two things, as quotation marks around it and what begins with ' #' may be of it or "
    "not; written in single quotes it is clear: 'one two', 'one #two', a phrase '(\"one two\")'"
)


class Written(str):
    """The text of a setting by a reader that is known: a flag's, or dotenv's of a file.

    letters: what stands there, letter for letter. Of any other text nobody knows what has read it
    before: Docker and systemd leave in the environment what a shell and dotenv take away.
    """

    letters: str

    def __new__(cls, text: str, letters: str = "") -> Self:
        """Without `letters` it stands there as it was read, as a flag does."""
        self = super().__new__(cls, text)
        self.letters = letters or text
        return self


@dataclass(frozen=True, slots=True)
class Setting:
    """A value that the owner can set."""

    name: str
    meaning: str
    parse: Callable[[str], Any]
    default: str
    secret: bool = False

    @property
    def flag(self) -> str:
        """Its flag on the command line; a secret has none that should be used."""
        return "--" + self.name.removeprefix("TWEETDOCK_").lower().replace("_", "-")

    def read(self, env: Mapping[str, str], problems: list[Problem]) -> Any:
        """Its value in `env`; a wrong value adds a problem, and the default is used.

        Wrong is also a text that would be one value to one reader and another to the next.
        """
        value, letters = _meanings(env.get(self.name, ""))
        try:
            read = self.parse(value or self.default)
            if letters == value or self._means(letters) in (None, read):
                return read
            why, shown = _TWO_MEANINGS, letters
        except ValueError as error:
            why, shown = str(error), value
        problems.append(Problem(self.name, why, "" if self.secret else _masked(shown)))
        with suppress(ValueError):  # a default may be wrong too: a '~' without home folder
            return self.parse(self.default)
        return None

    def _means(self, letters: str) -> Any:
        try:
            return self.parse(letters)
        except ValueError:
            return None


def set_by(
    meaning: str,
    parse: Callable[[str], Any] = text,
    default: str = "",
    *,
    name: str = "",
    secret: bool = False,
) -> Any:
    """A dataclass field that holds a setting; name: if it is not that of the field."""
    setting = Setting(name, meaning, parse, default, secret)
    return field(repr=not secret, metadata={"setting": setting})


def secret_by(name: str, meaning: str) -> Any:
    """A dataclass field that holds a token, a key or a password."""
    return set_by(meaning, word, name=name, secret=True)


def unquoted(letters: str) -> str:
    """A text without quotation marks that are around all of it, as dotenv takes them off."""
    around = re.fullmatch(r"(?s)'([^']*)'|\"([^\"]*)\"", letters)
    return (around[1] or around[2] or "").strip() if around else letters


def _meanings(written: str) -> tuple[str, str]:
    """What a text may mean: with its quotation marks taken off, and letter for letter."""
    letters = getattr(written, "letters", written).strip()
    return written.strip() if isinstance(written, Written) else unquoted(letters), letters


def _masked(value: str) -> str:
    # An address may carry a password, and a host its token, put into the wrong variable.
    value = re.sub(r"(?s)=.+", "=...", re.sub(r"//.*@", "//...@", value))
    return re.sub(r"[^\s,]+", lambda word: "..." if may_be_secret(word[0]) else word[0], value)


def table_of(owner: type, prefix: str = "TWEETDOCK_", **defaults: str) -> dict[str, Setting]:
    """The settings of such a class, by the names of its fields.

    prefix: of their names. defaults: of fields, instead of their own.
    """
    found = {f.name: f.metadata["setting"] for f in fields(owner) if "setting" in f.metadata}
    return {
        field: replace(
            one,
            name=one.name or prefix + field.upper(),
            default=defaults.get(field, one.default),
        )
        for field, one in found.items()
    }
