"""The stand-in of X's stream, held against what X does."""

import http.client
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from simulation import TOKEN, Time
from standins import x_faults as faults
from standins import x_openapi
from standins.x_api import XApi
from standins.x_posts import make_post
from standins.x_stream import PATH, CloseAtOnce

LIMIT_SECONDS = 20.0
RULES = f"{PATH}/rules"
FIELDS = "tweet.fields=author_id,created_at"


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def api(time: Time) -> Iterator[XApi]:
    with XApi(now=time, bearer=TOKEN) as api:
        yield api


class Caller:
    """One connection to the stand-in."""

    def __init__(self, api: XApi, token: str = TOKEN) -> None:
        place = urlsplit(api.url)
        self._wire = http.client.HTTPConnection(
            str(place.hostname), place.port, timeout=LIMIT_SECONDS
        )
        self._headers = {"Authorization": f"Bearer {token}"}

    def ask(self, method: str, path: str, body: object = None) -> http.client.HTTPResponse:
        raw = None if body is None else json.dumps(body)
        self._wire.request(method, path, raw, self._headers)
        return self._wire.getresponse()

    def close(self) -> None:
        self._wire.close()


@pytest.fixture
def caller(api: XApi) -> Iterator[Caller]:
    caller = Caller(api)
    yield caller
    caller.close()


def told(response: http.client.HTTPResponse) -> Any:
    return json.loads(response.read())


def test_rules_are_added_listed_and_deleted(api: XApi, caller: Caller) -> None:
    empty = told(caller.ask("GET", RULES))
    assert "data" not in empty
    response = caller.ask("POST", RULES, {"add": [{"value": "#a", "tag": "t"}, {"value": "#b"}]})
    assert response.status == 201
    added = told(response)
    assert [(rule["value"], rule.get("tag")) for rule in added["data"]] == [
        ("#a", "t"),
        ("#b", None),
    ]
    assert added["meta"]["summary"] == {"created": 2, "not_created": 0, "valid": 2, "invalid": 0}
    listed = told(caller.ask("GET", RULES))
    assert listed["data"] == added["data"]
    ids = [listed["data"][0]["id"], "5"]
    deleted = told(caller.ask("POST", RULES, {"delete": {"ids": ids}}))
    assert deleted["meta"]["summary"] == {"deleted": 1, "not_deleted": 1}
    assert [rule.value for rule in api.rules.kept.values()] == ["#b"]
    if x_openapi.description_file():
        for name, payload in [
            ("GetRulesResponse", empty),
            ("GetRulesResponse", listed),
            ("UpdateRulesResponse", added),
            ("UpdateRulesResponse", deleted),
        ]:
            x_openapi.check_schema(name, payload)


def test_duplicates_and_bad_rules_are_named_and_dry_runs_add_nothing(
    api: XApi, caller: Caller
) -> None:
    api.rules.put("#a", None, api.now())
    wanted = [{"value": "#a"}, {"value": "#b " * 400}, {"value": "-is:retweet"}]
    answer = told(caller.ask("POST", RULES, {"add": wanted}))
    titles = [error["title"] for error in answer["errors"]]
    assert titles == ["DuplicateRule", "Invalid Rule", "Invalid Rule"]
    assert answer["errors"][0]["id"] in api.rules.kept
    assert told(caller.ask("POST", f"{RULES}?dry_run=true", {"add": [{"value": "#c"}]}))["data"]
    assert len(api.rules.kept) == 1
    assert caller.ask("POST", RULES, {}).status == 400


def test_a_rule_has_an_effect_a_while_later(api: XApi, time: Time, caller: Caller) -> None:
    api.rules.put("#dockercon", None, time())
    response = caller.ask("GET", f"{PATH}?{FIELDS}")
    assert response.readline() == b"\r\n"
    time.seconds += 19
    api.add(make_post(time.ms, 1))
    time.seconds += 1
    post = make_post(time.ms, 2)
    api.add(post)
    line = json.loads(response.readline())
    assert line["data"]["id"] == post["id"]
    assert line["data"].keys() == {
        "id",
        "text",
        "edit_history_tweet_ids",
        "author_id",
        "created_at",
    }
    assert [rule["id"] for rule in line["matching_rules"]] == list(api.rules.kept)
    if x_openapi.description_file():
        renamed = line["data"] | {"edit_history_post_ids": line["data"]["edit_history_tweet_ids"]}
        del renamed["edit_history_tweet_ids"]
        line["matching_rules"][0].pop("tag")
        x_openapi.check_schema("StreamPostsResponse", line | {"data": renamed})


def test_posts_go_out_when_they_are_due_and_nobody_is_told_of_what_was_before(
    api: XApi, time: Time, caller: Caller
) -> None:
    api.rules.put("#dockercon", None, time(), settled=True)
    response = caller.ask("GET", PATH)
    late = make_post(time.ms, 1) | {"_streamed_ms": time.ms + 5000}
    old = make_post(time.ms - 3_600_000, 2)
    new = make_post(time.ms, 3, sequence=1)
    api.add(late, old, new)
    time.seconds += 5
    api.stream.tick()
    api.stream.repeat(new)
    response.readline()
    ids = [json.loads(response.readline())["data"]["id"] for _ in range(3)]
    assert ids == [new["id"], late["id"], new["id"]]
    assert [delivery.id for delivery in api.stream.delivered] == ids


def test_a_blank_line_comes_by_itself_and_when_told(api: XApi, time: Time, caller: Caller) -> None:
    api.rules.put("#dockercon", None, time())
    api.stream.greets = False
    api.stream.heartbeat = 0.01
    assert caller.ask("GET", PATH).readline() == b"\r\n"


def test_there_is_one_connection_and_none_without_rules_or_token(
    api: XApi, time: Time, caller: Caller
) -> None:
    assert caller.ask("GET", PATH).status == 409
    api.rules.put("#dockercon", None, time())
    one, other = Caller(api), Caller(api, "wrong")
    assert other.ask("GET", PATH).status == 401
    other.close()
    assert one.ask("GET", PATH).status == 200
    second = Caller(api)
    refused = second.ask("GET", PATH)
    assert refused.status == 429
    assert told(refused)["connection_issue"] == "TooManyConnections"
    second.close()
    one.close()
    third = Caller(api)
    assert third.ask("GET", PATH).status == 200
    third.close()
    assert [connect.status for connect in api.stream.connects] == [409, 401, 200, 429, 200]


def test_there_are_fifty_connects_in_fifteen_minutes(api: XApi, time: Time) -> None:
    api.rules.put("#dockercon", None, time())

    def connect() -> int:
        caller = Caller(api)
        status = caller.ask("GET", PATH).status
        caller.close()
        return status

    assert [connect() for _ in range(51)] == [200] * 50 + [429]
    time.seconds += 900
    assert connect() == 200


def test_connects_fail_as_told(api: XApi, time: Time) -> None:
    api.rules.put("#dockercon", None, time())
    api.stream.fail(faults.html_503(), CloseAtOnce(), faults.reset())
    callers = [Caller(api) for _ in range(3)]
    assert callers[0].ask("GET", PATH).status == 503
    assert callers[1].ask("GET", PATH).read() == b""
    with pytest.raises(ConnectionError):
        callers[2].ask("GET", PATH)
    for caller in callers:
        caller.close()


def test_a_line_is_cut_where_told(api: XApi, time: Time, caller: Caller) -> None:
    api.rules.put("#dockercon", None, time(), settled=True)
    response = caller.ask("GET", PATH)
    assert response.readline() == b"\r\n"
    api.stream.cut(9)
    api.add(make_post(time.ms, 1))
    assert read_to_the_end(response) in (b'{"data":{', b"")


def read_to_the_end(response: http.client.HTTPResponse) -> bytes:
    """What came before the connection broke."""
    got = b""
    try:
        while piece := response.read1(1):
            got += piece
    except (ConnectionError, http.client.IncompleteRead):
        return got
    raise AssertionError("it ended in order")


def test_users_are_found_by_name_and_whom_they_follow_by_pages(api: XApi, caller: Caller) -> None:
    api.users.following = {"7": ["1", "2", "3"]}
    found = told(caller.ask("GET", "/2/users/by/username/U7"))
    assert found["data"]["id"] == "7"
    page = told(caller.ask("GET", "/2/users/7/following?max_results=2"))
    rest = told(
        caller.ask(
            "GET",
            f"/2/users/7/following?max_results=2&pagination_token={page['meta']['next_token']}",
        )
    )
    assert [user["username"] for user in page["data"] + rest["data"]] == ["u1", "u2", "u3"]
    unknown = told(caller.ask("GET", "/2/users/by/username/nobody"))
    assert unknown["errors"][0]["title"] == "Not Found Error"
    assert caller.ask("GET", "/2/users/7/following?max_results=1001").status == 400
    assert api.users.read == 4
    if x_openapi.description_file():
        x_openapi.check_schema("GetUsersByUsernameResponse", found)
        x_openapi.check_schema("GetUsersFollowingResponse", page)
