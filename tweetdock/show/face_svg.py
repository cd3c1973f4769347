"""A sheet as an SVG drawing, of which one unit is one millimetre."""

from collections.abc import Iterable, Iterator
from xml.sax.saxutils import escape, quoteattr

from tweetdock.show.face_sheet import Arc, Layer, Line, Ring, Shape, Sheet, Words

_FONTS = "Helvetica Neue, Helvetica, Arial, Liberation Sans, DejaVu Sans, sans-serif"


def svg(sheet: Sheet) -> str:
    """The drawing; its layers are groups by their names, marks have their counts beside them."""
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


def _stroke(shape: Line | Arc | Ring) -> str:
    dashes = ' stroke-dasharray="2 1.5"' if shape.is_dashed else ""
    return f'stroke="{shape.colour}" stroke-width="{_mm(shape.width)}"{dashes}'


def _mm(length: float) -> str:
    # A tenth of a micrometre: no printer sees it, but whoever measures the file does.
    return f"{length:.4f}".rstrip("0").rstrip(".")
