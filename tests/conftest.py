"""What holds for every test: nothing outside this machine is reached, and no test needs another to run first.

pytest-socket (addopts in pyproject.toml) lets this process connect to loopback and Unix sockets only. It cannot look
into child processes, so the one library that fetches models by itself is told here that it is offline. pytest-randomly
shuffles the order and prints the seed; `make test ARGS=--randomly-seed=7` repeats an order.
"""

import logging
import os
import signal
from collections.abc import Iterator

import pytest

from bot.logs import QUIET
from tests import databases

os.environ["HF_HUB_OFFLINE"] = "1"

# Whoever runs the tests in the background of a script has them ignore Ctrl-C, and so all that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _tidy_databases() -> Iterator[None]:
    with databases.tidy():
        yield


@pytest.fixture(autouse=True)
def _tidy_logging() -> Iterator[None]:
    """A test that sets up logging as the bot does must not change what the next one hears."""
    before = {name: logging.getLogger(name).level for name in ("", *QUIET)}
    yield
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)
    for handler in [one for one in logging.getLogger().handlers if type(one) is logging.StreamHandler]:
        logging.getLogger().removeHandler(handler)
