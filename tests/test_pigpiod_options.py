"""The options for pigpiod that an owner may set: what is taken, what is refused and why."""

import contextlib
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tweetdock.commands import calibrate
from tweetdock.core.errors import SettingsError
from tweetdock.servos.bench import make_bench
from tweetdock.settings.gauge import Settings
from tweetdock.settings.pigpiod_options import parse_options, step_us

NAME = "TWEETDOCK_PIGPIOD_OPTIONS"
NUMBERS = {
    "-a": range(3),
    "-b": range(100, 10_001),
    "-c": range(1024),
    "-d": range(15),
    "-e": range(15),
    "-s": [1, 2, 4, 5, 8, 10],
    "-t": range(2),
    "-x": range(1 << 63),
}
REFUSAL = "is not an option that is accepted here; accepted: -a -b -c -d -e -s -t -x"


@given(st.data())
def test_every_option_with_a_number_of_its_own_is_taken_as_a_shell_would(
    data: st.DataObject,
) -> None:
    words, wanted = [], []
    for _ in range(data.draw(st.integers(0, 4))):
        option = data.draw(st.sampled_from(sorted(NUMBERS)))
        numbers = NUMBERS[option]
        number = data.draw(
            st.integers(numbers.start, numbers.stop - 1)
            if isinstance(numbers, range)
            else st.sampled_from(numbers)
        )
        told = data.draw(st.sampled_from([str(number), hex(number)]))
        wanted += [option, told]
        words += data.draw(st.sampled_from([[option, told], [option + told]]))
    given = {option: int(told, 0) for option, told in zip(wanted[::2], wanted[1::2], strict=True)}
    if given.get("-d") == given.get("-e", 6):
        with pytest.raises(ValueError, match="two channels"):
            parse_options(shlex.join(words))
    else:
        assert parse_options(shlex.join(words)) == tuple(wanted)


@given(st.sampled_from(sorted(NUMBERS)), st.integers(-(1 << 65), 1 << 65))
def test_a_number_beyond_is_refused_with_what_is_accepted(option: str, number: int) -> None:
    if number in NUMBERS[option] and (option, number) != ("-d", 6):
        assert parse_options(f"{option} {number}") == (option, str(number))
    else:
        with pytest.raises(ValueError, match=f"^{option} (takes|and -e must be two channels)"):
            parse_options(f"{option} {number}")


@given(st.text())
def test_any_other_text_is_refused_or_harmless(text: str) -> None:
    words: tuple[str, ...] = ()
    with contextlib.suppress(ValueError):
        words = parse_options(text)
    assert set(words[::2]) <= set(NUMBERS)


@pytest.mark.parametrize("letter", "fgmnlpkvV")
def test_what_tweetdock_decides_itself_is_refused_with_the_reason(letter: str) -> None:
    for told in (f"-{letter}", f"-t 0 -{letter} 8888"):
        with pytest.raises(ValueError, match=f"^-{letter} is not accepted here: "):
            parse_options(told)


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ("-t", "-t takes a number from 0 to 1"),
        ("-t PWM", "-t takes a number from 0 to 1"),
        ("-s 3", "-s takes 1, 2, 4, 5, 8 or 10"),
        ("-s 09", "-s takes 1, 2, 4, 5, 8 or 10"),
        ("-x 0x8000000000000000", "-x takes a number from 0 to 0x7fffffffffffffff"),
        ("-q", f"-q {REFUSAL}"),
        ("-z1", f"-z {REFUSAL}"),
        ("--help", f"--help {REFUSAL}"),
        ("t0", f"t0 {REFUSAL}"),
        ("-t 0 ''", f"'' {REFUSAL}"),
        ("-d 5 -e 5", "-d and -e must be two channels, and both are 5"),
        ("-d 0xe -e5 -e 016", "-d and -e must be two channels, and both are 14"),
        ("-d 6", "-d and -e must be two channels, and pigpiod's own -e is 6"),
        ("'-t 0", "a quotation mark is left open"),
    ],
)
def test_a_wrong_word_is_refused_before_anything_starts(told: str, reason: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        Settings.from_env({"TWEETDOCK_SOURCES": "demo", NAME: told})
    (problem,) = refusal.value.problems
    assert problem.startswith(f"{NAME}={told}: ")
    assert problem.endswith(reason) or problem.startswith(f"{NAME}={told}: {reason}")


def test_numbers_are_read_as_pigpiod_reads_them() -> None:
    assert parse_options("-s 010") == ("-s", "010")
    assert step_us(("-s", "010")) == 8
    assert step_us(("-s", "0xa")) == 10


@pytest.mark.parametrize(
    ("options", "step"),
    [("", 5), ("-t 0", 5), ("-s 1", 5), ("-s 5", 5), ("-s 8", 8), ("-s 10", 10), ("-s 10 -s 4", 5)],
)
def test_the_step_of_the_pulses_is_never_finer_than_a_servo_shows(options: str, step: int) -> None:
    assert step_us(parse_options(options)) == step


def test_who_calibrates_is_served_by_the_same_pigpiod() -> None:
    settings = calibrate._settings({NAME: "-s 10", "TWEETDOCK_SERVO_BACKEND": "pigpio"})
    assert settings.pigpiod_options == ("-s", "10")
    assert make_bench(settings, "", [1000, 1000]).step_us == 10
