"""Sending, fetching, and keeping secrets, through the real library over real sockets."""

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from bot.channels import (
    Button,
    HoldOff,
    MaybeSent,
    MediaProblem,
    NotSent,
    Refused,
    Rendered,
    SendError,
    Unreachable,
)
from bot.no_secrets import NoSecrets
from bot.telegram_channel import WEBHOOK_PATH, TelegramChannel, TelegramSettings
from bot.telegram_transport import AiohttpRequest, NotConnected
from handlers.messages import Media
from tests.botapi import updates
from tests.botapi.inbox import StoredInbox
from tests.botapi.server import BotApi
from tests.botapi.troubles import Trouble, blocked, flood

REP = 5_000_000_001
PNG = b"\x89PNG\r\n\x1a\n" + bytes(200)


@pytest.fixture
async def api() -> AsyncIterator[BotApi]:
    async with BotApi() as server:
        server.know(REP)
        yield server


@pytest.fixture
async def channel(api: BotApi) -> AsyncIterator[TelegramChannel]:
    made = TelegramChannel(TelegramSettings(api.token, api_base=api.base), pause_s=0.02)
    await made.learn_name()
    yield made
    await made.stop()


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[StoredInbox]:
    stored = StoredInbox(tmp_path)
    yield stored
    stored.close()


def rendered(*texts: str) -> Rendered:
    return Rendered(texts)


# sending


async def test_text_goes_out_as_it_is(api: BotApi, channel: TelegramChannel) -> None:
    words = "*5* 箱 <b>_王老板_</b> [链接](https://x.example) & 👍\n第二行"
    message_id = await channel.send(str(REP), rendered(words))
    assert api.sent[0]["text"] == words
    assert message_id == str(api.sent[0]["message_id"])
    params = api.called("sendMessage")[0].params
    assert not {"parse_mode", "entities"} & set(params)
    assert params["link_preview_options"] == {"is_disabled": True}


async def test_buttons_are_rows_under_the_last_text(api: BotApi, channel: TelegramChannel) -> None:
    rows = ((Button("q1.0", "确认"), Button("q1.1", "修改")), (Button("q1.2", "撤销"),))
    await channel.send(str(REP), Rendered(("一", "二"), buttons=rows))
    assert [message["text"] for message in api.sent] == ["一", "二"]
    assert "reply_markup" not in api.sent[0]
    assert api.sent[1]["reply_markup"] == {
        "inline_keyboard": [
            [{"text": "确认", "callback_data": "q1.0"}, {"text": "修改", "callback_data": "q1.1"}],
            [{"text": "撤销", "callback_data": "q1.2"}],
        ]
    }


async def test_the_button_for_the_position_is_there_unless_other_buttons_are(
    api: BotApi, channel: TelegramChannel
) -> None:
    await channel.send(str(REP), Rendered(("请发位置",), wants_place=True, place_label="📍 发送位置"))
    keyboard = api.sent[0]["reply_markup"]
    assert keyboard["keyboard"] == [[{"text": "📍 发送位置", "request_location": True}]]
    assert keyboard["one_time_keyboard"] is True
    await channel.send(str(REP), Rendered(("哪家店？",), ((Button("q1.0", "甲店"),),), wants_place=True))
    assert list(api.sent[1]["reply_markup"]) == ["inline_keyboard"]


async def test_a_picture_carries_the_last_text_and_the_buttons(api: BotApi, channel: TelegramChannel) -> None:
    rows = ((Button("q1.0", "确认"),),)
    await channel.send(str(REP), Rendered(("看图", "本周"), rows, image=PNG, image_name="周报.png"))
    first, second = api.sent
    assert first["text"] == "看图"
    assert second["caption"] == "本周"
    assert second["reply_markup"]["inline_keyboard"][0][0]["text"] == "确认"
    assert api.called("sendPhoto")[0].files["photo"] == ("周报.png", PNG)


@pytest.mark.parametrize(("words", "fits"), [("👍" * 512, True), ("👍" * 512 + "x", False)])
async def test_a_text_too_long_for_a_caption_follows_the_picture(
    api: BotApi, channel: TelegramChannel, words: str, fits: bool
) -> None:
    message_id = await channel.send(str(REP), Rendered((words,), ((Button("q1.0", "好"),),), image=PNG))
    assert len(api.sent) == (1 if fits else 2)
    assert api.sent[-1].get("caption" if fits else "text") == words
    assert "reply_markup" in api.sent[-1]
    assert message_id == str(api.sent[-1]["message_id"])


async def test_a_picture_of_two_megabytes(api: BotApi, channel: TelegramChannel) -> None:
    await channel.send(str(REP), Rendered(("大图",), image=PNG * 10_000))
    assert api.called("sendPhoto")[0].files["photo"] == ("photo.png", PNG * 10_000)


async def test_a_picture_alone(api: BotApi, channel: TelegramChannel) -> None:
    await channel.send(str(REP), Rendered((), image=PNG))
    assert "caption" not in api.sent[0]


async def test_the_longest_text_goes_through_and_one_more_unit_is_refused(
    api: BotApi, channel: TelegramChannel
) -> None:
    await channel.send(str(REP), rendered("👍" * 2048))
    assert len(api.sent) == 1
    with pytest.raises(Refused):
        await channel.send(str(REP), rendered("👍" * 2048 + "x"))


REFUSALS: list[tuple[Trouble, type[SendError]]] = [
    (flood(7), HoldOff),
    (blocked(), Unreachable),
    (Trouble(403, "Forbidden: user is deactivated"), Unreachable),
    (Trouble(400, "Bad Request: chat not found"), Unreachable),
    (Trouble(400, "Bad Request: PEER_ID_INVALID"), Unreachable),
    (Trouble(400, "Bad Request: BUTTON_DATA_INVALID"), Refused),
    (Trouble(401, "Unauthorized"), NotSent),
    (Trouble(500, "Internal Server Error"), MaybeSent),
    (Trouble(502, "Bad Gateway"), MaybeSent),
    (Trouble(cut=True), MaybeSent),
    (Trouble(cut=True, done=True), MaybeSent),
    (Trouble(body=b"<html>", done=True), MaybeSent),
    (Trouble(body=b'{"ok":true,"result":{"message_id":5}}', done=True), MaybeSent),
    (Trouble(body=b'{"ok":true}', done=True), MaybeSent),
]


@pytest.mark.parametrize(("trouble", "error"), REFUSALS, ids=lambda value: getattr(value, "description", None))
async def test_each_trouble_is_the_error_the_sender_acts_on(
    api: BotApi, channel: TelegramChannel, trouble: Trouble, error: type[SendError]
) -> None:
    api.trouble("sendMessage", trouble)
    with pytest.raises(SendError) as caught:
        await channel.send(str(REP), rendered("好"))
    assert type(caught.value) is error
    assert caught.value.sent == 0
    if isinstance(caught.value, HoldOff):
        assert caught.value.seconds == 7.0
    await channel.send(str(REP), rendered("又好"))
    assert api.sent[-1]["text"] == "又好"


async def test_a_silent_server_may_have_sent_it(
    api: BotApi, channel: TelegramChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.telegram_transport.WRITE_S", 0.1)
    monkeypatch.setattr(channel._request, "_read_s", 0.1)
    api.trouble("sendMessage", Trouble(hang_s=5, done=True))
    with pytest.raises(MaybeSent):
        await channel.send(str(REP), rendered("好"))
    assert len(api.sent) == 1


async def test_without_a_connection_it_surely_was_not_sent() -> None:
    async with BotApi() as gone:
        settings = TelegramSettings(gone.token, api_base=gone.base)
    unreachable = TelegramChannel(settings)
    with pytest.raises(NotSent):  # not even started
        await unreachable.send(str(REP), rendered("好"))
    with pytest.raises(ConnectionError):
        await unreachable.learn_name()
    await unreachable._bot._request[1].initialize()
    with pytest.raises(NotSent, match="Cannot connect"):
        await unreachable.send(str(REP), rendered("好"))
    await unreachable._bot._request[1].shutdown()


async def test_trouble_in_the_middle_tells_how_much_arrived(api: BotApi, channel: TelegramChannel) -> None:
    await channel.send(str(REP), rendered("零"))
    api.trouble("sendPhoto", flood(3))
    with pytest.raises(HoldOff) as caught:
        await channel.send(str(REP), Rendered(("一", "二", "三"), image=PNG))
    assert caught.value.sent == 2
    assert [message["text"] for message in api.sent] == ["零", "一", "二"]


@pytest.mark.parametrize("chat", ["", "abc", "5 ", "1.5", "9" * 30])
async def test_no_chat_at_all_is_refused(channel: TelegramChannel, chat: str) -> None:
    with pytest.raises(Refused):
        await channel.send(chat, rendered("好"))


async def test_a_stranger_who_never_wrote_cannot_be_reached(channel: TelegramChannel) -> None:
    with pytest.raises(Unreachable):
        await channel.send("5000009999", rendered("好"))


async def test_texts_of_one_chat_keep_their_order(api: BotApi, channel: TelegramChannel) -> None:
    for number in range(20):
        await channel.send(str(REP), rendered(str(number)))
    assert api.out_of_order(int) == 0


async def test_a_proxy_is_asked_to_reach_telegram() -> None:
    asked: list[bytes] = []
    me = b'{"ok":true,"result":{"id":1,"is_bot":true,"first_name":"b","username":"by_proxy_bot"}}'

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        asked.append(head)
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(me), me))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as proxy:
        port = proxy.sockets[0].getsockname()[1]
        address = f"http://user:word@127.0.0.1:{port}"
        channel = TelegramChannel(TelegramSettings("1:abc", api_base="http://telegram.invalid", proxy=address))
        assert await channel.learn_name() == "by_proxy_bot"
        await channel.stop()
    assert asked[0].startswith(b"POST http://telegram.invalid/bot1:abc/getMe HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic dXNlcjp3b3Jk" in asked[0]


# fetching


async def test_a_file_is_fetched_whole(api: BotApi, channel: TelegramChannel) -> None:
    data = bytes(range(256)) * 2000
    api.put_file("AwACvoice", data, "voice/file_1.oga")
    assert await channel.fetch(Media("AwACvoice")) == data


async def test_a_file_with_an_odd_name_is_fetched(api: BotApi, channel: TelegramChannel) -> None:
    api.put_file("BQACdoc", b"odd", "documents/门头 #1?%20.jpg")
    assert await channel.fetch(Media("BQACdoc")) == b"odd"


async def test_a_file_too_big_is_refused_before_after_and_while_it_comes(api: BotApi, channel: TelegramChannel) -> None:
    limit = 20 * 1024 * 1024
    api.put_file("says", b"x", size=limit + 1)
    api.put_file("lies", bytes(limit + 1), size=1000)
    api.put_file("fits", bytes(limit))
    for media in (Media("known", problem="too_big"), Media("says"), Media("lies")):
        with pytest.raises(MediaProblem) as caught:
            await channel.fetch(media)
        assert caught.value.reason == "too_big"
    assert len(await channel.fetch(Media("fits"))) == limit
    assert [call.params["file_id"] for call in api.called("getFile")] == ["says", "lies", "fits"]


async def test_an_empty_file_and_a_file_that_is_gone(api: BotApi, channel: TelegramChannel) -> None:
    api.put_file("empty", b"")
    api.put_file("expired", b"was here")
    api.drop_file("expired")
    reasons = {}
    for ref in ("empty", "expired", "unknown"):
        with pytest.raises(MediaProblem) as caught:
            await channel.fetch(Media(ref))
        reasons[ref] = caught.value.reason
    assert reasons == {"empty": "empty", "expired": "gone", "unknown": "gone"}


async def test_a_file_that_is_only_unavailable_for_a_moment_is_asked_for_again(
    api: BotApi, channel: TelegramChannel
) -> None:
    api.put_file("AwACvoice", b"sound")
    api.trouble("getFile", Trouble(400, "Bad Request: wrong file_id or the file is temporarily unavailable"))
    assert await channel.fetch(Media("AwACvoice")) == b"sound"


PASSING = {
    "getFile 502": ("getFile", Trouble(502, "Bad Gateway")),
    "getFile cut": ("getFile", Trouble(cut=True)),
    "getFile 429": ("getFile", flood(2)),
    "file 502": ("file", Trouble(502, "Bad Gateway")),
    "file cut": ("file", Trouble(cut=True, times=2)),  # the transport itself tries a GET again once
    "file cut half-way": ("file", Trouble(cut=True, done=True)),
}


@pytest.mark.parametrize(("where", "trouble"), PASSING.values(), ids=PASSING.keys())
async def test_passing_trouble_is_not_the_files_end(
    api: BotApi, channel: TelegramChannel, where: str, trouble: Trouble
) -> None:
    api.put_file("AwACvoice", b"sound" * 50_000)
    api.trouble(where, trouble)
    with pytest.raises(ConnectionError):
        await channel.fetch(Media("AwACvoice"))
    assert await channel.fetch(Media("AwACvoice")) == b"sound" * 50_000


# secrets


async def test_no_secret_ever_reaches_a_log_or_an_error(
    api: BotApi, inbox: StoredInbox, caplog: pytest.LogCaptureFixture
) -> None:
    """Everything at DEBUG: start, poll, trouble of every kind, sending, fetching; then the records and the errors."""
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="telegram")  # an earlier test may have set up logging as the bot does
    api.token = "123456:CANARYtoken-AAE5Vv2l0rGz1dXyKq3wPjH7u"
    secret = "CANARYwebhooksecret"
    settings = [
        TelegramSettings(api.token, api_base=api.base),
        TelegramSettings(api.token, "webhook", f"http://127.0.0.1:9{WEBHOOK_PATH}", secret, api.base),
        TelegramSettings(api.token, api_base="http://127.0.0.1:9"),
        TelegramSettings(api.token, api_base=api.base, proxy="http://user:CANARYpassword@127.0.0.1:9"),
        TelegramSettings("123456:CANARYwrong", api_base=api.base),
        TelegramSettings(api.token, api_base="no address at all"),
    ]
    shown = [repr(one) for one in settings]
    api.put_file("AwACvoice", b"sound")
    for one in settings:
        channel = TelegramChannel(one, poll_s=1, pause_s=0.02)
        try:
            await channel.start(inbox.accept)
        except Exception:
            shown.append(traceback.format_exc())
        api.trouble("getUpdates", Trouble(502, "Bad Gateway"))
        await api.give(updates.poison(), updates.tap("q1.0"))
        for trouble in (Trouble(cut=True), Trouble(401, "Unauthorized"), Trouble(404, "Not Found"), flood(1)):
            for method in ("sendMessage", "getFile", "file"):
                api.trouble(method, trouble)
            for work in (channel.send(str(REP), rendered("好")), channel.fetch(Media("AwACvoice"))):
                try:
                    await work
                except Exception:
                    shown.append(traceback.format_exc())
        await channel.stop()
        shown.append(repr(channel))
    shown.extend(logging.Formatter().format(record) for record in caplog.records)
    assert len(caplog.records) > 50
    assert any("Set Bot API URL" in line for line in shown)  # where the library itself writes the token
    assert not [line for line in shown if "CANARY" in line]


async def test_an_error_of_the_transport_carries_no_address_not_even_in_its_chain() -> None:
    request = AiohttpRequest(NoSecrets(["CANARY"]))
    await request.initialize()
    for work in (request.post("no address/botCANARY/getMe"), request.download("no address/botCANARY/file", 10)):
        with pytest.raises(NotConnected) as caught:
            await work
        assert "CANARY" not in "".join(traceback.format_exception(caught.value))
    await request.shutdown()
