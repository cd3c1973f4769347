"""What can be set of what outlives a restart."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tweetdock.core.times import DAY_MS
from tweetdock.settings import parse
from tweetdock.settings.setting import secret_by, set_by

_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9}
_SMALLEST = 10_000
_ACCEPTED = "off, a size from 10KB such as 100MB, daily (at midnight UTC), or both: 100MB,daily"

# Amazon's own rule is narrower; servers that speak S3 also have older names.
_BUCKET = r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]"
# Characters that need no care: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html
_STEP = r"(?!\.{1,2}(?:/|$))[A-Za-z0-9!_.*'()=+@,-]+"
_LONGEST_PREFIX = 700  # of a key's 1024 bytes


@dataclass(frozen=True, slots=True)
class Rotation:
    """At which size, and whether at midnight UTC, a file is closed and a new one begun."""

    size_bytes: int | None = None
    is_daily: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """What the setting means; ValueError says what is accepted."""
        words = [word.strip() for word in text.upper().split(",")]
        if words in ([""], ["OFF"]):
            return cls()
        sizes = [_size(word) for word in words if word != "DAILY"]
        if len(sizes) > 1 or len(words) - len(sizes) > 1:
            raise ValueError(_ACCEPTED)
        return cls(sizes[0] if sizes else None, "DAILY" in words)

    def is_due(self, size_bytes: int, first_ms: int | None, now_ms: int) -> bool:
        """Whether a file of that size, whose first line came at `first_ms`, is to be closed now.

        An empty file, whose `first_ms` is None, never is.
        """
        if first_ms is None:
            return False
        # Not merely another day: a clock that was set back begins no new file.
        is_over = self.is_daily and now_ms // DAY_MS > first_ms // DAY_MS
        return is_over or (self.size_bytes is not None and size_bytes >= self.size_bytes)


def _size(word: str) -> int:
    match = re.fullmatch(r"([0-9]{1,6})\s*([KMG]B)", word)
    size = int(match[1]) * _UNITS[match[2]] if match else 0
    if size < _SMALLEST:
        raise ValueError(_ACCEPTED)
    return size


def bucket_and_prefix(address: str) -> tuple[str, str]:
    """What `s3://bucket/prefix` names, without slashes around; ValueError says what is accepted."""
    found = re.fullmatch(rf"s3://({_BUCKET})(?:/({_STEP}(?:/{_STEP})*)?/?)?", address, re.ASCII)
    if not found or len(found[2] or "") > _LONGEST_PREFIX:
        raise ValueError(
            "an address such as s3://my-bucket/tweets: a bucket of 3 to 63 letters, digits, "
            "'-', '.' and '_', and a prefix or none, without spaces"
        )
    return found[1], found[2] or ""


def _s3_address(value: str) -> str:
    if value:
        bucket_and_prefix(value)
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepSettings:
    """The state, the archive, and where its closed files go. Times in seconds."""

    state_dir: Path = set_by(  # noqa: RUF009 - it is field() inside
        "where the state and the history are saved", parse.folder, "~/.local/state/tweetdock"
    )
    save_seconds: float = set_by(
        "how often the state is saved; what came since is read again after a crash",
        parse.number(0, 300),
        "30",
    )
    archive: Path | None = set_by(  # noqa: RUF009
        "a file NAME.jsonl.gz for every raw post; or none", parse.archive
    )
    archive_rotate: Rotation = set_by(  # noqa: RUF009
        "when to begin a new archive file: 100MB, daily, 100MB,daily or off", Rotation.parse, "off"
    )
    archive_keep: int = set_by(
        "how many closed archive files stay here; 0: all", parse.whole(0, 100_000), "0"
    )
    offload: str = set_by(
        "s3://bucket/prefix where closed archive files go after each rotation; or nowhere",
        _s3_address,
    )
    offload_keep: bool = set_by(
        "1: an archive file that is safe in the bucket stays here too", parse.switch, "0"
    )
    s3_endpoint: str = set_by(
        "an S3-compatible server other than Amazon's", parse.endpoint, name="AWS_ENDPOINT_URL"
    )
    s3_region: str = set_by("the bucket's region", parse.word, name="AWS_DEFAULT_REGION")
    s3_key_id: str = secret_by("AWS_ACCESS_KEY_ID", "S3's key; without it boto3 looks around")
    s3_secret: str = secret_by("AWS_SECRET_ACCESS_KEY", "its secret")
    s3_session_token: str = secret_by("AWS_SESSION_TOKEN", "S3: of a key that expires")
