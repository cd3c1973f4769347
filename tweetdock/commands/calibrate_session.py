"""Calibration at work: keys turn needles and make marks until the owner leaves."""

from collections.abc import Callable, Sequence

from tweetdock.commands import keyboard as keys
from tweetdock.commands.calibrate_panel import View, help_text, panel
from tweetdock.commands.calibrate_screen import Screen
from tweetdock.commands.keyboard import Keyboard
from tweetdock.servos.bench import Bench
from tweetdock.servos.calibration import Calibration, Place
from tweetdock.servos.hands import FRAME_SECONDS
from tweetdock.servos.needle_thread import CHECK_SECONDS
from tweetdock.settings.gauge import DIALS, Settings

REDRAW_SECONDS = 0.08  # over a slow line a needle on its way must not outrun its picture
NUDGES = {"right": 10, "left": -10, "up": 1, "down": -1, ".": 1, ",": -1}
PLACES = {"l": Place.LEFT, "m": Place.MIDDLE, "r": Place.RIGHT}
REMARKS = {"pigpio": ", steps of {:g} µs", "mock": ", no servo moves"}
GOALS = {"1": Place.LEFT, "2": Place.MIDDLE, "3": Place.RIGHT}


class Session:
    """One sitting at the bench; `save` saves all dials' marks and says what became of it."""

    def __init__(
        self,
        settings: Settings,
        bench: Bench,
        works: Sequence[Calibration],
        save: Callable[[], str],
        number: int,
    ) -> None:
        self._dials = (settings.tweets, settings.tweeters)
        self._bench = bench
        self._works = works
        self._save = save
        self._number = number
        self._news = ""
        self._is_helping = False
        self._is_leaving = False
        self._is_over = False
        self._drawn_at = float("-inf")
        self.was_interrupted = False

    def run(self, keyboard: Keyboard, screen: Screen, monotonic: Callable[[], float]) -> None:
        """Take keys, turn needles and show both until the owner leaves or somebody ends it."""
        is_moving = False
        self._draw(screen)
        while not self._is_over:
            pressed = keyboard.wait(FRAME_SECONDS if is_moving else CHECK_SECONDS)
            now = monotonic()
            for key in pressed:
                if not self._is_over:
                    self._take(key, now, keyboard, screen)
            was_moving, is_moving = is_moving, self._bench.turn(now)
            is_moving = self._goes_on() or is_moving
            if pressed or was_moving != is_moving or now - self._drawn_at >= REDRAW_SECONDS:
                self._drawn_at = now
                self._draw(screen)
        self._news, self._is_helping = "The needles go to zero.", False
        self._draw(screen)

    @property
    def _work(self) -> Calibration:
        return self._works[self._number]

    def _take(self, key: str, now: float, keyboard: Keyboard, screen: Screen) -> None:
        if key in (keys.INTERRUPT, keys.HANG_UP):
            self.was_interrupted = self._is_over = True
        elif key == keys.SUSPEND:
            self._bench.pause()
            screen.close()
            keyboard.sleep()
            screen.open()
        elif key == keys.RESUME:
            keyboard.take()
            screen.open()
        elif key == keys.RESIZE:
            screen.forget()
        elif self._is_helping:
            self._is_helping = False
        else:
            self._press(key, now)

    def _press(self, key: str, now: float) -> None:
        work, number, is_asked = self._work, self._number, self._is_leaving
        self._news, self._is_leaving = "", False
        was_at = work.target_us
        if work.is_sweeping and key not in ("q", "s", "?"):
            work.halt(self._bench.at_us(number))
        elif key in NUDGES:
            work.nudge(NUDGES[key], self._bench.at_us(number), now)
        elif key in PLACES:
            is_known = self._bench.was_moved(number)
            work.mark(PLACES[key], self._bench.at_us(number) if is_known else None)
        elif key in GOALS:
            work.go(GOALS[key])
        elif key in ("space", keys.ESCAPE):
            work.halt(self._bench.at_us(number))
        elif key == "q":
            self._leave(is_asked=is_asked)
        else:
            self._command(key)
        moves = key in NUDGES or key in GOALS or key == "t"
        if moves or work.target_us != was_at:
            self._bench.send(number, work.target_us)

    def _command(self, key: str) -> None:
        work = self._work
        if key == "t":
            work.sweep()
        elif key == "x":
            work.reverse()
        elif key == "u":
            work.undo()
        elif key == "s":
            self._news = self._saved()
        elif key == "tab":
            work.note = ""
            self._number = 1 - self._number
        elif key == "?":
            self._is_helping = True
        else:
            work.note = "This key does nothing; ? tells which do what."

    def _saved(self) -> str:
        for dial, work in zip(DIALS, self._works, strict=True):
            work.note = ""
            if work.unsaved and work.marks.trouble:
                return f"Not saved, {dial}: {work.marks.trouble}"
        if not any(work.unsaved for work in self._works):
            return "There is nothing to save: all is as it was."
        return self._save()

    def _leave(self, *, is_asked: bool) -> None:
        self._is_over = is_asked or not any(work.unsaved for work in self._works)
        self._is_leaving = True
        self._work.note = ""
        if not self._is_over:
            self._news = "Not all is saved: s saves it, q again leaves without."

    def _goes_on(self) -> bool:
        """Whether a sweep goes on now to the next mark from the one that was come to."""
        if not (self._work.is_sweeping and self._bench.is_resting(self._number)):
            return False
        self._work.arrive()
        self._bench.send(self._number, self._work.target_us)
        return self._work.is_sweeping

    def _draw(self, screen: Screen) -> None:
        width, _ = screen.size()
        if self._is_helping:
            screen.show(help_text(width))
            return
        number, other = self._number, 1 - self._number
        was_moved, moves_by = self._bench.was_moved(number), self._bench.name
        view = View(
            name=DIALS[number],
            other=DIALS[other],
            servos=moves_by + REMARKS.get(moves_by, "").format(self._bench.step_us),
            dial=self._dials[number],
            work=self._work,
            at_us=self._bench.at_us(number) if was_moved else None,
            is_resting=self._bench.is_resting(number),
            trouble=self._bench.trouble,
            news=self._news,
            other_is_unsaved=bool(self._works[other].unsaved),
        )
        screen.show(panel(view, width))
