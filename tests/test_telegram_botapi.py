"""The loopback Bot API itself, held against what the official server documents, with the library's own calls."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
from telegram import Bot
from telegram.error import BadRequest, Conflict, InvalidToken

from bot.no_secrets import NoSecrets
from bot.telegram_transport import AiohttpRequest
from tests.botapi import updates
from tests.botapi.server import BotApi


@pytest.fixture
async def api() -> AsyncIterator[BotApi]:
    async with BotApi() as server:
        yield server


@pytest.fixture
async def bot(api: BotApi) -> AsyncIterator[Bot]:
    async with bot_at(api) as made:
        yield made


def bot_at(api: BotApi, token: str = "") -> Bot:
    none = NoSecrets()
    base = f"{api.base}/bot"
    return Bot(token or api.token, base, request=AiohttpRequest(none), get_updates_request=AiohttpRequest(none))


async def test_updates_stay_until_an_offset_confirms_them(api: BotApi, bot: Bot) -> None:
    first, second, third = await api.give(*(updates.text(words) for words in "一二三"))
    assert [update.update_id for update in await bot.get_updates(timeout=0)] == [first, second, third]
    assert [update.update_id for update in await bot.get_updates(offset=second, limit=1, timeout=0)] == [second]
    assert api.waiting() == [second, third]
    assert [update.update_id for update in await bot.get_updates(offset=-1, timeout=0)] == [third]
    assert await bot.get_updates(offset=third + 1, timeout=0) == ()
    assert api.waiting() == []


async def test_the_same_offset_at_once_again_gets_one_update(api: BotApi, bot: Bot) -> None:
    first, *_ = await api.give(*(updates.text(words) for words in "一二三"))
    assert len(await bot.get_updates(offset=first, timeout=0)) == 3
    assert len(await bot.get_updates(offset=first, timeout=0)) == 1


async def test_a_long_poll_ends_with_the_first_update(api: BotApi, bot: Bot) -> None:
    polling = asyncio.ensure_future(bot.get_updates(timeout=30))
    await api.until(lambda: bool(api.called("getUpdates")))
    await api.give(updates.text("早"))
    assert len(await asyncio.wait_for(polling, 2)) == 1


async def test_allowed_updates_are_remembered(api: BotApi, bot: Bot) -> None:
    await bot.get_updates(timeout=0, allowed_updates=["callback_query"])
    await api.give(updates.text("不要"), updates.tap("q1.0"))
    assert [update.callback_query is not None for update in await bot.get_updates(timeout=0)] == [True]


async def test_one_poller_and_no_webhook_beside_it(api: BotApi, bot: Bot) -> None:
    polling = asyncio.ensure_future(bot.get_updates(timeout=30))
    await api.until(lambda: bool(api.called("getUpdates")))
    async with bot_at(api) as second:
        await second.get_updates(timeout=0)
        with pytest.raises(Conflict, match="terminated by other getUpdates"):
            await asyncio.wait_for(polling, 2)
        await second.set_webhook("http://127.0.0.1:9/telegram/webhook")
        with pytest.raises(Conflict, match="webhook is active"):
            await bot.get_updates(timeout=0)


async def test_a_press_is_answered_once_and_strangers_are_not_written_to(api: BotApi, bot: Bot) -> None:
    press = updates.tap("q1.0")
    await api.give(press)
    assert await bot.answer_callback_query(press["callback_query"]["id"])
    with pytest.raises(BadRequest, match="Query is too old"):
        await bot.answer_callback_query(press["callback_query"]["id"])
    with pytest.raises(BadRequest, match="Chat not found"):
        await bot.send_message(77, "你好")
    await bot.send_message(updates.WANG.id, "你好")
    assert api.sent[0]["text"] == "你好"


async def test_another_token_is_nobodys(api: BotApi) -> None:
    with pytest.raises(InvalidToken):
        async with bot_at(api, "123456:another"):
            pass


async def test_texts_out_of_order_are_counted(api: BotApi, bot: Bot) -> None:
    api.know(1, 2)
    for chat, words in ((1, "3"), (2, "1"), (1, "2"), (1, "4"), (2, "x"), (2, "2")):
        await bot.send_message(chat, words)
    assert api.out_of_order(lambda words: int(words) if words.isdigit() else None) == 1


async def test_what_a_process_sent_with_its_last_breath_is_taken(api: BotApi) -> None:
    """It is gone before the server has looked; who counts what it sent waits for `until_left`."""
    api.know(101)
    host, _, port = api.base.removeprefix("http://").partition(":")
    body = b'{"chat_id": 101, "text": "\xe6\x9c\x80\xe5\x90\x8e"}'
    head = f"POST /bot{api.token}/sendMessage HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    with socket.create_connection((host, int(port))) as gone:
        gone.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    assert api.sent == []
    await api.until_left()
    assert [message["text"] for message in api.sent] == ["最后"]
