"""Containers of the image that `.ci/image` has built, run by buildah as Docker would run them."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psutil
from running import Running

NAME = "tweetdock"
STATE = "/var/lib/tweetdock"
LIMIT = 60.0  # another processor's programs run twenty times as slowly
NOTHING: Mapping[str, str] = {}


def store() -> Path | None:
    """Where the image is; None if there is none to try."""
    folder = os.environ.get("TWEETDOCK_IMAGE_STORE", "")
    return Path(folder) if folder and shutil.which("buildah") else None


def buildah(*words: str) -> str:
    """What a command of buildah's says."""
    done = subprocess.run(
        [*_command(), *words], capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@dataclass(frozen=True)
class Image:
    """What the image says of itself."""

    architecture: str
    config: dict[str, Any]
    megabytes: float

    @classmethod
    def read(cls) -> Self:
        """The image in the store."""
        found = json.loads(buildah("inspect", "--type", "image", NAME))["Docker"]
        (listed,) = json.loads(buildah("images", "--json", NAME))
        number, unit = listed["size"].split()
        megabytes = float(number) * {"MB": 1.0, "GB": 1000.0}[unit]
        return cls(found["architecture"], found["config"], megabytes)

    @property
    def env(self) -> dict[str, str]:
        """The environment that it gives."""
        return dict(pair.split("=", 1) for pair in self.config["Env"])


class Container:
    """One container: what is written into it stays there until the end, volumes aside.

    mounts: what of this machine is where in it.
    """

    def __init__(self, entrypoint: list[str], mounts: Mapping[Path, str]) -> None:
        self._name = buildah("from", "--pull-never", NAME).strip()
        self._entrypoint = entrypoint
        self._mounts = mounts

    def remove(self) -> None:
        """Have it be no more."""
        buildah("rm", self._name)

    @property
    def root(self) -> Path:
        """Its files, as this machine sees them."""
        return Path(buildah("mount", self._name).strip())

    def argv(self, *words: str, env: Mapping[str, str] = NOTHING, entry: bool = True) -> list[str]:
        """The command that runs words in it, in processes of its own, which all end with it.

        entry: behind the image's entrypoint.
        """
        mounts = [f"--volume={here}:{there}" for here, there in self._mounts.items()]
        given = [f"--env={name}={value}" for name, value in env.items()]
        run = [*_command(), "run", "--isolation", "chroot", *mounts, *given, self._name, "--"]
        alone = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
        return [*alone, *run, *(self._entrypoint if entry else ()), *words]

    def run(
        self, *words: str, env: Mapping[str, str] = NOTHING, entry: bool = True
    ) -> "subprocess.CompletedProcess[str]":
        """Run words in it to their end."""
        return subprocess.run(
            self.argv(*words, env=env, entry=entry),
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )


def ask_to_end(running: Running) -> None:
    """SIGTERM to the container's first process, as `docker stop` does it."""
    family = psutil.Process(running.process.pid).children(recursive=True)
    # An emulator comes before its program, as buildah's own process does.
    lines = [(process, process.cmdline()) for process in family]
    (tini,) = [
        process
        for process, words in lines
        if "/usr/bin/tini" in words[:2] and not words[0].startswith("buildah")
    ]
    tini.terminate()


def launcher(folder: Path) -> Path:
    """A program `pigpiod` for the container, which runs the stand-in."""
    path = folder / "pigpiod"
    path.write_text('#!/bin/sh\nexec python3 /standins/pigpiod.py "$@"\n')
    path.chmod(0o755)
    return path


def _command() -> list[str]:
    folder = store()
    assert folder is not None
    places = ["--root", str(folder / "storage"), "--runroot", str(folder / "run")]
    return ["buildah", "--storage-driver", "vfs", *places]
