"""A bucket, by real boto3 against moto's server, through a proxy that fails on demand."""

import hashlib
import ssl
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import trustme
from buckets import S3, SECRET, keep_settings
from standins.flaky_proxy import Answer, Corrupt, Cut, Fault, Hang
from standins.loopback import Loopback

from tweetdock.core.errors import ArchiveError, OffloadError
from tweetdock.keep.bucket import LARGEST_PUT, Bucket
from tweetdock.settings.keeping import bucket_and_prefix

KEY = "raw/pi/one.jsonl.gz"
TRIES = 3
WELCOME = b"<!DOCTYPE html><p>Welcome to the <b>guest</b> network"


# One worker has moto's server and Amazon's descriptions in memory, not each.
pytestmark = pytest.mark.xdist_group("bucket")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "one.jsonl.gz"
    path.write_bytes(bytes(range(256)) * 400)
    return path


def sum_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def holds(bucket: Bucket, path: Path) -> bool:
    return bucket.holds("one.jsonl.gz", sum_of(path))


def put(bucket: Bucket, path: Path) -> bool:
    bucket.put("one.jsonl.gz", path, sum_of(path))
    return True


def refused(bucket: Bucket, path: Path) -> OffloadError:
    """What is said when neither looking nor putting is possible; never a secret."""
    with pytest.raises(OffloadError) as caught:
        assert holds(bucket, path) or put(bucket, path)
    assert SECRET not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("s3://posts", ("posts", "")),
        ("s3://posts/", ("posts", "")),
        ("s3://my.posts-1/raw/pi/", ("my.posts-1", "raw/pi")),
        ("s3://Old_Name/year=2026/a+b@c", ("Old_Name", "year=2026/a+b@c")),
    ],
)
def test_an_address_names_a_bucket_and_a_prefix(text: str, parts: tuple[str, str]) -> None:
    assert bucket_and_prefix(text) == parts


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "posts",
            "s3:/posts",
            "s3://",
            "s3:///raw",
            "s3://ab",
            "s3://-ab",
            "https://posts/raw",
        ),
        *("s3://posts//raw", "s3://posts/a//b", "s3://posts/../raw", "s3://posts/.", "s3://po sts"),
        *("s3://posts/a b", "s3://posts/a?b", "s3://posts/a#b", "s3://key:secret@posts/raw"),
        *("s3://posts/\n", "s3://posts/ü", "s3://posts/" + 701 * "a"),
    ],
)
def test_another_address_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="s3://my-bucket/tweets"):
        bucket_and_prefix(text)


def test_what_was_put_is_held_and_described(s3: S3, file: Path) -> None:
    bucket = s3.bucket()
    assert not holds(bucket, file)
    put(bucket, file)
    assert holds(bucket, file)
    assert s3.get(KEY) == file.read_bytes()
    head = s3.client.head_object(Bucket="posts", Key=KEY)
    assert head["ContentType"] == "application/gzip"
    assert head["Metadata"] == {"sha256": sum_of(file)}
    assert bucket.url("one.jsonl.gz") == f"s3://posts/{KEY}"
    # The server's own sum was believed, nothing was read back.
    assert s3.proxy.asked("GET") == []


def test_a_bucket_needs_no_prefix(s3: S3, file: Path) -> None:
    put(s3.bucket("s3://posts"), file)
    assert s3.keys() == ["one.jsonl.gz"]


@pytest.mark.parametrize("end", ["", "/"])
def test_a_server_may_speak_s3_below_a_path(s3: S3, file: Path, end: str) -> None:
    # As https://<project>.supabase.co/storage/v1/s3. moto takes the path's first step for a bucket.
    s3.client.create_bucket(Bucket="storage")
    bucket = Bucket(s3.keep(AWS_ENDPOINT_URL=f"{s3.proxy.url}/storage/v1/s3{end}"))
    put(bucket, file)
    assert holds(bucket, file)
    found = s3.client.get_object(Bucket="storage", Key=f"v1/s3/posts/{KEY}")["Body"].read()
    assert found == file.read_bytes()
    # Read back, as from a server that keeps no sums.
    s3.client.put_object(Bucket="storage", Key=f"v1/s3/posts/{KEY}", Body=found)
    assert holds(bucket, file)


def test_without_a_sum_of_the_servers_the_object_is_read_back(s3: S3, file: Path) -> None:
    s3.put(KEY, file.read_bytes())
    assert holds(s3.bucket(), file)
    assert len(s3.proxy.asked("GET")) == 1


def test_another_object_of_the_same_size_is_not_held(s3: S3, file: Path) -> None:
    s3.put(KEY, file.read_bytes()[:-1] + b"!")
    assert not holds(s3.bucket(), file)


def test_another_object_with_a_sum_of_its_own_is_not_held(s3: S3, file: Path) -> None:
    other = file.with_name("other")
    other.write_bytes(file.read_bytes()[::-1])
    put(s3.bucket(), other)
    assert not holds(s3.bucket(), file)
    assert s3.proxy.asked("GET") == []


def test_an_object_that_vanishes_while_it_is_looked_at_is_not_held(s3: S3, file: Path) -> None:
    s3.put(KEY, file.read_bytes())
    s3.proxy.fail("GET", Answer(404))
    assert not holds(s3.bucket(), file)


def test_what_was_damaged_on_the_way_is_not_held(s3: S3, file: Path) -> None:
    s3.proxy.fail("PUT", Corrupt())
    put(s3.bucket(), file)
    assert s3.keys() == [KEY]
    assert not holds(s3.bucket(), file)


@pytest.mark.parametrize("fault", [Cut(50_000), Answer(503), Hang(50_000)])
def test_a_passing_failure_is_passed_over(s3: S3, file: Path, fault: Fault) -> None:
    s3.proxy.fail("PUT", fault)
    bucket = s3.bucket(patience_seconds=0.5)
    put(bucket, file)
    assert holds(bucket, file)
    assert len(s3.proxy.asked("PUT")) == 2


@pytest.mark.parametrize("fault", [Cut(0), Cut(50_000), Answer(503), Answer(500), Hang(50_000)])
def test_a_half_upload_leaves_nothing_and_mends_itself(s3: S3, file: Path, fault: Fault) -> None:
    s3.proxy.fail("PUT", *[fault] * TRIES)
    error = refused(s3.bucket(patience_seconds=0.2), file)
    assert not error.needs_owner
    assert len(s3.proxy.asked("PUT")) == TRIES
    assert s3.keys() == []


@pytest.mark.parametrize(("status", "words"), [(200, "out of order"), (302, "leads elsewhere")])
def test_a_login_page_is_no_bucket(s3: S3, file: Path, status: int, words: str) -> None:
    s3.proxy.fail("PUT", *[Answer(status, WELCOME)] * TRIES)
    error = refused(s3.bucket(), file)
    assert words in str(error)
    assert not error.needs_owner


def test_a_missing_bucket_is_named(s3: S3, file: Path) -> None:
    error = refused(s3.bucket("s3://nowhere/raw"), file)
    assert "no bucket nowhere" in str(error)
    assert error.needs_owner


@pytest.mark.parametrize(
    ("status", "code", "words", "needs_owner"),
    [
        (403, "AccessDenied", "s3:PutObject, s3:GetObject and s3:ListBucket", True),
        (403, "InvalidAccessKeyId", "does not accept the credentials", True),
        (403, "SignatureDoesNotMatch", "does not accept the credentials", True),
        (400, "ExpiredToken", "does not accept the credentials", True),
        (403, "RequestTimeTooSkewed", "clock is wrong", False),
        (400, "AuthorizationHeaderMalformed", "AWS_DEFAULT_REGION", True),
        (400, "BadDigest", "out of order (400 BadDigest)", False),
        (507, "XMinioStorageFull", "out of order (507 XMinioStorageFull)", False),
        (409, "Strange", "refuses (409 Strange)", True),
    ],
)
def test_a_refusal_says_what_to_do(
    s3: S3, file: Path, status: int, code: str, words: str, *, needs_owner: bool
) -> None:
    body = f"<Error><Code>{code}</Code><Message>the key is {SECRET}</Message></Error>".encode()
    s3.proxy.fail("PUT", *[Answer(status, body)] * TRIES)
    error = refused(s3.bucket(), file)
    assert words in str(error)
    assert error.needs_owner == needs_owner


def test_a_refused_look_says_what_to_do_though_it_has_no_words(s3: S3, file: Path) -> None:
    s3.proxy.fail("HEAD", Answer(403))
    error = refused(s3.bucket(), file)
    assert "access to the bucket posts is denied (403)" in str(error)


def test_credentials_that_the_server_does_not_know_need_the_owner(s3: S3, file: Path) -> None:
    s3.tell("reset-auth", "0")
    try:
        error = refused(s3.bucket(), file)
    finally:
        s3.tell("reset-auth", "inf")
    assert "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in str(error)
    assert error.needs_owner


def test_without_credentials_it_says_where_they_belong(s3: S3, file: Path) -> None:
    error = refused(Bucket(keep_settings("s3://posts", {"AWS_ENDPOINT_URL": s3.proxy.url})), file)
    assert "no credentials" in str(error)
    assert error.needs_owner


@pytest.mark.usefixtures("s3")
def test_half_of_the_credentials_are_none(file: Path) -> None:
    error = refused(Bucket(keep_settings("s3://posts", {"AWS_ACCESS_KEY_ID": "AKIATEST"})), file)
    assert "or not all of them; set" in str(error)


def test_a_server_out_of_reach_is_named_without_its_password(s3: S3, file: Path) -> None:
    s3.proxy.down()
    error = refused(s3.bucket(), file)
    assert s3.proxy.url in str(error)
    assert not error.needs_owner


def test_a_certificate_that_is_not_accepted_needs_the_owner(s3: S3, file: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    server = Loopback(lambda connection: context.wrap_socket(connection, server_side=True).close())
    server.up()
    try:
        keep = s3.keep(AWS_ENDPOINT_URL=f"https://127.0.0.1:{server.port}")
        error = refused(Bucket(keep), file)
    finally:
        server.close()
    assert f"certificate of https://127.0.0.1:{server.port} is not accepted" in str(error)
    assert error.needs_owner


@pytest.mark.usefixtures("s3")
def test_a_profile_that_does_not_exist_needs_the_owner(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    error = refused(Bucket(keep_settings("s3://posts", {})), file)
    assert "(ProfileNotFound); check AWS_ENDPOINT_URL, AWS_PROFILE" in str(error)
    assert error.needs_owner


@pytest.mark.usefixtures("s3")
def test_a_wrong_address_of_the_server_needs_the_owner(file: Path) -> None:
    keep = replace(keep_settings("s3://posts", {}), s3_endpoint="http://no such host")
    error = refused(Bucket(keep), file)
    assert "AWS_ENDPOINT_URL" in str(error)
    assert error.needs_owner


def test_a_bucket_costs_nothing_until_it_is_used() -> None:
    script = (
        "import sys; from tweetdock.keep.bucket import Bucket; "
        "from tweetdock.settings.gauge import Settings; "
        "settings, _ = Settings.read({'TWEETDOCK_OFFLOAD': 's3://posts'}, demo=True); "
        "Bucket(settings.keep); print('boto3' in sys.modules)"
    )
    words = [sys.executable, "-c", script]
    assert subprocess.check_output(words, text=True, timeout=30) == "False\n"


def test_without_boto3_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(OffloadError, match=r"pip install 'tweetdock\[s3\]'") as caught:
        Bucket(keep_settings("s3://posts", {}))
    assert caught.value.needs_owner


def test_a_file_too_large_for_one_request_is_refused_before_it_is_sent(s3: S3, file: Path) -> None:
    with file.open("ab") as grown:
        grown.truncate(LARGEST_PUT + 1)
    with pytest.raises(ArchiveError, match="TWEETDOCK_ARCHIVE_ROTATE"):
        s3.bucket().put("one.jsonl.gz", file, "0" * 64)
    assert s3.proxy.asked("PUT") == []
