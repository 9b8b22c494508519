"""Receiving by webhook: the loopback Bot API calls our real route, and strangers throw what they like at it."""

import asyncio
import gzip
import io
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web

from bot.telegram_channel import MAX_BODY, SECRET_HEADER, WEBHOOK_PATH, TelegramChannel, TelegramSettings
from tests.botapi import updates
from tests.botapi.inbox import StoredInbox
from tests.botapi.server import BotApi
from tests.botapi.troubles import Trouble

SECRET = "s3cret_of-the-webhook"
JSON = "application/json"


@dataclass
class House:
    """The bot's web application with the channel's route, the inbox behind it and Telegram in front."""

    api: BotApi
    inbox: StoredInbox
    channel: TelegramChannel
    port: int

    async def post(self, body: bytes, secret: str | None = SECRET, content_type: str = JSON, **headers: str) -> int:
        sent = {"Content-Type": content_type, **headers}
        if secret is not None:
            sent[SECRET_HEADER] = secret
        async with ClientSession() as client:
            url = f"http://127.0.0.1:{self.port}{WEBHOOK_PATH}"
            async with client.post(url, data=io.BytesIO(body), headers=sent) as answer:
                return answer.status


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[StoredInbox]:
    stored = StoredInbox(tmp_path)
    yield stored
    stored.close()


@pytest.fixture
async def house(inbox: StoredInbox) -> AsyncIterator[House]:
    async with BotApi() as api:
        application = web.Application()
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        routes: dict[str, Any] = {}

        async def route(request: web.Request) -> web.StreamResponse:
            channel: TelegramChannel = routes["channel"]
            return await channel.webhook(request)

        application.router.add_post(WEBHOOK_PATH, route)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        settings = TelegramSettings(
            api.token,
            mode="webhook",
            webhook_url=f"http://127.0.0.1:{port}{WEBHOOK_PATH}",
            webhook_secret=SECRET,
            api_base=api.base,
        )
        channel = routes["channel"] = TelegramChannel(settings, pause_s=0.02)
        await channel.start(inbox.accept)
        yield House(api, inbox, channel, port)
        await channel.stop()
        await runner.cleanup()


def body_of(update: updates.Json, update_id: int = 700_000_001) -> bytes:
    return json.dumps(updates.numbered(update, update_id), ensure_ascii=False).encode()


async def test_the_start_tells_telegram_where_with_which_secret_and_what(house: House) -> None:
    call = house.api.called("setWebhook")[0]
    assert call.params["secret_token"] == SECRET
    assert call.params["allowed_updates"] == ["message", "edited_message", "callback_query", "my_chat_member"]
    assert not call.params.get("drop_pending_updates")
    assert not house.api.called("getUpdates")


async def test_updates_arrive_in_order_and_presses_are_answered(house: House) -> None:
    ids = await house.api.give(*(updates.text(str(number)) for number in range(30)))
    await house.api.give(updates.tap("q1.0"))
    await house.api.until(lambda: not house.api.waiting() and len(house.api.called("answerCallbackQuery")) == 1)
    assert [key for key in house.inbox.keys() if key in ids] == ids  # noqa: SIM118 - a method of ours, no dict's
    assert set(house.api.webhook_statuses()) == {200}


async def test_what_waited_before_the_start_is_delivered(inbox: StoredInbox, house: House) -> None:
    await house.channel.stop()
    await house.api.give(updates.text("夜里"))
    await house.api.until(lambda: 503 in house.api.webhook_statuses())
    await house.channel.start(inbox.accept)
    await house.api.until(lambda: not house.api.waiting())
    assert [message.text for message in inbox.messages()] == ["夜里"]


async def test_telegram_repeats_what_could_not_be_stored_until_it_is(house: House) -> None:
    house.inbox.broken = True
    ids = await house.api.give(updates.text("一"), updates.text("二"))
    await house.api.until(lambda: house.inbox.refused >= 2)
    assert house.api.waiting() == ids
    house.inbox.broken = False
    await house.api.until(lambda: not house.api.waiting())
    assert house.inbox.keys() == ids
    assert 503 in house.api.webhook_statuses()


async def test_an_unreadable_update_is_taken_and_set_aside(house: House) -> None:
    await house.api.give(updates.poison(), updates.text("后"))
    await house.api.until(lambda: not house.api.waiting())
    assert [row.state for row in house.inbox.rows()] == ["dead", "new"]
    assert house.api.webhook_statuses() == [200, 200]


async def test_the_same_call_twice_is_one_row(house: House) -> None:
    body = body_of(updates.text("一次"))
    assert [await house.post(body) for _ in range(3)] == [200, 200, 200]
    assert len(house.inbox.rows()) == 1


async def test_the_same_call_many_times_at_once_is_one_row(house: House) -> None:
    body = body_of(updates.text("一次"))
    assert set(await asyncio.gather(*(house.post(body) for _ in range(12)))) == {200}
    assert len(house.inbox.rows()) == 1


@pytest.mark.parametrize("secret", [None, "", "wrong", SECRET + "x", SECRET[:-1], SECRET.upper(), "s\xe9cret"])
async def test_without_the_secret_nothing_is_taken(house: House, secret: str | None) -> None:
    assert await house.post(body_of(updates.text("假的")), secret) == 403
    assert not house.inbox.rows()


@pytest.mark.parametrize("content_type", [JSON, "application/json; charset=utf-8", "Application/JSON;charset=UTF-8"])
async def test_a_charset_is_welcome(house: House, content_type: str) -> None:
    assert await house.post(body_of(updates.text("你好")), content_type=content_type) == 200
    assert house.inbox.messages()[0].text == "你好"


NESTED = b'{"update_id":1,"message":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
HOSTILE = {
    "empty": b"",
    "no json": b"<xml>",
    "half": b'{"update_id": 7',
    "list": b"[1, 2]",
    "number": b"7",
    "null": b"null",
    "no id": b"{}",
    "id is text": b'{"update_id": "7"}',
    "id is true": b'{"update_id": true}',
    "negative id": b'{"update_id": -7}',
    "huge id": b'{"update_id": 99999999999999999999999}',
    "endless digits": b'{"update_id": ' + b"9" * 10_000 + b"}",
    "no utf-8": b'{"update_id": 7, "message": "\xff\xfe\xfa"}',
    "nested": NESTED,
    "too long": b'{"update_id": 7, "x": "' + b"x" * MAX_BODY + b'"}',
    "not a number": b'{"update_id": NaN}',
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
async def test_a_hostile_body_with_the_right_secret_gets_400(house: House, body: bytes) -> None:
    assert await house.post(body) == 400
    assert not house.inbox.rows()


async def test_another_type_of_body_gets_400(house: House) -> None:
    body = body_of(updates.text("x"))
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        assert await house.post(body, content_type=content_type) == 400


async def test_a_compressed_body_is_read_to_the_same_limit(house: House) -> None:
    packed = gzip.compress(body_of(updates.text("压缩")))
    assert await house.post(packed, **{"Content-Encoding": "gzip"}) == 200
    bomb = gzip.compress(b'{"update_id": 7, "x": "' + b"x" * (64 * MAX_BODY) + b'"}')
    assert len(bomb) < MAX_BODY // 8
    assert await house.post(bomb, **{"Content-Encoding": "gzip"}) == 400
    assert await house.post(b"no gzip at all", **{"Content-Encoding": "gzip"}) == 400
    assert len(house.inbox.rows()) == 1


async def test_strange_bytes_on_the_line_do_not_stop_the_next_call(house: House) -> None:
    head = f"POST {WEBHOOK_PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: {JSON}\r\n{SECRET_HEADER}: {SECRET}\r\n"
    for rest in ("Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n", 'Content-Length: 500\r\n\r\n{"update_id"'):
        reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
        writer.write((head + rest).encode())
        await writer.drain()
        writer.write_eof()
        answer = await reader.read()
        assert b" 500 " not in answer
        writer.close()
        await writer.wait_closed()
    assert await house.post(body_of(updates.text("还在"))) == 200
    assert len(house.inbox.rows()) == 1


async def test_clean_json_with_dirty_content_is_stored_clean(house: House) -> None:
    raw = rb'{"update_id": 9, "message": {"text": "a\u0000b\ud83d", "x": 1e999}}'
    assert await house.post(raw) == 200
    row = house.inbox.rows()[0]
    assert (row.state, row.raw["message"]) == ("dead", {"text": "a\ufffdb?", "x": None})


async def test_without_a_network_at_the_start_the_webhook_is_set_later(inbox: StoredInbox) -> None:
    async with BotApi() as api:
        api.trouble("setWebhook", Trouble(502, "Bad Gateway", times=2))
        url = f"http://127.0.0.1:9{WEBHOOK_PATH}"
        settings = TelegramSettings(api.token, "webhook", url, SECRET, api.base)
        channel = TelegramChannel(settings, pause_s=0.02)
        await channel.start(inbox.accept)
        await api.until(lambda: api.webhook is not None)
        await channel.stop()


@pytest.mark.parametrize(
    ("url", "secret"),
    [("https://x.example/other", SECRET), ("", SECRET), (f"https://x.example{WEBHOOK_PATH}", "")]
    + [(f"https://x.example{WEBHOOK_PATH}", secret) for secret in ("有", "a b", "a\n", "x" * 257)],
)
def test_a_webhook_needs_its_path_and_a_fit_secret(url: str, secret: str) -> None:
    with pytest.raises(ValueError, match="webhook_"):
        TelegramSettings("1:abc", mode="webhook", webhook_url=url, webhook_secret=secret)
