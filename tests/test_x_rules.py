"""The rules of the stream: ours are made what they should be, others' are left alone."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from profiles import examples

from tweetdock.core.errors import SourceError
from tweetdock.core.post import fold
from tweetdock.settings.x_query import LONGEST_QUERY, build_queries, build_query
from tweetdock.sources.x.rules import (
    MOST_RULES,
    Rule,
    in_parts,
    parse_added,
    parse_rules,
    reconcile,
    rule_key,
)

names = st.text("abcdefghijklmnopqrstuvwxyz_0123456789", min_size=1, max_size=15)
tags = st.text("abcäöüß東京😀", min_size=1, max_size=60)


def test_a_wanted_rule_of_ours_stays_and_a_stale_one_goes() -> None:
    there = [Rule("1", "#a -is:retweet", "tweetdock"), Rule("2", "#old", "tweetdock")]
    assert reconcile(there, ["#a  -is:retweet", "#b"]) == (
        ("2",),
        ("#b",),
        {"#a  -is:retweet": "1"},
    )


def test_rules_of_others_are_left_alone_and_used_where_they_are_the_same() -> None:
    there = [Rule("1", "#a", "someone's"), Rule("2", "#b"), Rule("3", "#c", "mine")]
    assert reconcile(there, ["#a"]) == ((), (), {"#a": "1"})


def test_more_rules_than_x_takes_are_said_before_any_is_added() -> None:
    there = [Rule(str(n), f"#{n}") for n in range(MOST_RULES - 1)]
    assert reconcile(there, ["#a"]).add == ("#a",)
    with pytest.raises(SourceError, match="999 of others") as caught:
        reconcile(there, ["#a", "#b"])
    assert caught.value.needs_owner


@given(
    there=st.lists(
        st.builds(
            Rule,
            st.integers(0, 99).map(str),
            st.sampled_from("abcdef"),
            st.sampled_from(["", "x", "tweetdock", "tweetdock 2"]),
        ),
        unique_by=(lambda rule: rule.id, lambda rule: rule.value),
    ),
    wanted=st.lists(st.sampled_from("abcdefgh"), unique=True),
)
def test_reconciled_there_are_the_wanted_rules_and_those_of_others(
    there: list[Rule], wanted: list[str]
) -> None:
    changes = reconcile(there, wanted)
    after = [rule for rule in there if rule.id not in changes.delete]
    others = {rule.value for rule in there if not rule.tag.startswith("tweetdock")}
    assert {rule.value for rule in after} | set(changes.add) == others | set(wanted)
    assert not {rule.value for rule in after} & set(changes.add)
    assert changes.ids.keys() | set(changes.add) == set(wanted)
    assert changes.ids.items() <= {(rule.value, rule.id) for rule in after}


@pytest.mark.parametrize(
    ("answer", "rules"),
    [
        ({"meta": {"sent": "now"}}, ()),
        ({"data": None, "meta": {}}, ()),
        ({"data": [{"id": "1", "value": "#a"}], "meta": {}}, (Rule("1", "#a"),)),
        ({"data": [{"id": 1, "value": "#a", "tag": None}]}, (Rule("1", "#a"),)),
        ({"data": ["x", {"id": None, "value": "v"}, {"id": "2"}, []], "meta": {}}, ()),
        ({"data": {"id": "1"}, "meta": {}}, ()),
    ],
)
def test_what_is_a_rule_is_read(answer: Any, rules: tuple[Rule, ...]) -> None:
    assert parse_rules(json.dumps(answer).encode()) == rules


@pytest.mark.parametrize("body", [b"<html>", b"[" * 100_000, b"[]", b"{}", b"\xff", b'"data"'])
def test_what_is_no_list_of_rules_is_said(body: bytes) -> None:
    with pytest.raises(SourceError, match="X's address answers, but not with"):
        parse_rules(body)


def test_added_rules_and_duplicates_are_known_by_their_ids() -> None:
    answer = {
        "data": [{"id": "1", "value": "#a", "tag": "tweetdock"}],
        "errors": [{"id": "2", "value": "#b", "title": "DuplicateRule"}, "odd"],
        "meta": {},
    }
    assert parse_added(json.dumps(answer).encode()) == {"#a": "1", "#b": "2"}


def test_a_rule_that_x_does_not_take_is_named() -> None:
    error = {"value": "#a b:c", "details": ["no operator b"], "title": "Invalid Rule"}
    with pytest.raises(SourceError, match="the rule #a b:c: no operator b") as caught:
        parse_added(json.dumps({"errors": [error], "meta": {}}).encode())
    assert caught.value.needs_owner


def test_a_rule_that_x_echoes_in_another_spelling_is_the_same_one() -> None:
    """A tag typed as two signs a letter, or two spaces, and no rule of ours was ever known."""
    wanted, echoed = "#cafe\u0301  lang:fr", "#caf\u00e9 lang:fr"
    assert reconcile([Rule("1", echoed, "tweetdock")], [wanted]) == ((), (), {wanted: "1"})
    answer = {"data": [{"id": "1", "value": echoed}], "meta": {}}
    assert parse_added(json.dumps(answer).encode())[rule_key(wanted)] == "1"


def test_few_rules_are_sent_at_once() -> None:
    parts = list(in_parts([str(n) for n in range(60)]))
    assert [len(part) for part in parts] == [25, 25, 10]
    assert [one for part in parts for one in part] == [str(n) for n in range(60)]


def test_hashtags_and_accounts_are_one_search_and_a_rule_of_each_kind() -> None:
    queries = build_queries(["a", "b"], ["x", "y"])
    assert queries.searches == ("(#a OR #b OR from:x OR from:y) -is:retweet",)
    assert queries.tag_rules == ("(#a OR #b) -is:retweet",)
    assert queries.other_rules == ("(from:x OR from:y) -is:retweet",)
    assert queries.rules == queries.tag_rules + queries.other_rules


def test_a_query_of_the_owners_takes_the_place_of_the_hashtags() -> None:
    queries = build_queries(["a"], [], "#a lang:en")
    assert queries == (("(#a lang:en) -is:retweet",), (), ("(#a lang:en) -is:retweet",))
    assert build_queries([], ["x"], "cats is:retweet").searches == (
        "cats is:retweet",
        "from:x -is:retweet",
    )


@settings(max_examples=examples(30))
@given(st.lists(tags, min_size=1, max_size=20), st.lists(names, max_size=80))
def test_every_query_is_short_enough_and_no_term_is_lost(
    hashtags: list[str], accounts: list[str]
) -> None:
    queries = build_queries(hashtags, accounts)
    terms = [f"#{tag}" for tag in hashtags] + [f"from:{name}" for name in accounts]
    for texts in (queries.searches, queries.rules):
        assert all(len(text) <= LONGEST_QUERY for text in texts)
        found = [
            term
            for text in texts
            for term in text.removesuffix(" -is:retweet").strip("()").split(" OR ")
        ]
        assert found == terms


def test_one_hashtag_is_asked_for_as_ever() -> None:
    assert build_queries(["a"]).searches == (build_query(["a"]),)


def test_a_term_longer_than_any_query_is_named() -> None:
    with pytest.raises(SourceError, match="X takes no term as long as #aaaa") as caught:
        build_queries(["a" * 500], [])
    assert caught.value.needs_owner


def test_hashtags_are_compared_whoever_wrote_them() -> None:
    assert fold("Füße") == fold("FÜSSE") == fold("FU\u0308SSE")
    assert fold("\uff21\uff22") == "ab"
