"""The compact set of fingerprints against a dictionary."""

from hypothesis import given
from hypothesis import strategies as st

from tweetdock.core.fingerprints import Fingerprints, fingerprint, salted

# Few homes, the last of a table among them, so that neighbours crowd and go round the end.
crowded = st.builds(
    lambda home, high: home | high << 32, st.sampled_from([0, 1, 14, 15, 31]), st.integers(1, 9)
)


@given(st.lists(st.tuples(st.booleans(), crowded), max_size=120))
def test_a_set_of_fingerprints_agrees_with_a_dictionary_of_rows(
    steps: list[tuple[bool, int]],
) -> None:
    marks, rows = Fingerprints(), dict[int, int]()
    for adds, mark in steps:
        if adds and mark in rows:
            assert marks.add(mark) == -rows[mark]
        elif adds:
            rows[mark] = marks.add(mark)
            assert rows[mark] > 0
        elif mark in rows:
            marks.remove(rows.pop(mark))
        assert len(marks) == len(rows) == len(set(rows.values()))
        assert marks.find(mark) == rows.get(mark, 0)
        assert all(marks[row] == known for known, row in rows.items())
        assert all(marks.find(known) == row for known, row in rows.items())


def test_freed_rows_are_given_out_before_new_ones() -> None:
    marks = Fingerprints()
    first, second = marks.add(5), marks.add(6)
    marks.remove(first)
    assert (first, second, marks.add(7), marks.add(8)) == (1, 2, 1, 3)


def test_another_salt_gives_other_fingerprints_and_the_same_salt_the_same() -> None:
    assert fingerprint("x:1", salted(b"a")) == fingerprint("x:1", salted(b"a"))
    assert fingerprint("x:1", salted(b"a")) != fingerprint("x:1", salted(b"b"))
    assert 0 < fingerprint("x:1", salted(b"")) < 1 << 64
