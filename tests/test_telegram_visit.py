"""A whole visit over Telegram: the running bot, the real library, real sockets, a real recogniser in a process."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Literal

import pytest

import bot.intake
import bot.sender
from nlp.speech_process import SpeechProcess
from rules.evidence import Level, PlaceKind
from rules.visit import State
from storage import evidence, people
from tests.botapi import updates
from tests.botapi.troubles import Trouble, flood
from tests.botapi.updates import Person
from tests.databases import WHOLE
from tests.speech import TEST_MODEL
from tests.telegramfirm import MANAGER_WU, START, SUN_HAO, WANG_JIAN, Phone, apply_order, running

WON_NOTE = "解决了送货迟到的问题，老板娘订了5箱小酥肉，价格有优势"
LOST_NOTE = "解决了送货迟到的问题，他嫌价格太贵，后天上午十点半再约"


@pytest.fixture(scope="module")
def recogniser() -> Iterator[SpeechProcess]:
    with SpeechProcess(TEST_MODEL) as process:
        process.warm()
        yield process


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Second tries are looked for often, so that a fast clock makes them soon."""
    monkeypatch.setattr(bot.intake, "SWEEP_SECONDS", 0.05)
    monkeypatch.setattr(bot.sender, "IDLE_SECONDS", 0.05)


async def log_visit(rep: Phone) -> int:
    """The main job: where, what it looks like, what was said, one tap. How many things the rep had to do."""
    await rep.sends(rep.live_place())
    await rep.sends(rep.photo())
    rep.firm.clock.moved += timedelta(minutes=27)
    await rep.sends(rep.voice())
    await rep.sends(rep.button("确认"))
    return 4


@pytest.mark.recogniser
@pytest.mark.parametrize("mode", ["polling", "webhook"])
async def test_a_visit_takes_at_most_five_actions(
    tmp_path: Path, recogniser: SpeechProcess, mode: Literal["polling", "webhook"]
) -> None:
    async with running(tmp_path, recogniser, mode=mode) as firm:
        rep = firm.link(WANG_JIAN, 501)
        actions = await log_visit(rep)
        visit, *others = firm.visits()
        assert not others
        assert actions <= 5
        assert actions == len(firm.inbox())
        assert visit.state is State.CLOSED
        assert visit.outlet == "C0001"
        assert visit.value("problem") == "送货迟到"
        assert visit.value("root_cause") == "配送未满足"
        assert visit.grade is not None
        assert visit.grade.level is Level.VERIFIED
        assert "跟周店长聊了一会" in next(text for text in rep.texts() if "拜访小结" in text)
        assert "拜访已记录" in rep.texts()[-1]
        assert len(firm.api.called("answerCallbackQuery")) == 1
        assert {row.state for row in firm.inbox()} == {"done"}


async def test_the_reminder_comes_when_the_clock_reaches_it_and_one_tap_ends_it(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        rep = firm.link(WANG_JIAN, 501)
        await rep.sends(rep.live_place(), rep.photo(), rep.text(LOST_NOTE))
        await rep.sends(rep.button("确认"))
        before = len(rep.texts())
        await firm.time_passes(START + timedelta(days=1, hours=4))
        await firm.idle()
        assert len(rep.texts()) == before
        await firm.time_passes(START + timedelta(days=2))
        assert "柯桥老灶台酒家" in await rep.hears("⏰")
        await firm.time_passes(START + timedelta(days=2, hours=1))
        await firm.idle()
        assert len(rep.texts()) == before + 1
        await rep.sends(rep.button("完成"))
        assert "柯桥老灶台酒家" in rep.texts()[-1]
        await firm.time_passes(START + timedelta(days=6))
        await firm.idle()
        assert len(rep.texts()) == before + 2


@pytest.mark.recogniser
async def test_the_alert_reaches_the_manager_and_a_tap_shows_the_last_three_visits(
    tmp_path: Path, recogniser: SpeechProcess
) -> None:
    async with running(tmp_path, recogniser) as firm:
        rep, manager = firm.link(WANG_JIAN, 501), firm.link(MANAGER_WU, 601)
        for _ in range(4):
            await log_visit(rep)
        assert [visit.state for visit in firm.visits()] == [State.CLOSED] * 4
        await firm.time_passes(START.replace(hour=18, minute=1))
        alert = await manager.hears("今日异常预警")
        assert "柯桥区" in alert
        await firm.idle()
        assert not any("今日异常预警" in text for text in rep.texts())
        same_photo = next(
            one["text"]
            for row in manager.messages()[-1]["reply_markup"]["inline_keyboard"]
            for one in row
            if "照片" in one["text"]
        )
        await manager.sends(manager.button(same_photo))
        shown = manager.texts()[-1]
        assert shown.count("柯桥老灶台酒家") == 3
        assert "王建" in shown
        assert "送货迟到" in shown


async def test_an_invite_ties_one_account_once_and_strangers_get_no_data(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        wang, other = Phone(firm, Person(501)), Phone(firm, Person(777, "陌", "生"))
        token = firm.invite(WANG_JIAN)
        await other.sends(other.text("柯桥老灶台酒家欠多少钱"))
        assert len(other.texts()) == 1
        await wang.sends(updates.start(token, wang.person))
        assert "王建" in wang.texts()[-1]
        await other.sends(updates.start(token, other.person))
        await other.sends(other.live_place())
        await other.sends(other.photo())
        assert len(other.texts()) == 1, "the same refusal is not said twice a day"
        assert not any("王建" in text or "老灶台" in text for text in other.texts())
        await wang.sends(wang.live_place())
        assert "柯桥老灶台酒家" in wang.texts()[-1]
        strangers = [row for row in firm.inbox() if row.person == "telegram:777"]
        assert [(row.state, row.raw, row.message) for row in strangers] == [("ignored", {}, None)] * 4
        with firm.database.read(WHOLE) as work:
            assert [account.user_ref for account in people.accounts(work)] == ["501"]


async def test_an_album_is_one_set_of_photos_with_one_answer(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        rep = firm.link(WANG_JIAN, 501)
        await rep.sends(rep.live_place())
        album = [rep.photo(f"货架{number}", media_group_id="139") for number in range(4)]
        before = len(rep.texts())
        await rep.sends(*album)
        visit = firm.visits()[0]
        with firm.database.read(WHOLE) as work:
            kept = evidence.photos(work, visit.ids("photo"))
        assert len({photo.file for photo in kept.values()}) == 4
        assert len(rep.texts()) == before + 1


async def test_a_second_press_on_a_button_changes_nothing_and_is_answered(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        rep = firm.link(WANG_JIAN, 501)
        await rep.sends(rep.live_place(), rep.photo(), rep.text(WON_NOTE))
        confirm = rep.button("确认")
        again = updates.tap(confirm["callback_query"]["data"], rep.person)
        await rep.sends(confirm)
        settled = firm.visits()
        before = len(rep.texts())
        await rep.sends(again)
        assert firm.visits() == settled
        assert len(rep.texts()) == before + 1
        assert len(firm.api.called("answerCallbackQuery")) == 2


async def test_an_edit_is_told_that_it_was_not_taken(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        rep = firm.link(WANG_JIAN, 501)
        said = rep.text(WON_NOTE)
        await rep.sends(rep.live_place(), rep.photo(), said)
        noted = firm.visits()
        before = len(rep.texts())
        await rep.sends(updates.edited(said, "其实没订货"))
        assert firm.visits() == noted
        assert len(rep.texts()) == before + 1


async def test_a_forwarded_pin_is_kept_as_what_it_is_and_is_no_proof(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        rep = firm.link(WANG_JIAN, 501)
        await rep.sends(updates.forwarded(rep.live_place()), rep.photo(), rep.text(WON_NOTE))
        await rep.sends(rep.button("确认"))
        visit = firm.visits()[0]
        place_id = visit.value("place")
        assert isinstance(place_id, int)
        with firm.database.read(WHOLE) as work:
            place = evidence.places(work, [place_id])[place_id]
        assert place.kind is PlaceKind.FORWARDED
        assert visit.state is State.CLOSED
        assert visit.grade is not None
        assert visit.grade.level is not Level.VERIFIED


@pytest.mark.parametrize("mode", ["polling", "webhook"])
async def test_poison_and_repeats_hold_up_nothing(tmp_path: Path, mode: Literal["polling", "webhook"]) -> None:
    async with running(tmp_path, mode=mode) as firm:
        rep = firm.link(WANG_JIAN, 501)
        pin = {"update_id": 900, **rep.live_place()}
        photo = {"update_id": 902, **rep.photo()}
        await rep.sends(pin, pin, {"update_id": 901, **updates.poison(rep.person)}, photo, pin)
        assert [row.state for row in firm.inbox()] == ["done", "dead", "done"]
        assert len(firm.visits()) == 1
        assert len(firm.visits()[0].ids("photo")) == 1
        assert len(rep.texts()) == 2


async def test_messages_that_arrive_swapped_still_make_one_visit(tmp_path: Path) -> None:
    async with running(tmp_path) as firm:
        rep = firm.link(WANG_JIAN, 501)
        note, photo, pin = rep.text(WON_NOTE), rep.photo(), rep.live_place()
        await rep.sends(note)
        firm.clock.moved += timedelta(minutes=2)
        await rep.sends(photo, pin)
        await rep.sends(rep.button("确认"))
        visit, *others = firm.visits()
        assert not others
        assert visit.state is State.CLOSED
        assert visit.value("outcome") == "won"


async def test_a_press_that_overtakes_its_text_loses_neither(tmp_path: Path) -> None:
    """By webhook Telegram delivers messages and presses in queues of their own, so a press may come first."""
    async with running(tmp_path) as firm:
        rep = firm.link(WANG_JIAN, 501)
        await rep.sends(rep.live_place(), rep.photo(), rep.text(WON_NOTE))
        text = {"update_id": 800_000_001, **rep.text("数量改成8箱")}
        await rep.sends({"update_id": 800_000_002, **rep.button("确认")}, text)
        visit = firm.visits()[0]
        assert visit.state is State.CLOSED
        assert visit.value("orders") == [["P001", 8, "箱"]]


@pytest.mark.usefixtures("quick")
async def test_whatever_goes_wrong_with_sending_nothing_is_lost_and_the_order_holds(tmp_path: Path) -> None:
    async with running(tmp_path, speed=40) as firm:
        first, second = firm.link(WANG_JIAN, 501), firm.link(SUN_HAO, 502)
        for trouble in (
            flood(3),
            Trouble(502, "Bad Gateway"),
            Trouble(cut=True),
            flood(2, times=2),
            Trouble(500),
            Trouble(cut=True),
        ):
            firm.api.trouble("sendMessage", trouble)
        for phone in (first, second):
            await firm.api.give(*(phone.text(f"/{word}") for word in ("help", "todos", "visits", "help", "todos")))
        await firm.idle(30)
        for phone in (first, second):
            wanted = [row.id for row in firm.outbox() if row.chat_ref == str(phone.person.id)]
            arrived = [int(row.provider_id) for row in firm.outbox() if row.chat_ref == str(phone.person.id)]
            assert len(wanted) == len(phone.texts()) == 5
            assert arrived == [message["message_id"] for message in phone.messages()]
            assert phone.texts()[0] == phone.texts()[3]
            assert phone.texts()[1] == phone.texts()[4]
            assert phone.texts()[0] != phone.texts()[1]
        assert len(firm.api.called("sendMessage")) == 10 + 7
        assert {row.state for row in firm.outbox()} == {"sent"}
        assert apply_order(firm, "501") == [str(number) for number in range(700_000_001, 700_000_006)]
