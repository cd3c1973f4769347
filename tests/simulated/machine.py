"""A machine whose time is virtual: its threads run one at a time, and time passes as all wait."""

from __future__ import annotations

import math
import threading
import time
from functools import partial
from queue import Empty
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_STEPS = 100_000  # at one moment: more are a loop that never waits
LIMIT_SECONDS = 60.0  # of real time, for which a thread may think


class KilledError(BaseException):
    """The process was killed while it waited."""


class StuckError(RuntimeError):
    """Nobody will ever do anything again, or somebody does everything at once."""


class _Actor:
    """A thread that runs only while it is its turn."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.baton = threading.Lock()  # held by whose turn it is not
        self.baton.acquire()
        self.is_alive = True
        self.is_ready: Callable[[], bool] = lambda: True
        self.due = math.inf


class _Alarm:
    """What is to be done at a moment, by whoever lets time pass."""

    def __init__(self, due: float, work: Callable[[], object]) -> None:
        self.due = due
        self.work = work


class Machine:
    """Clocks and threads. Times in seconds.

    awake: CLOCK_MONOTONIC, by which waits end. slept: for how long it was suspended in all.
    wall_off: so far its own clock is ahead of the true time. is_synchronised: whether a time
    server has set that.
    """

    def __init__(self, start: float) -> None:
        self.awake = 1000.0
        self.slept = 0.0
        self.wall_off = 0.0
        self.is_synchronised = False
        self._ahead = start - self.awake  # of the true time before the clocks of this machine
        self._main = self._current = _Actor("main")
        self._waiting: list[_Actor] = []
        self._alarms: list[_Alarm] = []
        self._is_killed = False
        self._failure: BaseException | None = None
        self._steps = 0
        self.time = _Time(self)
        self.threading: Any = _Threading(self)

    # Its clocks.

    @property
    def true(self) -> float:
        """The true time, in Unix seconds, which nobody on the machine knows."""
        return self.awake + self.slept + self._ahead

    def true_seconds(self) -> float:
        """The same, to be handed on."""
        return self.true

    @property
    def true_ms(self) -> int:
        """The same in milliseconds."""
        return round(self.true * 1000)

    def wall(self) -> float:
        """What its own clock says."""
        return self.true + self.wall_off

    def monotonic(self) -> float:
        """CLOCK_MONOTONIC."""
        return self.awake

    def boottime(self) -> float:
        """CLOCK_BOOTTIME."""
        return self.awake + self.slept

    def suspend(self, seconds: float) -> None:
        """Sleep for so long now: the world goes on."""
        self.slept += seconds

    def reboot(self, seconds: float, *, wall_off: float = 0.0) -> None:
        """Be without power for so long; then the clocks begin anew."""
        true = self.true + seconds
        self.awake, self.slept, self.wall_off = 20.0, 0.0, wall_off
        self._ahead = true - self.awake
        self._alarms.clear()

    # Its threads.

    def wait(self, is_ready: Callable[[], bool], seconds: float | None = None) -> bool:
        """Let others run until something is so, for so long at the most; whether it is."""
        if self._is_killed:
            raise KilledError
        me = self._current
        me.is_ready = is_ready
        me.due = math.inf if seconds is None else self.awake + max(0.0, seconds)
        self._waiting.append(me)
        self._pass_on(me)
        if self._is_killed:
            raise KilledError
        return is_ready()

    def spawn(self, name: str, work: Callable[[], object]) -> _Actor:
        """Let a thread do its work from now on."""
        actor = _Actor(name)

        def run() -> None:
            actor.baton.acquire()
            try:
                work()
            except KilledError:
                pass
            except BaseException as failure:  # noqa: BLE001 - the main thread raises it
                self._fail(failure)
            actor.is_alive = False
            self._pass_on(None)

        threading.Thread(target=run, name=name, daemon=True).start()
        self._waiting.append(actor)
        return actor

    def at(self, seconds: float, work: Callable[[], object]) -> _Alarm:
        """Do something in so many seconds."""
        alarm = _Alarm(self.awake + max(0.0, seconds), work)
        self._alarms.append(alarm)
        return alarm

    def forget(self, alarm: _Alarm) -> None:
        """Do it not."""
        if alarm in self._alarms:
            self._alarms.remove(alarm)

    def kill(self) -> None:
        """End all threads where they wait, without a word; to be called by the main thread."""
        self._is_killed = True
        while self._waiting:
            self._main.is_ready, self._main.due = self._is_alone, math.inf
            self._waiting.append(self._main)
            self._pass_on(self._main)
        self._is_killed = False
        self._alarms.clear()

    def _is_alone(self) -> bool:
        return not self._waiting or self._waiting == [self._main]

    def _fail(self, failure: BaseException) -> None:
        self._failure = self._failure or failure
        self._is_killed = True

    def _pass_on(self, me: _Actor | None) -> None:
        """Let the next one run, and wait for one's own turn; None: for ever."""
        try:
            following = self._next()
        except BaseException as failure:  # noqa: BLE001 - the main thread raises it
            self._fail(failure)
            following = self._main
            if following in self._waiting:
                self._waiting.remove(following)
        self._current = following
        if following is not me:
            following.baton.release()
            if me is not None and not me.baton.acquire(timeout=LIMIT_SECONDS):
                raise StuckError(f"{following.name} does not come back")
        if me is self._main and self._failure is not None:
            raised, self._failure = self._failure, None
            raise raised

    def _next(self) -> _Actor:
        """Whose turn it is: who has waited the longest of those that are ready, or the next due."""
        while True:
            self._steps += 1
            if self._steps > MOST_STEPS:
                raise StuckError(f"{self._current.name} never waits")
            if self._failure is not None and self._main in self._waiting:
                return self._take(self._main)
            for actor in self._waiting:
                if (self._is_killed and actor is not self._main) or actor.is_ready():
                    return self._take(actor)
            alarm = min(self._alarms, key=lambda alarm: alarm.due, default=None)
            actor = min(self._waiting, key=lambda actor: actor.due)
            if alarm is not None and alarm.due <= actor.due:
                self._alarms.remove(alarm)
                self._pass_to(alarm.due)
                alarm.work()
            elif actor.due == math.inf:
                raise StuckError(f"all wait for ever: {[one.name for one in self._waiting]}")
            else:
                self._pass_to(actor.due)
                return self._take(actor)

    def _take(self, actor: _Actor) -> _Actor:
        self._waiting.remove(actor)
        return actor

    def _pass_to(self, awake: float) -> None:
        if awake > self.awake:
            self.awake, self._steps = awake, 0

    # What stands in the place of the standard library's.

    def queue(self) -> _SimpleQueue:
        """A queue.SimpleQueue."""
        return _SimpleQueue(self)


class _Time:
    """The module `time`."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.time = machine.wall
        self.monotonic = machine.monotonic

    def clock_gettime(self, clock: int) -> float:
        return self._machine.boottime() if clock == time.CLOCK_BOOTTIME else self.monotonic()

    def sleep(self, seconds: float) -> None:
        self._machine.wait(lambda: False, seconds)

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


class _Event:
    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._is_set = False

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True

    def clear(self) -> None:
        self._is_set = False

    def wait(self, timeout: float | None = None) -> bool:
        return self._machine.wait(self.is_set, timeout)


class _Lock:
    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._is_held = False

    def __enter__(self) -> None:
        if self._is_held:
            self._machine.wait(lambda: not self._is_held)
        self._is_held = True

    def __exit__(self, *_: object) -> None:
        self._is_held = False


class _Thread:
    def __init__(
        self,
        machine: Machine,
        *,
        target: Callable[..., object],
        args: tuple[Any, ...] = (),
        name: str = "",
        daemon: bool = False,
    ) -> None:
        self._machine = machine
        self._work = partial(target, *args)
        self._actor: _Actor | None = None
        self.name = name

    def start(self) -> None:
        self._actor = self._machine.spawn(self.name, self._work)

    def is_alive(self) -> bool:
        return self._actor is not None and self._actor.is_alive

    def join(self, timeout: float | None = None) -> None:
        self._machine.wait(lambda: not self.is_alive(), timeout)


class _Timer:
    daemon = True

    def __init__(self, machine: Machine, seconds: float, work: Callable[[], object]) -> None:
        self._machine = machine
        self._alarm = _Alarm(seconds, work)

    def start(self) -> None:
        self._alarm = self._machine.at(self._alarm.due, self._alarm.work)

    def cancel(self) -> None:
        self._machine.forget(self._alarm)


class _Threading:
    """The module `threading`."""

    def __init__(self, machine: Machine) -> None:
        self.Event = partial(_Event, machine)
        self.Lock = partial(_Lock, machine)
        self.Thread = partial(_Thread, machine)
        self.Timer = partial(_Timer, machine)

    def __getattr__(self, name: str) -> Any:
        return getattr(threading, name)


class _SimpleQueue:
    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._items: list[Any] = []

    def put(self, item: Any) -> None:
        self._items.append(item)

    def get(self, timeout: float | None = None) -> Any:
        if not self._machine.wait(lambda: bool(self._items), timeout):
            raise Empty
        return self._items.pop(0)

    def get_nowait(self) -> Any:
        if not self._items:
            raise Empty
        return self._items.pop(0)
