"""The shape of the house, read from its imports: layers, walls, and a core that is pure."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tweetdock.cli import COMMANDS

pytestmark = pytest.mark.xdist_group("architecture")  # all read the same trees, which are kept

HOUSE = Path(__file__).parent.parent / "tweetdock"

# From the ground to the roof: a file imports from its own folder and from layers below it.
LAYERS = [
    {"__init__"},
    {"core"},
    {"settings", "threads", "retry", "logs", "system_clock"},
    {"sources", "servos", "keep", "show"},
    {"doctor"},
    {"commands", "factory"},
    {"counting"},
    {"daemon"},
    {"cli"},
    {"__main__"},
]

# The core knows no clock, socket, thread, file or log: time is an argument, nothing is looked up.
IMPURE_MODULES = {
    *("time", "threading", "queue", "subprocess", "signal", "asyncio", "multiprocessing"),
    *("socket", "ssl", "http", "urllib.request", "requests", "urllib3", "tweepy", "websockets"),
    *("os", "io", "shutil", "tempfile", "glob", "pathlib", "sqlite3", "logging", "random"),
    *("secrets", "gpiozero", "pigpio", "lgpio", "dotenv"),
}
IMPURE_CALLS = {"open", "input", "print", "now", "utcnow", "today"}

# A library is known to the files named here and to no other.
WALLS = {
    "tweepy": {"sources/x/client"},
    "requests": {"sources/endpoint", "sources/http", "sources/x/client"},
    "websockets": {"sources/bluesky/websocket"},
    "urllib3": {"sources/endpoint", "sources/http"},
    "gpiozero": {"servos/servos", "servos/pigpio", "servos/lgpio"},
    "pigpio": {"servos/pigpio"},
    "lgpio": {"servos/lgpio"},
    "dateutil": {"core/times"},
    "dotenv": {"settings/env_file"},
    "rich": {
        *("show/terminal/view", "show/terminal/two_dials"),
        *("commands/calibrate_panel", "commands/calibrate_terminal"),
    },
    "fpdf": {"show/face_file"},
    "starlette": {"show/web/routes"},
    "uvicorn": {"show/web/server"},
    "prometheus_client": {"show/web/metrics"},
    "sqlite3": {"keep/database", "keep/merge"},
    "boto3": {"keep/bucket"},
    "botocore": {"keep/bucket"},
    "pyarrow": {"keep/export"},
}
HEAVY = set(WALLS) - {"dateutil", "dotenv", "sqlite3"} | {"anyio", "oauthlib"}


def name_of(path: Path) -> str:
    return path.relative_to(HOUSE).with_suffix("").as_posix()


FILES = {name_of(path): path for path in sorted(HOUSE.rglob("*.py"))}
LAYER_OF = {room: number for number, layer in enumerate(LAYERS) for room in layer}


def room_of(name: str) -> str:
    """The folder at the top of the house that a file lies in, or the file itself."""
    return name.partition("/")[0]


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


def own_imports(name: str) -> Iterator[str]:
    """Every file of ours that a file imports."""
    for module, taken in imports(name):
        package, _, rest = module.partition(".")
        if package != "tweetdock":
            continue
        inner = rest.replace(".", "/")
        # `from tweetdock.settings import parse` takes a file, `... import __version__` does not.
        candidates = (f"{inner}/{taken}".strip("/"), inner, f"{inner}/__init__".strip("/"))
        yield next(candidate for candidate in candidates if candidate in FILES)


def foreign_imports(name: str) -> set[str]:
    """Every module that a file imports from elsewhere."""
    return {module for module, _ in imports(name) if module.partition(".")[0] != "tweetdock"}


def within(module: str, packages: set[str]) -> bool:
    """Whether a module is one of the packages or lies in one."""
    parts = module.split(".")
    return any(".".join(parts[: end + 1]) in packages for end in range(len(parts)))


def test_every_room_has_its_layer() -> None:
    assert {room_of(name) for name in FILES} == set(LAYER_OF)


def test_a_file_says_what_it_is_for_in_one_sentence_on_line_1() -> None:
    for name in FILES:
        docstring = ast.get_docstring(tree(name), clean=False)
        assert docstring, f"{name}: no docstring"
        assert tree(name).body[0].lineno == 1, name
        assert "\n" not in docstring, name
        assert docstring.endswith("."), name
        assert ". " not in docstring, name


def test_imports_run_downwards_and_rooms_of_a_layer_do_not_know_one_another() -> None:
    upwards = [
        f"{name} imports {other}"
        for name in FILES
        for other in own_imports(name)
        if room_of(other) != room_of(name) and LAYER_OF[room_of(other)] >= LAYER_OF[room_of(name)]
    ]
    assert upwards == []


def test_imports_never_run_in_a_circle() -> None:
    finished: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join((*way, name))
        if name in finished:
            return
        for other in own_imports(name):
            visit(other, (*way, name))
        finished.add(name)

    for name in FILES:
        visit(name, ())


def test_the_core_knows_no_clock_wire_thread_file_or_log() -> None:
    for name in FILES:
        if room_of(name) != "core":
            continue
        found = {module for module in foreign_imports(name) if within(module, IMPURE_MODULES)}
        assert not found, f"{name} imports {found}"
        calls = {called(node) for node in ast.walk(tree(name)) if isinstance(node, ast.Call)}
        assert not calls & IMPURE_CALLS, f"{name} calls {calls & IMPURE_CALLS}"


def test_a_library_is_known_behind_its_wall_only() -> None:
    knowers: dict[str, set[str]] = {}
    for name in FILES:
        for module in foreign_imports(name):
            library = module.partition(".")[0]
            if library not in sys.stdlib_module_names or library in WALLS:
                knowers.setdefault(library, set()).add(name)
    assert knowers == WALLS


def test_nothing_is_imported_whole() -> None:
    assert [name for name in FILES if any(taken == "*" for _, taken in imports(name))] == []


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


def test_the_doctors_help_is_answered_before_anything_heavy_is_loaded() -> None:
    assert not modules_after("import tweetdock.commands.doctor") & HEAVY


def test_the_daemon_loads_no_backend_and_no_source_that_is_not_in_use() -> None:
    loaded = modules_after("import tweetdock.daemon")
    # gpiozero brings pigpio along by itself, where it is installed.
    assert not loaded & (HEAVY - {"gpiozero", "pigpio"})
