"""The names of a post that a bridge carries to another network: those that it has at home."""

import re
from typing import NamedTuple
from urllib.parse import unquote

# A page or an object of Mastodon's; and of an object's own address on a server of the bridge, as
# it or a server that it sends to may have encoded it: https://fed.brid.gy/docs
_MASTODON = re.compile(r"(https?://[^/?#]+)/(?:@([^/?#@]+)|users/([^/?#@]+)/statuses)/([0-9]+)")
_BLUESKY = re.compile(
    r"https://[a-z]+\.brid\.gy/convert/ap/at:/+(did:[a-z]+:[^/?#]+)/app\.bsky\.feed\.post/([^/?#]+)"
)


class Names(NamedTuple):
    """A post's key and its author, as in Post."""

    key: str
    author: str


def names_at(address: str) -> Names | None:
    """The names of the post at an address, the same for all addresses that it has.

    Known are the two forms of Mastodon's, `https://host/@user/ID` and
    `https://host/users/user/statuses/ID`, and what Bridgy Fed makes of a post of Bluesky's,
    `https://bsky.brid.gy/convert/ap/at://DID/app.bsky.feed.post/RKEY`; None for any other.
    """
    if found := _BLUESKY.fullmatch(unquote(address)):
        did, rkey = found.groups()
        return Names(f"bluesky:{did}/{rkey}", f"bluesky:{did}")
    if found := _MASTODON.fullmatch(address):
        host, page, name, number = found.groups()
        user = page or name
        return Names(f"mastodon:{host}/users/{user}/statuses/{number}", f"mastodon:{host}/@{user}")
    return None
