"""TweetDock killed hundreds of times under load, and what it kept held against the truth."""

import argparse
import gzip
import json
import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from bisect import bisect_right
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field, fields, replace
from multiprocessing import get_context
from pathlib import Path
from random import Random
from signal import SIGHUP
from typing import Any, Self

from running import Running, run, slowness
from simulation import Truth
from standins.x_api import Request, XApi, make_post
from standins.x_posts import Post, milliseconds

from tweetdock.core.times import parse_ms

TOKEN = "a-bearer-token-of-32-characters!"
WINDOW_MS = 3_600_000
LATE_MS = 25_000  # a look-back of 90 s, once in 60 s, finds what comes up to 30 s late
SURELY_MS = 150_000  # what is older than that is to be counted, whatever happened
LOOK_BACK_SECONDS = 90
LAG_MS = 32_000  # of X's index, 30 s, by a clock of whole seconds
SLACK_SECONDS = 5.0
IN_FLIGHT_SECONDS = 0.7  # from an answer of X to its being counted
NO_LIMIT = 10**9  # of requests in fifteen minutes
AHEAD_MS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to happen. Times in seconds; `per_second` and `preloaded` are posts."""

    kills: int
    seed: int
    folder: Path
    per_second: float = 40.0
    preloaded: int = 3000
    longest_life: float = 3.0
    once_every: int = 5
    has_late: bool = True
    # With the longer ones the archive runs ahead of the state: it is flushed each second.
    save_seconds: tuple[float, ...] = (0, 0.2, 2, 30)


@dataclass(kw_only=True)
class Tally:
    """What came out; `wrong` says what ought not to be, one sentence each."""

    kills: int = 0
    onces: int = 0
    posts: int = 0
    archived: int = 0
    lost: int = 0
    doubled: int = 0
    reread: int = 0
    reread_after_kill: int = 0
    reread_at_seams: int = 0
    returned: int = 0
    files: int = 0
    torn: int = 0
    grades: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def __add__(self, other: Self) -> "Tally":
        names = [one.name for one in fields(self)]
        return Tally(**{name: getattr(self, name) + getattr(other, name) for name in names})

    def __str__(self) -> str:
        grades = ", ".join(f"{number} {grade}" for grade, number in self.grades.most_common())
        return (
            f"{self.kills} kills, {self.onces} restarts by --once ({grades}), {self.posts} posts, "
            f"{self.archived} archived in {self.files} files, {self.lost} lost, "
            f"{self.doubled} doubled, {self.reread} re-read beyond the look-back "
            f"({self.reread_after_kill} as their answer was in flight at a kill, "
            f"{self.reread_at_seams} as X's bounds are whole seconds), "
            f"{self.returned / max(1, self.archived):.2f} returned for each archived, "
            f"{self.torn} tails torn and mended, {len(self.wrong)} wrong"
        )


class Load:
    """Posts that come all the time: some twice in a millisecond, edited, retweets or indexed late.

    They exist a second before their time, from which on they can be found: also on a machine so
    busy that it keeps us waiting, none is late that is not meant to be.
    """

    def __init__(
        self, api: XApi, dice: Random, per_second: float, *, has_late: bool = False
    ) -> None:
        self._api, self._dice, self._per_second = api, dice, per_second
        self._has_late = has_late
        self._made_ms = 0
        self._recent: deque[Post] = deque(maxlen=400)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.posts: dict[str, Post] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def preload(self, number: int) -> None:
        """So many posts of the hour, the last of them 100 s ago."""
        now_ms = round(time.time() * 1000)
        moments = self._dice.sample(range(now_ms - 57 * 60_000, now_ms - 100_000), number)
        self._add(make_post(at_ms, self._author()) for at_ms in moments)

    def freeze(self) -> None:
        """Let no post come any more; returns when the last one can be found."""
        self.__exit__()
        last_ms = max(post.get("_indexed_ms", milliseconds(i)) for i, post in self.posts.items())
        threading.Event().wait(max(0.0, last_ms / 1000 - time.time()) + 0.1)

    @property
    def last_versions(self) -> set[str]:
        """The ids of what a search without retweets would find now."""
        posts = list(self.posts.values())
        replaced = {old for post in posts for old in post["edit_history_tweet_ids"][:-1]}
        return {post["id"] for post in posts if "referenced_tweets" not in post} - replaced

    def _run(self) -> None:
        while not self._stopping.wait(0.2):
            now_ms = round(time.time() * 1000)
            until_ms = now_ms + AHEAD_MS
            self._made_ms = max(self._made_ms, now_ms + AHEAD_MS // 2)
            posts: list[Post] = []
            while self._made_ms < until_ms:
                self._made_ms += 1 + round(1000 * self._dice.expovariate(self._per_second))
                posts.extend(self._at(self._made_ms))
            self._add(posts)

    def _at(self, at_ms: int) -> Iterator[Post]:
        kind = self._dice.random()
        if kind < 0.1 and len(self._recent) > 10:
            place = self._dice.randrange(len(self._recent))
            older = self._recent[place]
            self._recent[place] = make_post(at_ms, older["author_id"], edits_of=older)
            yield self._recent[place]
        elif kind < 0.2:
            yield make_post(at_ms, self._author(), retweet=True)
        elif kind < 0.3 and self._has_late:
            late_ms = self._dice.randrange(100, LATE_MS)
            yield make_post(at_ms, self._author()) | {"_indexed_ms": at_ms + late_ms}
        else:
            for sequence in range(1 + (kind < 0.35)):
                post = make_post(at_ms, self._author(), sequence=sequence)
                self._recent.append(post)
                yield post

    def _author(self) -> int:
        return self._dice.randrange(400)

    def _add(self, posts: Iterable[Post]) -> None:
        posts = list(posts)
        self.posts |= {post["id"]: post for post in posts}
        self._api.add(*posts)


class Archive:
    """The files of an archive, however they are called by now."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read_to: dict[int, int] = {}
        self._ids: dict[int, set[str]] = defaultdict(set)

    @property
    def files(self) -> list[Path]:
        """All that have posts in them."""
        found = [path for path in self.folder.iterdir() if ".jsonl" in path.name]
        return sorted(path for path in found if path.suffix not in (".json", ".tmp"))

    def look(self) -> tuple[set[str], list[Path]]:
        """The ids that are there, and which files are torn at their end now.

        Of a file that has been looked at before only what has been appended is read.
        """
        torn: list[Path] = []
        inodes = set()
        for path in self.files:
            inode = path.stat().st_ino
            inodes.add(inode)
            with path.open("rb") as file:
                file.seek(self._read_to.get(inode, 0))
                fresh = file.read()
            whole = 0
            for text, end in _whole_members(fresh):
                whole = end
                self._ids[inode] |= {json.loads(line)["post"]["id"] for line in text.splitlines()}
            self._read_to[inode] = self._read_to.get(inode, 0) + whole
            if whole < len(fresh):
                torn.append(path)
        return set().union(*(self._ids[inode] for inode in inodes)), torn

    def lines(self) -> tuple[list[dict[str, Any]], list[str]]:
        """Every line of every file, read from end to end, and what is wrong with the files."""
        lines, wrong = [], []
        for path in self.files:
            if not path.stat().st_size:
                continue
            try:
                text = gzip.decompress(path.read_bytes())
            except (OSError, EOFError, zlib.error) as error:
                if not is_renamed(path):
                    wrong.append(f"{path.name} cannot be read: {error}")
                for part, _ in _whole_members(path.read_bytes()):
                    lines += [json.loads(line) for line in part.splitlines()]
                continue
            with path.open("rb") as file:
                zcat = subprocess.run(["zcat"], stdin=file, capture_output=True, check=False)
            if (zcat.returncode, zcat.stdout) != (0, text):
                wrong.append(f"zcat says of {path.name}: {zcat.stderr.decode()}")
            lines += [json.loads(line) for line in text.splitlines()]
        return lines, wrong

    def wrong_manifests(self) -> list[str]:
        """What is wrong with the manifests of the files that TweetDock itself has closed.

        And of those that are torn, as somebody else has renamed them in the middle of a write.
        """
        wrong = []
        torn = self.look()[1]
        for path in self.files:
            if is_renamed(path) and path in torn:
                # Nobody mends it; its owner is to be told all the same.
                manifest = Path(f"{path}.manifest.json")
                is_told = manifest.exists() and json.loads(manifest.read_bytes())["damaged"] == 1
                wrong += [] if is_told else [f"{path.name} is torn, and its manifest is silent"]
            if not path.name.startswith("tweets-"):
                continue
            try:
                manifest = json.loads(Path(f"{path}.manifest.json").read_bytes())
                lines = len(gzip.decompress(path.read_bytes()).splitlines())
            except (OSError, EOFError, ValueError, zlib.error) as error:
                wrong.append(f"no manifest of {path.name}: {error}")
                continue
            if (manifest["bytes"], manifest["lines"]) != (path.stat().st_size, lines):
                wrong.append(f"the manifest of {path.name} is of another file")
        return wrong


def _whole_members(raw: bytes) -> Iterator[tuple[bytes, int]]:
    end = 0
    while end < len(raw):
        inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)
        try:
            text = inflater.decompress(raw[end:])
        except zlib.error:
            return
        if not inflater.eof:
            return
        end = len(raw) - len(inflater.unused_data)
        yield text, end


def is_renamed(path: Path) -> bool:
    """Whether somebody else has renamed it: nobody mends it, if a kill came before it was left.

    What a torn member had in it is not known to be archived, and so comes once more.
    """
    return path.suffix[1:].isdigit()


def doubles(names: Iterable[str]) -> list[str]:
    """Those that are there more than once."""
    return [name for name, number in Counter(names).items() if number > 1]


@dataclass(frozen=True, slots=True)
class Life:
    """One process, between moments of Unix time, and when it saved last, as its state says.

    How soon it ought to save is tested elsewhere: on a busy machine nobody knows how soon it does.
    """

    begun: float
    ended: float
    saved: float
    in_flight: float

    def has_saved(self, request: Request) -> bool:
        """Whether it saved long enough after an answer to have counted it for sure."""
        return request.time + self.in_flight <= self.saved


class Asked:
    """What X was asked in several lives, and whether any of it was asked without need."""

    def __init__(self, requests: Iterable[Request], lives: list[Life]) -> None:
        self._requests = [request for request in requests if request.status == 200]
        self._lives = lives
        self.after_kill = self.at_seams = 0  # returned once more with need, so far
        self.returned: dict[str, list[Request]] = defaultdict(list)
        self._begun: dict[int, float] = {}  # of each page, when the first one of its search came
        begun = 0.0
        for request in self._requests:
            begun = begun if "next_token" in request.params else request.time
            self._begun[id(request)] = begun
            for post_id in request.ids_returned:
                self.returned[post_id].append(request)

    def is_saved(self, request: Request) -> bool:
        """Whether the life that asked lasted long enough after the answer to save it."""
        return self._life_of(request).has_saved(request)

    def _life_of(self, request: Request) -> Life:
        return self._lives[bisect_right(self._lives, request.time, key=lambda life: life.begun) - 1]

    def why_saved(self, post_id: str) -> str:
        """By which page, how long before the end of which life, a post ought to be known."""
        for page in self.returned[post_id]:
            if self.is_saved(page):
                life, number = self._life_of(page), len(page.ids_returned)
                return f"of a page of {number}, {life.ended - page.time:.1f} s before {life} ended"
        return "of no page that was saved for sure"

    @property
    def saved(self) -> set[str]:
        """The ids of what was returned and then surely saved."""
        requests = [request for request in self._requests if self.is_saved(request)]
        return {post_id for request in requests for post_id in request.ids_returned}

    def rereads(self) -> list[str]:
        """What was returned once more without need."""
        reach_ms = self._reaches()
        found = []
        for post_id, requests in self.returned.items():
            at_ms = milliseconds(post_id)
            is_known = self._has_covered(requests[0], at_ms)
            for request in requests[1:]:
                if at_ms >= reach_ms[id(request)]:
                    pass
                elif not is_known:
                    self.after_kill += 1
                elif _is_seam(request, at_ms):
                    self.at_seams += 1
                else:
                    age = request.time - at_ms / 1000
                    known = self.why_saved(post_id)
                    found.append(f"{post_id}, {age:.0f} s old, by {request.params}, {known}")
                is_known = is_known or self._has_covered(request, at_ms)
        return found

    def _has_covered(self, request: Request, at_ms: int) -> bool:
        """Whether a search that was saved has made a moment complete, too.

        What is younger than X's lag when a search begins has to be read again: by the next
        look-back, or much later if kills or a busy machine let none come to its end.
        """
        return self.is_saved(request) and at_ms <= 1000 * self._begun[id(request)] - LAG_MS

    def _reaches(self) -> dict[int, int]:
        """How far each request may look back: from the last live one before it that was saved.

        All pages of a search count as its first one does, however long they take.
        """
        reaches = {}
        reach_from: dict[str, int] = {}
        last = 0.0
        reach_ms = 0
        for request in self._requests:
            if "next_token" not in request.params:
                reach_ms = round(1000 * (last - LOOK_BACK_SECONDS - SLACK_SECONDS))
                # What a kill has left of a search begins where that began.
                reach_ms = reach_from.setdefault(request.params.get("start_time", ""), reach_ms)
            reaches[id(request)] = reach_ms
            if self.is_saved(request) and "end_time" not in request.params:
                last = self._begun[id(request)]
        return reaches


def _is_seam(request: Request, at_ms: int) -> bool:
    """Whether a post lies so near to a bound by time that whole seconds cannot leave it out."""
    bounds = [
        parse_ms(request.params[n]) for n in ("start_time", "end_time") if n in request.params
    ]
    return any(abs(at_ms - bound) <= 2_000 for bound in bounds)


def settings_for(api: XApi, folder: Path) -> dict[str, str]:
    """A gauge with an archive that asks this X as often as it may, and all of it in a folder."""
    return {
        "TWEETDOCK_HASHTAGS": "dockercon",
        "X_BEARER_TOKEN": TOKEN,
        "X_API_URL": api.url,
        "TWEETDOCK_SERVO_BACKEND": "mock",
        "TWEETDOCK_WEB": "off",
        "TWEETDOCK_POLL_SECONDS": "1",
        "TWEETDOCK_X_LOOK_BACK_SECONDS": str(LOOK_BACK_SECONDS),
        "TWEETDOCK_STATE_DIR": str(folder / "state"),
        "TWEETDOCK_ARCHIVE": str(folder / "archive" / "tweets.jsonl.gz"),
    }


def settle(
    read: Callable[[], Mapping[str, Any]],
    truth: Truth,
    missing: Callable[[], Collection[str]],
    limit: float,
) -> str:
    """Read until it is the truth, now that nothing comes any more; a complaint if it never is.

    missing: what the archive still lacks. A later version of a post that is counted already
    changes no count, so that only the archive shows whether the last look-back has come.
    """
    deadline = time.monotonic() + limit
    while reading := read():
        at_ms = parse_ms(reading["at"])
        wanted = truth.count(at_ms - WINDOW_MS, at_ms)
        found = reading["posts"], reading["authors"]
        is_true = (found, reading["grade"]) == (wanted, "exact")
        lacking = missing() if is_true else ()
        if is_true and not lacking:
            return ""
        if time.monotonic() > deadline:
            return (
                f"in the end {found}, {reading['grade']}, instead of {wanted}; "
                f"not archived: {sorted(lacking)[:5]}"
            )
        threading.Event().wait(0.3)
    return "in the end no reading"


class Kills:
    """A plan being carried out."""

    def __init__(self, plan: Plan, api: XApi, load: Load) -> None:
        self._plan, self._api, self._load = plan, api, load
        self._dice = Random(plan.seed)
        self._file = Path(settings_for(api, plan.folder)["TWEETDOCK_ARCHIVE"])
        self._file.parent.mkdir(parents=True)
        self._archive = Archive(self._file.parent)
        self._truth = Truth(api)
        self._lives: list[Life] = []
        self._ids: set[str] = set()
        self.tally = Tally()

    @property
    def env(self) -> dict[str, str]:
        """The settings of the next life; some of them by the dice."""
        return settings_for(self._api, self._plan.folder) | {
            "TWEETDOCK_SAVE_SECONDS": str(self._dice.choice(self._plan.save_seconds)),
            "TWEETDOCK_ARCHIVE_ROTATE": self._dice.choice(("off", "off", "10KB", "20KB,daily")),
        }

    def carry_out(self) -> Tally:
        """Kill and restart as planned, then stop the load and demand the truth."""
        for number in range(1, self._plan.kills + 1):
            self._live_and_die()
            self._look()
            if number % self._plan.once_every == 0:
                self._compare(self._read_once())
                self._look(is_mended=True)
        self._load.freeze()
        # What a search that was broken off has left out is found by the next look-back.
        limit = 150.0 if self._plan.has_late else 75.0
        if complaint := settle(self._read_once, self._truth, self._missing, limit):
            self._complain(complaint)
        self._live_on()
        if self._archive.wrong_manifests():  # of what was closed by its last words
            self._live_on()
        self._look(is_mended=True)
        self._sum_up()
        return self.tally

    def _missing(self) -> set[str]:
        """What X shows of the hour, and is not archived."""
        since_ms = round(time.time() * 1000) - WINDOW_MS
        visible = {i for i in self._load.last_versions if milliseconds(i) > since_ms}
        return visible - self._archive.look()[0]

    def _live_and_die(self) -> None:
        env = self.env
        begun = time.time()
        with Running(folder=self._plan.folder, env=env) as daemon:
            way = self._dice.choice((self._wait, self._wait, self._wait_for_answer, self._rename))
            way(daemon)
            code = daemon.process.poll()
            daemon.process.kill()
            ended = time.time()
        self.tally.kills += 1
        self._end_life(begun, ended)
        if code is not None:
            self._complain(f"it ended by itself with {code}: {daemon.log[-2000:]}")
        self._read_log(daemon.log)

    def _live_on(self) -> None:
        """Live long enough to describe what an earlier life has closed just before its end."""
        env = self.env
        begun, deadline = time.time(), time.monotonic() + 20
        with Running(folder=self._plan.folder, env=env) as daemon:
            daemon.wait_until(lambda: bool(daemon.lines))
            while self._archive.wrong_manifests() and time.monotonic() < deadline:
                threading.Event().wait(0.2)
            code = daemon.stop()
        self._end_life(begun, time.time())
        if code:
            self._complain(f"asked to stop it ended with {code}: {daemon.log[-2000:]}")
        self._read_log(daemon.log)

    def _wait(self, daemon: Running) -> None:
        with suppress(subprocess.TimeoutExpired):
            daemon.process.wait(self._dice.uniform(0.05, self._plan.longest_life))

    def _wait_for_answer(self, daemon: Running) -> None:
        """Die while an answer is being counted, archived or saved."""
        more = self._dice.choice((1, 1, 2, 3))
        self._api.wait_for_requests(len(self._api.requests) + more, self._plan.longest_life)
        with suppress(subprocess.TimeoutExpired):
            daemon.process.wait(self._dice.uniform(0, 0.1))

    def _rename(self, daemon: Running) -> None:
        """Rename the file as logrotate does; before the first line of the log there is no ear."""
        with suppress(AssertionError):
            daemon.wait_until(lambda: bool(daemon.lines), self._plan.longest_life)
        self._wait_for_answer(daemon)
        if self._file.exists() and daemon.process.poll() is None:
            self._file.rename(f"{self._file}.{self.tally.kills}")
            daemon.process.send_signal(SIGHUP)
        with suppress(subprocess.TimeoutExpired):
            daemon.process.wait(self._dice.choice((0.0, 0.05, 0.3)) * self._dice.random())

    def _end_life(self, begun: float, ended: float) -> None:
        in_flight = IN_FLIGHT_SECONDS * slowness()
        self._lives.append(Life(begun, ended, self._saved_at(), in_flight))

    def _saved_at(self) -> float:
        path = self._plan.folder / "state" / "state.db"
        if not path.exists():
            return 0.0
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            found = []
            with suppress(sqlite3.OperationalError):  # a kill came before the tables
                query = "SELECT value FROM facts WHERE name = 'saved_ms'"
                found = database.execute(query).fetchall()
        return found[0][0] / 1000 if found else 0.0

    def _read_log(self, log: str) -> None:
        for line in log.splitlines():
            if " ERROR " in line or " CRITICAL " in line or line.startswith("Traceback"):
                self._complain(f"it says: {line}")

    def _read_once(self) -> dict[str, Any]:
        env = self.env
        begun = time.time()
        done = run("--once", folder=self._plan.folder, env=env, limit=60)
        self.tally.onces += 1
        self._read_log(done.stderr)
        self._end_life(begun, time.time())
        if done.returncode:
            self._complain(f"--once ended with {done.returncode}: {done.stderr}")
            return {}
        reading: dict[str, Any] = json.loads(done.stdout)
        self.tally.grades[reading["grade"]] += 1
        return reading

    def _compare(self, reading: Mapping[str, Any]) -> None:
        """Nothing counted that is not there; all that was saved, or is old, counted."""
        if not reading:
            return
        at_ms = parse_ms(reading["at"])
        counts = reading["posts"], reading["authors"]
        most = self._truth.count(at_ms - WINDOW_MS, at_ms)
        if any(count > bound for count, bound in zip(counts, most, strict=True)):
            self._complain(f"counts {counts} above the truth {most} at {reading['at']}")
        least = [self._saved_counts(at_ms)]
        if reading["covered"] == 1.0:
            least.append(self._truth.count(at_ms - WINDOW_MS, at_ms - SURELY_MS))
        for bounds in least:
            if any(count < bound for count, bound in zip(counts, bounds, strict=True)):
                self._complain(f"counts {counts} below {bounds} at {reading['at']}")

    def _saved_counts(self, at_ms: int) -> tuple[int, int]:
        posts = [self._load.posts[i] for i in Asked(self._api.requests, self._lives[:-1]).saved]
        firsts = {post["edit_history_tweet_ids"][0]: post["author_id"] for post in posts}
        here = {k: a for k, a in firsts.items() if at_ms - WINDOW_MS < milliseconds(k) <= at_ms}
        return len(here), len(set(here.values()))

    def _look(self, *, is_mended: bool = False) -> None:
        """What has been in the archive must be there for good, its end whole after a restart."""
        ids, torn = self._archive.look()
        if gone := self._ids - ids:
            self._complain(f"{len(gone)} posts are gone from the archive after {self.tally.kills}")
        self._ids = ids
        self.tally.torn += len(torn)
        if is_mended and (left := [path.name for path in torn if not is_renamed(path)]):
            self._complain(f"torn though it was started again: {left}")

    def _sum_up(self) -> None:
        tally = self.tally
        lines, wrong = self._archive.lines()
        tally.wrong += wrong + self._archive.wrong_manifests() + self._wrong_state()
        versions = [line["version"] for line in lines]
        archived = {line["post"]["id"] for line in lines}
        tally.posts, tally.archived = len(self._load.posts), len(set(versions))
        tally.files = len(self._archive.files)
        twice = doubles(versions) + doubles(line["post"]["id"] for line in lines)
        asked = Asked(self._api.requests, self._lives)
        window_ms = round(time.time() * 1000) - WINDOW_MS
        # What X returned, unless it was on its way at a kill, and does not return any more now.
        visible = self._load.last_versions
        expected = asked.saved | (visible & asked.returned.keys())
        expected |= {i for i in visible if milliseconds(i) > window_ms}
        lost = sorted(expected - archived)
        rereads = asked.rereads()
        tally.reread_after_kill, tally.reread_at_seams = asked.after_kill, asked.at_seams
        tally.returned = sum(map(len, asked.returned.values()))
        tally.lost, tally.doubled, tally.reread = len(lost), len(set(twice)), len(rereads)
        lost = [f"{post_id} {asked.why_saved(post_id)}" for post_id in lost]
        for what, some in (("lost", lost), ("doubled", twice), ("re-read", rereads)):
            if some:
                self._complain(f"{what}: {'; '.join(some[:5])}")

    def _wrong_state(self) -> list[str]:
        folder = self._plan.folder / "state"
        wrong = [f"{path.name} was set aside" for path in folder.glob("*damaged*")]
        path = folder / "state.db"
        if not path.is_file():
            return [*wrong, f"there is no {path}"]
        with closing(sqlite3.connect(path)) as database:
            found = database.execute("PRAGMA integrity_check").fetchall()
        return wrong if found == [("ok",)] else [*wrong, f"state.db: {found}"]

    def _complain(self, sentence: str) -> None:
        self.tally.wrong.append(f"seed {self._plan.seed}, kill {self.tally.kills}: {sentence}")


def carry_out(plan: Plan) -> Tally:
    """Carry a plan out against a stand-in X of its own."""
    with XApi(bearer=TOKEN, limit=NO_LIMIT) as api:
        load = Load(api, Random(plan.seed + 1), plan.per_second, has_late=plan.has_late)
        load.preload(plan.preloaded)
        with load:
            return Kills(plan, api, load).carry_out()


def main() -> int:
    """Kill as often as is asked for, and say what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=500, help="in all")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--workers", type=int, default=1, help="runs side by side")
    parser.add_argument("--per-second", type=float, default=40.0, help="posts")
    parser.add_argument("--folder", type=Path, help="where to work; it is kept")
    asked = parser.parse_args()
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="kills-"))
    plan = Plan(kills=0, seed=0, folder=folder, per_second=asked.per_second)
    plans = [
        replace(
            plan,
            kills=(asked.kills + worker) // asked.workers,
            seed=asked.seed + 1000 * worker,
            folder=folder / str(worker),
        )
        for worker in range(asked.workers)
    ]
    # Processes, not threads: each has an X of its own to compute. None is forked with threads.
    with ProcessPoolExecutor(asked.workers, mp_context=get_context("spawn")) as workers:
        tally = sum(workers.map(carry_out, plans), Tally())
    for sentence in tally.wrong:
        sys.stdout.write(f"{sentence}\n")
    sys.stdout.write(f"seed {asked.seed}, in {folder}: {tally}\n")
    return 1 if tally.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
