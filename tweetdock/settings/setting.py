"""One setting: its name in the environment, how it is read, what it is when not set."""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from typing import Any

from tweetdock.core.errors import Problem
from tweetdock.settings.parse import may_be_secret, secret, text


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
        """Its value in `env`; a wrong value adds a problem, and the default is used."""
        value = env.get(self.name, "").strip()
        # `docker run --env-file` hands quotes on as they stand; a shell and .env take them off.
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1].strip()
        try:
            return self.parse(value or self.default)
        except ValueError as error:
            shown = "" if self.secret else _masked(value)
            problems.append(Problem(self.name, str(error), shown))
            with suppress(ValueError):  # a default may be wrong too: a '~' without home folder
                return self.parse(self.default)
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
    return set_by(meaning, secret, name=name, secret=True)


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
