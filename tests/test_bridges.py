"""Posts that a bridge carries: one name, whichever network shows them."""

import pytest

from tweetdock.core.bridges import Names, names_at

ORIGINAL = Names(
    "mastodon:https://a.example/users/Ada/statuses/115", "mastodon:https://a.example/@Ada"
)
BRIDGED = Names("bluesky:did:plc:ab12/3lxg7kpddhat2", "bluesky:did:plc:ab12")


@pytest.mark.parametrize(
    "address", ["https://a.example/@Ada/115", "https://a.example/users/Ada/statuses/115"]
)
def test_a_post_of_mastodon_s_has_one_name_at_all_its_addresses(address: str) -> None:
    assert names_at(address) == ORIGINAL


@pytest.mark.parametrize(
    "address",
    [
        "https://bsky.brid.gy/convert/ap/at://did:plc:ab12/app.bsky.feed.post/3lxg7kpddhat2",
        "https://bsky.brid.gy/convert/ap/at://did%3Aplc%3Aab12/app.bsky.feed.post/3lxg7kpddhat2",
        "https://bsky.brid.gy/convert/ap/at:/did:plc:ab12/app.bsky.feed.post/3lxg7kpddhat2",
        "https://bsky.brid.gy/convert/ap/at%3A%2F%2Fdid:plc:ab12%2Fapp.bsky.feed.post/3lxg7kpddhat2",
    ],
)
def test_a_bridged_post_of_bluesky_s_has_the_name_that_bluesky_gives_it(address: str) -> None:
    assert names_at(address) == BRIDGED


@pytest.mark.parametrize(
    "address",
    [
        "",
        "https://a.example/notice/AbC",
        "https://a.example/@ada",
        "https://a.example/@ada@b.example/115",
        "https://a.example/users/ada/statuses/115/activity",
        "https://a.example/@ada/115?x",
        # Anybody's server may call a post of its own by a name like this.
        "https://a.example/convert/ap/at://did:plc:ab12/app.bsky.feed.post/3lxg7kpddhat2",
        "https://bsky.brid.gy.a.example/convert/ap/at://did:plc:ab12/app.bsky.feed.post/3lx",
        "https://bsky.brid.gy/convert/ap/at://did:plc:ab12/app.bsky.actor.profile/self",
    ],
)
def test_what_is_no_such_address_has_no_names(address: str) -> None:
    assert names_at(address) is None
