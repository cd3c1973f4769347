"""A bucket of any server that speaks S3: putting a file there, seeing that it is there whole."""

import re
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cached_property
from hashlib import file_digest
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tweetdock.core.errors import LOG_IN, ArchiveError, OffloadError
from tweetdock.settings.keeping import KeepSettings, bucket_and_prefix

LARGEST_PUT = 5 << 30  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
_KEYS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"


class Bucket:
    """The part of a bucket below `s3://bucket/prefix`; what is not set of it, boto3 finds itself.

    patience_seconds: how long the server may be silent; each request is tried three times.
    Raises OffloadError without boto3; nothing else is checked until `visit`, `put` or `holds`.
    All of them raise OffloadError if the bucket cannot be used. For one thread at a time.
    """

    def __init__(self, keep: KeepSettings, *, patience_seconds: float = 60.0) -> None:
        self._name, self._prefix = bucket_and_prefix(keep.offload)
        self._keep = keep
        self._patience_seconds = patience_seconds
        if find_spec("boto3") is None:
            raise OffloadError(
                "boto3 is not installed, which speaks with S3",
                "pip install 'tweetdock[s3]', or an image built with EXTRAS=s3",
                needs_owner=True,
            )

    def url(self, key: str) -> str:
        """The address of what lies under a key."""
        return f"s3://{self._name}/{self._full(key)}"

    def visit(self) -> None:
        """See that the bucket is there and lets us in; nothing is read or written."""
        with self._connected() as client:
            client.head_bucket(Bucket=self._name)

    def put(self, key: str, path: Path, sha256_hex: str) -> None:
        """Send a file in one request, thus whole or not at all; the server checks the sum.

        Raises ArchiveError if it is too large for that, another OSError if it cannot be read.
        """
        if path.stat().st_size > LARGEST_PUT:
            raise ArchiveError(
                f"{path.name} is larger than the 5 GB that S3 takes in one piece",
                "set TWEETDOCK_ARCHIVE_ROTATE to less, and send this one by hand",
            )
        with path.open("rb") as body, self._connected() as client:
            client.put_object(
                Bucket=self._name,
                Key=self._full(key),
                Body=body,
                ContentType="application/json" if key.endswith(".json") else "application/gzip",
                # The name of the sum beside it: servers that do not look for it by itself.
                ChecksumAlgorithm="SHA256",
                ChecksumSHA256=_base64(sha256_hex),
                Metadata={"sha256": sha256_hex},
            )

    def holds(self, key: str, sha256_hex: str) -> bool:
        """Whether a true copy lies under the key, by the server's own sum or by reading it back."""
        where = {"Bucket": self._name, "Key": self._full(key)}
        with self._connected() as client:
            try:
                head = client.head_object(**where, ChecksumMode="ENABLED")
                given = head.get("ChecksumSHA256", "")
                # A sum of the sums of parts ends in the number of parts, and is none of the whole.
                if given and "-" not in given:
                    return bool(given == _base64(sha256_hex))
                with closing(client.get_object(**where)["Body"]) as body:
                    return file_digest(body, "sha256").hexdigest() == sha256_hex
            except client.exceptions.ClientError as error:
                if _status(error) == 404:
                    return False
                raise

    def _full(self, key: str) -> str:
        return f"{self._prefix}/{key}" if self._prefix else key

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        """boto3's client; what goes wrong with it is explained."""
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - an extra

        endpoint = self._keep.s3_endpoint
        try:
            client = self._client
            endpoint = client.meta.endpoint_url
            yield client
        except ClientError as error:
            raise _refusal(error, self._name) from error
        except BotoCoreError as error:
            raise _failure(error, endpoint) from error

    @cached_property
    def _client(self) -> Any:
        # Tens of megabytes, which a daemon with nothing to off-load need not spend.
        import boto3  # noqa: PLC0415
        from botocore.config import Config  # noqa: PLC0415

        keep = self._keep
        config = Config(
            connect_timeout=min(10.0, self._patience_seconds),
            read_timeout=self._patience_seconds,
            retries={"mode": "standard", "total_max_attempts": 3},
            # By default newer botocores send and expect sums in a form that older servers refuse.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            # A server of one's own has no host name for each bucket.
            s3={"addressing_style": "path"} if keep.s3_endpoint else None,
        )
        try:
            return boto3.session.Session().client(
                "s3",
                endpoint_url=keep.s3_endpoint or None,
                aws_access_key_id=keep.s3_key_id or None,
                aws_secret_access_key=keep.s3_secret or None,
                aws_session_token=keep.s3_session_token or None,
                region_name=keep.s3_region or None,
                config=config,
            )
        except ValueError as error:
            what, cure = "the address of the S3 server cannot be used", "check AWS_ENDPOINT_URL"
            raise OffloadError(what, cure, needs_owner=True) from error


def _base64(sha256_hex: str) -> str:
    return b64encode(bytes.fromhex(sha256_hex)).decode()


def _status(error: Any) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _refusal(error: Any, bucket: str) -> OffloadError:
    """What the server's answer means. Its own message is not repeated: it may name keys.

    https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html; an answer to HEAD has no
    body, and thus only its status as code.
    """
    status = _status(error)
    code = re.sub(r"[^A-Za-z0-9._-]", "", str(error.response.get("Error", {}).get("Code")))[:60]
    said = code if code == str(status) else f"{status} {code}"
    match code:
        case "NoSuchBucket" | "404":
            what, cure = f"there is no bucket {bucket}", "make it, or check TWEETDOCK_OFFLOAD"
        case "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken" | "ExpiredToken":
            what, cure = f"S3 does not accept the credentials ({said})", f"check {_KEYS}"
        case "RequestTimeTooSkewed":
            what = f"S3 says that this machine's clock is wrong ({said})"
            return OffloadError(what, "let a time server set it: sudo timedatectl set-ntp true")
        case "301" | "PermanentRedirect" | "AuthorizationHeaderMalformed" | "IncorrectEndpoint":
            what = f"the bucket {bucket} lies in another region ({said})"
            cure = "set AWS_DEFAULT_REGION"
        case _ if 300 <= status < 400:
            what = f"S3's address leads elsewhere ({said}), as to the login page of a Wi-Fi"
            return OffloadError(what, f"{LOG_IN}; else check AWS_ENDPOINT_URL")
        case _ if status in (401, 403):
            what = f"access to the bucket {bucket} is denied ({said})"
            cure = f"check {_KEYS}; they need s3:PutObject, s3:GetObject and s3:ListBucket"
        case _ if status >= 500 or code in ("SlowDown", "RequestTimeout", "BadDigest"):
            return OffloadError(f"S3 is out of order ({said})")
        case _:
            what, cure = f"S3 refuses ({said})", f"check TWEETDOCK_OFFLOAD and {_KEYS}"
    return OffloadError(what, cure, needs_owner=True)


def _failure(error: Exception, endpoint: str) -> OffloadError:
    """Why there was no answer. botocore's own sentence is not repeated: it may name a proxy."""
    from botocore import exceptions as kinds  # noqa: PLC0415 - an extra

    where = re.sub(r"//.*@", "//...@", endpoint) or "S3"
    kind = type(error).__name__
    match error:
        case kinds.NoCredentialsError() | kinds.PartialCredentialsError():
            what = "there are no credentials for S3, or not all of them"
            cure = f"set {_KEYS}, or write ~/.aws/credentials"
        case kinds.SSLError():
            what, cure = f"the certificate of {where} is not accepted", "check AWS_ENDPOINT_URL"
        case kinds.ConnectionError() | kinds.HTTPClientError() | kinds.IncompleteReadError():
            what = f"{where} cannot be reached or breaks off ({kind})"
            return OffloadError(what, "check the network and AWS_ENDPOINT_URL")
        case _:
            what = f"boto3 cannot speak with {where} ({kind})"
            cure = "check AWS_ENDPOINT_URL, AWS_PROFILE and ~/.aws"
    return OffloadError(what, cure, needs_owner=True)
