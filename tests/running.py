"""`python -m tweetdock` as a user starts it, watched from outside."""

import gc
import io
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO
from unittest.mock import patch
from warnings import catch_warnings, simplefilter

from tweetdock.cli import main

NOTHING: Mapping[str, str] = {}
# What takes a few seconds, and ending, which takes two: ten times that for a busy machine.
LIMIT, STOP_LIMIT = 60.0, 20.0
# What coverage.py hands down to a process that it is to follow belongs to it.
KEPT = ("PATH", "HOME", "COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START")
BARE = {name: os.environ[name] for name in KEPT if name in os.environ}


def run(
    *words: str, folder: Path, env: Mapping[str, str] = NOTHING, limit: float = LIMIT
) -> "subprocess.CompletedProcess[str]":
    """Run to the end, in an empty folder and environment."""
    return subprocess.run(
        command(*words),
        cwd=folder,
        env=environment(folder, env),
        capture_output=True,
        text=True,
        timeout=limit,
        check=False,
    )


def run_here(
    *words: str,
    folder: Path,
    env: Mapping[str, str] = NOTHING,
    encoding: str = "utf-8",
    output: TextIO | None = None,
) -> "subprocess.CompletedProcess[str]":
    """The same in this process, which is far quicker.

    encoding: of standard output and error. output: where standard output goes, not to be read.
    """
    told = io.BytesIO(), io.BytesIO()
    out, err = (io.TextIOWrapper(one, encoding, write_through=True) for one in told)
    with (
        chdir(folder),
        patch.dict(os.environ, environment(folder, env), clear=True),
        restored_process(),
        redirect_stdout(output or out),
        redirect_stderr(err),
    ):
        try:
            code = main(words)
        except SystemExit as end:
            code = int(end.code or 0)
    return subprocess.CompletedProcess(words, code, *(one.getvalue().decode() for one in told))


@contextmanager
def restored_process() -> Iterator[None]:
    """Let signals, threads and the log be as they were."""
    threads = set(threading.enumerate())
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    signals = {number: signal.getsignal(number) for number in numbers}
    root, ours = logging.getLogger(), logging.getLogger("tweetdock")
    before = root.handlers[:], root.level, ours.level
    try:
        yield
    finally:
        logging.captureWarnings(capture=False)
        root.handlers[:], root.level, ours.level = before
        for number, handler in signals.items():
            signal.signal(number, handler)
        for thread in set(threading.enumerate()) - threads:
            if not thread.name.startswith("loopback"):  # those end with their stand-in
                thread.join(LIMIT)
                assert not thread.is_alive(), thread
        # Connections that the end of a process would close; here no other test is to hear of them.
        with catch_warnings():
            simplefilter("ignore", ResourceWarning)
            gc.collect()


def environment(folder: Path, env: Mapping[str, str]) -> dict[str, str]:
    """Nothing but `env`, a state folder that is not the user's own, and no page by default."""
    usual = {"TWEETDOCK_STATE_DIR": str(folder / "state"), "TWEETDOCK_WEB": "off"}
    return BARE | usual | dict(env)


def command(*words: str) -> list[str]:
    """The command, with warnings as errors as in all tests."""
    return [sys.executable, "-W", "error", "-m", "tweetdock", *words]


def slowness() -> float:
    """How many times longer the machine takes for something now than if it did nothing else."""
    wall, busy = time.monotonic(), time.process_time()
    while time.process_time() - busy < 0.1:
        pass
    return max(1.0, (time.monotonic() - wall) / 0.1)


class Running:
    """TweetDock at work; its log is read as it comes."""

    def __init__(
        self,
        *words: str,
        folder: Path,
        env: Mapping[str, str] = NOTHING,
        argv: list[str] | None = None,
    ) -> None:
        self.process = subprocess.Popen(
            argv or command(*words),
            cwd=folder,
            env=environment(folder, env),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._has_ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: object, __: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        if kind is not None:
            sys.stderr.write("".join(self.lines))

    @property
    def log(self) -> str:
        """All that it said on standard error so far."""
        return "".join(self.lines)

    def wait_for(self, *words: str, limit: float = LIMIT) -> None:
        """Wait until one line of the log has all the words; the wait starts anew with each call."""
        self.wait_until(lambda: any(all(w in line for w in words) for line in self.lines), limit)

    def wait_until(self, condition: Callable[[], bool], limit: float = LIMIT) -> None:
        """Wait for a condition on the log."""
        with self._changed:
            assert self._changed.wait_for(lambda: condition() or self._has_ended, limit), self.log
            assert condition(), self.log

    def forget(self) -> None:
        """Wait for new lines only from now on."""
        with self._changed:
            self.lines.clear()

    def stop(self, number: int = signal.SIGTERM, limit: float = STOP_LIMIT) -> int:
        """Ask it to end; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(limit)

    def stop_within(self, seconds: float) -> int:
        """Ask it to end, in so many seconds of a machine that does nothing else; its exit code."""
        before, began = slowness(), time.monotonic()
        code = self.stop(limit=10 * seconds)
        took = time.monotonic() - began
        assert took <= seconds * max(before, slowness()), f"it took {took:.1f} s to end"
        return code

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._changed:
                self.lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()
