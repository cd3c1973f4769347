"""Where in a bucket something goes: `s3://bucket/prefix`."""

import re

# Amazon's own rule is narrower; servers that speak S3 also have older names.
_BUCKET = r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]"
# Characters that need no care: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html
_STEP = r"(?!\.{1,2}(?:/|$))[A-Za-z0-9!_.*'()=+@,-]+"
_LONGEST_PREFIX = 700  # of a key's 1024 bytes


def parse_url(text: str) -> tuple[str, str]:
    """The bucket, and the prefix without slashes around it; ValueError says what is accepted."""
    found = re.fullmatch(rf"s3://({_BUCKET})(?:/({_STEP}(?:/{_STEP})*)?/?)?", text, re.ASCII)
    if not found or len(found[2] or "") > _LONGEST_PREFIX:
        raise ValueError(
            "an address such as s3://my-bucket/tweets: a bucket of 3 to 63 letters, digits, "
            "'-', '.' and '_', and a prefix or none, without spaces"
        )
    return found[1], found[2] or ""
