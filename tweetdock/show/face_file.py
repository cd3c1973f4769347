"""A face's sheet as a file: an SVG, or that SVG as a PDF by fpdf2."""

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from tweetdock import __version__
from tweetdock.core.errors import UnavailableError
from tweetdock.show.face import Arc, FaceError, Shape, Sheet, StraightLine, Words

_FONTS = "Helvetica Neue, Helvetica, Arial, Liberation Sans, DejaVu Sans, sans-serif"


def svg(sheet: Sheet) -> str:
    """The drawing; its layers are groups by their names, ticks have their counts beside them."""
    title = f"<title>{escape(sheet.title)}</title>"
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + _drawn(sheet, _FONTS, title)


def _drawn(sheet: Sheet, fonts: str, *first: str) -> str:
    size = f'width="{sheet.width:g}mm" height="{sheet.height:g}mm"'
    look = f'viewBox="0 0 {sheet.width:g} {sheet.height:g}" fill="none" font-family="{fonts}"'
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} {look}>', *first]
    for layer in sheet.layers:
        lines += [f"<g id={quoteattr(layer.name)}>", *map(_element, layer.shapes), "</g>"]
    return "\n".join([*lines, "</svg>\n"])


def _element(shape: Shape) -> str:
    if isinstance(shape, Words):
        anchor = ' text-anchor="middle"' if shape.is_centred else ""
        return (
            f'<text x="{_mm(shape.x)}" y="{_mm(shape.y)}" font-size="{_mm(shape.size)}" '
            f'fill="{shape.colour}"{anchor}>{escape(shape.text)}</text>'
        )
    if isinstance(shape, Arc) and shape.is_whole:
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


def _stroke(shape: StraightLine | Arc) -> str:
    dashes = ' stroke-dasharray="2 1.5"' if shape.is_dashed else ""
    return f'stroke="{shape.colour}" stroke-width="{_mm(shape.width)}"{dashes}'


def _mm(length: float) -> str:
    # A tenth of a micrometre: no printer sees it, but whoever measures the file does.
    return f"{length:.4f}".rstrip("0").rstrip(".")


def pdf(sheets: Sequence[Sheet], font: Path | None = None) -> bytes:
    """The same drawings as a document, which asks to be printed without scaling.

    font: a TrueType file for texts beyond Western European ones. Raises FaceError if a text has a
    sign that the font has not, or the font cannot be read, UnavailableError without fpdf2.
    """
    try:
        fpdf = importlib.import_module("fpdf")
        drawings = importlib.import_module("fpdf.svg")
        drawings.SVGObject.build_text  # noqa: B018 - older ones leave out all words
    except (ImportError, AttributeError) as error:
        raise UnavailableError(
            "a PDF needs the package fpdf2 from 2.8.5 on: pip install 'tweetdock[pdf]', or "
            "an image built with EXTRAS=pdf; an SVG needs nothing"
        ) from error
    document = fpdf.FPDF(unit="mm")
    document.set_auto_page_break(auto=False)
    document.set_creator(f"TweetDock {__version__}")
    document.set_title("; ".join(sheet.title for sheet in sheets))
    document.viewer_preferences = fpdf.ViewerPreferences(print_scaling="None")
    with _font_troubles(font):
        if font is not None:
            document.add_font("face", fname=font)
    family = "face" if font else "helvetica"
    for sheet in sheets:
        document.add_page(format=(sheet.width, sheet.height))
        document.set_font(family)
        _check(document, sheet)
        drawings.SVGObject(_drawn(sheet, family)).draw_to_page(document)
    with _font_troubles(font):  # not before now it is read as a whole
        return bytes(document.output())


@contextmanager
def _font_troubles(path: Path | None) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # Fonts are foreign, and break in more ways than fpdf2 has names for.
        if path is None:
            raise
        raise FaceError(f"{path} cannot be used: it must be a TrueType font, NAME.ttf") from error


def _check(document: Any, sheet: Sheet) -> None:
    shapes = (shape for layer in sheet.layers for shape in layer.shapes)
    signs = "".join(shape.text for shape in shapes if isinstance(shape, Words))
    if document.is_ttf_font:
        cmap = document.current_font.cmap
        missing = [sign for sign in signs if ord(sign) not in cmap]
        cure = "use another one"
    else:
        missing = [sign for sign in signs if ord(sign) > 0xFF]
        cure = "choose one that has it with --font FILE.ttf, or make an SVG"
    if missing:
        raise FaceError(f"the PDF's font has no {missing[0]!r}: {cure}")
