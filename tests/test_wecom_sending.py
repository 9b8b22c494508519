"""Sending through 企业微信: what arrives, what is put off, what is told to whom, against a loopback platform."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.abilities import WECOM
from bot.channels import HoldOff, MaybeSent, NotSent, Refused, Rendered, SendError, Unreachable
from bot.loopback.platform import Trouble
from bot.loopback.work import WorkPlatform
from bot.pacing import Window
from bot.rendering import render
from bot.send_limits import KeptWindows
from bot.stand_in import made_photo
from bot.wechat_client import ApiAccount, WeChatApi
from bot.wechat_errors import ApiRefused
from bot.wechat_transport import Patience
from bot.wecom_sending import DUPLICATE_S, MEMBER_WINDOWS, Repeats, WecomSending
from handlers.messages import Choice, Reply, Say
from handlers.wire import reply_to_plain
from storage import cards, people
from storage.database import Database
from storage.people import Account, Question
from storage.tables.post import CardRow
from tests.databases import WHOLE
from tests.telegramfirm import WANG_JIAN, Clock, sample_database

CHAT = "wangjian"


class Desk:
    """A sending with its platform and database; `new` makes another one, as after a restart."""

    def __init__(self, folder: Path, platform: WorkPlatform) -> None:
        self.platform, self.clock = platform, Clock()
        self.database: Database = sample_database(folder)
        self.apis: list[WeChatApi] = []
        self.seconds = 10_000.0
        self.sending = self.new()

    def new(self, windows: KeptWindows | None = None, patience: Patience | None = None) -> WecomSending:
        account = ApiAccount(
            "wecom", self.platform.app_id, self.platform.secret, self.platform.agent_id, self.platform.base
        )
        self.apis.append(WeChatApi(account, self.database, patience=patience))
        # Long enough after its start for the check for duplicates.
        sending = WecomSending(
            self.apis[-1], int(self.platform.agent_id), self.database, self.clock, windows, lambda: self.seconds
        )
        self.seconds += 2 * DUPLICATE_S
        return sending

    async def send(self, message: Rendered, chat: str = CHAT) -> str:
        return await self.sending.send(chat, message)

    async def trouble(self, message: Rendered, chat: str = CHAT) -> SendError:
        with pytest.raises(SendError) as caught:
            await self.sending.send(chat, message)
        return caught.value

    def texts(self) -> list[str]:
        return [one["text"]["content"] for one in self.platform.sent if one["msgtype"] == "text"]

    def kinds(self) -> list[str]:
        return [one["msgtype"] for one in self.platform.sent]

    def question(
        self, labels: tuple[str, ...] = ("确认", "修改"), *, again: bool = False, long: bool = True
    ) -> Rendered:
        """A question as it is asked of 王建; a long one has a text beside its card."""
        with self.database.work(WHOLE) as work:
            account = people.account(work, "wecom", CHAT) or people.link(
                work, Account("wecom", CHAT, CHAT, WANG_JIAN), self.clock()
            )
            number = people.ask(work, Question(account.id, "visit", 1, "card", labels, self.clock()))
        say = Say("lines", {"lines": ["小结", "第二行", "对吗？"] if long else ["对吗？"]})
        choices = tuple(Choice(label, label) for label in labels)
        body = reply_to_plain(Reply(say, choices, again=again), number, "zh-CN")
        return replace(render(body, WECOM), key=f"zoudian-{number}")

    def rows(self) -> list[CardRow]:
        with self.database.read(WHOLE) as work:
            return list(work.session.query(CardRow))

    def tapped(self, card: CardRow, code: str) -> None:
        with self.database.work(WHOLE) as work:
            assert cards.tapped(work, card.task_id, code, self.clock())


@asynccontextmanager
async def desk(folder: Path) -> AsyncIterator[Desk]:
    async with WorkPlatform(members=(CHAT, "sunhao"), unlicensed=("sunhao",)) as platform:
        made = Desk(folder, platform)
        try:
            yield made
        finally:
            for api in made.apis:
                await api.close()
            made.database.close()


def says(*texts: str, **more: Any) -> Rendered:
    return Rendered(texts, **{"key": f"k-{texts}", **more})


async def test_texts_arrive_in_order_and_whole(tmp_path: Path) -> None:
    async with desk(tmp_path) as one:
        whole = "长" * 3000
        pieces = render(reply_to_plain(Reply(Say("lines", {"lines": [whole]})), None, "zh-CN"), WECOM).texts
        assert await one.send(says(*pieces))
        assert one.texts() == list(pieces)
        assert "".join(one.texts()) == whole, "the platform would cut a text after 2048 bytes without a word"


async def test_a_picture_comes_before_the_last_text_and_other_bytes_are_a_file(tmp_path: Path) -> None:
    async with desk(tmp_path) as one:
        await one.send(says("前", "后", image=made_photo("门头"), image_name="门头.jpg"))
        assert one.kinds() == ["text", "image", "text"]
        await one.send(says("表在这里", file=b"PK\x03\x04" + b"x" * 100, file_name="拜访.xlsx"))
        assert one.kinds()[-2:] == ["text", "file"]
        assert {(media.kind, media.name) for media in one.platform.media.values()} == {
            ("image", "门头.jpg"),
            ("file", "拜访.xlsx"),
        }
        assert isinstance(await one.trouble(says("x", file=b"x" * (20 * 1024 * 1024 + 1), file_name="y")), Refused)


@pytest.mark.parametrize(
    ("trouble", "kind"),
    [
        (Trouble(errcode=45009), HoldOff),
        (Trouble(errcode=-1), HoldOff),
        (Trouble(status=429), HoldOff),
        (Trouble(status=502), MaybeSent),
        (Trouble(cut=True), MaybeSent),
        (Trouble(half=True), MaybeSent),
        (Trouble(body=b"hello"), MaybeSent),
        (Trouble(errcode=81013), Unreachable),
        (Trouble(errcode=60111), Unreachable),
        (Trouble(errcode=60020, errmsg="not allow, from ip: 1.2.3.4"), HoldOff),
        (Trouble(errcode=40013), HoldOff),
        (Trouble(errcode=301002), HoldOff),
        (Trouble(errcode=40008), Refused),
    ],
)
async def test_every_trouble_becomes_what_the_sender_acts_on(
    tmp_path: Path, trouble: Trouble, kind: type[SendError]
) -> None:
    async with desk(tmp_path) as one:
        one.platform.trouble("message/send", trouble)
        error = await one.trouble(says("x"))
        assert type(error) is kind
        assert one.platform.secret not in str(error)
        assert await one.send(says("y"))


async def test_an_answer_that_takes_too_long_is_not_waited_for(tmp_path: Path) -> None:
    async with desk(tmp_path) as one:
        one.sending = one.new(patience=Patience(read_s=0.3))
        await one.send(says("x"))
        one.platform.trouble("message/send", Trouble(slow_s=2.0))
        began = time.monotonic()
        assert type(await one.trouble(says("y", key="y"))) is MaybeSent
        assert time.monotonic() - began < 1.5
        await one.platform.until(lambda: one.texts() == ["x", "y"])
        await one.send(says("y", key="y"))
        assert one.texts() == ["x", "y"], "it had arrived all the same, and the platform keeps the double back"


async def test_nobody_there_is_surely_not_sent(tmp_path: Path) -> None:
    async with desk(tmp_path) as one:
        await one.send(says("x"))
        await one.platform._runner.cleanup()
        assert type(await one.trouble(says("y"))) is NotSent


async def test_a_wrong_setting_puts_off_and_tells_the_operator_once_what_to_do(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with desk(tmp_path) as one:
        one.platform.trusted_ips = {"10.9.8.7"}
        for text in ("x", "y", "z"):
            assert isinstance(await one.trouble(says(text)), HoldOff)
        told = [record.getMessage() for record in caplog.records if record.levelno >= logging.CRITICAL]
        assert len(told) == 1
        assert "127.0.0.1" in told[0]
        assert "IP" in told[0]


async def test_who_is_named_as_unreachable_is_told_of_though_the_answer_is_a_success(tmp_path: Path) -> None:
    async with desk(tmp_path) as one:
        one.platform.trouble("message/send", Trouble(body=b'{"errcode":0,"errmsg":"ok","invaliduser":"a|WANGJIAN"}'))
        gone = await one.trouble(says("x"))
        assert isinstance(gone, Unreachable)
        assert "invaliduser" in str(gone)
        unlicensed = await one.trouble(says("x"), "sunhao")
        assert isinstance(unlicensed, Unreachable)
        assert "unlicenseduser" in str(unlicensed)
        assert isinstance(await one.trouble(says("x"), "@all"), Refused), "one person, never everybody"


async def test_after_trouble_only_what_has_not_arrived_goes_out(tmp_path: Path) -> None:
    async with desk(tmp_path) as one:
        message = says("一", "二", "三", image=made_photo("门头"))
        one.platform.trouble("media/upload", Trouble(status=502, after=100))
        error = await one.trouble(message)
        assert (type(error), error.sent) == (NotSent, 2)
        await one.send(message)
        assert one.texts() == ["一", "二", "三"]
        assert one.kinds() == ["text", "text", "image", "text"]
        assert [media.kind for media in one.platform.media.values()] == ["image"], "the whole picture, once"


async def test_a_text_whose_answer_was_lost_arrives_once(tmp_path: Path) -> None:
    async with desk(tmp_path) as one:
        one.platform.trouble("message/send", Trouble(cut=True, done=True))
        assert isinstance(await one.trouble(says("拜访已记录", key="a")), MaybeSent)
        await one.send(says("拜访已记录", key="a"))
        assert one.texts() == ["拜访已记录"]
        assert len(one.platform.swallowed) == 1


async def test_the_same_honest_answer_twice_arrives_twice(tmp_path: Path) -> None:
    async with desk(tmp_path) as one:
        for number in range(3):
            await one.send(says("没有待办。", key=f"help-{number}"))
        assert one.texts() == ["没有待办。"] * 3
        assert not one.platform.swallowed
        one.sending = one.new()
        one.sending._repeats._started = one.seconds  # it has just been started again, and knows nothing of them
        await one.send(says("没有待办。", key="after the restart"))
        assert len(one.texts()) == 4


def test_a_check_for_doubles_is_asked_for_where_it_can_swallow_nothing_honest() -> None:
    now = [0.0]
    repeats = Repeats(lambda: now[0])
    assert not repeats.may_check(CHAT, "x", "1"), "what was said before the start is not known"
    now[0] += DUPLICATE_S + 1
    assert repeats.may_check(CHAT, "x", "1")
    repeats.said(CHAT, "x")
    assert not repeats.may_check(CHAT, "x", "2")
    assert repeats.may_check("other", "x", "2")
    repeats.unsure(CHAT, "x", "2")
    assert repeats.may_check(CHAT, "x", "2")
    assert not repeats.may_check(CHAT, "x", "3"), "another message with the same words is honest"


# --- cards ------------------------------------------------------------------------------------------------------------


async def test_a_card_stands_under_its_text_and_a_short_question_is_the_card_alone(tmp_path: Path) -> None:
    async with desk(tmp_path) as one:
        assert await one.send(one.question())
        assert one.kinds() == ["text", "template_card"]
        await one.send(one.question(long=False))
        assert one.kinds() == ["text", "template_card", "template_card"]
        first, second = one.rows()
        assert first.task_id != second.task_id
        assert first.sent_code and first.message_id and first.sent_at  # noqa: PT018


async def test_a_card_whose_answer_was_lost_is_shown_once(tmp_path: Path) -> None:
    async with desk(tmp_path) as one:
        question = one.question()
        one.platform.trouble("message/send", Trouble(slow_s=0.01))  # the text gets through
        one.platform.trouble("message/send", Trouble(cut=True, done=True))
        error = await one.trouble(question)
        assert (type(error), error.sent) == (MaybeSent, 1)
        await one.send(question)
        assert one.kinds().count("template_card") == 1
        assert len(one.rows()) == 1
        assert one.rows()[0].sent_at is not None


async def test_it_is_shown_once_over_a_restart_too(tmp_path: Path) -> None:
    async with desk(tmp_path) as one:
        question = one.question(long=False)
        one.platform.trouble("message/send", Trouble(cut=True, done=True))
        assert isinstance(await one.trouble(question), MaybeSent)
        one.sending = one.new()
        await one.send(question)
        assert one.kinds() == ["template_card"]


async def test_a_card_the_platform_refuses_goes_out_as_numbers(tmp_path: Path) -> None:
    async with desk(tmp_path) as one:
        one.platform.trouble("message/send", Trouble(errcode=40058))
        await one.send(one.question(long=False))
        assert one.texts() == ["对吗？\n1 确认\n2 修改"]
        one.platform.trouble("message/send", Trouble(slow_s=0.01))
        one.platform.trouble("message/send", Trouble(errcode=40058))
        await one.send(one.question())
        assert one.texts()[1:] == ["小结\n第二行\n对吗？", "对吗？\n1 确认\n2 修改"]


async def test_an_answered_card_is_shown_as_answered_once_with_the_codes_there_are(tmp_path: Path) -> None:
    async with desk(tmp_path) as one:
        await one.send(one.question())
        await one.send(one.question(again=True))
        first, open_for_more = one.rows()
        assert await one.sending.end_cards() == 0
        one.tapped(first, one.platform._code(first.task_id))
        one.tapped(open_for_more, one.platform._code(open_for_more.task_id))
        assert await one.sending.end_cards() == 1
        assert await one.sending.end_cards() == 0
        assert [card["shown"] for card in one.platform.cards.values()] == ["已提交", ""]
        change = next(call for call in one.platform.calls if call.path == "message/update_template_card")
        assert change.json["userids"] == [CHAT]


async def test_a_code_that_was_used_leaves_the_other_one(tmp_path: Path) -> None:
    async with desk(tmp_path) as one:
        await one.send(one.question())
        (card,) = one.rows()
        one.tapped(card, "used before")
        assert await one.sending.end_cards() == 1
        assert one.platform.count("message/update_template_card") == 2
        assert [card["shown"] for card in one.platform.cards.values()] == ["已提交"]


async def test_a_card_that_cannot_be_changed_is_left_alone_after_a_few_tries(tmp_path: Path) -> None:
    async with desk(tmp_path) as one:
        await one.send(one.question())
        (card,) = one.rows()
        one.tapped(card, "used before")
        one.platform.trouble("message/update_template_card", Trouble(errcode=42034, times=9))
        for _ in range(5):
            assert await one.sending.end_cards() == 0
        assert one.platform.count("message/update_template_card") == 2


async def test_trouble_that_passes_uses_up_no_code(tmp_path: Path) -> None:
    async with desk(tmp_path) as one:
        await one.send(one.question())
        (card,) = one.rows()
        one.tapped(card, one.platform._code(card.task_id))
        one.platform.trouble("message/update_template_card", Trouble(errcode=45009, times=5))
        for _ in range(5):
            assert await one.sending.end_cards() == 0
        assert await one.sending.end_cards() == 1


async def test_after_three_days_a_card_stays_as_it_is(tmp_path: Path) -> None:
    async with desk(tmp_path) as one:
        await one.send(one.question())
        (card,) = one.rows()
        one.tapped(card, one.platform._code(card.task_id))
        one.clock.moved += timedelta(hours=73)
        assert await one.sending.end_cards() == 0
        one.clock.moved += timedelta(days=60)
        with one.database.work(WHOLE) as work:
            cards.forget(work, one.clock())
        assert not one.rows()


async def test_a_message_is_taken_back(tmp_path: Path) -> None:
    async with desk(tmp_path) as one:
        number = await one.send(says("发错了"))
        await one.sending.recall(number)
        assert one.platform.recalled == [number]
        with pytest.raises(ApiRefused):
            await one.sending.recall("never sent")


# --- how fast ---------------------------------------------------------------------------------------------------------


async def test_what_a_member_may_not_be_sent_yet_is_put_off_and_nothing_is_dropped(tmp_path: Path) -> None:
    async with desk(tmp_path) as one:
        for number in range(MEMBER_WINDOWS[0].count):
            await one.send(says(f"第{number}条"))
        for number in range(5):
            error = await one.trouble(says(f"再一条{number}"))
            assert isinstance(error, HoldOff)
            assert 0 < error.seconds <= 61  # a moment counts to the end of its second
        assert len(one.texts()) == MEMBER_WINDOWS[0].count < 30
        assert not one.platform.dropped
        one.platform.members.add("limin")
        await one.send(says("别人不受影响"), "limin")


async def test_a_restart_remembers_what_was_sent_text_by_text(tmp_path: Path) -> None:
    async with desk(tmp_path) as one:
        for number in range(9):
            await one.new().send(CHAT, says(f"甲{number}", f"乙{number}", f"丙{number}"))
        with pytest.raises(HoldOff) as caught:
            await one.new().send(CHAT, says("丁", "戊"))
        assert caught.value.ours
        assert 30 < caught.value.seconds <= 61
        await one.new().send(CHAT, says("己"))
        assert (len(one.texts()), one.platform.dropped) == (28, [])


async def test_what_two_processes_send_to_a_member_is_counted_together(tmp_path: Path) -> None:
    async with desk(tmp_path) as one:
        windows = (Window(5, 60.0),)
        both = [one.new(KeptWindows(one.database, "wecom", windows)) for _ in range(2)]
        for number in range(5):
            await both[number % 2].send(CHAT, says(f"{number}"))
        for sending in both:
            with pytest.raises(HoldOff):
                await sending.send(CHAT, says("x"))
        assert one.texts() == [*"01234"]


async def test_many_members_side_by_side(tmp_path: Path) -> None:
    async with desk(tmp_path) as one:
        members = [f"member{number}" for number in range(30)]
        one.platform.members |= set(members)
        await asyncio.gather(*(one.sending.send(member, says("早上好")) for member in members))
        assert sorted(message["to"] for message in one.platform.sent) == sorted(members)
        assert one.platform.count("gettoken") == 1
