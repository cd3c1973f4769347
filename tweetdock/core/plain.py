"""Foreign words as they may stand in a line of ours."""


def plain(text: str) -> str:
    """A line without what would tear it: line breaks and escapes become spaces."""
    return "".join(sign if sign.isprintable() else " " for sign in text)
