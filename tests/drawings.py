"""Faces to draw, and drawings as whoever measures them sees them."""

import io
import math
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tweetdock.core.dial import Dial
from tweetdock.core.scaler import make_scale
from tweetdock.show.face import Face


def a_face(
    *,
    scale: str = "linear:500",
    least: float = 0,
    sweep: float = 180,
    radius: float = 60,
    hole: float = 7,
    title: str = "tweets",
) -> Face:
    dial = Dial(least, least + sweep, make_scale(scale))
    return Face(dial, radius, hole, title, "in the last hour", ("a note",))


class Drawing:
    """An SVG as whoever measures it sees it."""

    def __init__(self, text: str) -> None:
        self.root = ET.fromstring(text)
        # All names without the name of their language.
        for element in self.root.iter():
            element.tag = element.tag.rpartition("}")[2]

    def layer(self, name: str) -> ET.Element:
        found = self.root.find(f"g[@id='{name}']")
        assert found is not None
        return found

    def texts(self, layer: str) -> list[str]:
        return [element.text or "" for element in self.layer(layer).iter("text")]

    @property
    def pivot(self) -> tuple[float, float]:
        """Where the cross in the hole is."""
        across, down = self.layer("hole").findall("line")
        return float(down.attrib["x1"]), float(across.attrib["y1"])

    def bearing(self, x: str, y: str) -> float:
        left, top = self.pivot
        return math.degrees(math.atan2(float(x) - left, top - float(y)))


def reader(content: bytes) -> Any:
    """A PDF as its readers see it."""
    pytest.importorskip("fpdf", reason="fpdf2 is not installed")
    pypdf = pytest.importorskip("pypdf", reason="pypdf is not installed")
    return pypdf.PdfReader(io.BytesIO(content))
