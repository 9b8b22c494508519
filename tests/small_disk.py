"""`zoudian run` with one of its folders on a disk of a few megabytes, which can be filled to the last byte.

The disk is a tmpfs that only the bot sees, in a mount namespace of its own; we reach it through /proc. It needs a
kernel that lets this user make such a namespace (`unshare -rm`); most do, containers often do not.
"""

import asyncio
import contextlib
import errno
import json
import os
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from storage import people
from storage.people import Account
from tests.botapi.server import TOKEN, BotApi
from tests.databases import WHOLE
from tests.telegramfirm import START, sample_database

MEGABYTES = 24
_LEFT = "select (select count(*) from inbox where state = 'new') + (select count(*) from outbox where state = 'due')"
ROOT = Path(__file__).parent.parent


def _may_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    mount = "mount -t tmpfs -o size=1m tmpfs /mnt"
    return subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True, check=False).returncode == 0


needs_a_disk = pytest.mark.skipif(not _may_mount(), reason="no small disk can be mounted here: unshare -rm is refused")


class SmallDisk:
    """`folder`: the bot's working folder, seen from here, with `data` in it; `disk`: the small one."""

    def __init__(self, pid: int, folder: Path, small: str) -> None:
        self._pid, self._folder = pid, folder
        self.folder = Path(f"/proc/{pid}/root{folder}")
        self.disk = self.folder / small

    def fill(self) -> None:
        """To the last byte, so that not even a page of 4 KB goes in."""
        with (self.disk / "ballast").open("ab", buffering=0) as ballast:
            for size in (1 << 20, 4096, 1):
                try:
                    while True:
                        ballast.write(bytes(size))
                except OSError as full:
                    if full.errno != errno.ENOSPC:
                        raise

    def empty(self) -> None:
        (self.disk / "ballast").unlink()

    async def doctor(self) -> dict[str, str]:
        """The level of each finding of `zoudian doctor` beside the running bot."""
        enter = ("nsenter", "-t", str(self._pid), "-U", "-m", "--preserve-credentials", f"--wd={self._folder}")
        told = await asyncio.create_subprocess_exec(
            *(*enter, sys.executable, "-m", "bot", "doctor", "--json"),
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        found, _ = await told.communicate()
        return {one["name"].removeprefix("doctor."): one["level"] for one in json.loads(found)}

    @property
    def log(self) -> str:
        return (self._folder / "log").read_text(encoding="utf-8", errors="replace")

    def left(self) -> int:
        """How many rows of the inbox and outbox wait. SQLite itself finds no way into the namespace, so in a copy."""
        with tempfile.TemporaryDirectory() as name:
            for file in (self.folder / "data").glob("zoudian.db*"):
                shutil.copy(file, name)
            with contextlib.closing(sqlite3.connect(Path(name) / "zoudian.db")) as connection:
                return int(connection.execute(_LEFT).fetchone()[0])


def _end(shell: int) -> None:
    """The bot behind the shell."""
    for child in Path(f"/proc/{shell}/task/{shell}/children").read_text().split():
        os.kill(int(child), signal.SIGTERM)


@asynccontextmanager
async def running_on(folder: Path, small: str, staff: dict[str, int]) -> AsyncIterator[tuple[BotApi, SmallDisk]]:
    """The sample firm's bot with `small` ("data" or "data/files") on the small disk. `staff`: chats of employees.

    Afterwards the data folder lies in the folder `after`, outside the namespace.
    """
    (folder / "data").mkdir()
    database = sample_database(folder / "data")
    with database.work(WHOLE) as work:
        for code, chat in staff.items():
            people.link(work, Account("telegram", str(chat), str(chat), code), START)
    database.close()
    (folder / "data" / "firm.db").rename(folder / "data" / "zoudian.db")
    (folder / small).mkdir(exist_ok=True)
    aside, place = shlex.quote(str(folder / "aside")), shlex.quote(str(folder / small))
    mounted = f"cp -a {place} {aside} && mount -t tmpfs -o size={MEGABYTES}m tmpfs {place} && cp -a {aside}/. {place}/"
    async with BotApi() as api:
        api.know(*staff.values())
        environment = {
            **os.environ,
            "ZOUDIAN_TELEGRAM__TOKEN": TOKEN,
            "ZOUDIAN_TELEGRAM__API_BASE": api.base,
            "ZOUDIAN_WEB__PORT": "0",
            "PYTHONPATH": str(ROOT),
        }
        after = shlex.quote(str(folder / "after"))
        run = f"{mounted} && {{ {shlex.quote(sys.executable)} -m bot run; cp -a data {after}; }}"
        with (folder / "log").open("wb") as out:
            bot = await asyncio.create_subprocess_exec(
                *("unshare", "-rm", "sh", "-c", run), cwd=folder, env=environment, stdout=out, stderr=out
            )
            try:
                await api.until(lambda: bool(api.called("getUpdates")), 300)
                yield api, SmallDisk(bot.pid, folder, small)
            finally:
                _end(bot.pid)
                await asyncio.wait_for(bot.wait(), 60)
