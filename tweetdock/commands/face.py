"""The command `face`: a dial's face on paper."""

import argparse
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from tweetdock.commands.output import EXIT_SETTINGS, complain, results
from tweetdock.core.dial import DIALS, Dial
from tweetdock.core.scaler import make_scale
from tweetdock.keep.database import read_state
from tweetdock.keep.files import new_file
from tweetdock.settings import parse
from tweetdock.settings.gauge import DialSettings, Settings
from tweetdock.show.face import (
    LEAST_RADIUS_MM,
    PAPERS,
    Face,
    FaceError,
    Sheet,
    draw_face,
    needle_length,
)
from tweetdock.show.face_file import pdf, svg
from tweetdock.show.words import window_words

LARGEST_SCALE = 999_999_999  # that a scale can be set to
# A dial is built before there are credentials: what is wrong elsewhere is up to the gauge.
_DIALS = ("TWEETDOCK_TWEETS_", "TWEETDOCK_TWEETERS_")


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the words to a parser."""
    parser.description = (
        "Draw a dial's face in true millimetres, with its own scale and angles, to be printed, "
        "cut out and glued behind the needle."
    )
    parser.add_argument(
        "dial", nargs="?", choices=(*DIALS, "both"), default="both", help="which one (both)"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="NAME.svg, or NAME.pdf which needs tweetdock[pdf] (tweetdock-DIAL.svg); "
        "of both dials a PDF has two pages, and an SVG becomes two files",
    )
    parser.add_argument("--force", action="store_true", help="replace FILE if it exists")
    parser.add_argument("--paper", choices=PAPERS, default="a4", help="its size (a4)")
    parser.add_argument(
        "--radius",
        type=_checked(parse.number(LEAST_RADIUS_MM, 200, "mm")),
        default=60.0,
        metavar="MM",
        help="from the shaft to the arc; the needle is a little shorter (60)",
    )
    parser.add_argument(
        "--hole",
        type=_checked(parse.number(0, 100, "mm")),
        default=7.0,
        metavar="MM",
        help="how wide the hole for the servo's horn is; 0: a cross for its screw (7)",
    )
    parser.add_argument("--title", metavar="TEXT", help="instead of the dial's name")
    parser.add_argument("--subtitle", metavar="TEXT", help="instead of 'in the last hour'")
    scale = parser.add_mutually_exclusive_group()
    scale.add_argument(
        "--full-scale",
        type=_checked(parse.whole(1, LARGEST_SCALE)),
        metavar="N",
        help="the last count on the face; by default as set, or where an automatic scale stands",
    )
    scale.add_argument(
        "--scale",
        type=_checked(parse.scale),
        metavar="SCALE",
        help="linear:N or log:N, instead of what is set",
    )
    parser.add_argument(
        "--font", type=Path, metavar="FILE", help="a TrueType font, for a PDF in other scripts"
    )


def run(arguments: argparse.Namespace, env: Mapping[str, str]) -> int:
    """Draw and write the faces; returns the exit code, or raises SettingsError or OSError."""
    names = DIALS if arguments.dial == "both" else (arguments.dial,)
    try:
        _check(arguments)
        subtitle = arguments.subtitle
        about = _DIALS if subtitle is not None else (*_DIALS, "TWEETDOCK_WINDOW_SECONDS")
        settings = Settings.from_env(env, about=about)
        if subtitle is None:
            subtitle = f"in the {window_words(settings.window_seconds)}"
        dials = settings.dials
        scales = {name: _scale(name, dials[name], arguments, env) for name in names}
        sheets = {
            name: _sheet(name, dials[name], scales[name], subtitle, arguments) for name in names
        }
        _write(sheets, arguments)
    except FaceError as error:
        complain(error)
        return EXIT_SETTINGS
    for name, scale in scales.items():
        if scale != dials[name].scale:
            complain(
                f"the needle of {name} matches this face only on this scale; put into .env: "
                f"TWEETDOCK_{name.upper()}_SCALE={scale}"
            )
    return 0


def _checked(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    def read(word: str) -> Any:
        try:
            return parse(word)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{word!r}: {error}") from error

    return read


def _check(arguments: argparse.Namespace) -> None:
    if arguments.title is not None and arguments.dial == "both":
        raise FaceError("--title is for one face: name the dial, tweets or tweeters")
    if arguments.output is not None and arguments.output.suffix.lower() not in (".svg", ".pdf"):
        raise FaceError(f"{arguments.output}: the name must end in .svg or .pdf")
    if arguments.font is not None and not _is_pdf(arguments):
        raise FaceError("--font is for a PDF: an SVG takes the fonts of the program that shows it")
    if arguments.scale == "auto":
        raise FaceError("--scale: a printed face shows one scale, linear:N or log:N")


def _is_pdf(arguments: argparse.Namespace) -> bool:
    return arguments.output is not None and arguments.output.suffix.lower() == ".pdf"


def _scale(
    name: str, dial: DialSettings, arguments: argparse.Namespace, env: Mapping[str, str]
) -> str:
    """The words of the scale that the face shows, never `auto`."""
    words: str = arguments.scale or dial.scale
    if arguments.full_scale is not None:
        return f"{'log' if words.startswith('log:') else 'linear'}:{arguments.full_scale}"
    if words != "auto":
        return words
    full_scale = _automatic(name, env)
    if full_scale is None:
        raise FaceError(
            f"the scale of {name} is automatic, and a printed face shows only one: put "
            f"TWEETDOCK_{name.upper()}_SCALE=linear:500 into .env, or give --full-scale 500"
        )
    return f"linear:{full_scale}"


def _automatic(name: str, env: Mapping[str, str]) -> int | None:
    """Where a dial's automatic scale stood when the gauge last saved its state."""
    folder = Settings.from_env(env, about=("TWEETDOCK_STATE_DIR",)).keep.state_dir
    with suppress(OSError):
        state = read_state(folder, {}, 0)
        scale = state.saved.scales.get(name) if state is not None else None
        if scale is not None and scale.full_scale <= LARGEST_SCALE:
            return scale.full_scale
    return None


def _sheet(
    name: str, dial: DialSettings, scale: str, subtitle: str, arguments: argparse.Namespace
) -> Sheet:
    drawn = replace(dial, scale=scale)
    full_scale = make_scale(scale).full_scale
    low, high = dial.min_pulse_us, dial.max_pulse_us
    if dial.reversed:
        low, high = high, low
    longest = needle_length(arguments.radius)
    notes = (
        f"{name}: 0 to {full_scale}; needle up to {longest:.0f} mm long",
        f"0 at {_end(dial.min_angle, low)}, {full_scale} at {_end(dial.max_angle, high)}",
        f"TWEETDOCK_{name.upper()}_SCALE={scale}",
    )
    title = name if arguments.title is None else arguments.title
    dial_face = Dial.of(drawn, full_scale)
    face = Face(dial_face, arguments.radius, arguments.hole, title, subtitle, notes)
    return draw_face(face, arguments.paper)


def _end(angle: float, pulse_us: int) -> str:
    return f"{angle:g}\u00b0 ({pulse_us} \u00b5s)"


def _write(sheets: Mapping[str, Sheet], arguments: argparse.Namespace) -> None:
    """Write all files or none, and tell their names."""
    files: dict[Path, bytes] = {}
    if _is_pdf(arguments):
        files[arguments.output] = pdf(list(sheets.values()), arguments.font)
    else:
        for name, sheet in sheets.items():
            files[_path(name, arguments)] = svg(sheet).encode()
    with ExitStack() as writing:
        fresh = {
            path: writing.enter_context(new_file(path, force=arguments.force)) for path in files
        }
        for path, content in files.items():
            fresh[path].write_bytes(content)
    with results():
        for path in files:
            print(path)  # noqa: T201
        print("Print at 100 %, then measure the line below the face.")  # noqa: T201


def _path(name: str, arguments: argparse.Namespace) -> Path:
    path: Path | None = arguments.output
    if path is None:
        return Path(f"tweetdock-{name}.svg")
    return path.with_stem(f"{path.stem}-{name}") if arguments.dial == "both" else path
