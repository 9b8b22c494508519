"""deploy/compose.yaml as processes on this machine: visits go on while each part is restarted in turn."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from bot.stand_in import made_photo
from bot.wiring import SAMPLE_FIRM
from reports.firm_import import read_firm, save_firm
from storage import people
from storage.database import Database
from storage.migrate import current, newest
from storage.people import Account
from tests.botapi import updates
from tests.botapi.server import TOKEN, BotApi
from tests.composed import BehindProxy, Container, Machine, services
from tests.databases import WHOLE, postgres_url, sqlite_url
from tests.telegramfirm import START
from tests.test_many_processes import REPS, counted, judge

pytestmark = pytest.mark.chaos

SECRETS = {
    "telegram__token": TOKEN,
    "telegram__webhook_secret": "s3cret_of-the-webhook",
    "web__cookie_key": "k" * 40,
}
ROUND = 2  # photos of everybody between two restarts


def hire(url: str, api: BotApi) -> None:
    """The sample firm, its reps' accounts tied."""
    database = Database(url)
    with database.work(WHOLE) as work:
        save_firm(work, read_firm(SAMPLE_FIRM))
        for code, person in REPS.items():
            people.link(work, Account("telegram", str(person.id), str(person.id), code), START)
    database.close()
    api.know(*(person.id for person in REPS.values()))


async def send_photos(api: BotApi, since: int, count: int) -> int:
    for number in range(since, since + count):
        for code, person in REPS.items():
            name = f"{code}-{number}"
            api.put_file(name, made_photo(name), f"photos/{name}.jpg")
            await api.give(updates.photo(person, file_id=name, date=int(START.timestamp())))
        await asyncio.sleep(0.5)
    return since + count


async def all_answered(api: BotApi, each: int, parts: list[Container], allowed: float = 90.0) -> None:
    try:
        await api.until(
            lambda: not api.waiting() and all(counted(api, rep.id)[-1:] == [each] for rep in REPS.values()), allowed
        )
    except TimeoutError:
        said = "\n".join(f"{part.name}: {part.said()[-1500:]}" for part in parts)
        told = {rep.id: counted(api, rep.id)[-3:] for rep in REPS.values()}
        raise AssertionError(f"{api.waiting()} {told}\n{said}") from None
    await asyncio.sleep(0.5)  # for marks under way


@asynccontextmanager
async def up(*parts: Container) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for part in parts:
            part.start()
            stack.callback(part.kill)
        for part in parts:
            await part.until_up()
        yield


async def restarted(part: Container) -> None:
    """`docker restart`, and until it works again."""
    assert await part.stop() == 0, part.said()
    part.start()
    await part.until_up()


async def checked(part: Container) -> None:
    """Its own health check says that it is well."""
    test = part.service["healthcheck"]["test"]
    result = await asyncio.to_thread(part.run, test[1:])
    assert result.returncode == 0, result.stdout + result.stderr


async def test_a_cluster_is_restarted_part_by_part_and_nothing_is_lost_or_said_twice(tmp_path: Path) -> None:
    url = postgres_url(tmp_path)
    parts = services("cluster")
    machine = Machine(tmp_path, {**SECRETS, "data__url": url})
    migrate = Container("migrate", parts["migrate"], machine)
    receivers = [Container(name, parts[name], machine) for name in ("receiver-1", "receiver-2")]
    workers = [Container(name, parts[name], machine) for name in ("worker-1", "worker-2")]
    everybody = [*receivers, *workers]
    result = await asyncio.to_thread(migrate.run, migrate.service["command"])
    assert result.returncode == 0, result.stdout + result.stderr
    database = Database(url)
    assert current(database) == newest()
    database.close()
    async with BehindProxy([part.port for part in receivers]) as api:
        hire(url, api)
        machine.more = {"ZOUDIAN_TELEGRAM__API_BASE": api.base}
        async with up(*everybody):
            await asyncio.gather(*(checked(part) for part in everybody))
            each = await send_photos(api, 0, ROUND)
            for part in everybody:  # receivers first, then workers, as docs/operations.md has it
                going = asyncio.ensure_future(send_photos(api, each, ROUND))
                await restarted(part)
                each = await going
            await all_answered(api, each, everybody)
            codes = await asyncio.gather(*(part.stop() for part in everybody))
            assert codes == [0] * len(everybody)
        assert judge(url, api, each) == 0, "a graceful restart repeats nothing"
        assert all(api.by_port.values()), "both receivers took some"
        assert set(api.webhook_statuses()) <= {200, 502, 503}
    assert machine.written_elsewhere() == []


async def test_one_process_is_restarted_and_nothing_is_lost_or_said_twice(tmp_path: Path) -> None:
    machine = Machine(tmp_path, SECRETS)
    alone = Container("zoudian", services("single")["zoudian"], machine)
    url = sqlite_url(machine.data, "zoudian.db")
    async with BotApi() as api:
        machine.more = {"ZOUDIAN_TELEGRAM__API_BASE": api.base}
        result = await asyncio.to_thread(alone.run, ["zoudian", "migrate"])
        assert result.returncode == 0, result.stdout + result.stderr
        hire(url, api)
        async with up(alone):
            await checked(alone)
            each = await send_photos(api, 0, ROUND)
            for _ in range(2):
                going = asyncio.ensure_future(send_photos(api, each, ROUND))
                await restarted(alone)
                each = await going
            await all_answered(api, each, [alone])
            assert await alone.stop() == 0
        assert judge(url, api, each) == 0
    assert machine.written_elsewhere() == []
    assert (machine.data / "zoudian.db").is_file()
