"""One setting: its name in the environment, how it is read, what it is when not set."""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

from tweetdock.core.errors import Problem
from tweetdock.settings.parse import may_be_secret, text, word

_TWO_MEANINGS = (
    "may mean two things, as quotation marks around it, a double '\\' in them and what begins with "
    "' #' may be of it or not; written in single quotes it is clear: 'one two', 'one #two', a "
    "phrase '(\"one two\")'"
)


class Written(str):
    """The text of a setting by a reader that is known: a flag's, or dotenv's of a file.

    letters: what stands in the file letter for letter; None of a flag. Of any other text nobody
    knows what has read it: Docker and systemd leave in the environment what a shell takes away.
    """

    letters: str | None

    def __new__(cls, text: str, letters: str | None = None) -> Self:
        """A text as it was read, and as it stands there."""
        self = super().__new__(cls, text)
        self.letters = letters
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
        value, *others = _meanings(env.get(self.name, ""))
        try:
            read = self.parse(value or self.default)
            if all(self._means(other) in (None, read) for other in others):
                return read
            why, shown = _TWO_MEANINGS, others[0]
        except ValueError as error:
            why, shown = str(error), value
        problems.append(Problem(self.name, why, "" if self.secret else _masked(shown)))
        with suppress(ValueError):  # a default may be wrong too: a '~' without home folder
            return self.parse(self.default)
        return None

    def _means(self, text: str) -> Any:
        try:
            return self.parse(text or self.default)
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


def _meanings(written: str) -> tuple[str, ...]:
    """What a text may mean, by the reader whose it is, and by others of the same file."""
    if not isinstance(written, Written):
        return unquoted(written.strip()), written.strip()
    if written.letters is None:
        return (written.strip(),)
    letters = written.letters.strip()
    return written.strip(), letters, unquoted(letters)


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
