"""What the whole daemon takes: time to its first reading, memory, processor time at rest."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from standins.x_api import XApi, make_post

REST_SECONDS = 40
TOKEN = "a-bearer-token"


def make_hour(number: int) -> list[dict[str, object]]:
    """Return so many posts of the last hour, the last two minutes quiet."""
    now_ms, dice = round(time.time() * 1000), random.Random(1)
    moments = dice.sample(range(now_ms - 3_590_000, now_ms - 120_000), number)
    return [make_post(at_ms, dice.randrange(number)) for at_ms in moments]


def seconds(words: list[str], folder: str, env: dict[str, str]) -> float:
    """Return the best of three runs."""
    best = float("inf")
    for _ in range(3):
        begun = time.perf_counter()
        subprocess.run(words, cwd=folder, env=env, check=True, capture_output=True)
        best = min(best, time.perf_counter() - begun)
    return best


def main() -> None:
    """Print the table."""
    with TemporaryDirectory() as folder, XApi(make_hour(450), bearer=TOKEN) as api:
        env = {
            "PATH": os.environ["PATH"],
            "HOME": folder,
            "TWEETDOCK_HASHTAGS": "dockercon",
            "X_BEARER_TOKEN": TOKEN,
            "X_API_URL": api.url,
        }
        bare = seconds([sys.executable, "-c", "pass"], folder, env)
        tweepy = seconds([sys.executable, "-c", "import tweepy"], folder, env)
        once = seconds([sys.executable, "-m", "tweetdock", "--once"], folder, env)
        print("450 posts in the hour, 5 pages; X on the same machine")
        print(f"bare Python, from start to end        {bare:6.2f} s")
        print(f"Python that imports tweepy            {tweepy:6.2f} s   {tweepy / bare:4.1f} times")
        print(f"tweetdock --once, reading included    {once:6.2f} s   {once / bare:4.1f} times")
        measure_at_rest(folder, env)


def measure_at_rest(folder: str, env: dict[str, str]) -> None:
    """Print what the daemon takes of processor and memory while nothing happens."""
    words = [sys.executable, "-m", "tweetdock", "--log-level", "WARNING"]
    with subprocess.Popen(words, cwd=folder, env=env) as daemon:
        process = psutil.Process(daemon.pid)
        time.sleep(15)  # filled, needles at rest
        used = sum(process.cpu_times()[:2])
        time.sleep(REST_SECONDS)
        share = (sum(process.cpu_times()[:2]) - used) / REST_SECONDS
        memory = process.memory_info().rss / 1e6
        daemon.terminate()
    print(f"at rest, a search every 5 s           {share:6.2%} of one core")
    print(f"resident memory                       {memory:6.1f} MB")


if __name__ == "__main__":
    main()
