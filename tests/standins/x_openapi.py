"""Holds requests and answers against X's own OpenAPI description, where it is at hand."""

import functools
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from standins.x_search import LEGACY, PATH, RENAMED

FOLDER = "TWEETDOCK_RECORDINGS"
FILE = "x-openapi-2.167.json"
ELSEWHERE = {"tweet.fields": "post.fields"}  # the older name, still taken and not described


def description_file() -> Path | None:
    """Find the description where the environment says, or None."""
    folder = os.environ.get(FOLDER)
    path = Path(folder) / FILE if folder else None
    return path if path and path.is_file() else None


@functools.cache
def description() -> dict[str, Any]:
    """Read X's description of its API."""
    path = description_file()
    if path is None:
        raise FileNotFoundError(f"{FOLDER} names no folder with {FILE}")
    document: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return document


@functools.cache
def parameters() -> dict[str, dict[str, Any]]:
    """Read the schema of each parameter of the recent search."""
    described = {}
    for parameter in description()["paths"][PATH]["get"]["parameters"]:
        if "$ref" in parameter:
            name = parameter["$ref"].rsplit("/", 1)[-1]
            parameter = description()["components"]["parameters"][name]  # noqa: PLW2901
        described[parameter["name"]] = parameter["schema"]
    return described


def check_request(params: Mapping[str, str]) -> None:
    """Raise AssertionError unless X describes these parameters and values."""
    for name, text in params.items():
        schema = parameters().get(ELSEWHERE.get(name, name))
        assert schema is not None, f"X describes no parameter {name}"
        value: Any = text
        if schema["type"] == "integer":
            value = int(text) if text.isdecimal() else text
        elif schema["type"] == "array":
            value = text.split(",")
        if name in ("tweet.fields", "post.fields"):
            # Its list leaves out author_id and more that a post has and that X does show.
            known = _known_fields() if name == "post.fields" else _known_fields(legacy=True)
            unknown = set(value) - known
            assert not unknown, f"X describes no {name} {sorted(unknown)}"
            continue
        _validate(value, schema, name)
    for pair in (
        ("start_time", "since_id"),
        ("end_time", "until_id"),
        ("pagination_token", "next_token"),
    ):
        assert not params.keys() >= set(pair), f"X describes at most one of {pair}"


def check_answer(payload: object) -> None:
    """Raise AssertionError unless X describes this page, in either vocabulary."""
    assert isinstance(payload, dict), f"no object: {payload!r:.80}"
    renamed = {name: value for name, value in payload.items() if name != "data"}
    if "data" in payload:
        renamed["data"] = [
            {RENAMED.get(name, name): value for name, value in post.items()}
            for post in payload["data"]
        ]
    for post in renamed.get("data", ()):
        unknown = post.keys() - _known_fields()
        assert not unknown, f"X describes no {sorted(unknown)} of a post"
    schema = description()["components"]["schemas"]["SearchPostsRecentResponse"]
    unknown = renamed.keys() - schema["properties"].keys()
    assert not unknown, f"X describes no {sorted(unknown)} of an answer"
    _validate(renamed, schema, "answer")


@functools.cache
def _known_fields(*, legacy: bool = False) -> frozenset[str]:
    names = description()["components"]["schemas"]["Post"]["properties"]
    return frozenset(LEGACY.get(name, name) if legacy else name for name in names)


def _validate(value: object, schema: dict[str, Any], what: str) -> None:
    import jsonschema  # type: ignore[import-untyped]  # noqa: PLC0415  # slow; ships no types

    whole = schema | {"components": description()["components"]}
    validator = jsonschema.Draft4Validator(whole, format_checker=jsonschema.FormatChecker())
    errors = [f"{error.json_path}: {error.message:.200}" for error in validator.iter_errors(value)]
    assert not errors, f"{what}: {errors}"


def check_schema(name: str, payload: object) -> None:
    """Raise AssertionError unless the payload is what X describes by that name."""
    _validate(payload, description()["components"]["schemas"][name], name)
