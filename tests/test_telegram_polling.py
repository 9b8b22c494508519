"""Receiving by polling, through the real library over real sockets, into a real inbox."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bot.telegram_channel import TelegramChannel, TelegramSettings, TokenRejected
from handlers.messages import Kind
from tests.botapi import updates
from tests.botapi.inbox import StoredInbox
from tests.botapi.server import BotApi
from tests.botapi.troubles import Trouble, flood
from tests.botapi.updates import Person

COMMANDS = (("begin", "开始拜访"), ("help", "帮助"))


@pytest.fixture
async def api() -> AsyncIterator[BotApi]:
    async with BotApi() as server:
        yield server


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[StoredInbox]:
    stored = StoredInbox(tmp_path)
    yield stored
    stored.close()


def channel_at(api: BotApi, **more: Any) -> TelegramChannel:
    return TelegramChannel(TelegramSettings(api.token, api_base=api.base), COMMANDS, poll_s=1, pause_s=0.02, **more)


@asynccontextmanager
async def receiving(api: BotApi, inbox: StoredInbox) -> AsyncIterator[TelegramChannel]:
    channel = channel_at(api)
    await channel.start(inbox.accept)
    try:
        yield channel
    finally:
        await channel.stop()


async def test_every_update_is_stored_once_in_order_and_then_confirmed(api: BotApi, inbox: StoredInbox) -> None:
    people = [Person(5_000_000_001), Person(5_000_000_002)]
    ids = await api.give(*(updates.text(f"{number}", people[number % 2]) for number in range(250)))
    async with receiving(api, inbox):
        await api.until(lambda: len(inbox.rows()) == 250 and not api.waiting(), 20)
    assert inbox.keys() == ids
    assert [message.text for message in inbox.messages()] == [str(number) for number in range(250)]


async def test_every_poll_says_which_updates_are_wanted_and_the_start_sets_the_menu(
    api: BotApi, inbox: StoredInbox
) -> None:
    async with receiving(api, inbox):
        await api.until(lambda: len(api.called("getUpdates")) >= 1)
        await api.give(updates.text("在"))
        await api.until(lambda: len(api.called("getUpdates")) >= 2)
    wanted = ["message", "edited_message", "callback_query", "my_chat_member"]
    assert all(call.params["allowed_updates"] == wanted for call in api.called("getUpdates"))
    assert api.commands == [{"command": name, "description": words} for name, words in COMMANDS]
    assert len(api.called("deleteWebhook")) == 1
    assert not api.called("deleteWebhook")[0].params.get("drop_pending_updates")


async def test_an_unreadable_update_is_set_aside_and_holds_up_nothing(api: BotApi, inbox: StoredInbox) -> None:
    await api.give(updates.text("前"), updates.poison(), updates.text("后"))
    async with receiving(api, inbox):
        await api.until(lambda: len(inbox.rows()) == 3 and not api.waiting())
    assert [message.text for message in inbox.messages()] == ["前", "后"]
    dead = inbox.rows()[1]
    assert (dead.state, dead.message) == ("dead", None)
    assert "TypeError" in dead.error
    assert dead.raw["message"]["voice"] == {"duration": 3, "file_id": "AwACvoice"}


async def test_nothing_is_confirmed_before_it_is_stored(api: BotApi, inbox: StoredInbox) -> None:
    inbox.broken = True
    ids = await api.give(updates.text("一"), updates.text("二"))
    async with receiving(api, inbox):
        await api.until(lambda: inbox.refused >= 2)
        assert api.waiting() == ids
        assert all(call.params.get("offset") is None for call in api.called("getUpdates"))
        inbox.broken = False
        await api.until(lambda: inbox.keys() == ids and not api.waiting())


async def test_a_stop_in_the_middle_loses_nothing_and_repeats_nothing(api: BotApi, inbox: StoredInbox) -> None:
    ids = await api.give(*(updates.text(str(number)) for number in range(60)))
    async with receiving(api, inbox):
        await api.until(lambda: len(inbox.rows()) >= 5)
    assert 5 <= len(inbox.rows()) < 60
    async with receiving(api, inbox):
        await api.until(lambda: not api.waiting(), 10)
    assert inbox.keys() == ids


async def test_after_a_quiet_week_telegram_counts_on_from_a_lower_number(api: BotApi, inbox: StoredInbox) -> None:
    async with receiving(api, inbox):
        await api.give(updates.text("节前"))
        await api.until(lambda: len(inbox.rows()) == 1 and not api.waiting())
        polls = len(api.called("getUpdates"))
        api.trouble("getUpdates", Trouble(502, "Bad Gateway", hang_s=0.2))
        await api.until(lambda: len(api.called("getUpdates")) == polls + 1)  # an empty poll has ended, the next hangs
        api.restart_ids(4_000)
        await api.give(updates.text("节后"))
        await api.until(lambda: len(inbox.rows()) == 2)
    assert [message.text for message in inbox.messages()] == ["节前", "节后"]


@pytest.mark.parametrize(
    "trouble",
    [
        Trouble(502, "Bad Gateway", times=2),
        Trouble(cut=True, times=2),
        Trouble(cut=True, done=True, times=2),
        Trouble(body=b"<html>login to the hotel network</html>", times=2),
        Trouble(body=b'{"ok":true,"result":{}}', times=2),
        Trouble(body=b'{"ok":true}', times=2),
        Trouble(body=b'{"ok":true,"result":[7,null,{}]}', times=2),
        flood(1),
    ],
    ids=lambda trouble: f"{trouble.status} {trouble.cut} {trouble.done} {(trouble.body or b'')[:30]!r}",
)
async def test_trouble_with_polling_ends_in_a_pause(api: BotApi, inbox: StoredInbox, trouble: Trouble) -> None:
    api.trouble("getUpdates", trouble)
    ids = await api.give(updates.text("还在吗"))
    async with receiving(api, inbox):
        await api.until(lambda: bool(inbox.messages()) and not api.waiting())
    assert int(inbox.rows()[-1].delivery_key) == ids[0]


async def test_updates_without_a_usable_number_are_not_asked_for_in_a_hot_loop(api: BotApi, inbox: StoredInbox) -> None:
    api.trouble("getUpdates", Trouble(body=b'{"ok":true,"result":[{"update_id":"x"}]}', times=1000))
    async with receiving(api, inbox):
        await asyncio.sleep(0.5)
    assert 2 <= len(api.called("getUpdates")) <= 8  # pauses of 20, 40, 80, 160, 320 ms
    assert [row.state for row in inbox.rows()] == ["dead"]


async def test_a_hanging_server_is_given_up_and_asked_again(
    api: BotApi, inbox: StoredInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.telegram_transport.WRITE_S", 0.0)
    monkeypatch.setattr("bot.telegram_channel.POLL_GRACE_S", 0.2)
    api.trouble("getUpdates", Trouble(hang_s=30))
    await api.give(updates.text("还在吗"))
    async with receiving(api, inbox):
        await api.until(lambda: bool(inbox.messages()))


async def test_another_poller_is_told_of_and_waited_for(
    api: BotApi, inbox: StoredInbox, caplog: pytest.LogCaptureFixture
) -> None:
    other = channel_at(api)
    await other.learn_name()
    async with receiving(api, inbox):
        await api.until(lambda: len(api.called("getUpdates")) == 1)
        await other._bot.get_updates(timeout=0)  # somebody else's program with the same token
        await api.until(lambda: "only one may" in caplog.text)
        await api.give(updates.text("我到了"))
        await api.until(lambda: len(inbox.rows()) == 1)
    await other.stop()


async def test_a_token_revoked_while_running_is_told_of_and_tried_again(
    api: BotApi, inbox: StoredInbox, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.telegram_channel.LONGEST_PAUSE_S", 0.05)
    async with receiving(api, inbox):
        api.trouble("getUpdates", Trouble(401, "Unauthorized", times=2))
        await api.until(lambda: "rejected the bot's token" in caplog.text)
        await api.give(updates.text("又好了"))
        await api.until(lambda: len(inbox.rows()) == 1)


@pytest.mark.parametrize("trouble", [Trouble(cut=True, times=3), Trouble(body=b'{"ok":true}'), Trouble(body=b"<html>")])
async def test_a_bot_started_without_a_network_receives_once_there_is_one(
    api: BotApi, inbox: StoredInbox, caplog: pytest.LogCaptureFixture, trouble: Trouble
) -> None:
    api.trouble("getMe", trouble)
    await api.give(updates.text("早"))
    async with receiving(api, inbox) as channel:
        await api.until(lambda: len(inbox.rows()) == 1)
        assert channel.invite_link("abc") == "https://t.me/zoudian_bot?start=abc"
    assert "cannot be reached yet" in caplog.text


async def test_a_rejected_token_ends_the_start_and_shows_no_token(api: BotApi, inbox: StoredInbox) -> None:
    channel = TelegramChannel(TelegramSettings("123456:CANARY-not-this-one", api_base=api.base))
    with pytest.raises(TokenRejected) as caught:
        await channel.start(inbox.accept)
    assert "CANARY" not in str(caught.value)
    await channel.stop()


async def test_a_refused_menu_does_not_keep_the_bot_from_receiving(api: BotApi, inbox: StoredInbox) -> None:
    api.trouble("setMyCommands", Trouble(400, "Bad Request: BOT_COMMAND_INVALID"))
    await api.give(updates.text("早"))
    async with receiving(api, inbox):
        await api.until(lambda: len(inbox.rows()) == 1)


async def test_a_button_press_is_answered_even_twice_and_even_too_late(api: BotApi, inbox: StoredInbox) -> None:
    press = updates.tap("q7.1")
    await api.give(press)
    async with receiving(api, inbox):
        await api.until(lambda: len(api.called("answerCallbackQuery")) == 1)
        await api.give(updates.tap("q7.1"))
        api.expire_queries()
        await api.until(lambda: len(api.called("answerCallbackQuery")) == 2)
        await api.give(updates.text("然后"))
        await api.until(lambda: len(inbox.rows()) == 3)
    assert api.called("answerCallbackQuery")[0].params["callback_query_id"] == press["callback_query"]["id"]
    assert [message.tapped for message in inbox.messages()] == ["q7.1", "q7.1", ""]


async def test_the_same_update_twice_is_one_row(api: BotApi, inbox: StoredInbox) -> None:
    update = updates.numbered(updates.text("一次"))
    await api.give(update, update, updates.text("后", date=updates.NOON + 1))
    async with receiving(api, inbox):
        await api.until(lambda: not api.waiting())
    assert len(inbox.rows()) == len({row.delivery_key for row in inbox.rows()})


async def test_a_group_leaves_no_row_but_its_joining_is_logged(
    api: BotApi, inbox: StoredInbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "bot.telegram_channel")
    group = updates.group_chat(-100_4321)
    await api.give(
        updates.member_change("member", chat=group),
        updates.in_group(updates.text("群里的话"), group),
        updates.text("私聊"),
    )
    async with receiving(api, inbox):
        await api.until(lambda: not api.waiting() and len(inbox.rows()) == 1)
    assert [message.text for message in inbox.messages()] == ["私聊"]
    assert "added to group -1004321" in caplog.text
    assert "群里的话" not in caplog.text


async def test_one_of_every_kind_arrives(api: BotApi, inbox: StoredInbox) -> None:
    first = updates.live()
    await api.give(
        updates.start("tok"),
        updates.pin(),
        first,
        updates.live_edit(first, 30.081, 120.495),
        updates.forwarded(updates.pin()),
        updates.venue(),
        *updates.album(3),
        updates.document(),
        updates.voice(),
        updates.edited(updates.text("三"), "五"),
        updates.tap("q1.0"),
        updates.sticker(),
        updates.member_change("kicked"),
    )
    async with receiving(api, inbox):
        await api.until(lambda: not api.waiting())
    kinds = [message.kind for message in inbox.messages()]
    assert kinds == [
        Kind.JOIN, Kind.PLACE, Kind.PLACE, Kind.EDIT, Kind.PLACE, Kind.PLACE, Kind.PHOTO, Kind.PHOTO, Kind.PHOTO,
        Kind.PHOTO, Kind.VOICE, Kind.EDIT, Kind.TAP, Kind.OTHER, Kind.LEAVE,
    ]  # fmt: skip


async def test_a_channel_can_be_started_again(api: BotApi, inbox: StoredInbox) -> None:
    channel = channel_at(api)
    for words in ("一", "二"):
        await channel.start(inbox.accept)
        await api.give(updates.text(words))
        await api.until(lambda words=words: words in [message.text for message in inbox.messages()])  # type: ignore[misc] # the loop's word
        await channel.stop()
    assert len(asyncio.all_tasks()) <= 3  # this test and the server's; nothing of the channel's is left


async def test_the_name_can_be_asked_without_receiving(api: BotApi) -> None:
    channel = channel_at(api)
    with pytest.raises(RuntimeError):
        channel.invite_link("abc")
    assert await channel.learn_name() == "zoudian_bot"
    assert channel.invite_link("a_B-9" * 12) == "https://t.me/zoudian_bot?start=" + "a_B-9" * 12
    with pytest.raises(ValueError, match="64"):
        channel.invite_link("x" * 65)
    await channel.stop()
    assert not api.called("getUpdates")
    api.trouble("getMe", Trouble(502, "Bad Gateway"))
    with pytest.raises(ConnectionError):
        await channel_at(api).learn_name()
