"""Lines of the archive: what is written comes back, whatever a network sends."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tweetdock.core.errors import LineError
from tweetdock.core.post import Post, Raw
from tweetdock.keep.archive_format import ArchiveLine, glance

MOMENTS = st.integers(0, 4_102_444_800_000)
# With halves of surrogate pairs, which JSON's escapes allow, and UTF-8 does not.
TEXTS = st.text(st.characters(codec=None), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
POSTS = st.none() | st.builds(Post, TEXTS, TEXTS, MOMENTS)
IS_ASCII = st.booleans()


@st.composite
def lines(draw: st.DrawFn) -> ArchiveLine:
    text = json.dumps(draw(st.dictionaries(TEXTS, VALUES)), ensure_ascii=draw(IS_ASCII))
    return ArchiveLine(draw(MOMENTS), draw(TEXTS), Raw(draw(TEXTS), text, draw(POSTS)))


@given(lines())
def test_a_line_comes_back_as_it_was_written(line: ArchiveLine) -> None:
    written = line.as_bytes()
    assert written.endswith(b"\n")
    assert written.count(b"\n") == 1
    found = ArchiveLine.parse(written)
    assert json.loads(found.raw.text) == json.loads(line.raw.text)
    assert found.raw.post == line.raw.post
    assert (found.received_ms, found.source) == (line.received_ms, line.source)
    assert found.raw.version == line.raw.version
    assert found.at_ms == line.at_ms


@given(lines())
def test_a_line_is_utf_8_as_every_reader_of_json_wants_it(line: ArchiveLine) -> None:
    found = json.loads(line.as_bytes().decode("utf-8"))
    assert list(found) == ["received", "source", "version", "key", "author", "created", "post"]
    assert found["post"] == json.loads(line.raw.text)


@given(lines())
def test_a_glance_sees_the_same_as_a_reading(line: ArchiveLine) -> None:
    assert glance(line.as_bytes()) == (line.received_ms, line.raw.version)


@given(lines())
def test_a_line_that_others_have_formatted_anew_is_still_one(line: ArchiveLine) -> None:
    anew = json.dumps(json.loads(line.as_bytes()), sort_keys=True).encode()
    assert ArchiveLine.parse(anew).raw.version == line.raw.version
    assert glance(anew) == (line.received_ms, line.raw.version)


def test_a_post_that_could_not_be_made_out_was_made_when_it_was_received() -> None:
    line = ArchiveLine(5000, "x", Raw("x:?", '{"odd": 1}', None))
    assert line.at_ms == 5000
    assert json.loads(line.as_text())["key"] is None
    assert ArchiveLine.parse(line.as_bytes()).raw.post is None


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"{}", b"[]", b"null", b"1", b"\xff\xfe\x00", b"{" * 100_000, b'{"received": 1}'),
        b'{"received": "yesterday", "source": "x", "version": "1", "key": null, "post": {}}',
        b'{"received": "2026-11-21T06:55:36.000Z", "source": "x", "version": 1, "key": null}',
        b'{"received": "2026-99-21T06:55:36.000Z", "source": "x", "version": "1", "post": {}}',
        b'{"received": "2026-11-21T06:55:36.000Z", "source": "x", "version": "\\x", "post": {}}',
    ],
)
def test_what_is_no_line_is_refused(text: bytes) -> None:
    with pytest.raises(LineError):
        ArchiveLine.parse(text)
    with pytest.raises(LineError):
        glance(text)
