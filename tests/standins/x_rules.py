"""The rules of X's stream as X keeps them: added, deleted, and in effect a while later."""

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from standins import x_faults as faults
from standins.x_answer import Answer, json_answer
from standins.x_posts import Post, snowflake
from standins.x_query import RULE_LIMIT, Query, RefusedError, parse_query

PATH = "/2/tweets/search/stream/rules"
MOST_RULES = 1000


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule, and from when on it matches (X's Unix seconds)."""

    id: str
    value: str
    tag: str | None
    query: Query
    from_seconds: float

    def shown(self) -> dict[str, Any]:
        """Show it as X's JSON does."""
        return {"id": self.id, "value": self.value} | ({"tag": self.tag} if self.tag else {})


class Rules:
    """All rules of one app; not thread-safe. settle_seconds: until a new one has an effect."""

    def __init__(self, settle_seconds: float = 20.0) -> None:
        self.settle_seconds = settle_seconds
        self.kept: dict[str, Rule] = {}
        self.squeezes = False  # a value is kept with single spaces
        self.posts = 0  # how many requests to change them came in
        self._sequence = itertools.count(1)

    def put(self, value: str, tag: str | None, now: float, *, settled: bool = False) -> Rule:
        """Add one, as somebody else does."""
        value = " ".join(value.split()) if self.squeezes else value
        rule = Rule(
            id=str(snowflake(round(now * 1000), next(self._sequence))),
            value=value,
            tag=tag,
            query=parse_query(value, RULE_LIMIT),
            from_seconds=now if settled else now + self.settle_seconds,
        )
        self.kept[rule.id] = rule
        return rule

    def matching(self, post: Post, now: float) -> list[Rule]:
        """List the rules in effect that the stream finds the post by."""
        return [
            rule
            for rule in self.kept.values()
            if rule.from_seconds <= now and rule.query.matches(post, streamed=True)
        ]

    def answer(self, method: str, params: Mapping[str, str], body: bytes, now: float) -> Answer:
        """Answer a request to list or to change them."""
        if method == "GET":
            return self._list(now)
        self.posts += 1
        try:
            asked = json.loads(body)
        except ValueError:
            return _refuse("body", "no JSON")
        match asked:
            case {"add": [*wanted]}:
                return self._add(wanted, now, is_dry=params.get("dry_run", "").lower() == "true")
            case {"delete": {"ids": [*ids]}}:
                gone = [self.kept.pop(one, None) for one in ids]
                deleted = sum(one is not None for one in gone)
                return json_answer(
                    200, _summed(now, deleted=deleted, not_deleted=len(gone) - deleted), {}
                )
        return _refuse("body", "one of add and delete must be given")

    def _list(self, now: float) -> Answer:
        data = [rule.shown() for rule in self.kept.values()]
        meta = {"sent": _sent(now), "result_count": len(data)}
        return json_answer(200, {"data": data, "meta": meta} if data else {"meta": meta}, {})

    def _add(self, wanted: list[Any], now: float, *, is_dry: bool) -> Answer:
        added: list[Rule] = []
        errors: list[dict[str, Any]] = []
        for one in wanted:
            known = [rule for rule in self.kept.values() if rule.value == one["value"]]
            try:
                if known:
                    errors.append(_duplicate(known[0]))
                elif len(self.kept) >= MOST_RULES:
                    errors.append(_problem(one["value"], "RulesCapExceeded", "rule-cap"))
                else:
                    added.append(self.put(one["value"], one.get("tag"), now))
            except RefusedError:
                errors.append(_problem(one["value"], "Invalid Rule", "invalid-rules"))
        made = len(added)
        summary = _summed(
            now, created=made, not_created=len(errors), valid=made, invalid=len(errors)
        )
        payload = summary | ({"errors": errors} if errors else {})
        if added:
            payload["data"] = [rule.shown() for rule in added]
        for rule in added if is_dry else ():
            del self.kept[rule.id]
        return json_answer(201 if added else 200, payload, {})


def _duplicate(rule: Rule) -> dict[str, Any]:
    return _problem(rule.value, "DuplicateRule", "duplicate-rules") | {"id": rule.id}


def _problem(value: str, title: str, kind: str) -> dict[str, Any]:
    return {"value": value, "title": title, "type": f"{faults.PROBLEMS}/{kind}"}


def _sent(now: float) -> str:
    return f"{now:.3f}"


def _summed(now: float, **numbers: int) -> dict[str, Any]:
    return {"meta": {"sent": _sent(now), "summary": numbers}}


def _refuse(name: str, message: str) -> Answer:
    return json_answer(400, RefusedError(name, None, message).body, {})
