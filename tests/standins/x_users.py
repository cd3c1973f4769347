"""X's accounts: who is who, and who follows whom."""

import re
from collections.abc import Mapping

from standins import x_faults as faults
from standins.x_answer import Answer, json_answer
from standins.x_query import RefusedError, username

BY_NAME = re.compile(r"/2/users/by/username/([A-Za-z0-9_]{1,15})")
FOLLOWING = re.compile(r"/2/users/([0-9]{1,19})/following")


class Users:
    """Accounts by number, each named by its number; not thread-safe.

    following: whom one follows. read: how many users were returned, each time counted. shown:
    their numbers.
    """

    def __init__(self) -> None:
        self.following: dict[str, list[str]] = {}
        self.shown: list[str] = []

    @property
    def read(self) -> int:
        """How many users were returned."""
        return len(self.shown)

    def answer(self, path: str, params: Mapping[str, str]) -> Answer | None:
        """Answer a request; None if it is not about users."""
        if found := BY_NAME.fullmatch(path):
            return self._by_name(found[1])
        if found := FOLLOWING.fullmatch(path):
            return self._page(found[1], params)
        return None

    def _by_name(self, name: str) -> Answer:
        for number in self.following:
            if username(number).casefold() == name.casefold():
                self.shown.append(number)
                return json_answer(200, {"data": _shown(number)}, {})
        error = {
            "value": name,
            "detail": f"Could not find user with username: [{name}].",
            "title": "Not Found Error",
            "resource_type": "user",
            "parameter": "username",
            "resource_id": name,
            "type": f"{faults.PROBLEMS}/resource-not-found",
        }
        return json_answer(200, {"errors": [error]}, {})

    def _page(self, number: str, params: Mapping[str, str]) -> Answer:
        size = int(params.get("max_results", "100"))
        if not 1 <= size <= 1000:
            message = f"The `max_results` query parameter value [{size}] is not between 1 and 1000"
            return json_answer(400, RefusedError("max_results", str(size), message).body, {})
        start = int(params.get("pagination_token", "p0")[1:])
        all_of_them = self.following.get(number, [])
        page = all_of_them[start : start + size]
        self.shown += page
        meta: dict[str, int | str] = {"result_count": len(page)}
        if start + size < len(all_of_them):
            meta["next_token"] = f"p{start + size}"
        payload = {"data": [_shown(one) for one in page], "meta": meta}
        return json_answer(200, payload if page else {"meta": meta}, {})


def _shown(number: str) -> dict[str, str]:
    return {"id": number, "name": f"user {number}", "username": username(number)}
