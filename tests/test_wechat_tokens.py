"""Tokens of the safe WeChat client: one fetch for all threads and processes, one repeat, and what a refusal says.

`row_NN` names the known defect of wechatpy 1.8.18 (docs/decisions/0010-wechatpy.md) that is closed.
"""

import asyncio
import io
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.loopback.platform import Trouble
from bot.wechat_client import WeChatApi
from bot.wechat_errors import ApiNotReached, TokenTrouble, address_in
from storage import tokens
from storage.database import Database
from tests.databases import POSTGRES, WHOLE, database_url
from tests.wechatclients import (
    PHOTO,
    ROOT,
    SECRET,
    Make,
    account_of,
    api_for,
    both,
    opened,
    send,
    send_path,
    token_calls,
)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    yield from opened(tmp_path)


@both
async def test_a_message_goes_out_through_the_library(make: Make, database: Database) -> None:
    async with make() as platform, api_for(platform, database) as api:
        assert (await send(api))["errcode"] == 0
        assert (await send(api))["errcode"] == 0
        assert [call.path for call in platform.calls][1:] == [send_path(platform)] * 2
        assert token_calls(platform) == 1
        assert platform.calls[1].json["text"] == {"content": "你好"}


@both
async def test_row_01_endless_40001_is_three_calls_and_a_sentence_for_the_operator(
    make: Make, database: Database
) -> None:
    async with make() as platform, api_for(platform, database) as api:
        platform.trouble(send_path(platform), Trouble(errcode=40001, times=1000))
        clock_start = datetime.now(UTC) - timedelta(hours=1)
        with database.work(WHOLE) as work:  # a token that was fetched an hour ago, and is refused now
            tokens.keep(
                work, f"{api.account.product}:{api.account.name}", "old", clock_start, clock_start + timedelta(hours=2)
            )
        with pytest.raises(TokenTrouble) as caught:
            await send(api)
        assert [call.path for call in platform.calls].count(send_path(platform)) == 2
        assert len(platform.calls) == 3
        assert "密钥" in str(caught.value)
        assert caught.value.errcode == 40001
        # The token was fetched a moment ago: it is not fetched again for every message that waits.
        with pytest.raises(TokenTrouble):
            await send(api)
        assert token_calls(platform) == 1


@both
async def test_a_revoked_token_is_replaced_once_and_the_message_arrives(make: Make, database: Database) -> None:
    now = [datetime.now(UTC)]
    async with make() as platform, api_for(platform, database, clock=lambda: now[0]) as api:
        await send(api)
        platform.revoke()
        now[0] += timedelta(minutes=10)
        assert (await send(api))["errcode"] == 0
        assert token_calls(platform) == 2
        assert platform.count(send_path(platform)) == 3


@both
async def test_row_02_a_repeated_upload_sends_the_same_file(make: Make, database: Database) -> None:
    now = [datetime.now(UTC)]
    async with make() as platform, api_for(platform, database, clock=lambda: now[0]) as api:
        await api.token()
        platform.revoke()
        now[0] += timedelta(minutes=10)
        opened = io.BytesIO(PHOTO)
        result = await api.call(lambda client: client.media.upload("image", opened))
        uploads = [call.files["media"][1] for call in platform.calls if call.path == "media/upload"]
        assert uploads == [PHOTO, PHOTO]
        assert platform.media[result["media_id"]].data == PHOTO


@both
async def test_row_03_twenty_threads_make_one_token_call(make: Make, database: Database) -> None:
    async with make() as platform, api_for(platform, database, threads=20) as api:
        platform.trouble("gettoken", Trouble(slow_s=0.2))
        platform.trouble("stable_token", Trouble(slow_s=0.2))
        got = await asyncio.gather(*(api.token() for _ in range(20)))
        assert len(set(got)) == 1
        assert token_calls(platform) == 1


@both
async def test_row_03_twenty_refused_messages_make_one_token_call(make: Make, database: Database) -> None:
    now = [datetime.now(UTC)]
    async with make() as platform, api_for(platform, database, threads=20, clock=lambda: now[0]) as api:
        await api.token()
        platform.revoke()
        now[0] += timedelta(minutes=10)
        await asyncio.gather(*(send(api) for _ in range(20)))
        assert token_calls(platform) == 2


ANOTHER_PROCESS = """
import asyncio, sys
from bot.wechat_client import ApiAccount, WeChatApi, WorkClient
from storage.database import Database

async def main(url, product, app_id, secret, agent_id, base):
    database = Database(url)
    api = WeChatApi(ApiAccount(product, app_id, secret, agent_id, api_base=base), database)
    tokens = await asyncio.gather(*(api.token() for _ in range(8)))
    await api.close()
    database.close()
    assert len(set(tokens)) == 1
    print(tokens[0])

asyncio.run(main(*sys.argv[1:]))
"""


@both
async def test_row_03_two_processes_make_one_token_call(make: Make, database: Database, tmp_path: Path) -> None:
    """SQLite's file lock would refuse the second process; under a second name of the same file it is let in. So it is
    with PostgreSQL, where several processes are allowed: the claim is one UPDATE … WHERE … RETURNING on both.
    """
    url = database_url(tmp_path)
    if not POSTGRES:
        (tmp_path / "same.db").symlink_to(tmp_path / "firm.db")
        url = f"sqlite:///{tmp_path / 'same.db'}"
    async with make() as platform, api_for(platform, database) as api:
        for path in ("gettoken", "stable_token"):
            platform.trouble(path, Trouble(slow_s=0.6))
        account = api.account
        words = (account.product, account.app_id, SECRET, account.agent_id, account.api_base)
        other = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-c", ANOTHER_PROCESS, url, *words),
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        # Begin when the other one is fetching, so that both really want the token at the same time.
        await platform.until(lambda: token_calls(platform) == 1, 30)
        mine = await asyncio.gather(*(api.token() for _ in range(8)))
        printed, _ = await other.communicate()
        assert other.returncode == 0
        assert {printed.decode().strip(), *mine} == {mine[0]}
        assert token_calls(platform) == 1


def test_a_claim_is_won_by_one_and_ends_by_itself(database: Database) -> None:
    now = datetime.now(UTC)
    margin = timedelta(seconds=60)

    def claim(at: datetime, refused: str | None = None) -> bool:
        with database.work(WHOLE) as work:
            return tokens.claim(work, "mp:x", at, until=at + timedelta(seconds=45), refused=refused, margin=margin)

    assert [claim(now), claim(now)] == [True, False]
    assert claim(now + timedelta(seconds=46))  # its holder died
    with database.work(WHOLE) as work:
        tokens.keep(work, "mp:x", "t1", now, now + timedelta(hours=2))
    assert not claim(now)
    assert not claim(now, refused="t0")  # somebody else replaced it already
    assert claim(now, refused="t1")
    with database.work(WHOLE) as work:
        tokens.give_up(work, "mp:x", 40001, "no", now + margin)
    assert not claim(now, refused="t1")
    assert claim(now + timedelta(seconds=61), refused="t1")
    with database.work(WHOLE) as work:
        tokens.keep(work, "mp:x", "t2", now, now + timedelta(hours=2))
        assert tokens.failed(work, "mp:x", now) is None
    assert claim(now + timedelta(hours=2) - margin)  # it ends within the margin


@both
async def test_row_05_a_token_ends_for_every_process_at_the_same_time(make: Make, database: Database) -> None:
    now = [datetime.now(UTC)]
    async with (
        make() as platform,
        api_for(platform, database, clock=lambda: now[0]) as one,
        api_for(platform, database, clock=lambda: now[0]) as other,
    ):
        first = await one.token()
        assert await other.token() == first
        now[0] += timedelta(seconds=7200 - 30)
        platform.revoke()
        second = await other.token()
        assert second != first
        assert await one.token() == second
        assert token_calls(platform) == 2


@both
async def test_a_failed_fetch_is_remembered_and_not_repeated_by_everybody(make: Make, database: Database) -> None:
    now = [datetime.now(UTC)]
    async with make() as platform:
        account = replace(account_of(platform), secret="another-secret")
        api = WeChatApi(account, database, clock=lambda: now[0], threads=20)
        try:
            results = await asyncio.gather(*(send(api) for _ in range(20)), return_exceptions=True)
            assert {type(result) for result in results} == {TokenTrouble}
            assert token_calls(platform) == 1
            now[0] += timedelta(seconds=61)
            with pytest.raises(TokenTrouble, match="密钥"):
                await send(api)
            assert token_calls(platform) == 2
        finally:
            await api.close()


@both
async def test_a_platform_that_is_down_is_asked_for_a_token_once_in_three_seconds(
    make: Make, database: Database
) -> None:
    now = [datetime.now(UTC)]
    async with make() as platform, api_for(platform, database, clock=lambda: now[0]) as api:
        for path in ("gettoken", "stable_token"):
            platform.trouble(path, Trouble(status=502))
        results = await asyncio.gather(*(send(api) for _ in range(5)), return_exceptions=True)
        assert {type(result) for result in results} == {ApiNotReached}  # the message was surely not sent
        assert token_calls(platform) == 1
        now[0] += timedelta(seconds=4)
        assert (await send(api))["errcode"] == 0


@pytest.mark.parametrize("language", ["zh-CN", "en"])
@both
async def test_a_machine_that_is_not_on_the_list_is_told_its_address(
    make: Make, language: str, database: Database
) -> None:
    now = [datetime.now(UTC)]
    async with make() as platform:
        platform.trusted_ips = set()
        api = WeChatApi(replace(account_of(platform), language=language), database, clock=lambda: now[0])
        try:
            for _ in range(2):  # the second is told from memory
                with pytest.raises(TokenTrouble) as caught:
                    await send(api)
                assert caught.value.ip == "127.0.0.1"
                assert caught.value.errcode == platform.blocked_errcode
                assert "127.0.0.1" in str(caught.value)
            assert token_calls(platform) == 1
            platform.trusted_ips = {"127.0.0.1"}
            now[0] += timedelta(seconds=61)
            assert (await send(api))["errcode"] == 0
        finally:
            await api.close()


def test_addresses_in_refusals() -> None:
    assert address_in("not allow to access from your ip, hint: [1], from ip: 203.0.113.9, more info") == "203.0.113.9"
    assert address_in("invalid ip 203.0.113.9 ipv6 ::ffff:203.0.113.9, not in whitelist rid: 5f") == "203.0.113.9"
    assert address_in("no permission") == ""
