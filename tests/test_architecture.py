"""The shape of the house, read from its imports: one direction, walls, purity, small rooms."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tweetdock.cli import COMMANDS

HOUSE = Path(__file__).parent.parent / "tweetdock"
LARGEST = 300  # lines; past that there is a second noun in the file

# From the roof to the ground. A file may import what stands in a line below its own, or in its
# own line, never what stands above it.
FLOORS = """
    __main__
    cli
    daemon            commands/export commands/merge commands/offload
    commands/doctor
    front             commands/calibrate commands/face
    keep/choice       commands/streams
    workbench/session doctor/setting_checks doctor/spending doctor/round doctor/censor
    workbench/screen  workbench/keys doctor/findings doctor/salvage
    workbench/panel
    keep/checkup
    keep/keeper       keep/archive keep/caretaker keep/offload keep/merge keep/parquet
    keep/store        keep/files/recent keep/files/sorter keep/bucket keep/columns
    keep/sqlite/state keep/sqlite/condition keep/files/volume keep/files/shelf keep/files/new_file
    keep/sqlite/facts keep/files/tail keep/files/manifest keep/files/backlog
    keep/sqlite/history keep/sqlite/schema keep/sqlite/database keep/files/contents
    keep/files/texts
    keep/files/place keep/files/access keep/files/lock keep/files/disk keep/files/note
    keep/files/line
    keep/files/members
    logs config env_file                           gauge
    show/terminal/view                             show/web/web
    show/terminal/two_dials                        show/web/server
    show/terminal/captions show/terminal/dial_art  show/web/routes show/web/connection
    show/terminal/two_lines                        show/web/guard show/web/watchers
    show/terminal/sparkline                        show/web/histories show/web/statics
                                                   show/web/health show/web/metrics
    show/face/pdf                                  show/web/answer show/web/wording
    show/face/face show/face/svg                   show/web/page show/web/asgi
    show/face/outline show/face/ruler              show/web/heading show/web/dial_svg
    show/face/sheet                                show/web/words show/web/limits
    show/journal show/board show/checkup show/systemd
    show/past show/dial show/notices show/container
    sources/checkups                               servos/checkup servos/machine servos/bench
    sources/choice                                 servos/choice servos/needles
    sources/replay/source sources/replay/checkup sources/demo
    sources/replay/program sources/replay/lines
    sources/replay/tape
    sources/x/live sources/x/checkup               servos/pigpio servos/lgpio servos/mock
    sources/x/stream sources/x/fill                servos/pigpiod servos/hands servos/calibration
    sources/x/connection                           servos/rig servos/hand servos/pigpiod_lock
    servos/pigpiod_words servos/lgpio_words
    sources/x/ledger sources/x/search sources/x/stream_client sources/x/cures
    sources/x/client sources/x/gaps
    sources/x/counts sources/x/plan
    sources/x/purse sources/x/follow
    sources/x/budget sources/x/lines sources/x/refusals
    sources/x/posts sources/x/rules sources/x/pace sources/x/reconnects
    sources/mastodon/live sources/mastodon/checkup
    sources/mastodon/timeline
    sources/mastodon/stream
    sources/mastodon/client
    sources/mastodon/access
    sources/mastodon/plan sources/mastodon/instance sources/mastodon/refusals
    sources/mastodon/statuses sources/mastodon/posts sources/mastodon/sse
    sources/bluesky/source sources/bluesky/checkup
    sources/bluesky/plan
    sources/bluesky/course sources/bluesky/websocket sources/bluesky/events
    sources/bluesky/known_keys
    sources/reach
    sources/http sources/polling sources/one_line sources/answers
    settings reading memory checkup
    keep/settings sources/settings
    servos/pigpiod_options
    setting values sources/x/query sources/rate_limit keep/files/rotation keep/s3_url
    scaler coverage counter motion witnesses clock
    timeline fingerprints troubles backoff threads
    timestamps
    post errors
    plain
    exits __init__ sources/__init__ servos/__init__ show/__init__ commands/__init__
    keep/__init__ keep/files/__init__ keep/sqlite/__init__
    doctor/__init__ workbench/__init__ show/face/__init__
    show/terminal/__init__ show/web/__init__
    sources/x/__init__ sources/bluesky/__init__ sources/mastodon/__init__ sources/replay/__init__
"""

# These know no clock, socket, thread, file or log: time is an argument, and nothing is looked up.
PURE = [
    "__init__",
    "plain",
    "post",
    "errors",
    "timestamps",
    "counter",
    "fingerprints",
    "timeline",
    "coverage",
    "scaler",
    "motion",
    "gauge",
    "memory",
    "reading",
    "checkup",
    "show/dial",
    *(f"show/web/{name}" for name in ("page", "heading", "dial_svg", "words")),
    *(f"show/web/{name}" for name in ("answer", "asgi", "limits", "wording")),
    *(f"show/face/{name}" for name in ("face", "svg", "outline", "ruler", "sheet")),
    *(f"show/terminal/{name}" for name in ("dial_art", "sparkline")),
    "doctor/censor",
    "servos/calibration",
    "workbench/panel",
    "setting",
    "settings",
    "values",
    "keep/columns",
    "keep/sqlite/facts",
    "keep/files/line",
    "keep/files/note",
    "keep/files/place",
    "keep/files/rotation",
    "keep/s3_url",
    "keep/sqlite/schema",
    "keep/settings",
    "sources/rate_limit",
    "sources/settings",
    "sources/one_line",
    *(f"sources/x/{name}" for name in ("plan", "posts", "query", "refusals", "rules", "lines")),
    *(f"sources/x/{name}" for name in ("gaps", "pace", "reconnects")),
    *(f"sources/bluesky/{name}" for name in ("events", "course", "plan", "known_keys")),
    *(f"sources/mastodon/{name}" for name in ("plan", "posts", "instance", "refusals", "sse")),
    *(f"sources/replay/{name}" for name in ("lines", "program", "tape")),
    "show/notices",
    *(f"servos/{name}" for name in ("hand", "lgpio_words", "pigpiod_options", "pigpiod_words")),
]
IMPURE_MODULES = {
    *("time", "threading", "queue", "subprocess", "signal", "asyncio", "multiprocessing"),
    *("socket", "ssl", "http", "urllib.request", "requests", "urllib3", "tweepy"),
    "websockets",
    *("os", "io", "shutil", "tempfile", "glob", "sqlite3", "logging", "random", "secrets"),
    *("gpiozero", "pigpio", "lgpio", "dotenv"),
}
# A pure file may name a folder, but neither look into it nor open it.
PATHS = {"keep/settings", "sources/settings", "values"}
IMPURE_CALLS = {
    *("open", "input", "print", "now", "utcnow", "today", "cwd", "home", "exists", "is_file"),
    *("is_dir", "iterdir", "mkdir", "read_text", "read_bytes", "write_text", "write_bytes"),
    *("resolve", "stat", "unlink"),
}

# Rooms that know nothing of each other.
ROOMS = ["sources", "servos", "show", "keep"]

# A library is known to the files named here and to no other.
WALLS = {
    "tweepy": {"sources/x/client", "sources/x/stream_client"},
    "requests": {"sources/http", "sources/x/client", "sources/x/stream_client"},
    "websockets": {"sources/bluesky/websocket"},
    "urllib3": {"sources/http"},
    "gpiozero": {"servos/rig", "servos/pigpio", "servos/lgpio", "servos/mock"},
    "pigpio": {"servos/pigpio"},
    "lgpio": {"servos/lgpio"},
    "dateutil": {"timestamps"},
    "dotenv": {"config", "env_file"},
    "rich": {f"show/terminal/{name}" for name in ("view", "two_dials", "two_lines", "captions")},
    "fpdf": {"show/face/pdf"},
    "starlette": {"show/web/routes"},
    "uvicorn": {"show/web/server", "show/web/connection"},
    "h11": {"show/web/connection"},
    "prometheus_client": {"show/web/metrics"},
    "sqlite3": {
        "keep/sqlite/condition",
        "keep/store",
        "keep/sqlite/database",
        "keep/sqlite/history",
        "keep/files/sorter",
    },
    "boto3": {"keep/bucket"},
    "botocore": {"keep/bucket"},
    "pyarrow": {"keep/parquet"},
}
HEAVY = {
    "anyio",
    "fpdf",
    "h11",
    "prometheus_client",
    "starlette",
    "uvicorn",
    "boto3",
    "botocore",
    "pyarrow",
    "tweepy",
    "requests",
    "urllib3",
    "gpiozero",
    "pigpio",
    "lgpio",
    "oauthlib",
    "rich",
    "websockets",
}


def name_of(path: Path) -> str:
    return path.relative_to(HOUSE).with_suffix("").as_posix()


FILES = {name_of(path): path for path in sorted(HOUSE.rglob("*.py"))}
FLOOR_OF = {
    name: number
    for number, floor in enumerate(FLOORS.strip().splitlines())
    for name in floor.split()
}

every_file = pytest.mark.parametrize("name", FILES)


@cache
def tree(name: str) -> ast.Module:
    return ast.parse(FILES[name].read_text(encoding="utf-8"))


def imports(name: str) -> Iterator[tuple[str, str]]:
    """Every module that a file imports, wherever in it, with the name that it takes from there."""
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: a relative import hides where it leads"
            assert node.module
            yield from ((node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Call) and called(node) in ("import_module", "__import__"):
            (module,) = node.args
            if isinstance(module, ast.JoinedStr):  # one of the commands, by its name
                yield from ((f"tweetdock.commands.{command}", "") for command in COMMANDS)
                continue
            assert isinstance(module, ast.Constant), f"{name}: imports what cannot be read"
            yield str(module.value), ""


def called(call: ast.Call) -> str:
    """The last word of what is called."""
    function = call.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def own_imports(name: str) -> Iterator[tuple[str, str]]:
    """Every file of ours that a file imports, with the name that it takes from there."""
    for module, taken in imports(name):
        package, _, rest = module.partition(".")
        if package != "tweetdock":
            continue
        inner = rest.replace(".", "/")
        # `from tweetdock import values` takes a file, `from tweetdock import __version__` does not.
        candidates = (f"{inner}/{taken}".strip("/"), inner, f"{inner}/__init__".strip("/"))
        yield next(candidate for candidate in candidates if candidate in FILES), taken


def foreign_imports(name: str) -> set[str]:
    """Every module that a file imports from elsewhere."""
    return {module for module, _ in imports(name) if module.partition(".")[0] != "tweetdock"}


def within(module: str, packages: set[str]) -> bool:
    """Whether a module is one of the packages or lies in one."""
    parts = module.split(".")
    return any(".".join(parts[: end + 1]) in packages for end in range(len(parts)))


def test_every_file_stands_on_its_floor() -> None:
    assert set(FLOOR_OF) == set(FILES), "FLOORS does not list the files as they are"


@every_file
def test_a_file_says_what_it_is_for_in_one_sentence_on_line_1(name: str) -> None:
    docstring = ast.get_docstring(tree(name), clean=False)
    assert docstring, f"{name}: no docstring"
    assert tree(name).body[0].lineno == 1
    assert "\n" not in docstring
    assert docstring.endswith(".")
    assert ". " not in docstring


@every_file
def test_a_file_is_small(name: str) -> None:
    lines = len(FILES[name].read_text(encoding="utf-8").splitlines())
    assert lines <= LARGEST, (
        f"{name} has {lines} lines, {LARGEST} are allowed: look for its second noun"
    )


@every_file
def test_imports_run_downwards(name: str) -> None:
    for other, _ in own_imports(name):
        assert FLOOR_OF[other] >= FLOOR_OF[name], f"{name} imports {other}, which stands above it"


def test_imports_never_run_in_a_circle() -> None:
    finished: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join((*way, name))
        if name in finished:
            return
        for other, _ in own_imports(name):
            visit(other, (*way, name))
        finished.add(name)

    for name in FILES:
        visit(name, ())


def test_nobody_but_the_command_line_sees_the_daemon() -> None:
    seers = {name for name in FILES for other, _ in own_imports(name) if other == "daemon"}
    assert seers == {"cli"}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_is_closed_to_the_other_rooms(room: str) -> None:
    for name in FILES:
        if name.partition("/")[0] in set(ROOMS) - {room}:
            others = {other for other, _ in own_imports(name) if other.startswith(f"{room}/")}
            assert not others, f"{name} imports {others}"


@pytest.mark.parametrize("name", PURE)
def test_a_pure_file_knows_no_clock_wire_thread_file_or_log(name: str) -> None:
    banned = IMPURE_MODULES | (set() if name in PATHS else {"pathlib"})
    found = {module for module in foreign_imports(name) if within(module, banned)}
    assert not found, f"{name} imports {found}"
    calls = {called(node) for node in ast.walk(tree(name)) if isinstance(node, ast.Call)}
    assert not calls & IMPURE_CALLS, f"{name} calls {calls & IMPURE_CALLS}"


@pytest.mark.parametrize("name", PURE)
def test_a_pure_file_stands_on_pure_files(name: str) -> None:
    for other, _ in own_imports(name):
        assert other in PURE, f"{name} is pure, {other} is not"


def test_every_library_has_its_wall() -> None:
    libraries = {
        module.partition(".")[0] for name in FILES for module in foreign_imports(name)
    } - set(sys.stdlib_module_names)
    assert libraries == set(WALLS) - set(sys.stdlib_module_names)


@pytest.mark.parametrize("library", WALLS)
def test_a_library_is_known_behind_its_wall_only(library: str) -> None:
    knowers = {
        name for name in FILES if any(within(module, {library}) for module in foreign_imports(name))
    }
    assert knowers == WALLS[library]


@every_file
def test_nothing_is_imported_whole(name: str) -> None:
    assert "*" not in {taken for _, taken in imports(name)}


def modules_after(statement: str) -> set[str]:
    """The packages that a fresh interpreter has loaded after a statement."""
    script = f"{statement}\nimport sys\nprint(*sys.modules)"
    words = [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(HOUSE.parent)!r})\n"]
    words[-1] += script
    run = subprocess.run(words, capture_output=True, text=True, timeout=30, check=True)
    return {module.partition(".")[0] for module in run.stdout.split()}


def test_the_command_line_answers_before_anything_heavy_is_loaded() -> None:
    loaded = modules_after("import tweetdock.cli")
    assert "tweetdock" in loaded
    assert not loaded & HEAVY


def test_the_daemon_loads_no_backend_and_no_source_that_is_not_in_use() -> None:
    loaded = modules_after("import tweetdock.daemon")
    # gpiozero brings pigpio along by itself, where it is installed.
    assert not loaded & (HEAVY - {"gpiozero", "pigpio"})
