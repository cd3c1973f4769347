"""The image that `.ci/image` builds: what is in it, and the gauge at work, killed and restarted."""

import json
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from containers import LIMIT, STATE, Container, Image, ask_to_end, launcher, store
from dials import comes_true
from running import Running, slowness
from standins.pigpiod import free_port, read_log
from standins.x_api import XApi, make_post

from tweetdock import __version__

pytestmark = [
    pytest.mark.skipif(
        store() is None, reason="no image: install the package buildah and run .ci/image"
    ),
    pytest.mark.xdist_group("image"),  # buildah's store is for one at a time
]

HERE = Path(__file__).parent
TOKEN = "a-bearer-token-of-32-characters!"
POSTS = 49
LOCK = "run/pigpio.pid"
# What comes with extras is imported when it is used.
IMPORT_ALL = """
import importlib, pkgutil, tweetdock
for module in pkgutil.walk_packages(tweetdock.__path__, "tweetdock."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""


@pytest.fixture(scope="module")
def image() -> Image:
    return Image.read()


@pytest.fixture(scope="module")
def container(image: Image) -> Iterator[Container]:
    """A container for what leaves nothing behind."""
    container = Container(image.config["Entrypoint"], {})
    yield container
    container.remove()


def inside(container: Container, script: str) -> str:
    """What a shell in the container says."""
    done = container.run("sh", "-c", script, entry=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_it_says_which_version_it_is(image: Image, container: Container) -> None:
    done = container.run("--version")
    assert (done.returncode, done.stdout) == (0, f"TweetDock {__version__}\n")
    labels = image.config["Labels"]
    assert labels["org.opencontainers.image.version"] == __version__
    assert re.fullmatch("[0-9a-f]{40}", labels["org.opencontainers.image.revision"])


def test_a_demo_s_reading_is_printed(container: Container) -> None:
    done = container.run("--demo", "--once")
    assert done.returncode == 0, done.stderr
    reading = json.loads(done.stdout)
    assert (reading["demo"], reading["grade"]) == (True, "exact")


def test_it_shows_its_page_keeps_its_state_and_says_how_it_is(image: Image) -> None:
    assert image.env["TWEETDOCK_STATE_DIR"] == image.config["WorkingDir"] == STATE
    assert image.config["Volumes"] == {STATE: {}}
    assert image.env["TWEETDOCK_WEB"] == "0.0.0.0:8080"
    assert image.config["ExposedPorts"] == {"8080/tcp": {}}
    assert image.config["Healthcheck"]["Test"] == ["CMD", "healthcheck"]


def test_it_is_small(image: Image) -> None:
    # Debian's programs for arm64 are padded to 64 KiB: its base alone is a quarter larger.
    assert image.megabytes < {"arm64": 180}.get(image.architecture, 150)


def test_nothing_is_left_of_its_making(container: Container) -> None:
    for tool in ("gcc", "cc", "make", "pip", "pip3", "curl", "dpkg-source"):
        assert container.run("which", tool, entry=False).returncode == 1, tool
    known = "/root/.profile /root/.bashrc /var/log/wtmp /var/log/btmp /var/log/lastlog"
    known += " /var/log/faillog /var/cache/apt/archives/lock /var/cache/debconf/config.dat"
    known += " /var/cache/debconf/passwords.dat /var/cache/debconf/templates.dat"
    folders = f"/root /tmp /var/tmp /var/lib/apt/lists /var/log /var/cache {STATE}"
    litter = set(inside(container, f"find {folders} -type f").split()) - set(known.split())
    assert litter == set()
    assert inside(container, "ls -d /src /wheels /staging 2>/dev/null | cat") == ""


def test_no_file_misses_a_library(container: Container) -> None:
    assert inside(container, f"python3 -c '{IMPORT_ALL}'") == ""
    # No wheel of lgpio is for the Pis before the Pi 2.
    if inside(container, "dpkg --print-architecture") != "armel":
        assert inside(container, "python3 -c 'import lgpio; print(lgpio.__name__)'") == "lgpio"


def test_servers_certificates_can_be_checked(container: Container) -> None:
    script = 'import ssl; print(ssl.create_default_context().cert_store_stats()["x509_ca"])'
    assert int(inside(container, f"python3 -c '{script}'")) > 100


def test_pigpiod_is_the_real_one_and_its_refusal_is_explained(container: Container) -> None:
    assert inside(container, "pigpiod -v") == "78"
    wanted = {"TWEETDOCK_SERVO_BACKEND": "pigpio", "TWEETDOCK_SERVO_START_SECONDS": "0"}
    wanted |= {"PIGPIO_PORT": str(free_port()), "TWEETDOCK_WEB": "off"}
    wanted |= {"TWEETDOCK_SOURCES": "bluesky", "TWEETDOCK_JETSTREAM": "ws://127.0.0.1:9/subscribe"}
    done = container.run(env={"TWEETDOCK_HASHTAGS": "dockercon", **wanted})
    assert done.returncode == 69
    assert re.search("TWEETDOCK_SERVO_BACKEND=pigpio: .*(Raspberry Pi|raspberry pi)", done.stderr)
    done = container.run(
        env={"TWEETDOCK_HASHTAGS": "x", **wanted, "TWEETDOCK_SERVO_BACKEND": "lgpio"}
    )
    assert done.returncode == 69
    assert "TWEETDOCK_SERVO_BACKEND=lgpio: " in done.stderr
    assert inside(container, f"ls -A {STATE}/.lgd* /.lgd* 2>/dev/null | cat") == ""


def test_wrong_settings_are_all_named(container: Container) -> None:
    done = container.run(env={"TWEETDOCK_HASHTAG": "x", "TWEETDOCK_POLL_SECONDS": "soon"})
    assert done.returncode == 2
    for name in ("TWEETDOCK_HASHTAGS", "TWEETDOCK_POLL_SECONDS=soon", "X_BEARER_TOKEN"):
        assert name in done.stderr


@pytest.fixture
def api() -> Iterator[XApi]:
    now_ms = round(time.time() * 1000)
    posts = [make_post(now_ms - 60_000 * minute, minute % 7) for minute in range(1, POSTS + 1)]
    with XApi(posts, bearer=TOKEN) as api:
        yield api


class Gauge:
    """A container with the stand-in for pigpiod on PATH, and the settings of a gauge on it."""

    def __init__(self, image: Image, api: XApi, folder: Path) -> None:
        self.told = folder / "told"
        self.told.mkdir()
        mounts = {
            self.told: "/told",
            HERE / "standins": "/standins:ro",
            launcher(folder): "/usr/local/sbin/pigpiod:ro",
        }
        self.container = Container(image.config["Entrypoint"], mounts)
        self.page = f"127.0.0.1:{free_port()}"
        self.env = {
            "TWEETDOCK_HASHTAGS": "dockercon",
            "X_BEARER_TOKEN": TOKEN,
            "X_API_URL": api.url,
            "TWEETDOCK_POLL_SECONDS": "1",
            "TWEETDOCK_SAVE_SECONDS": "0",
            "TWEETDOCK_SERVO_BACKEND": "pigpio",
            "TWEETDOCK_WEB": self.page,
            "PIGPIO_PORT": str(free_port()),
            "STANDIN_PIGPIOD_LOG": "/told/pigpiod",
            "STANDIN_PIGPIOD_LOCK": f"/{LOCK}",
        }
        self._folder = folder

    def start(self, **env: str) -> Running:
        """As `docker start`: the same container, processes of its own."""
        return Running(folder=self._folder, argv=self.container.argv(env=self.env | env))

    def events(self) -> list[str]:
        """What pigpiods were told, in order: started, pulses of both needles, their end."""
        entries = read_log(self.told / "pigpiod")
        return [str(entry.get("event") or entry["us"]) for entry in entries]


@pytest.fixture
def gauge(image: Image, api: XApi, tmp_path: Path) -> Iterator[Gauge]:
    gauge = Gauge(image, api, tmp_path)
    yield gauge
    gauge.container.remove()


def settle(gauge: Gauge) -> Callable[[], bool]:
    """Whether both needles have been turned, and rest."""

    def is_so() -> bool:
        events = gauge.events()
        since = events[len(events) - events[::-1].index("start") :]
        return len(since) > 20 and since[-1] == "0.0"

    return is_so


def test_the_gauge_turns_its_needles_and_ends_as_docker_asks_it_to(
    gauge: Gauge,
) -> None:
    with gauge.start() as running:
        running.wait_for(f"{POSTS} tweets", "exact", limit=LIMIT)
        running.wait_for("started pigpiod at 127.0.0.1", limit=LIMIT)
        assert comes_true(settle(gauge), LIMIT)
        well = gauge.container.run("healthcheck", env={"TWEETDOCK_WEB": gauge.page}, entry=False)
        assert (well.returncode, well.stdout) == (0, "ok\n")
        ask_to_end(running)
        assert running.process.wait(5 * slowness()) == 0
        running.wait_for("needles at rest")
    assert gauge.events()[-4:] == ["0.0", "0.0", "signal", "stop"]
    assert not (gauge.container.root / LOCK).exists()
    ill = gauge.container.run("healthcheck", env={"TWEETDOCK_WEB": gauge.page}, entry=False)
    assert ill.returncode == 1


def test_a_container_that_was_killed_goes_on_where_it_was(gauge: Gauge, api: XApi) -> None:
    with gauge.start() as running:
        running.wait_for(f"{POSTS} tweets", "exact", limit=LIMIT)
        running.wait_for("started pigpiod at 127.0.0.1", limit=LIMIT)
        running.process.send_signal(signal.SIGKILL)
        running.process.wait()
    lock = gauge.container.root / LOCK
    assert lock.exists()
    # Another process has the dead one's number by now, as it comes where all begin in order.
    lock.write_text("1\n")
    read = api.posts_read
    api.down()
    with gauge.start() as running:
        running.wait_for(f"{POSTS} tweets", limit=LIMIT)
        running.wait_for("started pigpiod at 127.0.0.1", limit=LIMIT)
        assert comes_true(settle(gauge), LIMIT)
        ask_to_end(running)
        assert running.process.wait(5 * slowness()) == 0
    assert api.posts_read == read
    assert gauge.events().count("start") == 2


def test_where_there_is_no_pi_the_needles_are_simulated(gauge: Gauge) -> None:
    with gauge.start(TWEETDOCK_SERVO_BACKEND="auto") as running:
        running.wait_for("needles: mock servos", limit=LIMIT)
        running.wait_for(f"{POSTS} tweets", "exact", limit=LIMIT)
        ask_to_end(running)
        assert running.process.wait(5 * slowness()) == 0
    assert gauge.events() == []


def test_what_calibrate_has_saved_in_the_volume_holds(gauge: Gauge) -> None:
    inside(gauge.container, f"echo TWEETDOCK_TWEETS_PIN=18 > {STATE}/.env")
    with gauge.start() as running:
        running.wait_for("pigpio servos on GPIO 18 and 13", limit=LIMIT)
        running.wait_for(f"{POSTS} tweets", "exact", limit=LIMIT)
        ask_to_end(running)
        assert running.process.wait(5 * slowness()) == 0
