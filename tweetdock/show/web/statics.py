"""The files that make up the page, kept in memory and sent only to who has not got them."""

import hashlib
from dataclasses import replace
from pathlib import Path

from tweetdock.show.web.answers import TEXT, Answer, refusal

KINDS = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class Statics:
    """The files of a folder as they are at the start; nothing else can be had by any name."""

    def __init__(self, folder: Path) -> None:
        self._answers = {
            path.relative_to(folder).as_posix(): _answer(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file() and not path.name.startswith(".")
        }

    def answer(self, name: str, known: str) -> Answer:
        """The file; known: the tags of those that somebody has, as `If-None-Match` says them."""
        found = self._answers.get(name)
        if found is None:
            return refusal("", 404, "There is nothing at this address.")
        tags = {tag.strip().removeprefix("W/") for tag in known.split(",")}
        if found.headers["etag"] in tags or "*" in tags:
            return replace(found, body=b"", status=304)
        return found


def _answer(path: Path) -> Answer:
    body = path.read_bytes()
    tag = hashlib.sha256(body).hexdigest()[:16]
    # To be asked for again each time, and then mostly not sent: an upgrade shows at once.
    headers = {"etag": f'"{tag}"', "cache-control": "no-cache"}
    return Answer(body, KINDS.get(path.suffix, TEXT), headers=headers)
