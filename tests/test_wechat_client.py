"""The safe WeChat client, over real sockets: one token fetch, one retry, bounded time, no secrets, errors that say what
may have happened. `row_NN` names the known defect of wechatpy 1.8.18 (docs/decisions/0010-wechatpy.md) that is closed.
"""

import asyncio
import io
import logging
import os
import socket
import sys
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.loopback.official import OfficialPlatform
from bot.loopback.platform import LoopbackPlatform, Trouble
from bot.loopback.work import WorkPlatform
from bot.wechat_client import ApiAccount, WeChatApi, WorkClient
from bot.wechat_errors import (
    ApiBusy,
    ApiError,
    ApiNotReached,
    ApiRefused,
    ApiUnsure,
    TokenTrouble,
    TooBig,
    address_in,
    cleaned,
)
from bot.wechat_transport import Patience
from storage import tokens
from storage.database import Database
from tests.databases import POSTGRES, WHOLE, database_url, open_migrated

ROOT = Path(__file__).resolve().parent.parent
QUICK = Patience(connect_s=1.0, read_s=0.5, call_s=1.0, file_s=1.0)
SECRET = "CANARYsecretCANARYsecretCANARYsecret"
PHOTO = bytes(range(256)) * 20

Make = Callable[[], LoopbackPlatform]


def work_platform() -> WorkPlatform:
    return WorkPlatform(secret=SECRET, members=("wangjian",))


def official_platform() -> OfficialPlatform:
    return OfficialPlatform(secret=SECRET, followers=("openid-1",))


both = pytest.mark.parametrize("make", [work_platform, official_platform])


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_migrated(tmp_path)
    yield opened
    opened.close()


def account_of(platform: LoopbackPlatform) -> ApiAccount:
    if isinstance(platform, WorkPlatform):
        return ApiAccount("wecom", platform.app_id, SECRET, platform.agent_id, api_base=platform.base)
    return ApiAccount("mp", platform.app_id, SECRET, api_base=platform.base)


@asynccontextmanager
async def api_for(platform: LoopbackPlatform, database: Database, **more: Any) -> AsyncIterator[WeChatApi]:
    api = WeChatApi(account_of(platform), database, **more)
    try:
        yield api
    finally:
        await api.close()


def send(api: WeChatApi) -> Awaitable[Any]:
    if api.account.product == "wecom":
        return api.call(lambda client: client.message.send_text(1000002, "wangjian", "你好"))
    return api.call(lambda client: client.message.send_text("openid-1", "你好"))


def token_calls(platform: LoopbackPlatform) -> int:
    return platform.count("gettoken") + platform.count("stable_token") + platform.count("token")


def send_path(platform: LoopbackPlatform) -> str:
    return "message/send" if isinstance(platform, WorkPlatform) else "message/custom/send"


# --- tokens


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


# --- what an error says


@both
async def test_too_fast_means_wait(make: Make, database: Database) -> None:
    async with make() as platform, api_for(platform, database) as api:
        for errcode in (-1, 45009, 45011, 45033):
            platform.trouble(send_path(platform), Trouble(errcode=errcode))
            with pytest.raises(ApiBusy) as caught:
                await send(api)
            assert caught.value.seconds >= 5
        platform.trouble(send_path(platform), Trouble(status=429, headers=(("Retry-After", "17"),)))
        with pytest.raises(ApiBusy) as caught:
            await send(api)
        assert caught.value.seconds == 17


@both
async def test_what_may_have_arrived_is_unsure_and_never_repeated(make: Make, database: Database) -> None:
    async with make() as platform, api_for(platform, database, patience=QUICK) as api:
        await api.token()
        path = send_path(platform)
        troubles = [
            Trouble(status=502),
            Trouble(status=302, headers=(("Location", "http://127.0.0.1:1/"),)),
            Trouble(cut=True),
            Trouble(cut=True, done=True),
            Trouble(half=True),
            Trouble(slow_s=0.8),
            Trouble(body=b"<html>\xe4\xbd\xa0</html>"),
            Trouble(body=b""),
            Trouble(body=b'{"errcode": "x"}'),
            Trouble(body=b'{"errcode": 0'),
            Trouble(body=b"[1]"),
        ]
        for trouble in troubles:
            platform.trouble(path, trouble)
            before = platform.count(path)
            with pytest.raises(ApiUnsure):
                await send(api)
            assert platform.count(path) == before + 1, trouble
        await platform.until(lambda: len(platform.sent) == 3)  # type: ignore[attr-defined]  # done, half, slow


@both
async def test_a_refusal_is_for_good(make: Make, database: Database) -> None:
    async with make() as platform, api_for(platform, database) as api:
        platform.trouble(send_path(platform), Trouble(errcode=48001, errmsg="api unauthorized"))
        with pytest.raises(ApiRefused) as caught:
            await send(api)
        assert (caught.value.errcode, "api unauthorized" in caught.value.text) == (48001, True)
        platform.trouble(send_path(platform), Trouble(status=413))
        with pytest.raises(ApiRefused) as caught:
            await send(api)
        assert caught.value.errcode == 413


@both
async def test_nobody_there_is_not_reached(make: Make, database: Database) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        port = listening.getsockname()[1]
    async with make() as platform:
        await (api := WeChatApi(account_of(platform), database)).token()
        await api.close()
        for base, proxy in (
            (f"http://127.0.0.1:{port}", ""),
            (f"https://127.0.0.1:{port}", ""),
            (platform.base, f"http://127.0.0.1:{port}"),
            (f"https://127.0.0.1:{platform.base.rpartition(':')[2]}", ""),  # no TLS there
        ):
            unreached = WeChatApi(replace(account_of(platform), api_base=base, proxy=proxy), database, patience=QUICK)
            with pytest.raises(ApiNotReached):
                await send(unreached)
            await unreached.close()
            with pytest.raises(ApiNotReached):
                await send(unreached)
        assert platform.count(send_path(platform)) == 0


async def test_calls_go_through_the_proxy(database: Database) -> None:
    async with work_platform() as proxy:
        account = ApiAccount(
            "wecom", proxy.app_id, SECRET, proxy.agent_id, api_base="http://qyapi.example", proxy=proxy.base
        )
        api = WeChatApi(account, database)
        try:
            assert (await send(api))["errcode"] == 0
        finally:
            await api.close()
        assert proxy.count("message/send") == 1


async def test_a_name_that_is_not_known_is_not_reached(database: Database) -> None:
    api = WeChatApi(ApiAccount("mp", "wx1", SECRET, api_base="http://nowhere.invalid"), database, patience=QUICK)
    try:
        with pytest.raises(ApiNotReached):
            await send(api)
    finally:
        await api.close()


# --- time


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


# --- files


@both
async def test_a_502_in_the_middle_of_an_upload_is_an_error_and_the_next_try_is_whole(
    make: Make, database: Database
) -> None:
    large = os.urandom(3 * 1024 * 1024)
    async with make() as platform, api_for(platform, database) as api:
        await api.token()
        for trouble in (Trouble(status=502, after=100_000), Trouble(cut=True, after=100_000), Trouble(status=502)):
            platform.trouble("media/upload", trouble)
            with pytest.raises((ApiUnsure, ApiNotReached)):
                await api.upload("file", "报表 11月.xlsx", large)
        assert not platform.media
        media_id = await api.upload("file", "报表 11月.xlsx", large)
        stored = platform.media[media_id]
        assert (stored.name, stored.kind, stored.data == large) == ("报表 11月.xlsx", "file", True)
        assert len(platform.media) == 1


@both
async def test_row_08_a_file_stays_bytes(make: Make, database: Database) -> None:
    async with make() as platform, api_for(platform, database) as api:
        for data in (b"12345", b"", PHOTO, b'{"video_url": "http://127.0.0.1/v"}', b"{not json", b"null"):
            got = await api.download("media/get", {"media_id": platform.put_media(data)})
            assert (got.data, got.content_type) == (data, "image/jpeg")


@both
async def test_row_09_a_refusal_is_never_taken_for_a_file(make: Make, database: Database) -> None:
    async with make() as platform, api_for(platform, database) as api:
        with pytest.raises(ApiRefused) as caught:
            await api.download("media/get", {"media_id": "gone"})
        assert caught.value.errcode == 40007
        refusal = b'\n {"errcode":40007,"errmsg":"invalid media_id"}'
        for content_type in ("image/jpeg", "text/plain", "application/json"):  # whatever it calls itself
            media_id = platform.put_media(refusal, content_type)
            with pytest.raises(ApiRefused):
                await api.download("media/get", {"media_id": media_id})
        with pytest.raises(ApiUnsure):  # a page of some gateway
            await api.download("media/get", {"media_id": platform.put_media(b"<html></html>", "text/html")})
        platform.trouble("media/get", Trouble(half=True))
        with pytest.raises(ApiUnsure):
            await api.download("media/get", {"media_id": platform.put_media(PHOTO)})


async def test_row_09_a_refused_token_is_replaced_before_a_file_too(database: Database) -> None:
    now = [datetime.now(UTC)]
    async with work_platform() as platform, api_for(platform, database, clock=lambda: now[0]) as api:
        await api.token()
        platform.revoke()
        now[0] += timedelta(minutes=10)
        got = await api.download("media/get", {"media_id": platform.put_media(PHOTO)})
        assert got.data == PHOTO


@both
async def test_a_file_past_the_limit_is_not_read(make: Make, database: Database) -> None:
    async with make() as platform, api_for(platform, database) as api:
        media_id = platform.put_media(b"x" * 5000)
        assert len((await api.download("media/get", {"media_id": media_id}, 5000)).data) == 5000
        with pytest.raises(TooBig):
            await api.download("media/get", {"media_id": media_id}, 4999)
        endless = await asyncio.start_server(_endless, "127.0.0.1", 0)
        platform.calls.clear()
        with database.read(WHOLE) as work:
            kept = tokens.kept(work, f"{api.account.product}:{api.account.name}", datetime.now(UTC))
        assert kept is not None
        port = endless.sockets[0].getsockname()[1]
        other = WeChatApi(replace(api.account, api_base=f"http://127.0.0.1:{port}"), database)
        with pytest.raises(TooBig):
            await other.download("media/get", {"media_id": media_id})
        await other.close()
        endless.close()
        await endless.wait_closed()


async def _endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A file that does not say how long it is, and has no end."""
    try:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nConnection: close\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"x" * 65536)
            await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


# --- secrets


def everything_said(error: BaseException) -> str:
    """What any log or report could show of an error, causes and context included."""
    said = ["".join(traceback.format_exception(error))]
    seen: BaseException | None = error
    while seen is not None:
        said += [str(seen), repr(seen), repr(seen.args), repr(vars(seen))]
        seen = seen.__cause__ or seen.__context__
    return "\n".join(said)


@both
async def test_row_06_no_secret_in_any_error_or_log(
    make: Make, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="urllib3")  # an earlier test may have set up logging as the bot does
    now = [datetime.now(UTC)]
    said: list[str] = []
    async with make() as platform, api_for(platform, database, patience=QUICK, clock=lambda: now[0]) as api:
        path = send_path(platform)
        used: set[str] = set()

        async def fails(call: Callable[[], Awaitable[Any]]) -> None:
            with pytest.raises(ApiError) as caught:
                await call()
            said.append(everything_said(caught.value))

        for trouble in (
            Trouble(cut=True),
            Trouble(status=500),
            Trouble(body=f'{{"errcode":40125,"errmsg":"no {SECRET}"}}'.encode()),
            Trouble(body=b"garbage"),
            Trouble(slow_s=0.8),
        ):
            platform.trouble("gettoken", trouble)
            platform.trouble("stable_token", trouble)
            await fails(lambda: send(api))
            now[0] += timedelta(minutes=2)
        platform.clear_troubles()
        used.add(await api.token())
        for trouble in (
            Trouble(cut=True),
            Trouble(status=502),
            Trouble(half=True),
            Trouble(slow_s=0.8),
            Trouble(body=b"garbage"),
            Trouble(errcode=48001, errmsg=f"bad token {next(iter(used))} of {SECRET}"),
        ):
            platform.trouble(path, trouble)
            await fails(lambda: send(api))
        await fails(lambda: api.download("media/get", {"media_id": "gone"}))
        platform.trusted_ips = set()
        await fails(lambda: send(api))
        said.append(repr(api.account) + repr(api) + repr(vars(api)))
    dead = WeChatApi(
        replace(api.account, api_base="http://127.0.0.1:1", proxy="http://u:PWCANARY@127.0.0.1:1"), database
    )
    with pytest.raises(ApiNotReached) as caught:
        await send(dead)
    said += [everything_said(caught.value), repr(dead.account)]
    await dead.close()
    logged = "\n".join(logging.Formatter().format(record) + repr(record.args) for record in caplog.records)
    assert "urllib3" in "".join(record.name for record in caplog.records)  # its debug lines were there to be cleaned
    for secret in (SECRET, *used, "PWCANARY"):
        assert secret not in logged
        assert not [text for text in said if secret in text]


def test_words_are_cleaned_of_what_looks_like_a_token() -> None:
    token = "72_" + "aB3-" * 30
    assert token not in cleaned(f"errmsg for {token}, rid")
    assert cleaned("GET /x?access_token=short&b=1") == "GET /x?access_token=***&b=1"
    assert cleaned("{'access_token': 'ab', 'expires_in': 1}") == "{'access_token': '***', 'expires_in': 1}"
    assert cleaned("secret is hunter2", ("hunter2", "")) == "secret is ***"
    assert len(cleaned("长 " * 1000)) == 300


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


# --- the library's own ways around us


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
