"""The log: one stream to standard error, for people, for machines or for systemd's journal."""

import json
import logging
import os
import sys
from collections.abc import Mapping
from typing import TextIO

from tweetdock.core.times import rfc3339

TEXT = "%(asctime)s %(levelname)-8s %(message)s"
JOURNAL_TEXT = "%(levelname)-8s %(message)s"

# https://www.freedesktop.org/software/systemd/man/latest/sd-daemon.html
PRIORITIES = {"CRITICAL": 2, "ERROR": 3, "WARNING": 4, "INFO": 6}


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """One line: at, level, logger, message, and the traceback if there is one."""
        fields = {
            "at": rfc3339(int(record.created * 1000)),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)


class JournalFormatter(logging.Formatter):
    """A record for systemd's journal, which knows the time and reads the priority."""

    def __init__(self) -> None:
        super().__init__(JOURNAL_TEXT)

    def format(self, record: logging.LogRecord) -> str:
        """The priority before each line: to the journal a traceback is as many entries as lines."""
        priority = PRIORITIES.get(record.levelname, 7)
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).split("\n"))


def configure(level: str, style: str, handler: logging.Handler | None = None) -> None:
    """Send our log at `level`, and the libraries' warnings, to `handler` or standard error."""
    is_to_journal = handler is None and is_journal(sys.stderr, os.environ)
    handler = handler or logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(style, is_to_journal=is_to_journal))
    # Only ours gets that level: at DEBUG tweepy and oauthlib log tokens and keys.
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("tweetdock").setLevel(level)
    logging.captureWarnings(capture=True)


def is_journal(stream: TextIO, env: Mapping[str, str]) -> bool:
    """Whether a stream is the one that systemd has connected to its journal.

    A parent may have passed the variable on and redirected the stream.
    """
    try:
        file = os.fstat(stream.fileno())
    except (OSError, ValueError):  # closed, or no file of the system
        return False
    return env.get("JOURNAL_STREAM") == f"{file.st_dev}:{file.st_ino}"


def _formatter(style: str, *, is_to_journal: bool) -> logging.Formatter:
    if style == "json":
        return JsonFormatter()
    return JournalFormatter() if is_to_journal else logging.Formatter(TEXT)
