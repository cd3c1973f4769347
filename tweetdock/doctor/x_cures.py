"""What to do where X refuses, for the doctor: each refusal with the place that mends it."""

from tweetdock.core.errors import SourceError
from tweetdock.doctor.answers import plainly
from tweetdock.doctor.findings import Finding, Verdict
from tweetdock.sources.x.client import Credentials

CONSOLE = "X's console (https://console.x.com)"


def is_of_the_way(status: int) -> bool:
    """Whether a refusal says nothing of us, but of how X is reached."""
    return 300 <= status < 400 or status == 404 or status >= 500


def refused(
    source: str, status: int, trouble: SourceError, credentials: Credentials, query_name: str
) -> Finding:
    """What is wrong, and its cure. trouble: the refusal explained. query_name: its setting."""
    says = plainly(trouble)
    match status:
        case 400:
            return Finding(f"{source} query", Verdict.FAIL, says, f"change {query_name}")
        case 401:
            return Finding(f"{source} credentials", Verdict.FAIL, says, _new_keys(credentials))
        case 429 if not trouble.needs_owner:
            cure = (
                "look again later, TweetDock waits by itself; does another program ask with the "
                "same credentials?"
            )
            return Finding(f"{source} limit", Verdict.WARN, says, cure)
        case 402:
            cure = f"add credits under Billing in {CONSOLE}; TweetDock goes on by itself then"
        case 403 if "spending cap" in says:
            cure = f"raise the spending limit under Billing in {CONSOLE}, or wait until it ends"
        case 403:
            cure = (
                f"see under Apps in {CONSOLE} whether the app belongs to a project whose plan "
                "includes this"
            )
        case 429:
            cure = f"wait for the next month, or take a larger plan in {CONSOLE}"
        case _:
            cure = "look again later; TweetDock keeps trying"
    return Finding(f"{source} account", Verdict.FAIL, says, cure)


def _new_keys(credentials: Credentials) -> str:
    place = f"under Keys and tokens of the app in {CONSOLE}"
    if credentials.bearer_token:
        return f"make a Bearer Token anew {place}, and set X_BEARER_TOKEN to it"
    return (
        f"make the app's keys and access tokens anew {place}, and set X_CONSUMER_KEY, "
        "X_CONSUMER_SECRET, X_ACCESS_TOKEN and X_ACCESS_TOKEN_SECRET to them"
    )
