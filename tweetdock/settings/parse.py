"""How the text of one setting becomes a value; each refusal says what is accepted."""

import re
import shlex
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from tweetdock.core.address import is_ip
from tweetdock.core.post import fold
from tweetdock.core.scaler import make_scale
from tweetdock.settings.x_query import Account

Parsed = TypeVar("Parsed")

# Marks that X takes inside a hashtag beside letters, marks and digits (twitter-text, regexp/).
_HASHTAG_MARKS = set(
    "_\u200c\u200d\ua67e\u05be\u05f3\u05f4\uff5e\u301c\u309b\u309c\u30a0\u30fb\u3003\u0f0b\u0f0c\u00b7"
)
_LONGEST_WORD = 40  # a longer one may be a token
# What everybody writes who comments a line, and none of our values has.
COMMENT = re.compile(r"(?:^|\s)#(?=\s|$)")
_PLACE = re.compile(r"[/~.]|[a-z0-9]+://|replay:")


def may_be_secret(word: str) -> bool:
    """Whether a word looks like a token that was put into the wrong variable."""
    return not _PLACE.match(word) and ("%" in word or len(word) > _LONGEST_WORD)


def _shown(word: str) -> str:
    return "a word of it" if may_be_secret(word) else repr(word)


def text(value: str) -> str:
    """Any text that can be no value with its quotation marks or a comment left in."""
    if is_quoted(value) or COMMENT.search(value):
        raise ValueError("no quotation marks around it, and a comment on a line of its own")
    return value


def is_quoted(value: str) -> bool:
    """Whether a value begins and ends with the same quotation mark."""
    return len(value) > 1 and value[0] == value[-1] and value[0] in "'\""


def query(value: str) -> str:
    """A query in X's own language, which has double quotes around a phrase and `#` at a word."""
    # Python has halves of surrogate pairs for what is not UTF-8 in the environment.
    if re.search("[\ud800-\udfff]", value):
        raise ValueError("text in UTF-8")
    if re.fullmatch(r"(?s)'.*'|[\s\"]+", value):
        raise ValueError("no single quotes around it, and a word in double ones")
    if COMMENT.search(value):
        raise ValueError("a '#' needs a word after it, and a comment a line of its own")
    return value


def word(value: str) -> str:
    """One word that fits into an HTTP header, such as a token or a region."""
    if value and not re.fullmatch(r"[!-~]+", text(value)):
        raise ValueError("one word of plain characters, without spaces or line breaks")
    return value


def host(value: str) -> str:
    """A host by its name or its IP address; or nothing."""
    if value and not is_ip(value) and not re.fullmatch(r"\w(?:[\w.-]*\w)?\.?", value):
        raise ValueError("a host such as pi.local or an IP address; its port is PIGPIO_PORT")
    return value


def hashtags(value: str) -> tuple[str, ...]:
    """Hashtags without `#`, as written but composed (NFC), doubles (by NFKC, caseless) left out."""
    found: dict[str, str] = {}
    for word in re.split(r"[\s,]+", value):
        tag = unicodedata.normalize("NFC", word.removeprefix("#").removeprefix("\uff03"))
        if not tag:
            if word:
                raise ValueError("a '#' needs a word after it")
            continue
        kinds = {unicodedata.category(c)[0] for c in tag if c not in _HASHTAG_MARKS}
        is_odd = kinds - {"L", "M", "N"} or any(unicodedata.category(c) == "No" for c in tag)
        if is_odd or "L" not in kinds:
            raise ValueError(
                f"{_shown(word)} is not a hashtag: letters, digits and '_', at least one letter, "
                "several separated by space or comma"
            )
        found.setdefault(fold(tag), tag)
    return tuple(found.values())


def words(value: str) -> tuple[str, ...]:
    """A comma list, in order, doubles left out."""
    return tuple(dict.fromkeys(word for word in re.split(r"\s*,\s*", text(value).strip()) if word))


def arguments(value: str) -> tuple[str, ...]:
    """The arguments of a program, split as a shell does."""
    try:
        return tuple(shlex.split(text(value)))
    except ValueError as error:
        raise ValueError("options such as -t 0; a quotation mark is left open") from error


def number(low: float, high: float, unit: str = "") -> Callable[[str], float]:
    """A parser of a number from `low` to `high`."""

    def parse(value: str) -> float:
        try:
            parsed = float(value)
        except ValueError:
            parsed = float("nan")
        if not low <= parsed <= high:
            raise ValueError(f"a number from {low:g} to {high:g}{unit and ' ' + unit}")
        return parsed

    return parse


def whole(low: int, high: int, unit: str = "") -> Callable[[str], int]:
    """A parser of a whole number from `low` to `high`."""

    def parse(value: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]{1,9}", value) or not low <= int(value) <= high:
            raise ValueError(f"a whole number from {low} to {high}{unit and ' ' + unit}")
        return int(value)

    return parse


def switch(value: str) -> bool:
    """0 or 1."""
    if value not in ("0", "1"):
        raise ValueError("0 or 1")
    return value == "1"


def one_of(*choices: str) -> Callable[[str], str]:
    """A parser of one of some words, in any case."""

    def parse(value: str) -> str:
        for choice in choices:
            if value.casefold() == choice.casefold():
                return choice
        raise ValueError("one of " + ", ".join(choices))

    return parse


def scale(value: str) -> str:
    """The words of a scale, checked."""
    make_scale(value)
    return value


def url(value: str) -> str:
    """An http or https address of a server, without a path."""
    accepted = "an address such as https://api.x.com, without a path, user or password"
    if not _is_address(value) or urlsplit(value).path.strip("/"):
        raise ValueError(accepted)
    return value.rstrip("/")


def optional(parse: Callable[[str], Parsed]) -> Callable[[str], Parsed | None]:
    """A parser of the same, or of nothing: None."""
    return lambda value: parse(value) if value else None


def accounts(value: str) -> tuple[Account, ...]:
    """Accounts on X, `@name`, and `@name:following` for all whom one follows."""
    found: dict[str, Account] = {}
    for word in _listed(value):
        parts = re.fullmatch(r"@?([A-Za-z0-9_]{1,15})(:following)?", word)
        if not parts:
            raise ValueError(
                f"{_shown(word)} is not an account: @name, or @name:following for all that it "
                "follows, several separated by space or comma"
            )
        account = Account(parts[1], is_list=parts[2] is not None)
        found.setdefault(str(account).casefold(), account)
    return tuple(found.values())


def web_sockets(value: str) -> tuple[str, ...]:
    """Addresses of WebSockets."""
    found = _listed(value)
    for address in found:
        if not _is_address(re.sub("^ws", "http", address)) or not address.startswith("ws"):
            raise ValueError("addresses such as wss://host/subscribe, separated by space")
    return found


def servers(value: str) -> tuple[str, ...]:
    """Addresses of servers; a host alone is meant by https."""
    found: dict[str, None] = {}
    for word in _listed(value):
        address = url(word if "://" in word else f"https://{word}").lower()
        # A token that was put here must not become the name of a host.
        if not _is_host(urlsplit(address).netloc):
            raise ValueError("hosts such as mastodon.social, several separated by space")
        found[address] = None
    return tuple(found)


def hosts(value: str) -> tuple[str, ...]:
    """Names of hosts, without port."""
    found = tuple(dict.fromkeys(name.lower() for name in _listed(value)))
    if not all(re.fullmatch(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?", name) for name in found):
        raise ValueError("names such as tweetdock.local, several separated by space, without port")
    return found


def tokens(value: str) -> dict[str, str]:
    """A secret for each of some hosts, `host=token`."""
    found = {}
    for pair in _listed(text(value)):
        host, _, token = pair.partition("=")
        if not host or "/" in host or not token:
            raise ValueError("host=token, several separated by space")
        found[host.lower()] = word(token)
    return found


def _is_host(netloc: str) -> bool:
    host = netloc
    if port := re.search(r":[0-9]{1,5}\Z", netloc):
        host = netloc[: port.start()]
    if host.startswith("["):
        return True  # an address of IPv6, which urlsplit has read
    kinds = {unicodedata.category(sign)[0] for sign in host if sign not in ".-"}
    return kinds <= {"L", "M", "N"} and not host.startswith((".", "-"))


def _listed(value: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, re.split(r"[\s,]+", value))))


def endpoint(value: str) -> str:
    """An http or https address, with a path or without; or nothing."""
    if value and not _is_address(value):
        raise ValueError("an address such as https://minio.example.org, without user or password")
    return value.rstrip("/")


def _is_address(value: str) -> bool:
    try:
        parts = urlsplit(value)
        is_host = bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False
    extras = (parts.username, parts.password, parts.query, parts.fragment)
    return parts.scheme in ("http", "https") and is_host and not any(extras)


def listen_address(value: str) -> tuple[str, int] | None:
    """HOST:PORT to listen at, or None for `off`."""
    if value.casefold() == "off":
        return None
    host, _, port = value.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    accepted = "an IP address and a port such as 127.0.0.1:8080, or off"
    if host != "localhost" and not is_ip(host):
        raise ValueError(accepted)
    try:
        return host, whole(0, 65535)(port)
    except ValueError as error:
        raise ValueError(accepted) from error


def folder(value: str) -> Path:
    """A folder; `~` is the home folder."""
    try:
        return Path(text(value)).expanduser()
    except RuntimeError as error:
        raise ValueError("a folder; '~' cannot be resolved here, write it out") from error


def archive(value: str) -> Path | None:
    """A gzip file for the archive; None for nothing."""
    if not value:
        return None
    path = folder(value)
    if path.suffix != ".gz" or path.stem.startswith("."):
        raise ValueError("a file whose name ends in .jsonl.gz, such as tweets.jsonl.gz")
    return path
