"""What a network sent, as one line of JSON for the archive."""

import json
from typing import Any


def one_line(entry: Any) -> str:
    """A decoded entry as JSON that UTF-8 can hold; `{}` for one too deep to be written."""
    try:
        text = json.dumps(entry, ensure_ascii=False, separators=(",", ":"))
        text.encode()
    except RecursionError:  # it was just shallow enough to be read
        return "{}"
    except UnicodeEncodeError:  # half a surrogate pair is JSON, but no UTF-8
        return json.dumps(entry, separators=(",", ":"))
    return text
