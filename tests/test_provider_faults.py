"""Whatever a platform does to us, at each call: what was acknowledged is applied and answered once, in order, and soon
after the platform is back. Seconds are those of the firm's clock.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

import bot.intake
import bot.platform_away
import bot.sender
from bot.loopback.platform import LoopbackPlatform
from bot.loopback.platform import Trouble as WeChatTrouble
from handlers.messages import Reply, Say
from handlers.turn import outgoing
from storage import outbox, people
from tests import mpfirm, wecomfirm
from tests.botapi import updates
from tests.botapi.server import BotApi
from tests.botapi.troubles import Trouble, flood
from tests.databases import WHOLE
from tests.mpfirm import push
from tests.telegramfirm import SUN_HAO, WANG_JIAN, Phone, TelegramFirm, running

READY = timedelta(seconds=5)
FAULTS = {
    "429": flood(1),
    "500": Trouble(500),
    "502, in HTML": Trouble(502, body=b"<html>bad gateway</html>"),
    "cut": Trouble(cut=True),
    "its answer cut": Trouble(cut=True, done=True),
    "silent": Trouble(hang_s=0.5, cut=True),
    "slow": Trouble(slow_s=0.4),
}
METHODS = ("getUpdates", "sendMessage", "getFile", "file", "answerCallbackQuery")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits is looked for often, so that a fast clock makes it soon."""
    monkeypatch.setattr(bot.intake, "SWEEP_SECONDS", 0.05)
    monkeypatch.setattr(bot.sender, "IDLE_SECONDS", 0.05)
    monkeypatch.setattr(bot.platform_away, "ASK_SECONDS", 0.1)


def once(texts: list[str]) -> list[str]:
    """Without the repeats, which come right behind their first."""
    return [text for text, _ in groupby(texts)]


async def work_of(rep: Phone) -> None:
    """A short part of a day: a pin, three photos, a typed word."""
    await rep.firm.api.give(rep.live_place())
    for number in range(3):
        await rep.firm.api.give(rep.photo(f"{rep.person.id}-{number}"))
    await rep.firm.api.give(rep.text("/help"))


@pytest.mark.parametrize("method", METHODS)
async def test_telegram_fails_at_a_call_in_every_way_and_nothing_is_lost(tmp_path: Path, method: str) -> None:
    async with running(tmp_path, speed=60) as firm:
        reps = [firm.link(WANG_JIAN, 501), firm.link(SUN_HAO, 502)]
        for fault in FAULTS.values():
            if method != "file" or fault.body is None:  # there any bytes are a file
                firm.api.trouble(method, fault)
        for rep in reps:
            await work_of(rep)
        await firm.idle(90)
        if method == "answerCallbackQuery":
            await firm.api.give(*(updates.tap("q999.0", rep.person) for rep in reps for _ in range(4)))
            await firm.idle(60)
            assert len(firm.api.called(method)) == 8, "each was tried, and none again: it only ends a waiting sign"
        told = [once(rep.texts()) for rep in reps]
        for texts in told:
            counts = [text for text in texts if "共 " in text and "张" in text]
            assert [next(number for number in (1, 2, 3) if f"共 {number} 张" in text) for text in counts] == [1, 2, 3]
            assert "到店" in texts[0] or "哪家店" in texts[0]
            assert any("结束拜访" in text for text in texts[4:])
        assert {row.state for row in firm.inbox()} == {"done"}
        assert {row.state for row in firm.outbox()} == {"sent"}
        if method == "sendMessage":
            repeats = sum(len(rep.texts()) for rep in reps) - sum(len(texts) for texts in told)
            assert repeats <= 2, "only what arrived while its answer was lost or came too late"


async def all_sent(firm: Any, seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while any(row.state == "due" for row in firm.outbox()):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def ready_in_time(firm: Any, healed: datetime) -> None:
    """Everything that waited went out within five seconds of the recovery, and nothing was given up."""
    rows = firm.outbox()
    assert {row.state for row in rows} == {"sent"}
    late = [row.sent_at - healed for row in rows if row.sent_at is None or row.sent_at > healed + READY]
    assert late == []


DOWN = {
    "5xx": Trouble(502, times=10**6),
    "cut": Trouble(cut=True, times=10**6),
    "silent": Trouble(hang_s=30, times=10**6),
}


@pytest.mark.parametrize("how", DOWN)
async def test_telegram_is_away_for_an_hour_and_nothing_is_tried_to_death(
    tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bot.platform_away, "ANSWER_SECONDS", 0.3)
    async with running(tmp_path, speed=0.2) as firm:
        reps = [firm.link(WANG_JIAN, 501), firm.link(SUN_HAO, 502)]
        down(firm.api, DOWN[how])
        for rep in reps:
            for number in range(3):
                queue_for(firm, rep, f"{number}")
        await firm.api.until(lambda: "telegram" in firm.app.sender._away, 90)
        for _ in range(6):  # an hour, in which eight tries would long be over
            firm.clock.moved += timedelta(minutes=10)
            await asyncio.sleep(0.3)
        tries = len(firm.api.called("sendMessage"))
        assert tries <= 2 * len(reps), "while it is away nobody is written to"
        assert {row.state for row in firm.outbox()} == {"due"}
        firm.api.clear_troubles()
        healed = firm.clock()
        await all_sent(firm)
        ready_in_time(firm, healed)
        assert all(once(rep.texts()) == [*"012"] for rep in reps)


def down(api: BotApi, trouble: Trouble) -> None:
    for method in ("sendMessage", "sendPhoto", "getMe"):
        api.trouble(method, trouble)


def queue_for(firm: TelegramFirm, rep: Phone, words: str) -> None:
    """Something that the bot has to say to a rep."""
    with firm.database.work(WHOLE) as work:
        account = people.account(work, "telegram", str(rep.person.id))
        assert account is not None
        reply = Reply(Say("as_is", {"text": words}))
        outbox.queue(work, outgoing(account, reply, firm.clock(), f"{rep.person.id}:{words}"))
    firm.app.sender.wake()


Down = Callable[[LoopbackPlatform], None]


def every_call(trouble: WeChatTrouble, *paths: str) -> Down:
    def make(platform: LoopbackPlatform) -> None:
        for path in paths:
            platform.trouble(path, trouble)

    return make


WECHAT_DOWN = {
    "5xx": WeChatTrouble(status=502, times=10**6),
    "cut": WeChatTrouble(cut=True, times=10**6),
    "silent": WeChatTrouble(slow_s=20, times=10**6),
    "nonsense": WeChatTrouble(body=b"<html></html>", times=10**6),
}


@pytest.mark.parametrize("how", WECHAT_DOWN)
async def test_wecom_is_away_for_an_hour(tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bot.platform_away, "ANSWER_SECONDS", 0.3)
    async with wecomfirm.running(tmp_path, speed=0.2) as firm:
        reps = [firm.member("wangjian"), firm.member("sunhao")]
        for rep in reps:
            await rep.says("帮助")
        before = [len(rep.texts()) for rep in reps]
        every_call(WECHAT_DOWN[how], "message/send", "getcallbackip")(firm.platform)
        for rep in reps:
            for word in ("help", "todos", "visits"):
                await rep.sends(firm.platform.messages.text(rep.userid, f"/{word}", at=rep.at), settle=False)
        await firm.platform.until(lambda: "wecom" in firm.app.sender._away, 90)
        for _ in range(6):
            firm.clock.moved += timedelta(minutes=10)
            await asyncio.sleep(0.3)
        assert firm.platform.count("message/send") <= sum(before) + 2 * len(reps)
        await healed_and_sent(firm, firm.platform)
        told = [once(rep.texts()[since:]) for rep, since in zip(reps, before, strict=True)]
        assert [len(texts) for texts in told] == [3, 3]
        assert told[0] == told[1], "the same commands in the same order"


async def healed_and_sent(firm: Any, platform: LoopbackPlatform) -> None:
    platform.clear_troubles()
    healed = firm.clock()
    await all_sent(firm)
    ready_in_time(firm, healed)


@pytest.mark.parametrize("how", WECHAT_DOWN)
async def test_the_official_account_is_away_for_an_hour(
    tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bot.platform_away, "ANSWER_SECONDS", 0.3)
    async with mpfirm.running(tmp_path, speed=0.2) as firm:
        rep = firm.follower(WANG_JIAN, "oWangJian_01")
        await rep.says("帮助")
        every_call(WECHAT_DOWN[how], "message/custom/send", "getcallbackip")(firm.platform)
        push(firm, rep, "一")
        push(firm, rep, "二")
        await firm.platform.until(lambda: "mp" in firm.app.sender._away, 90)
        for _ in range(6):
            firm.clock.moved += timedelta(minutes=10)
            await asyncio.sleep(0.3)
        assert firm.platform.count("message/custom/send") <= 2
        await healed_and_sent(firm, firm.platform)
        assert "".join(once(rep.pushed())).replace("\n", "") == "一二"


async def test_only_sending_fails_for_half_an_hour_and_nothing_is_given_up(tmp_path: Path) -> None:
    """Telegram answers, and takes no message: tries go on, fewer and fewer, and none is the last."""
    async with running(tmp_path, speed=600) as firm:
        rep = firm.link(WANG_JIAN, 501)
        firm.api.trouble("sendMessage", Trouble(500, times=20))
        queue_for(firm, rep, "一")
        queue_for(firm, rep, "二")
        await all_sent(firm)
        assert rep.texts() == ["一", "二"]
        assert len(firm.api.called("sendMessage")) == 22
