"""Bombs, lies and polyglots are refused within 300 MB. `python -m tests.hostile_media` tells how long each takes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hostile_media import FILES


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_file_is_refused_within_300_megabytes(name: str) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "tests.hostile_media", name],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
    )
    assert json.loads(told.stdout)["outcome"] in FILES[name].outcomes
