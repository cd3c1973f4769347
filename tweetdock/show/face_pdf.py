"""Sheets as a PDF, a page each, by fpdf2."""

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tweetdock import __version__
from tweetdock.core.errors import UnavailableError
from tweetdock.show.face import FaceError
from tweetdock.show.face_sheet import Arc, Ring, Shape, Sheet, Words

_POINTS = 72 / 25.4  # of type, in a millimetre
_STEP = 0.5  # degrees; a chord is then nowhere a hundredth of a millimetre off its arc


def pdf(sheets: Sequence[Sheet], font: Path | None = None) -> bytes:
    """The document, which asks to be printed without scaling.

    font: a TrueType file for texts beyond Western European ones. Raises FaceError if a text has a
    sign that the font has not, or the font cannot be read, UnavailableError without fpdf2.
    """
    fpdf = _library()
    document = fpdf.FPDF(unit="mm")
    document.set_auto_page_break(auto=False)
    document.set_creator(f"TweetDock {__version__}")
    document.set_title("; ".join(sheet.title for sheet in sheets))
    document.viewer_preferences = fpdf.ViewerPreferences(print_scaling="None")
    family = _add_font(document, font) if font else "helvetica"
    for sheet in sheets:
        document.add_page(format=(sheet.width, sheet.height))
        document.set_font(family)
        for layer in sheet.layers:
            for shape in layer.shapes:
                _draw(document, shape)
    with _font_troubles(font):  # not before now it is read as a whole
        return bytes(document.output())


def _library() -> Any:
    try:
        return importlib.import_module("fpdf")
    except ImportError as error:
        raise UnavailableError(
            "a PDF needs the package fpdf2: pip install 'tweetdock[pdf]', or an image built with "
            "EXTRAS=pdf; an SVG needs nothing"
        ) from error


def _add_font(document: Any, path: Path) -> str:
    with _font_troubles(path):
        document.add_font("face", fname=path)
    return "face"


@contextmanager
def _font_troubles(path: Path | None) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # Fonts are foreign, and break in more ways than fpdf2 has names for.
        if path is None:
            raise
        raise FaceError(f"{path} cannot be used: it must be a TrueType font, NAME.ttf") from error


def _draw(document: Any, shape: Shape) -> None:
    red, green, blue = bytes.fromhex(shape.colour[1:])
    if isinstance(shape, Words):
        document.set_text_color(red, green, blue)
        _write(document, shape)
        return
    if isinstance(shape, Ring) and not shape.width:
        document.set_fill_color(red, green, blue)
        document.circle(shape.x, shape.y, shape.radius, style="F")
        return
    document.set_draw_color(red, green, blue)
    document.set_line_width(shape.width)
    document.set_dash_pattern(*((2, 1.5) if shape.is_dashed else ()))
    if isinstance(shape, Ring):
        document.circle(shape.x, shape.y, shape.radius)
    elif isinstance(shape, Arc):
        document.polyline(list(_points(shape)))
    else:
        document.line(shape.x1, shape.y1, shape.x2, shape.y2)


def _write(document: Any, words: Words) -> None:
    _check(document, words.text)
    document.set_font_size(words.size * _POINTS)
    left = words.x - document.get_string_width(words.text) / 2 if words.is_centred else words.x
    document.text(left, words.y, words.text)


def _check(document: Any, text: str) -> None:
    if document.is_ttf_font:
        cmap = document.current_font.cmap
        missing = [sign for sign in text if ord(sign) not in cmap]
        cure = "take another one"
    else:
        missing = [sign for sign in text if ord(sign) > 0xFF]
        cure = "name one that has by --font FILE.ttf, or make an SVG"
    if missing:
        raise FaceError(f"the PDF's font has no {missing[0]!r}: {cure}")


def _points(arc: Arc) -> Iterator[tuple[float, float]]:
    steps = max(1, round((arc.end - arc.start) / _STEP))
    for step in range(steps + 1):
        yield arc.at(arc.start + (arc.end - arc.start) * step / steps)
