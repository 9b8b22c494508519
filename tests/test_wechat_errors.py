"""What went wrong with a WeChat call: errors that say what may have happened, and that hold no secret."""

import logging
import socket
import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.loopback.platform import Trouble
from bot.settings_problems import HIDDEN
from bot.wechat_client import ApiAccount, WeChatApi
from bot.wechat_errors import ApiBusy, ApiError, ApiNotReached, ApiRefused, ApiUnsure, cleaned
from storage.database import Database
from tests.wechatclients import QUICK, SECRET, Make, account_of, api_for, both, opened, send, send_path, work_platform


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    yield from opened(tmp_path)


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
    assert cleaned("GET /x?access_token=short&b=1") == f"GET /x?access_token={HIDDEN}&b=1"
    assert cleaned("{'access_token': 'ab', 'expires_in': 1}") == f"{{'access_token': '{HIDDEN}', 'expires_in': 1}}"
    assert cleaned("secret is hunter2", ("hunter2", "")) == f"secret is {HIDDEN}"
    assert len(cleaned("长 " * 1000)) == 300
