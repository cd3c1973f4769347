"""What can be set of what outlives a restart."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tweetdock.core.errors import SettingsError
from tweetdock.settings import parse
from tweetdock.settings.rotation import Rotation
from tweetdock.settings.setting import set_by, table_of


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepSettings:
    """The state, the archive, and where its closed files go. Times in seconds."""

    state_dir: Path = set_by(  # noqa: RUF009 - it is field() inside
        "TWEETDOCK_STATE_DIR", parse.folder, "~/.local/state/tweetdock", "what outlives a restart"
    )
    save_seconds: float = set_by(
        "TWEETDOCK_SAVE_SECONDS",
        parse.number(0, 300),
        "30",
        "how often the state is saved; what came since is read again after a crash",
    )
    archive: Path | None = set_by(  # noqa: RUF009 - it is field() inside
        "TWEETDOCK_ARCHIVE", parse.archive, "", "a file NAME.jsonl.gz for every raw post; or none"
    )
    archive_rotate: Rotation = set_by(  # noqa: RUF009
        "TWEETDOCK_ARCHIVE_ROTATE",
        Rotation.parse,
        "off",
        "when to begin a new archive file: 100MB, daily, 100MB,daily or off",
    )
    archive_keep: int = set_by(
        "TWEETDOCK_ARCHIVE_KEEP",
        parse.whole(0, 100_000),
        "0",
        "how many closed archive files stay here; 0: all",
    )
    offload: str = set_by(
        "TWEETDOCK_OFFLOAD",
        parse.s3_url,
        "",
        "s3://bucket/prefix where closed archive files go after each rotation; or nowhere",
    )
    offload_keep: bool = set_by(
        "TWEETDOCK_OFFLOAD_KEEP",
        parse.switch,
        "0",
        "1: an archive file that is safe in the bucket stays here too",
    )
    s3_endpoint: str = set_by(
        "AWS_ENDPOINT_URL", parse.endpoint, "", "an S3-compatible server other than Amazon's"
    )
    s3_region: str = set_by("AWS_DEFAULT_REGION", parse.text, "", "the bucket's region")
    s3_key_id: str = set_by(
        "AWS_ACCESS_KEY_ID",
        parse.secret,
        "",
        "S3's key; without it boto3 looks around",
        secret=True,
    )
    s3_secret: str = set_by("AWS_SECRET_ACCESS_KEY", parse.secret, "", "its secret", secret=True)
    s3_session_token: str = set_by(
        "AWS_SESSION_TOKEN", parse.secret, "", "S3: of a key that expires", secret=True
    )


def settle_state_dir(env: dict[str, str]) -> None:
    """Let the state folder in `env` be the one that XDG has for it, unless it is named there."""
    if env.get("XDG_STATE_HOME") and not env.get("TWEETDOCK_STATE_DIR"):
        env["TWEETDOCK_STATE_DIR"] = str(Path(env["XDG_STATE_HOME"]) / "tweetdock")


def state_dir(env: Mapping[str, str]) -> Path:
    """The state folder as `env` has it; raises SettingsError if that is none."""
    env, problems = dict(env), list[str]()
    settle_state_dir(env)
    folder: Path = table_of(KeepSettings)["state_dir"].read(env, problems)
    if problems:
        raise SettingsError(problems)
    return folder
