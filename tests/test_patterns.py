"""Patterns that wait for their first use (nlp.patterns)."""

import importlib
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import nlp
from nlp.patterns import compile_rest, regex


def test_every_pattern_of_the_project_can_be_compiled() -> None:
    for module in pkgutil.iter_modules(nlp.__path__):
        importlib.import_module(f"nlp.{module.name}")
    compile_rest()
    assert compile_rest() == 0


def test_importing_what_understands_notes_compiles_few_of_them() -> None:
    """The bot's start waits for the import, nobody for what is compiled after it."""
    asked = "import nlp.understand\nfrom nlp.patterns import compile_rest\nprint(compile_rest())"
    told = subprocess.run(
        [sys.executable, "-c", asked],
        cwd=Path(__file__).parents[1],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(told.stdout) > 100


def test_a_pattern_works_as_a_compiled_one() -> None:
    late = regex(r"(\d)(号)")
    match = late.search("周五3号")
    assert match is not None
    assert match.groups() == ("3", "号")
    assert late.sub("", "3号见") == "见"
    assert late.pattern == r"(\d)(号)"


def test_a_mistake_in_a_pattern_shows_when_it_is_used() -> None:
    with pytest.raises(re.error, match="unterminated subpattern"):
        regex("(").search("")
