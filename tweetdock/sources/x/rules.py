"""The rules of X's stream: which of them are ours, which to delete and which to add."""

import json
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from tweetdock.core.errors import SourceError

TAG = "tweetdock"  # by this beginning of a rule's tag we know our own
MOST_RULES = 1000  # on self-serve plans
RULES_AT_ONCE = 25  # of 1,000 characters at the most, that is a small request


class Rule(NamedTuple):
    """A rule as X keeps it until it is deleted, whoever added it."""

    id: str
    value: str
    tag: str = ""


class Changes(NamedTuple):
    """What turns the rules there are into those that are wanted.

    delete: ids. add: values. ids: of the wanted rules that are there, by value.
    """

    delete: tuple[str, ...]
    add: tuple[str, ...]
    ids: dict[str, str]


def reconcile(there: Iterable[Rule], wanted: Sequence[str]) -> Changes:
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
        raise _owner(
            f"X takes {MOST_RULES} rules, and {len(wanted)} would be needed beside the "
            f"{len(there) - len(delete) - len(ids)} of others: follow fewer accounts"
        )
    return Changes(tuple(delete), add, ids)


def parse_rules(body: bytes) -> tuple[Rule, ...]:
    """X's list of rules; SourceError if it is none.

    https://docs.x.com/x-api/posts/filtered-stream/integrate/build-a-rule
    """
    return tuple(_rules(_decode(body).get("data") or []))


def parse_added(body: bytes) -> dict[str, str]:
    """The ids of the rules that X has added or had already, by the `rule_key` of each.

    SourceError if it does not take one of them.
    """
    answer = _decode(body)
    ids = {rule_key(rule.value): rule.id for rule in _rules(answer.get("data") or [])}
    errors = answer.get("errors") or []
    for error in errors if isinstance(errors, list) else []:
        if not isinstance(error, dict):
            continue
        if str(error.get("title")).casefold() != "duplicaterule":
            raise _owner(f"X does not take the rule {error.get('value')!s:.80}: {_said(error)}")
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
    for entry in entries if isinstance(entries, list) else []:
        if not isinstance(entry, dict):
            continue
        identity, value, tag = entry.get("id"), entry.get("value"), entry.get("tag")
        if isinstance(identity, str | int) and isinstance(value, str):
            yield Rule(str(identity), value, tag if isinstance(tag, str) else "")


def _decode(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _no_rules("but not with JSON: is a login page in the way?") from error
    if not isinstance(answer, dict) or not answer.keys() & {"data", "meta", "errors"}:
        raise _no_rules("but not with rules")
    return answer


def _no_rules(what: str) -> SourceError:
    return SourceError(f"X's address answers, {what}", first=5.0, cap=60.0)


def _said(error: dict[str, Any]) -> str:
    details = error.get("details")
    said = details[0] if isinstance(details, list) and details else None
    said = said or error.get("detail") or error.get("message") or error.get("title")
    return " ".join(said.split())[:300] if isinstance(said, str) else "no reason given"


def _owner(sentence: str) -> SourceError:
    return SourceError(sentence, first=60.0, cap=900.0, needs_owner=True)
