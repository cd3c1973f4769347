"""The log: one stream to standard error, for people or for machines."""

import json
import logging
import sys

from tweetdock.timestamps import rfc3339

TEXT = "%(asctime)s %(levelname)-8s %(message)s"


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


def configure(level: str, style: str, handler: logging.Handler | None = None) -> None:
    """Send our log at `level`, and the libraries' warnings, to `handler` or standard error."""
    handler = handler or logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else logging.Formatter(TEXT))
    # Only ours may be talkative: at DEBUG tweepy and oauthlib log tokens and keys.
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("tweetdock").setLevel(level)
    logging.captureWarnings(capture=True)
