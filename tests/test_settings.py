"""Settings: the contract's defaults, every way to be wrong, and what may never be shown."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tweetdock.core.dial import DIALS
from tweetdock.core.errors import SettingsError
from tweetdock.settings.gauge import PARTS, SETTINGS, DialSettings, Settings
from tweetdock.settings.keeping import KeepSettings, Rotation
from tweetdock.settings.networks import NetworkSettings, XSettings
from tweetdock.settings.setting import Setting, Written, table_of
from tweetdock.settings.x_query import build_query

LEAST = {"TWEETDOCK_HASHTAGS": "dockercon", "X_BEARER_TOKEN": "token"}
OAUTH = ("X_CONSUMER_KEY", "X_CONSUMER_SECRET", "X_ACCESS_TOKEN", "X_ACCESS_TOKEN_SECRET")
WORDS = ("X_BEARER_TOKEN", *OAUTH)
SECRETS = (*WORDS, "TWEETDOCK_MASTODON_TOKENS")

# A valid value other than the default for every name of the contract.
OTHERS = {
    "TWEETDOCK_HASHTAGS": "docker",
    "TWEETDOCK_X_QUERY": "(docker OR moby) lang:en",
    "TWEETDOCK_SOURCES": "demo",
    "X_BEARER_TOKEN": "another",
    **{name: name.lower() for name in OAUTH},
    "X_API_URL": "http://127.0.0.1:8081",
    "TWEETDOCK_X_LOOK_BACK_SECONDS": "600",
    "TWEETDOCK_FOLLOW": "@docker @moby:following",
    "TWEETDOCK_X_PRICE_PER_POST": "0.01",
    "TWEETDOCK_X_DAILY_BUDGET_USD": "2.50",
    "TWEETDOCK_JETSTREAM": "ws://127.0.0.1:6008/subscribe",
    "TWEETDOCK_MASTODON": "mastodon.social https://fosstodon.org",
    "TWEETDOCK_MASTODON_TOKENS": "fosstodon.org=a-user-token",
    "TWEETDOCK_SPEED": "60",
    "TWEETDOCK_LOOP": "1",
    "TWEETDOCK_POLL_SECONDS": "10.5",
    "TWEETDOCK_WINDOW_SECONDS": "7200",
    "TWEETDOCK_STALE_SECONDS": "60",
    "TWEETDOCK_SERVO_BACKEND": "lgpio",
    "TWEETDOCK_SERVO_START_SECONDS": "0",
    "PIGPIO_ADDR": "pi.local",
    "PIGPIO_PORT": "9999",
    "TWEETDOCK_PIGPIOD_OPTIONS": "-t 0 -s 10",
    "TWEETDOCK_STATE_DIR": "/var/lib/tweetdock",
    "TWEETDOCK_SAVE_SECONDS": "10",
    "TWEETDOCK_ARCHIVE": "/var/lib/tweetdock/tweets.jsonl.gz",
    "TWEETDOCK_ARCHIVE_ROTATE": "100MB,daily",
    "TWEETDOCK_ARCHIVE_KEEP": "30",
    "TWEETDOCK_OFFLOAD": "s3://bucket/prefix",
    "TWEETDOCK_OFFLOAD_KEEP": "1",
    "AWS_ENDPOINT_URL": "https://minio.example.org",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_ACCESS_KEY_ID": "an-s3-key",
    "AWS_SECRET_ACCESS_KEY": "an-s3-secret",
    "AWS_SESSION_TOKEN": "an-s3-session",
    "TWEETDOCK_WEB": "[::]:80",
    "TWEETDOCK_WEB_HOSTS": "gauge.example.org",
    "TWEETDOCK_LOG_LEVEL": "DEBUG",
    "TWEETDOCK_LOG_FORMAT": "json",
}
for _dial, _pin in (("TWEETS", "18"), ("TWEETERS", "19")):
    OTHERS |= {
        f"TWEETDOCK_{_dial}_PIN": _pin,
        f"TWEETDOCK_{_dial}_SCALE": "log:10000",
        f"TWEETDOCK_{_dial}_MIN_ANGLE": "-90",
        f"TWEETDOCK_{_dial}_MAX_ANGLE": "90.5",
        f"TWEETDOCK_{_dial}_MIN_PULSE_US": "600",
        f"TWEETDOCK_{_dial}_MAX_PULSE_US": "2400",
        f"TWEETDOCK_{_dial}_MID_PULSE_US": "1600",
        f"TWEETDOCK_{_dial}_REVERSED": "1",
    }

# What makes sense with certain sources only.
FOR_REPLAYS = ("TWEETDOCK_SPEED", "TWEETDOCK_LOOP")
FOR_STREAMS = ("TWEETDOCK_FOLLOW",)
MIXES: list[dict[str, str]] = [
    {name: v for name, v in OTHERS.items() if name not in FOR_REPLAYS + FOR_STREAMS},
    {"TWEETDOCK_SOURCES": "replay:a.gz", **{name: OTHERS[name] for name in FOR_REPLAYS}},
    {**LEAST, "TWEETDOCK_SOURCES": "x-stream", **{name: OTHERS[name] for name in FOR_STREAMS}},
]


def problems(env: Mapping[str, str], *, demo: bool = False) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as refusal:
        Settings.from_env(env, demo=demo)
    return tuple(map(str, refusal.value.problems))


def only_problem(env: Mapping[str, str]) -> str:
    found = problems(env)
    assert len(found) == 1, found
    return found[0]


def flat(settings: Settings) -> dict[str, object]:
    """All values by their names in the environment."""
    owners: list[tuple[object, dict[str, Setting]]] = [(settings, table_of(Settings))]
    owners += [(getattr(settings, part), table) for part, (_, table) in PARTS.items()]
    return {
        one.name: getattr(owner, field) for owner, table in owners for field, one in table.items()
    }


def test_the_defaults_are_those_of_the_contract() -> None:
    dial = {
        "scale": "auto",
        "min_angle": 0.0,
        "max_angle": 180.0,
        "min_pulse_us": 1000,
        "max_pulse_us": 2000,
        "mid_pulse_us": None,
        "reversed": False,
    }
    assert Settings.from_env({**LEAST, "HOME": "/home/pi"}) == Settings(
        hashtags=("dockercon",),
        sources=("x",),
        poll_seconds=5.0,
        window_seconds=3600.0,
        stale_seconds=300.0,
        servo_backend="auto",
        servo_start_seconds=30.0,
        pigpio_addr="",
        pigpio_port=8888,
        pigpiod_options=(),
        web=("127.0.0.1", 8080),
        web_hosts=(),
        log_level="INFO",
        log_format="text",
        x=XSettings(
            query="",
            bearer_token="token",
            consumer_key="",
            consumer_secret="",
            access_token="",
            access_token_secret="",
            api_url="https://api.x.com",
            look_back_seconds=120.0,
            follow=(),
            usd_per_post=0.005,
            daily_usd=None,
        ),
        networks=NetworkSettings(
            jetstream=(
                "wss://jetstream1.us-east.bsky.network/subscribe",
                "wss://jetstream1.us-west.bsky.network/subscribe",
                "wss://jetstream2.us-east.bsky.network/subscribe",
                "wss://jetstream2.us-west.bsky.network/subscribe",
            ),
            mastodon=(),
            mastodon_tokens={},
            speed=1.0,
            loop=False,
        ),
        keep=KeepSettings(
            state_dir=Path("~/.local/state/tweetdock").expanduser(),
            save_seconds=30.0,
            archive=None,
            archive_rotate=Rotation(),
            archive_keep=0,
            offload="",
            offload_keep=False,
            s3_endpoint="",
            s3_region="",
            s3_key_id="",
            s3_secret="",
            s3_session_token="",
        ),
        tweets=DialSettings(pin=12, **dial),  # type: ignore[arg-type]  # a table for brevity
        tweeters=DialSettings(pin=13, **dial),  # type: ignore[arg-type]
        demo=False,
    )


def test_every_name_of_the_contract_is_there_and_no_other() -> None:
    assert {setting.name for setting in SETTINGS} == set(OTHERS)
    assert len(SETTINGS) == len(OTHERS)


def test_every_setting_can_be_set() -> None:
    before = flat(Settings.from_env(LEAST))
    mixes = [flat(Settings.from_env(mix)) for mix in MIXES]
    assert [name for name in OTHERS if all(before[name] == mix[name] for mix in mixes)] == []


def test_a_value_of_nothing_is_the_default() -> None:
    env = dict.fromkeys(OTHERS, " ") | LEAST
    assert Settings.from_env(env) == Settings.from_env(LEAST)


def test_names_that_are_not_ours_are_left_alone() -> None:
    env = {"PATH": "/bin", "X_TOKEN": "x", "PIGPIO_FOO": "x", "tweetdock_hashtags": "x"}
    assert Settings.from_env(LEAST | env) == Settings.from_env(LEAST)


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("quote", ["'", '"'])
def test_quotes_that_docker_hands_on_are_taken_off(quote: str, mix: dict[str, str]) -> None:
    env = {name: f" {quote}{value} {quote} " for name, value in mix.items()}
    if quote == '"':
        env.pop("TWEETDOCK_X_QUERY", None)  # there they may be those of a phrase
        mix = {name: value for name, value in mix.items() if name in env}
    assert Settings.from_env(env) == Settings.from_env(mix)


@pytest.mark.parametrize(
    "query",
    [
        '"docker con" -is:retweet',
        '"docker con" OR "docker swarm"',
        '("docker swarm")',
        "docker #swarm",
        "#docker #swarm",
        "'",
    ],
)
def test_a_query_in_the_environment_is_asked_letter_for_letter(query: str) -> None:
    assert Settings.from_env({**LEAST, "TWEETDOCK_X_QUERY": query}).x.query == query


def test_a_phrase_in_the_quotes_that_docker_hands_on_is_a_phrase() -> None:
    """Its own marks were taken off, too: X was asked for two words anywhere in a post."""
    for written in ("""'"docker swarm"'""", """'("docker swarm")'"""):
        query = Settings.from_env({**LEAST, "TWEETDOCK_X_QUERY": written}).x.query
        assert query == written[1:-1]


def test_what_may_be_a_phrase_or_two_words_is_refused_with_the_way_to_write_it() -> None:
    """Docker hands on the quotes of its file, and a shell those of the query alone."""
    problem = only_problem({**LEAST, "TWEETDOCK_X_QUERY": '"docker swarm"'})
    assert problem.startswith('TWEETDOCK_X_QUERY="docker swarm": may mean two things')
    assert """'("one two")'""" in problem


@pytest.mark.parametrize("name", sorted(OTHERS))
def test_a_comment_that_docker_and_systemd_leave_in_a_value_is_refused(name: str) -> None:
    """`TWEETDOCK_STATE_DIR=/data/st # the state` made a folder of that name."""
    for mix in MIXES:
        if name in mix:
            found = problems({**mix, name: f"{mix[name]} # a word on it"})
            assert any(problem.startswith(name) for problem in found)


@pytest.mark.parametrize("query", ["'docker swarm'OR'b'", '""', "' '", '" "', "docker # a", "#"])
def test_what_x_has_no_word_for_is_no_query(query: str) -> None:
    env = {**LEAST, "TWEETDOCK_X_QUERY": Written(query)}
    assert only_problem(env).startswith("TWEETDOCK_X_QUERY=")


def test_a_query_in_another_encoding_than_utf_8_is_refused() -> None:
    """X was asked for it again and again, for ever."""
    query = "Füße".encode("latin-1").decode("utf-8", "surrogateescape")
    problem = only_problem({**LEAST, "TWEETDOCK_X_QUERY": query})
    assert problem.startswith("TWEETDOCK_X_QUERY=")
    assert "UTF-8" in problem


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("TWEETDOCK_HASHTAGS", "docker con!", "letters, digits and '_'"),
        ("TWEETDOCK_SOURCES", "twitter", "a comma list of x, x-stream, bluesky"),
        ("TWEETDOCK_SOURCES", "X", "a comma list of x, x-stream, bluesky"),
        ("X_API_URL", "api.x.com", "an address such as https://api.x.com"),
        ("X_API_URL", "https://api.x.com/2", "without a path"),
        ("X_API_URL", "ftp://api.x.com", "an address such as https://api.x.com"),
        ("X_API_URL", "http://[::1", "an address such as https://api.x.com"),
        ("X_API_URL", "http://x:99999", "an address such as https://api.x.com"),
        ("TWEETDOCK_X_LOOK_BACK_SECONDS", "89", "a number from 90 to 3600"),
        ("TWEETDOCK_POLL_SECONDS", "often", "a number from 1 to 3600"),
        ("TWEETDOCK_POLL_SECONDS", "0", "a number from 1 to 3600"),
        ("TWEETDOCK_POLL_SECONDS", "nan", "a number from 1 to 3600"),
        ("TWEETDOCK_WINDOW_SECONDS", "inf", "a number from 60 to 518400"),
        ("TWEETDOCK_STALE_SECONDS", "-1", "a number from 10 to 86400"),
        ("TWEETDOCK_SERVO_BACKEND", "rpigpio", "one of auto, pigpio, lgpio, mock"),
        ("TWEETDOCK_SERVO_START_SECONDS", "4000", "a number from 0 to 3600"),
        ("PIGPIO_ADDR", "127.0.0.1:8888", "its port is PIGPIO_PORT"),
        ("PIGPIO_ADDR", "[::1]", "its port is PIGPIO_PORT"),
        ("PIGPIO_ADDR", "http://pi.local", "its port is PIGPIO_PORT"),
        ("AWS_DEFAULT_REGION", "eu central", "one word"),
        ("PIGPIO_PORT", "0", "a whole number from 1 to 65535"),
        ("TWEETDOCK_STATE_DIR", "~nobody-of-this-name/x", "a folder"),
        ("TWEETDOCK_WEB", "8080", "an IP address and a port such as 127.0.0.1:8080, or off"),
        ("TWEETDOCK_WEB", "tweetdock.local:80", "an IP address and a port"),
        ("TWEETDOCK_WEB", "127.0.0.1:99999", "an IP address and a port"),
        ("TWEETDOCK_WEB_HOSTS", "gauge.example.org:80", "names such as tweetdock.local"),
        ("TWEETDOCK_WEB_HOSTS", "http://gauge.example.org", "names such as tweetdock.local"),
        ("TWEETDOCK_TWEETS_MID_PULSE_US", "299", "a whole number from 300 to 3000"),
        ("TWEETDOCK_LOG_LEVEL", "loud", "one of DEBUG, INFO, WARNING, ERROR"),
        ("TWEETDOCK_LOG_FORMAT", "xml", "one of text, json"),
        ("TWEETDOCK_TWEETS_PIN", "28", "a whole number from 0 to 27"),
        ("TWEETDOCK_TWEETS_PIN", "GPIO12", "a whole number from 0 to 27"),
        ("TWEETDOCK_TWEETERS_PIN", "1" * 5000, "a whole number from 0 to 27"),
        ("TWEETDOCK_TWEETS_SCALE", "linear:0", "auto, linear:N or log:N"),
        ("TWEETDOCK_TWEETERS_MIN_ANGLE", "400", "a number from -360 to 360"),
        ("TWEETDOCK_TWEETERS_MAX_ANGLE", "wide", "a number from -360 to 360"),
        ("TWEETDOCK_TWEETS_MIN_PULSE_US", "1e3", "a whole number from 300 to 3000"),
        ("TWEETDOCK_TWEETS_MAX_PULSE_US", "9000", "a whole number from 300 to 3000"),
        ("TWEETDOCK_TWEETS_REVERSED", "yes", "0 or 1"),
    ],
)
def test_a_wrong_value_is_told_with_its_name_and_what_is_accepted(
    name: str, value: str, accepted: str
) -> None:
    problem = only_problem({**LEAST, name: value})
    shown = value if len(value) <= 40 else "..."
    assert problem.startswith(f"{name}={shown}: ")
    assert accepted in problem


@pytest.mark.parametrize("token", ["AAAA%2Fbb%3D", "A" * 20 + "-" + "b" * 20, "ok AAAA%2Fbb%3D"])
@pytest.mark.parametrize("name", ["TWEETDOCK_HASHTAGS", "TWEETDOCK_FOLLOW"])
def test_what_may_be_a_token_in_the_wrong_place_is_refused_unseen(name: str, token: str) -> None:
    problem = only_problem({**STREAM, name: token})
    assert problem.startswith(f"{name}=")
    assert "a word of it is not a" in problem
    assert "AA" not in problem
    assert "bb" not in problem


def test_a_long_place_is_told_as_it_stands() -> None:
    path = "/home/pi/" + "deep/" * 10 + "tweets%20.json"
    problem = only_problem({**LEAST, "TWEETDOCK_ARCHIVE": path})
    assert problem.startswith(f"TWEETDOCK_ARCHIVE={path}: ")


def test_all_problems_are_told_at_once() -> None:
    env = {
        "TWEETDOCK_HASHTAG": "docker",
        "TWEETDOCK_SOURCES": "x,gopher",
        "TWEETDOCK_POLL_SECONDS": "often",
        "TWEETDOCK_WINDOW_SECONDS": "soon",
        "TWEETDOCK_TWEETERS_PIN": "12",
        "TWEETDOCK_TWEETS_SCALE": "wide",
    }
    found = problems(env)
    assert [re.split("[=:]", problem)[0] for problem in found] == [
        "TWEETDOCK_HASHTAG",
        "TWEETDOCK_POLL_SECONDS",
        "TWEETDOCK_WINDOW_SECONDS",
        "TWEETDOCK_TWEETS_SCALE",
        "TWEETDOCK_SOURCES",
        "TWEETDOCK_HASHTAGS",
        "X_BEARER_TOKEN",
        "TWEETDOCK_TWEETERS_PIN",
    ]


@pytest.mark.parametrize(
    ("name", "value"), [("TWEETDOCK_HASHTAGS", "\U0001f389"), ("X_BEARER_TOKEN", "two words")]
)
def test_what_was_refused_is_not_called_missing_too(name: str, value: str) -> None:
    assert "not set" not in only_problem({**LEAST, name: value})


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("TWEETDOCK_HASHTAG", "TWEETDOCK_HASHTAGS"),
        ("TWEETDOCK_TWEETS_MINPULSE_US", "TWEETDOCK_TWEETS_MIN_PULSE_US"),
        ("TWEETDOCK_POLL_SECOND", "TWEETDOCK_POLL_SECONDS"),
        ("TWEETDOCK_X_BEARER_TOKEN", "X_BEARER_TOKEN"),
    ],
)
def test_an_unknown_name_is_told_with_the_nearest(name: str, meant: str) -> None:
    assert (
        only_problem({**LEAST, name: "unseen"}) == f"{name}: no such setting; did you mean {meant}?"
    )


def test_an_unknown_name_like_none_points_to_the_manual() -> None:
    problem = only_problem({**LEAST, "TWEETDOCK_ZZZZ": ""})
    assert problem == "TWEETDOCK_ZZZZ: no such setting; .env.example lists all names"


odd = st.text(
    st.characters(codec="utf-8") | st.sampled_from(" \n\"'#=:%\\$\x00\u2028"), min_size=8
).filter(lambda text: len(text.strip(" \n\"'")) >= 8)
tokens = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=99)


@given(st.dictionaries(st.sampled_from(SECRETS), odd | tokens, min_size=1))
def test_no_secret_is_ever_shown(secrets: dict[str, str]) -> None:
    # No sentence of ours has such a mark: what is found of a secret is the secret.
    secrets = {name: f"{secret}^~{secret}" for name, secret in secrets.items()}
    env = {"TWEETDOCK_HASHTAGS": "dockercon", **secrets}
    try:
        shown = repr(Settings.from_env(env))
    except SettingsError as refusal:
        shown = f"{refusal} {refusal!r} {refusal.problems}"
    for secret in secrets.values():
        for form in (secret, secret.strip(), repr(secret)[1:-1]):
            assert form not in shown


@pytest.mark.parametrize("secret", ["two words", "line\nbreak", "Füße", "tab\there"])
@pytest.mark.parametrize("name", WORDS)
def test_a_secret_that_no_header_can_carry_is_refused_unseen(name: str, secret: str) -> None:
    problem = problems({**LEAST, name: secret})[0]
    assert problem.startswith(f"{name}: one word of plain characters")


def test_every_setting_has_a_flag_of_its_own() -> None:
    flags = [setting.flag for setting in SETTINGS]
    assert len(set(flags)) == len(flags)
    assert flags[0] == "--hashtags"
    assert "--tweets-min-pulse-us" in flags


DEMO = {"TWEETDOCK_SOURCES": "demo"}
BLUESKY = {"TWEETDOCK_HASHTAGS": "dockercon", "TWEETDOCK_SOURCES": "bluesky"}
STREAM = {**LEAST, "TWEETDOCK_SOURCES": "x-stream"}
MASTODON = {
    "TWEETDOCK_HASHTAGS": "dockercon",
    "TWEETDOCK_SOURCES": "mastodon",
    "TWEETDOCK_MASTODON": "mastodon.social https://Fosstodon.org/",
}


def test_any_mix_of_networks_is_taken() -> None:
    mix = {**LEAST, **MASTODON, "TWEETDOCK_SOURCES": "x, x-stream, bluesky,mastodon,replay:a.gz"}
    settings = Settings.from_env(mix)
    assert settings.sources == ("x", "x-stream", "bluesky", "mastodon", "replay:a.gz")
    assert settings.networks.mastodon == ("https://mastodon.social", "https://fosstodon.org")


def test_bluesky_alone_needs_no_credentials() -> None:
    assert Settings.from_env(BLUESKY).sources == ("bluesky",)


def test_a_replay_needs_neither_hashtags_nor_credentials() -> None:
    assert Settings.from_env({"TWEETDOCK_SOURCES": "replay:day.jsonl"}).is_replay


def test_followed_accounts_are_enough_for_the_stream() -> None:
    env = {**STREAM, "TWEETDOCK_HASHTAGS": "", "TWEETDOCK_FOLLOW": "docker, @DockerCon:following"}
    follow = Settings.from_env(env).x.follow
    assert follow == (("docker", False), ("DockerCon", True))
    assert [str(account) for account in follow] == ["@docker", "@DockerCon:following"]


def test_a_token_belongs_to_its_server() -> None:
    env = {**MASTODON, "TWEETDOCK_MASTODON_TOKENS": "Fosstodon.org=abc=, mastodon.social=xyz"}
    tokens = Settings.from_env(env).networks.mastodon_tokens
    assert tokens == {"fosstodon.org": "abc=", "mastodon.social": "xyz"}


@pytest.mark.parametrize(
    ("env", "problem"),
    [
        ({**BLUESKY, "TWEETDOCK_HASHTAGS": ""}, "TWEETDOCK_HASHTAGS: not set"),
        ({**MASTODON, "TWEETDOCK_HASHTAGS": ""}, "TWEETDOCK_HASHTAGS: not set"),
        ({**MASTODON, "TWEETDOCK_MASTODON": ""}, "TWEETDOCK_MASTODON: not set"),
        ({**MASTODON, "TWEETDOCK_MASTODON": "a b/c"}, "TWEETDOCK_MASTODON=a b/c: an address"),
        (
            {**MASTODON, "TWEETDOCK_MASTODON_TOKENS": "other.org=x"},
            "TWEETDOCK_MASTODON_TOKENS: names a host that is not in TWEETDOCK_MASTODON",
        ),
        (
            {**MASTODON, "TWEETDOCK_MASTODON_TOKENS": "abc"},
            "TWEETDOCK_MASTODON_TOKENS: host=token, several separated by space",
        ),
        ({**STREAM, "X_BEARER_TOKEN": ""}, "X_BEARER_TOKEN: not set; X's stream accepts no other"),
        (
            {**STREAM, "TWEETDOCK_STALE_SECONDS": "20"},
            "TWEETDOCK_STALE_SECONDS=20: must be longer than 25 seconds",
        ),
        (
            {
                **MASTODON,
                "TWEETDOCK_MASTODON_TOKENS": "fosstodon.org=x",
                "TWEETDOCK_STALE_SECONDS": "60",
            },
            "TWEETDOCK_STALE_SECONDS=60: must be longer than 75 seconds",
        ),
        ({**LEAST, "TWEETDOCK_FOLLOW": "@a"}, "TWEETDOCK_FOLLOW: only the source x-st"),
        ({**STREAM, "TWEETDOCK_FOLLOW": "a-b"}, "TWEETDOCK_FOLLOW=a-b: 'a-b' is not an account"),
        (
            {**STREAM, "TWEETDOCK_FOLLOW": "@a", "TWEETDOCK_X_QUERY": "#b"},
            "TWEETDOCK_FOLLOW: cannot be joined to TWEETDOCK_X_QUERY",
        ),
        ({**BLUESKY, "TWEETDOCK_JETSTREAM": "https://a.b/c"}, "TWEETDOCK_JETSTREAM=https:"),
        ({**BLUESKY, "TWEETDOCK_WINDOW_SECONDS": "200000"}, "TWEETDOCK_WINDOW_SECONDS=200000: Bl"),
        ({**BLUESKY, "TWEETDOCK_SPEED": "60"}, "TWEETDOCK_SPEED=60: the networks run at 1"),
        ({**LEAST, "TWEETDOCK_SOURCES": "replay:"}, "TWEETDOCK_SOURCES=replay:: the file to play"),
        ({**LEAST, "TWEETDOCK_SOURCES": "x, replay"}, "TWEETDOCK_SOURCES=replay: a comma list"),
        ({**LEAST, "TWEETDOCK_X_DAILY_BUDGET_USD": "0"}, "TWEETDOCK_X_DAILY_BUDGET_USD=0: a num"),
        ({**LEAST, "TWEETDOCK_X_PRICE_PER_POST": "free"}, "TWEETDOCK_X_PRICE_PER_POST=free: a nu"),
        ({**BLUESKY, "TWEETDOCK_FOLLOW": "@a"}, "TWEETDOCK_FOLLOW: only the source x-str"),
        ({**BLUESKY, "TWEETDOCK_LOOP": "1"}, "TWEETDOCK_LOOP=1: only a replay can start over"),
        ({**DEMO, "TWEETDOCK_SPEED": "60"}, "TWEETDOCK_SPEED=60: a demo runs at 1"),
        ({**DEMO, "TWEETDOCK_LOOP": "1"}, "TWEETDOCK_LOOP=1: only a replay can start over"),
    ],
)
def test_what_a_network_lacks_is_told(env: dict[str, str], problem: str) -> None:
    assert only_problem(env).startswith(problem)


def test_a_budget_of_posts_that_cost_nothing_is_refused() -> None:
    """With a price of 0 the budget was never reached, and nobody was told that there was none."""
    env = {**LEAST, "TWEETDOCK_X_DAILY_BUDGET_USD": "5", "TWEETDOCK_X_PRICE_PER_POST": "0"}
    assert only_problem(env) == (
        "TWEETDOCK_X_DAILY_BUDGET_USD=5: would never be reached, as TWEETDOCK_X_PRICE_PER_POST is 0"
    )
    assert Settings.from_env({**LEAST, "TWEETDOCK_X_PRICE_PER_POST": "0"}).x.daily_usd is None


def test_the_demo_leaves_the_accounts_of_a_stream_alone() -> None:
    env = {**STREAM, "TWEETDOCK_FOLLOW": "@a"}
    assert Settings.from_env(env, demo=True).demo


@pytest.mark.parametrize(
    "servers",
    ["a.org=s3cret", "a.org = s3cret", "b.org https://a.org=s3cret", "a.org=s3cret=,b.org=s3cret"],
)
def test_a_token_among_the_servers_is_refused_unseen(servers: str) -> None:
    """Tokens put into the wrong variable became the name of a host, and stood in every log."""
    env = {**MASTODON, "TWEETDOCK_MASTODON": servers, "X_BEARER_TOKEN": ""}
    problem = only_problem(env)
    assert problem.startswith("TWEETDOCK_MASTODON=")
    assert problem.endswith("=...: hosts such as mastodon.social, several separated by space")
    assert "s3cret" not in problem


@pytest.mark.parametrize("server", ["a_b.org", "a!.org", "a%20b.org", "-a.org", ".org", "a.org:x"])
def test_a_server_that_is_no_host_is_refused(server: str) -> None:
    problem = only_problem({**MASTODON, "TWEETDOCK_MASTODON": server})
    shown = "..." if "%" in server else server  # it might be a token
    assert problem.startswith(f"TWEETDOCK_MASTODON={shown}: ")


@pytest.mark.parametrize(
    "server", ["localhost:3000", "127.0.0.1:80", "[::1]:3000", "føø.social", "xn--f-5gaa.social"]
)
def test_any_name_of_a_host_is_taken_for_a_server(server: str) -> None:
    env = {**MASTODON, "TWEETDOCK_MASTODON": server}
    assert Settings.from_env(env).networks.mastodon == (f"https://{server}",)


@pytest.mark.parametrize(
    "servers", ["http://a.org https://A.org", "a.org https://a.org:443", "a.org:1 http://a.org:1"]
)
def test_one_host_by_two_addresses_is_refused(servers: str) -> None:
    """Both were feeds of the same name, of which the gauge knew only one."""
    problem = only_problem({**MASTODON, "TWEETDOCK_MASTODON": servers})
    assert problem.startswith("TWEETDOCK_MASTODON: names a.org")
    assert "more than once" in problem


def test_a_token_goes_to_a_server_by_https_or_not_at_all() -> None:
    """By http anybody on the way could have read it."""
    env = {**MASTODON, "TWEETDOCK_MASTODON": "http://a.org:3000"}
    env["TWEETDOCK_MASTODON_TOKENS"] = "a.org:3000=s3cret"
    problem = only_problem(env)
    assert problem.startswith("TWEETDOCK_MASTODON_TOKENS: no token is sent to http://a.org:3000")


@pytest.mark.parametrize("host", ["localhost:3000", "127.0.0.1:3000", "127.9.9.9", "[::1]:3000"])
def test_on_this_machine_a_token_may_go_by_http(host: str) -> None:
    env = {**MASTODON, "TWEETDOCK_MASTODON": f"http://{host}"}
    env["TWEETDOCK_MASTODON_TOKENS"] = f"{host}=token"
    assert Settings.from_env(env).networks.mastodon_tokens == {host: "token"}


@pytest.mark.parametrize(
    ("env", "subject"),
    [
        ({**BLUESKY, "TWEETDOCK_X_QUERY": "from:a"}, "#dockercon"),
        ({**LEAST, "TWEETDOCK_X_QUERY": "from:a"}, "from:a"),
        ({**LEAST, **BLUESKY, "TWEETDOCK_SOURCES": "x,bluesky"}, "#dockercon"),
        (
            {**LEAST, "TWEETDOCK_X_QUERY": "from:a", "TWEETDOCK_SOURCES": "x,bluesky"},
            "from:a #dockercon",
        ),
        ({**STREAM, "TWEETDOCK_FOLLOW": "@a"}, "#dockercon @a"),
        ({**LEAST, "TWEETDOCK_SOURCES": "replay:a.gz"}, ""),
    ],
)
def test_the_subject_is_what_the_sources_are_asked_for(env: dict[str, str], subject: str) -> None:
    """A query for X that was left in .env was shown as what Bluesky counts."""
    assert Settings.from_env(env).subject == subject


def test_a_list_of_sources_may_not_be_empty() -> None:
    assert "no source is named" in only_problem({**LEAST, "TWEETDOCK_SOURCES": ","})


def test_made_up_posts_are_not_mixed_with_real_ones() -> None:
    assert "demo stands alone" in only_problem({**LEAST, "TWEETDOCK_SOURCES": "x,demo"})


def test_two_servos_on_one_pin_are_refused() -> None:
    problem = only_problem({**LEAST, "TWEETDOCK_TWEETERS_PIN": "12"})
    assert problem.startswith("TWEETDOCK_TWEETERS_PIN=12: the same as TWEETDOCK_TWEETS_PIN")
    swapped = {"TWEETDOCK_TWEETS_PIN": "13", "TWEETDOCK_TWEETERS_PIN": "12"}
    assert Settings.from_env(LEAST | swapped).tweets.pin == 13


@pytest.mark.parametrize("dial", DIALS)
@pytest.mark.parametrize(
    ("low", "high", "value"),
    [("MIN_ANGLE", "MAX_ANGLE", "90"), ("MIN_PULSE_US", "MAX_PULSE_US", "1500")],
)
def test_a_dial_without_width_is_refused(dial: str, low: str, high: str, value: str) -> None:
    prefix = f"TWEETDOCK_{dial.upper()}_"
    problem = only_problem({**LEAST, prefix + low: value, prefix + high: value})
    assert problem.startswith(f"{prefix}{low}={value}: must be below {high}={value}")
    assert "REVERSED=1" in problem


def test_a_window_must_hold_some_searches() -> None:
    env = {**LEAST, "TWEETDOCK_WINDOW_SECONDS": "100", "TWEETDOCK_POLL_SECONDS": "26"}
    problem = only_problem(env)
    assert problem.startswith("TWEETDOCK_WINDOW_SECONDS=100: too short")
    assert "TWEETDOCK_POLL_SECONDS=26" in problem
    assert Settings.from_env({**env, "TWEETDOCK_POLL_SECONDS": "25"}).poll_seconds == 25


def test_hashtags_that_make_too_long_a_query_are_refused() -> None:
    tags = [f"hashtag{number:03}" for number in range(33)]
    assert len(build_query(tags)) <= 512
    assert Settings.from_env({**LEAST, "TWEETDOCK_HASHTAGS": " ".join(tags)}).hashtags == tuple(
        tags
    )
    tags += [f"hashtag{number:03}" for number in range(33, 40)]
    problem = only_problem({**LEAST, "TWEETDOCK_HASHTAGS": " ".join(tags)})
    assert problem == (
        f"TWEETDOCK_HASHTAGS: {len(build_query(tags))} characters as a query for X, "
        "which takes at most 512"
    )


def test_a_query_of_ones_own_may_be_longer() -> None:
    token = {"X_BEARER_TOKEN": "token"}
    assert Settings.from_env({**token, "TWEETDOCK_X_QUERY": "x" * 4096}).hashtags == ()
    problem = only_problem({**token, "TWEETDOCK_X_QUERY": "x" * 4097})
    assert problem.startswith("TWEETDOCK_X_QUERY: 4097 characters")


def test_without_hashtags_and_query_there_is_nothing_to_count() -> None:
    problem = only_problem({"X_BEARER_TOKEN": "token"})
    assert problem.startswith("TWEETDOCK_HASHTAGS: not set")


def test_without_credentials_the_way_to_the_demo_is_shown() -> None:
    problem = only_problem({"TWEETDOCK_HASHTAGS": "dockercon"})
    assert problem.startswith("X_BEARER_TOKEN: not set")
    assert "--demo" in problem


@pytest.mark.parametrize("missing", OAUTH)
def test_a_part_of_oauth_is_not_enough_and_the_rest_is_named(missing: str) -> None:
    env = {"TWEETDOCK_HASHTAGS": "dockercon", **dict.fromkeys(OAUTH, "x")}
    assert Settings.from_env(env).x.consumer_key == "x"
    del env[missing]
    problem = only_problem(env)
    assert f"without it X needs {missing};" in problem


def test_a_bearer_token_is_enough_beside_a_part_of_oauth() -> None:
    assert Settings.from_env({**LEAST, "X_CONSUMER_KEY": "x"}).x.consumer_key == "x"


def test_the_demo_needs_nothing_and_moves_no_servo() -> None:
    settings = Settings.from_env({}, demo=True)
    assert settings.demo
    assert settings.sources == ("demo",)
    assert settings.servo_backend == "mock"
    assert settings.hashtags == ("tweetdock",)


def test_the_demo_wins_over_sources_and_servos_but_not_over_the_rest() -> None:
    env = {
        "TWEETDOCK_SOURCES": "x",
        "TWEETDOCK_SERVO_BACKEND": "pigpio",
        "TWEETDOCK_HASHTAGS": "docker",
        "TWEETDOCK_WINDOW_SECONDS": "600",
    }
    settings = Settings.from_env(env, demo=True)
    assert (settings.sources, settings.servo_backend) == (("demo",), "mock")
    assert (settings.hashtags, settings.window_seconds) == (("docker",), 600.0)
    assert problems({"TWEETDOCK_POLL_SECONDS": "0"}, demo=True)


def test_the_demo_as_a_source_is_a_demo_that_may_move_servos() -> None:
    settings = Settings.from_env({"TWEETDOCK_SOURCES": "demo", "TWEETDOCK_SERVO_BACKEND": "lgpio"})
    assert settings.demo
    assert settings.servo_backend == "lgpio"


def test_words_are_taken_in_any_case() -> None:
    env = {"TWEETDOCK_SERVO_BACKEND": "PIGPIO", "TWEETDOCK_LOG_LEVEL": "debug"}
    settings = Settings.from_env({**LEAST, **env, "TWEETDOCK_WEB": "OFF"})
    assert (settings.servo_backend, settings.log_level, settings.web) == ("pigpio", "DEBUG", None)


@pytest.mark.parametrize(
    ("written", "host"),
    [("localhost:80", "localhost"), ("[::1]:80", "::1"), ("0.0.0.0:80", "0.0.0.0")],
)
def test_the_page_may_listen_at_any_address_of_the_machine(written: str, host: str) -> None:
    assert Settings.from_env({**LEAST, "TWEETDOCK_WEB": written}).web == (host, 80)


@pytest.mark.parametrize(
    ("written", "is_demanded"), [("", False), ("off", False), ("[::]:8080", True)]
)
def test_an_address_of_the_owners_own_is_demanded(written: str, *, is_demanded: bool) -> None:
    env = {**LEAST, "TWEETDOCK_WEB": written}
    assert Settings.from_env(env).is_page_demanded is is_demanded


@pytest.mark.parametrize("middle", ["1000", "2000"])
def test_the_middle_pulse_lies_between_the_ends(middle: str) -> None:
    env = {**LEAST, "TWEETDOCK_TWEETERS_MID_PULSE_US": middle}
    assert only_problem(env) == (
        f"TWEETDOCK_TWEETERS_MID_PULSE_US={middle}: must be between "
        "MIN_PULSE_US=1000 and MAX_PULSE_US=2000"
    )


def test_the_state_folder_follows_xdg_unless_it_is_named() -> None:
    env = {**LEAST, "XDG_STATE_HOME": "/var/state"}
    assert Settings.from_env(env).keep.state_dir == Path("/var/state/tweetdock")
    env["TWEETDOCK_STATE_DIR"] = "/elsewhere"
    assert Settings.from_env(env).keep.state_dir == Path("/elsewhere")


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container under a bare user number the default itself cannot be resolved."""

    def no_such_user(number: int) -> None:
        raise KeyError(number)

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", no_such_user)
    assert only_problem(LEAST).startswith("TWEETDOCK_STATE_DIR: a folder; '~' cannot be resolved")
    assert Settings.from_env({**LEAST, "TWEETDOCK_STATE_DIR": "/state"}).keep.state_dir == Path(
        "/state"
    )


def test_a_password_in_an_address_is_not_repeated() -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.from_env({**LEAST, "X_API_URL": "https://me:hush@api.x.com"})
    assert "X_API_URL=https://...@api.x.com: " in str(refused.value)
    assert "hush" not in str(refused.value)
