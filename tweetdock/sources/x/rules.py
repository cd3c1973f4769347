"""The rules of X's stream: which of them are ours, which to delete and which to add."""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from tweetdock.core.errors import Kind, SourceError
from tweetdock.sources.x.posts import decode, not_with, objects, said

TAG = "tweetdock"  # by this beginning of a rule's tag we know our own
MOST_RULES = 1000  # on self-serve plans
RULES_AT_ONCE = 25  # of 1,000 characters at the most, that is a small request


class Rule(NamedTuple):
    """A rule as X keeps it until it is deleted, whoever added it."""

    id: str
    value: str
    tag: str = ""


class RuleChanges(NamedTuple):
    """What turns the rules there are into those that are wanted.

    delete: ids. add: values. ids: of the wanted rules that are there, by value.
    """

    delete: tuple[str, ...]
    add: tuple[str, ...]
    ids: dict[str, str]


def reconcile(there: Iterable[Rule], wanted: Sequence[str]) -> RuleChanges:
    """What to delete and to add; others' rules are left alone.

    A wanted rule that is somebody else's is used as it is: X takes no second one of its value.
    SourceError if there would be more rules than X takes.
    """
    there = tuple(there)
    by_key = {rule_key(rule.value): rule.id for rule in there}
    ids = {value: by_key[rule_key(value)] for value in wanted if rule_key(value) in by_key}
    delete = [r.id for r in there if r.tag.startswith(TAG) and r.id not in ids.values()]
    add = tuple(value for value in dict.fromkeys(wanted) if value not in ids)
    if len(there) - len(delete) + len(add) > MOST_RULES:
        raise SourceError(
            f"X takes {MOST_RULES} rules, and {len(wanted)} would be needed beside the "
            f"{len(there) - len(delete) - len(ids)} of others",
            "name fewer accounts in TWEETDOCK_FOLLOW, or fewer hashtags",
            kind=Kind.QUERY,
        )
    return RuleChanges(tuple(delete), add, ids)


def parse_rules(body: bytes) -> tuple[Rule, ...]:
    """X's list of rules; SourceError if it is none.

    https://docs.x.com/x-api/posts/filtered-stream/integrate/build-a-rule
    """
    return tuple(_rules(_decode(body).get("data")))


def parse_added(body: bytes) -> dict[str, str]:
    """The ids of the rules that X has added or had already, by the `rule_key` of each.

    SourceError if it does not take one of them.
    """
    answer = _decode(body)
    ids = {rule_key(rule.value): rule.id for rule in _rules(answer.get("data"))}
    for error in objects(answer.get("errors")):
        if str(error.get("title")).casefold() != "duplicaterule":
            details = error.get("details")
            why = said(
                *(details if isinstance(details, list) else ()),
                *(error.get(name) for name in ("detail", "message", "title")),
            )
            raise SourceError(
                f"X does not take the rule {error.get('value')!s:.80}: {why}",
                "change TWEETDOCK_X_QUERY, TWEETDOCK_FOLLOW or the hashtags",
                kind=Kind.QUERY,
            )
        ids |= {rule_key(rule.value): rule.id for rule in _rules([error])}
    return ids


def rule_key(value: str) -> str:
    """What two rules have in common that are the same one, however X echoes it."""
    return " ".join(unicodedata.normalize("NFC", value).split())


def in_parts(things: Sequence[str]) -> Iterator[Sequence[str]]:
    """So many at once as X is sent in one request."""
    for start in range(0, len(things), RULES_AT_ONCE):
        yield things[start : start + RULES_AT_ONCE]


def _rules(entries: Any) -> Iterator[Rule]:
    for entry in objects(entries):
        identity, value, tag = entry.get("id"), entry.get("value"), entry.get("tag")
        if isinstance(identity, str | int) and isinstance(value, str):
            yield Rule(str(identity), value, tag if isinstance(tag, str) else "")


def _decode(body: bytes) -> dict[str, Any]:
    answer = decode(body, "rules")
    if not answer.keys() & {"data", "meta", "errors"}:
        raise not_with("rules")
    return answer
