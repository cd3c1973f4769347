"""A printed face as a PDF, read back by another library."""

import sys
from pathlib import Path
from typing import Any

import pytest
from drawings import Drawing, a_face, reader

from tweetdock.core.errors import UnavailableError
from tweetdock.show.face import PAPERS, FaceError, Layer, Sheet, StraightLine, draw_face
from tweetdock.show.face_file import pdf, svg

ALL = "tweets", "tweeters"


def a_pdf(*sheets: Sheet, font: Path | None = None) -> Any:
    pytest.importorskip("fpdf", reason="fpdf2 is not installed")
    return reader(pdf(sheets, font))


@pytest.mark.parametrize("paper", PAPERS)
def test_a_page_of_a_pdf_is_as_large_as_its_paper(paper: str) -> None:
    (page,) = a_pdf(draw_face(a_face(), paper)).pages
    size = [float(length) / 72 * 25.4 for length in page.mediabox[2:]]
    assert size == pytest.approx(PAPERS[paper], abs=0.01)


def test_a_pdf_asks_to_be_printed_as_large_as_it_is() -> None:
    catalog = a_pdf(draw_face(a_face(), "a4")).trailer["/Root"]
    assert catalog["/ViewerPreferences"]["/PrintScaling"] == "/None"


def test_a_pdf_has_a_page_with_the_same_texts_for_each_face() -> None:
    sheets = [draw_face(a_face(title=name), "a4") for name in ALL]
    pages = a_pdf(*sheets).pages
    assert len(pages) == 2
    for page, sheet, name in zip(pages, sheets, ALL, strict=True):
        drawing = Drawing(svg(sheet))
        words = page.extract_text().split()
        assert name in words
        for layer in ("numbers", "title", "check"):
            assert set(" ".join(drawing.texts(layer)).split()) <= set(words)


def test_a_line_of_a_pdf_is_where_it_is_in_the_sheet() -> None:
    line = StraightLine(10, 20, 110, 20, 0.3)
    page = a_pdf(Sheet("a line", 210, 297, (Layer("one", (line,)),))).pages[0]
    found: list[float] = []

    def see(operator: bytes, point: list[Any], matrix: list[float], _: list[float]) -> None:
        if operator in (b"m", b"l"):
            across, up, left, low = (matrix[place] for place in (0, 3, 4, 5))
            x, y = map(float, point)
            found.extend(length / 72 * 25.4 for length in (across * x + left, up * y + low))

    page.extract_text(visitor_operand_before=see)
    assert found == pytest.approx([10, 297 - 20, 110, 297 - 20], abs=0.01)


@pytest.fixture
def font(tmp_path: Path) -> Path:
    """A font with Latin letters, also those of Poland."""
    builder_module = pytest.importorskip("fontTools.fontBuilder", reason="fpdf2 is not installed")
    pens = pytest.importorskip("fontTools.pens.ttGlyphPen")
    signs = [*map(chr, range(32, 127)), *"\u00b0\u00b5\u0141\u00f3\u017a\u0107"]
    names = {ord(sign): f"sign{ord(sign)}" for sign in signs}
    pen = pens.TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 700), (500, 700), (500, 0)):
        pen.lineTo(corner)
    pen.closePath()
    box = pen.glyph()
    order = [".notdef", *names.values()]
    builder = builder_module.FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(order)
    builder.setupCharacterMap(names)
    builder.setupGlyf(dict.fromkeys(order, box))
    builder.setupHorizontalMetrics(dict.fromkeys(order, (550, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Boxes", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    path = tmp_path / "boxes.ttf"
    builder.save(path)
    return path


def test_a_pdf_in_another_script_needs_a_font_that_has_it(font: Path) -> None:
    polish = draw_face(a_face(title="\u0141\u00f3d\u017a"), "a4")
    with pytest.raises(FaceError, match=r"has no '\u0141': .*--font"):
        a_pdf(polish)
    assert "\u0141\u00f3d\u017a" in a_pdf(polish, font=font).pages[0].extract_text()
    with pytest.raises(FaceError, match="has no '\u6771'"):
        a_pdf(draw_face(a_face(title="\u6771\u4eac"), "a4"), font=font)


# fontTools leaves a file open that it cannot read; Python closes it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize(
    "content",
    [b"no font at all", b"\0\1\0\0" + bytes(60), None],
    ids=["text", "nonsense", "nothing"],
)
def test_what_is_no_font_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "broken.ttf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FaceError, match=r"broken\.ttf cannot be used"):
        a_pdf(draw_face(a_face(), "a4"), font=path)


def test_without_fpdf2_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fpdf", None)
    with pytest.raises(UnavailableError, match=r"pip install 'tweetdock\[pdf\]'"):
        pdf([draw_face(a_face(), "a4")])
