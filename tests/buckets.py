"""A bucket on loopback: moto's server, a client to look into it, a proxy before it that fails."""

import functools
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.request import Request, urlopen

import pytest
from standins.flaky_proxy import FlakyProxy

from tweetdock.keep.bucket import Bucket
from tweetdock.settings.gauge import Settings
from tweetdock.settings.keeping import KeepSettings

SECRET = "wJalrXUtnFEMI-a-secret-nobody-may-see"
URL = "s3://posts/raw/pi"


@functools.cache
def descriptions() -> Any:
    """Amazon's descriptions of its services; to load them takes long."""
    loaders = pytest.importorskip("botocore.loaders", reason="boto3 is not installed")
    return loaders.create_loader()


@functools.cache
def looker(url: str) -> Any:
    """A client that looks into the bucket behind everybody's back."""
    boto3 = pytest.importorskip("boto3", reason="boto3 is not installed")
    return boto3.session.Session().client(
        "s3",
        endpoint_url=url,
        aws_access_key_id="looker",
        aws_secret_access_key="looker",
        region_name="us-east-1",
    )


class NoWaiting:
    """The module `time` for a client that need not wait between its tries."""

    time = staticmethod(time.time)

    @staticmethod
    def sleep(_seconds: float) -> None:
        """Be back at once."""


def keep_settings(url: str, env: Mapping[str, str]) -> KeepSettings:
    """What is set of a bucket by Amazon's own names."""
    return Settings.read({"TWEETDOCK_OFFLOAD": url, **env}, demo=True)[0].keep


class S3:
    """A server that speaks S3, with one bucket, `posts`; `proxy` is the way in for the tested."""

    def __init__(self, port: int, proxy: FlakyProxy) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self.proxy = proxy
        self.client: Any = looker(self._url)
        self.tell("reset")
        self.client.create_bucket(Bucket="posts")

    @property
    def env(self) -> dict[str, str]:
        """The same for a process."""
        return {
            "AWS_ENDPOINT_URL": self.proxy.url,
            "AWS_ACCESS_KEY_ID": "AKIATEST",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            **ALONE,
        }

    def bucket(self, url: str = URL, *, patience_seconds: float = 20.0) -> Bucket:
        return Bucket(self.keep(url), patience_seconds=patience_seconds)

    def keep(self, url: str = URL, **changes: str) -> KeepSettings:
        """What is set of the bucket."""
        return keep_settings(url, self.env | changes)

    def keys(self) -> list[str]:
        """All that is in the bucket."""
        found = self.client.list_objects_v2(Bucket="posts").get("Contents", [])
        return [entry["Key"] for entry in found]

    def get(self, key: str) -> bytes:
        content: bytes = self.client.get_object(Bucket="posts", Key=key)["Body"].read()
        return content

    def put(self, key: str, body: bytes) -> None:
        """Put an object there behind everybody's back, without a sum."""
        self.client.put_object(Bucket="posts", Key=key, Body=body)

    def tell(self, order: str, body: str = "") -> Any:
        """One of moto's own orders."""
        request = Request(f"{self._url}/moto-api/{order}", data=body.encode(), method="POST")
        request.add_header("Content-Type", "text/plain")
        with urlopen(request, timeout=10) as answer:
            return json.load(answer)


# What boto3 would find on this machine is no concern of a test.
ALONE = {
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/nonexistent/config",
    "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent/credentials",
    "NO_PROXY": "127.0.0.1",
}


@contextmanager
def bucket_behind_proxy(port: int, patch: pytest.MonkeyPatch) -> Iterator[S3]:
    """An empty bucket of the server at that port; boto3 finds nothing else, and wastes no time."""
    for name, value in ALONE.items():
        patch.setenv(name, value)
    patch.setattr("botocore.session.create_loader", lambda _path=None: descriptions())
    patch.setattr("botocore.endpoint.time", NoWaiting)
    with FlakyProxy(port) as proxy:
        yield S3(port, proxy)


@contextmanager
def serving() -> Iterator[int]:
    """The port of moto's server."""
    moto_server = pytest.importorskip(
        "moto.server", reason="moto[server] is not installed, which plays S3"
    )
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield server.get_host_and_port()[1]
    finally:
        server.stop()
