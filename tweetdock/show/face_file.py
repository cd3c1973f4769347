"""A face's sheet as a file: an SVG, or a PDF by fpdf2."""

import importlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from tweetdock import __version__
from tweetdock.core.errors import UnavailableError
from tweetdock.show.face import Arc, FaceError, Layer, Ring, Shape, Sheet, StraightLine, Words

_FONTS = "Helvetica Neue, Helvetica, Arial, Liberation Sans, DejaVu Sans, sans-serif"
_POINTS = 72 / 25.4  # of type, in a millimetre
_CHORD_DEGREES = 0.5  # a chord is then nowhere a hundredth of a millimetre off its arc


def svg(sheet: Sheet) -> str:
    """The drawing; its layers are groups by their names, ticks have their counts beside them."""
    size = f'width="{sheet.width:g}mm" height="{sheet.height:g}mm"'
    look = f'viewBox="0 0 {sheet.width:g} {sheet.height:g}" fill="none" font-family="{_FONTS}"'
    return "\n".join(
        (
            '<?xml version="1.0" encoding="UTF-8"?>',
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} {look}>',
            f"<title>{escape(sheet.title)}</title>",
            *_lines(sheet.layers),
            "</svg>\n",
        )
    )


def _lines(layers: Iterable[Layer]) -> Iterator[str]:
    for layer in layers:
        yield f"<g id={quoteattr(layer.name)}>"
        yield from map(_element, layer.shapes)
        yield "</g>"


def _element(shape: Shape) -> str:
    if isinstance(shape, Words):
        anchor = ' text-anchor="middle"' if shape.is_centred else ""
        return (
            f'<text x="{_mm(shape.x)}" y="{_mm(shape.y)}" font-size="{_mm(shape.size)}" '
            f'fill="{shape.colour}"{anchor}>{escape(shape.text)}</text>'
        )
    if isinstance(shape, Ring):
        where = f'cx="{_mm(shape.x)}" cy="{_mm(shape.y)}" r="{_mm(shape.radius)}"'
        if not shape.width:
            return f'<circle {where} fill="{shape.colour}"/>'
        return f"<circle {where} {_stroke(shape)}/>"
    if isinstance(shape, Arc):
        (x, y), (u, v) = shape.at(shape.start), shape.at(shape.end)
        is_large = int(shape.end - shape.start > 180)
        turn = f"A{_mm(shape.radius)} {_mm(shape.radius)} 0 {is_large} 1 {_mm(u)} {_mm(v)}"
        return f'<path d="M{_mm(x)} {_mm(y)}{turn}" {_stroke(shape)}/>'
    count = "" if shape.count is None else f' data-count="{shape.count}"'
    return (
        f'<line x1="{_mm(shape.x1)}" y1="{_mm(shape.y1)}" x2="{_mm(shape.x2)}" '
        f'y2="{_mm(shape.y2)}" {_stroke(shape)}{count}/>'
    )


def _stroke(shape: StraightLine | Arc | Ring) -> str:
    dashes = ' stroke-dasharray="2 1.5"' if shape.is_dashed else ""
    return f'stroke="{shape.colour}" stroke-width="{_mm(shape.width)}"{dashes}'


def _mm(length: float) -> str:
    # A tenth of a micrometre: no printer sees it, but whoever measures the file does.
    return f"{length:.4f}".rstrip("0").rstrip(".")


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
        cure = "use another one"
    else:
        missing = [sign for sign in text if ord(sign) > 0xFF]
        cure = "choose one that has it with --font FILE.ttf, or make an SVG"
    if missing:
        raise FaceError(f"the PDF's font has no {missing[0]!r}: {cure}")


def _points(arc: Arc) -> Iterator[tuple[float, float]]:
    steps = max(1, round((arc.end - arc.start) / _CHORD_DEGREES))
    for step in range(steps + 1):
        yield arc.at(arc.start + (arc.end - arc.start) * step / steps)
