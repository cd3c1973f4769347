"""The word `calibrate`: finds a servo's pulses by hand."""

import argparse
from collections.abc import Mapping


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the words to a parser."""


def run(arguments: argparse.Namespace, env: Mapping[str, str]) -> int:
    """Do it; returns the exit code, or raises SettingsError."""
    return 0
