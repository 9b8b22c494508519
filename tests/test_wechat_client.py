"""The safe WeChat client, over real sockets: bounded time, its own address, and the ways of wechatpy around it closed.

`row_NN` names the known defect of wechatpy 1.8.18 (docs/decisions/0010-wechatpy.md) that is closed.
"""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.loopback.platform import Trouble
from bot.loopback.work import WorkPlatform
from bot.wechat_client import WeChatApi, WorkClient
from bot.wechat_errors import ApiNotReached, ApiRefused, ApiUnsure
from storage import tokens
from storage.database import Database
from tests.databases import WHOLE
from tests.wechatclients import (
    QUICK,
    SECRET,
    Make,
    account_of,
    api_for,
    both,
    official_platform,
    opened,
    send,
    work_platform,
)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    yield from opened(tmp_path)


@both
async def test_row_04_no_call_hangs(make: Make, database: Database) -> None:
    """A silent and a dripping server: the token, a message, a download. wechatpy waits for them for ever."""
    dripping = await asyncio.start_server(_drip, "127.0.0.1", 0)
    port = dripping.sockets[0].getsockname()[1]
    now = datetime.now(UTC)
    async with make() as platform:
        for base in (platform.base, f"http://127.0.0.1:{port}"):
            platform.trouble("gettoken", Trouble(slow_s=1.2))
            platform.trouble("stable_token", Trouble(slow_s=1.2))
            api = WeChatApi(replace(account_of(platform), api_base=base), database, patience=QUICK)
            began = time.monotonic()
            with pytest.raises(ApiNotReached):
                await api.token()
            with database.work(WHOLE) as work:
                tokens.keep(work, f"{api.account.product}:{api.account.name}", "t", now, now + timedelta(hours=2))
            platform.trouble("*", Trouble(slow_s=1.2, times=2))
            with pytest.raises(ApiUnsure):
                await send(api)
            with pytest.raises(ApiUnsure):
                await api.download("media/get", {"media_id": "x"})
            assert time.monotonic() - began < 5
            with database.work(WHOLE) as work:
                tokens.drop(work, f"{api.account.product}:{api.account.name}")
            await api.close()
    dripping.close()
    await dripping.wait_closed()


async def _drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An answer of which a byte comes now and then: it is never silent for long, and never done."""
    try:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.1)
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


def test_row_07_names_in_the_store_hold_the_agent_and_no_secret(database: Database) -> None:
    asyncio.run(_two_apps_of_one_corp(database))
    with database.connection() as connection:
        names = [row[0] for row in connection.exec_driver_sql("select name from api_token")]
    assert len(names) == 6  # two tokens, two tickets, two ends of tickets
    assert not [name for name in names if SECRET[:10] in name]


async def _two_apps_of_one_corp(database: Database) -> None:
    async with work_platform() as one, work_platform() as other:
        tickets = []
        for agent_id, platform in (("1", one), ("2", other)):
            platform.handlers["ticket/get"] = lambda call, agent_id=agent_id: {  # type: ignore[misc]
                "errcode": 0,
                "ticket": f"ticket-of-{agent_id}",
                "expires_in": 7200,
            }
            api = WeChatApi(replace(account_of(platform), agent_id=agent_id), database)
            for _ in range(2):
                tickets.append(await api.call(lambda client: client.jsapi.get_agent_jsapi_ticket()))
            await api.close()
        assert tickets == ["ticket-of-1", "ticket-of-1", "ticket-of-2", "ticket-of-2"]
        assert one.count("ticket/get") == other.count("ticket/get") == 1


async def test_row_07_two_apps_of_a_corp_have_a_ticket_each(database: Database) -> None:
    async with (
        WorkPlatform(agent_id="1000002", secret=SECRET) as one,
        WorkPlatform(agent_id="1000003", secret=SECRET) as two,
        api_for(one, database) as first,
        api_for(two, database) as second,
    ):
        given = [await api.ticket() for api in (first, second, first, second)]
        assert given[:2] == given[2:]
        assert [given[0], given[1]] == [*one.pages.tickets, *two.pages.tickets]
        assert (one.count("get_jsapi_ticket"), two.count("get_jsapi_ticket")) == (1, 1)


async def test_row_17_every_call_goes_to_the_accounts_own_address(database: Database) -> None:
    """Some calls of the library name a host of their own; the token must not travel there."""
    async with official_platform() as platform, api_for(platform, database) as api:
        with pytest.raises(ApiRefused) as caught:  # wxa's base is another one; the loopback server does not know it
            await api.call(lambda client: client.wxa.create_qrcode("index"))
        assert caught.value.errcode == 40066
        assert platform.calls[-1].path == "wxaapp/createwxaqrcode"
        for leak in (
            lambda client: client.media.get_url("m"),
            lambda client: client.media.download("m"),
            lambda client: client.qrcode.show("t"),
        ):
            with pytest.raises(NotImplementedError):
                await api.call(leak)
    async with work_platform() as work, api_for(work, database) as api:
        for leak in (
            lambda client: client.media.get_url("m"),
            lambda client: client.media.get_jssdk_url("m"),
            lambda client: client.media.download("m"),
        ):
            with pytest.raises(NotImplementedError):
                await api.call(leak)


async def test_row_18_making_a_client_touches_neither_network_nor_database(tmp_path: Path) -> None:
    empty = Database(f"sqlite:///{tmp_path / 'empty.db'}")  # has no tables: any look at them would fail
    async with work_platform() as platform, official_platform() as official:
        for one in (platform, official):
            await WeChatApi(account_of(one), empty).close()
            assert one.calls == []
    assert WorkClient.__new__(WorkClient).access_token == ""  # what the library's __new__ looks at
    empty.close()


async def test_calls_that_the_library_lacks(database: Database) -> None:
    async with work_platform() as platform, api_for(platform, database) as api:
        platform.handlers["auth/getuserinfo"] = lambda call: {"errcode": 0, "userid": call.params["code"]}
        platform.handlers["message/recall"] = lambda call: {"errcode": 0, "was": call.json["msgid"]}
        assert (await api.get("auth/getuserinfo", {"code": "c+/=&1"}))["userid"] == "c+/=&1"
        assert (await api.post("message/recall", {"msgid": "中文"}))["was"] == "中文"


async def test_the_stable_token_is_forced_only_when_one_was_refused(database: Database) -> None:
    now = [datetime.now(UTC)]
    async with official_platform() as platform, api_for(platform, database, clock=lambda: now[0]) as api:
        await send(api)
        now[0] += timedelta(hours=2)
        await send(api)
        platform.revoke()
        now[0] += timedelta(minutes=2)
        await send(api)
        forced = [call.json["force_refresh"] for call in platform.calls if call.path == "stable_token"]
        assert forced == [False, False, True]
        assert platform.count("token") == 0


async def test_closing_waits_for_what_is_under_way_and_is_final(database: Database) -> None:
    async with work_platform() as platform:
        api = WeChatApi(account_of(platform), database)
        await api.token()
        platform.trouble("message/send", Trouble(slow_s=0.3))
        sending = asyncio.ensure_future(send(api))
        await platform.until(lambda: platform.count("message/send") == 1)
        await api.close()
        await api.close()
        assert (await sending)["errcode"] == 0
        with pytest.raises(ApiNotReached):
            await api.token()
