"""A disk that is really full: nothing is acknowledged that is not kept, nothing is damaged, and all of it goes on.

ZOUDIAN_OUTAGE_SECONDS says how long it stays full; `make chaos` takes a minute.
"""

import asyncio
import os
import sqlite3
import time
from pathlib import Path

import pytest

from bot.stand_in import made_photo
from tests.botapi import updates
from tests.botapi.server import BotApi
from tests.botapi.updates import Person
from tests.chaos.judge import judge
from tests.databases import sqlite_only
from tests.figures import figure
from tests.small_disk import SmallDisk, needs_a_disk, running_on

OUTAGE_S = float(os.environ.get("ZOUDIAN_OUTAGE_SECONDS", "3"))
STAFF = {"E101": 501, "E102": 502, "E103": 503}
STRANGER = Person(777)

pytestmark = [pytest.mark.chaos, sqlite_only, needs_a_disk]


async def ready_again(api: BotApi, before: int) -> float:
    """Seconds until somebody is answered."""
    freed = time.monotonic()
    await api.until(lambda: len(api.sent) > before, 30)
    return time.monotonic() - freed


async def all_dealt_with(api: BotApi, disk: SmallDisk) -> None:
    """Until no row of the inbox or outbox waits."""

    async def busy() -> bool:
        try:
            return bool(api.waiting()) or await asyncio.to_thread(disk.left) > 0
        except sqlite3.DatabaseError:  # copied while it was written to
            return True

    async with asyncio.timeout(120):
        while await busy():  # noqa: ASYNC110 - the bot tells nobody
            await asyncio.sleep(0.5)


def faults(api: BotApi, folder: Path, given: list[int]) -> list[str]:
    """What the judge of the kill runs finds: lost, twice, out of order, damaged."""
    data = folder / "after"
    return judge(f"sqlite:///{data / 'zoudian.db'}", data, set(given), api.sent, [], None).faults


async def test_the_databases_disk_is_full(tmp_path: Path) -> None:
    async with running_on(tmp_path, "data", STAFF) as (api, disk):
        given = await api.give(*(updates.text("/todos", Person(chat)) for chat in STAFF.values()))
        await api.until(lambda: len(api.sent) >= 3, 30)
        disk.fill()
        for number in range(40):  # as many as fit into what SQLite's log has kept for itself, and then some
            given += await api.give(updates.text("长" * 4000, STRANGER))
            if number % 10 == 0:
                given += await api.give(*(updates.text("/todos", Person(chat)) for chat in STAFF.values()))
        await asyncio.sleep(OUTAGE_S)
        held_back = len(api.waiting())
        assert held_back > 0, "the disk was not full enough"
        assert (await disk.doctor())["disk_full"] == "bad"
        answered = len(api.sent)
        disk.empty()
        back = await ready_again(api, answered)
        await all_dealt_with(api, disk)
    assert faults(api, tmp_path, given) == []
    assert "disk is full" in disk.log
    assert not [word for word in ("长长", "\\u957f") if word in disk.log], "what people write stays out of the log"
    figure("disk full, database", f"{OUTAGE_S:.0f} s: {held_back} not acknowledged, 0 lost, again after {back:.1f} s")
    assert back < 5 + 2, "ready within five seconds, and two for a shared machine"


async def test_the_files_disk_is_full(tmp_path: Path) -> None:
    async with running_on(tmp_path, "data/files", STAFF) as (api, disk):
        for number, chat in enumerate(STAFF.values()):
            api.put_file(f"photo-{chat}", made_photo(f"photo-{number}"), f"photos/{chat}.jpg")
        disk.fill()
        photographer, others = Person(501), [Person(502), Person(503)]
        given = await api.give(updates.photo(photographer, file_id="photo-501"))
        given += await api.give(updates.text("/todos", photographer))
        given += await api.give(*(updates.text("/todos", person) for person in others))
        await api.until(lambda: {message["chat"]["id"] for message in api.sent} == {502, 503}, 30)
        await asyncio.sleep(OUTAGE_S)
        assert 501 not in {message["chat"]["id"] for message in api.sent}, "the photo first, then what came after it"
        assert (await disk.doctor())["disk_full"] == "bad"
        assert "waits for the database or the disk" in disk.log
        answered = len(api.sent)
        disk.empty()
        back = await ready_again(api, answered)
        await all_dealt_with(api, disk)
        first, _ = [message["text"] for message in api.sent if message["chat"]["id"] == 501]
        assert "共 1 张" in first
    assert faults(api, tmp_path, given) == []
    figure("disk full, files", f"{OUTAGE_S:.0f} s: only the photo waits, 0 lost, again after {back:.1f} s")
    assert back < 5 + 2
