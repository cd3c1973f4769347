"""The options that the owner may give to the pigpiod that TweetDock starts."""

import re
import shlex
from collections.abc import Collection, Sequence

from tweetdock.core.errors import plain

# https://github.com/joan2937/pigpio: initOpts in pigpiod.c, and pigpio.h for what is accepted.
_NUMBERS: dict[str, Collection[int]] = {
    "a": range(3),
    "b": range(100, 10_001),
    "c": range(1024),  # from there on SIGTERM would no longer end it in good order
    "d": range(15),
    "e": range(15),
    "s": (1, 2, 4, 5, 8, 10),
    "t": range(2),
    "x": range(1 << 63),
}
_OURS = "TweetDock sets it already"
_REFUSED = {
    "f": _OURS,
    "g": _OURS,
    "m": _OURS,
    "n": "a pigpiod that TweetDock starts is for this machine only",
    "l": "a pigpiod that TweetDock starts is for this machine only, anyway",
    "p": "its port is set by PIGPIO_PORT",
    "k": "without its socket TweetDock could not reach it",
    "v": "pigpiod would print its version and end",
    "V": "pigpiod would print its version and end",
}
_ACCEPTED = "options of pigpiod with their numbers, such as -t 0 or -s 10"
_USUAL_STEP_US = 5
_USUAL_SECOND_CHANNEL = 6  # on every Pi; the first is another on a Pi 4


def parse_options(value: str) -> tuple[str, ...]:
    """The arguments of pigpiod, options and numbers in turn; split as a shell does."""
    try:
        words = iter(shlex.split(value))
    except ValueError as error:
        raise ValueError(f"a quotation mark is left open; {_ACCEPTED}") from error
    found: list[str] = []
    for word in words:
        option, letter = word[:2], word[1:2]
        if not word.startswith("-") or letter not in {**_NUMBERS, **_REFUSED}:
            shown = shlex.quote(plain(option if letter.isalnum() else word))
            known = " ".join(f"-{name}" for name in _NUMBERS)
            raise ValueError(f"{shown} is not an option that is accepted here; accepted: {known}")
        if letter in _REFUSED:
            raise ValueError(f"{option} is not accepted here: {_REFUSED[letter]}")
        number = word[2:] or next(words, "")
        if _as_in_c(number) not in _NUMBERS[letter]:
            raise ValueError(f"{option} takes {_range(_NUMBERS[letter])}")
        found += [option, number]
    _demand_two_channels(found)
    return tuple(found)


def step_us(options: Sequence[str]) -> float:
    """The step of the pulses that come of these options, in microseconds.

    Never less than pigpiod's usual one: no servo would show it, and the needle would not rest.
    """
    return float(max(_USUAL_STEP_US, _numbers(options).get("-s", 0)))


def _numbers(options: Sequence[str]) -> dict[str, int]:
    """The number of each option; of one that is given twice the last, as pigpiod has it."""
    return dict(zip(options[::2], map(_as_in_c, options[1::2]), strict=True))


def _demand_two_channels(options: Sequence[str]) -> None:
    # pigpiod ignores both where they are the same, and does not say so; gpioCfgDMAchannels.
    numbers = _numbers(options)
    second = numbers.get("-e", _USUAL_SECOND_CHANNEL)
    if numbers.get("-d") == second:
        given = "both are" if "-e" in numbers else "pigpiod's own -e is"
        raise ValueError(f"-d and -e must be two channels, and {given} {second}")


def _as_in_c(number: str) -> int:
    """A number as pigpiod reads it, by strtoll with base 0; -1 if it is not one."""
    if re.fullmatch(r"0[xX][0-9a-fA-F]{1,16}", number):
        return int(number, 16)
    if re.fullmatch(r"0[0-7]{0,21}", number):
        return int(number, 8)
    return int(number) if re.fullmatch(r"[1-9][0-9]{0,18}", number) else -1


def _range(numbers: Collection[int]) -> str:
    if isinstance(numbers, range):
        last = numbers[-1]
        return f"a number from {numbers[0]} to {hex(last) if last > 1 << 32 else last}"
    *others, last = numbers
    return f"{', '.join(map(str, others))} or {last}"
