"""The door under strain: messages swapped, repeated, hostile, and taken back one by one."""

import itertools
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bot.abilities import BY_NAME
from bot.rendering import render
from bot.replay import START, Replay
from bot.script import read_script
from bot.script_check import saved_of
from handlers.messages import Incoming, Kind, Media, SentPlace
from rules.evidence import PlaceKind
from rules.visit import State, Visit
from storage import firm, firm_tables, follow_ups, outbox
from tests.chatfirm import TRANSCRIPTS, fresh_firm
from tests.databases import WHOLE
from tests.test_receive import deliver

MORNING = "at: 2026-11-23 10:00\n"
PIN = "rep: [place 30.08218 120.49390 live accuracy=8]"
PHOTO = "rep: [photo 门头.jpg]"
TYPED = "rep: 老板要了五箱小酥肉，竞品缺货，解决了出餐慢的问题，周五再来。"
SPOKEN = "rep: [voice 小结.ogg 9s]\nheard: 老板要了五箱小酥肉，竞品缺货，解决了出餐慢的问题，周五再来。"


@contextmanager
def chat() -> Iterator[Replay]:
    """A fresh firm in a folder of its own: hypothesis runs many in one test."""
    folder = Path(mkdtemp(prefix="zoudian-door-"))
    try:
        with fresh_firm(folder) as (database, tools):
            yield Replay(database, tools)
    finally:
        shutil.rmtree(folder)


def kept(replay: Replay) -> list[str]:
    """What is saved, however many messages it took."""
    return [line for line in saved_of(replay) if not line.startswith("actions = ")]


# --- swapped ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("summary", [TYPED, SPOKEN], ids=["typed", "spoken"])
def test_messages_in_any_order_make_the_same_visit(summary: str) -> None:
    outcomes = set()
    for order in itertools.permutations([PIN, PHOTO, summary]):
        with chat() as replay:
            replay.run(read_script(MORNING + "\n".join(order) + "\nrep: 确认"))
            outcomes.add("\n".join(kept(replay)))
    assert len(outcomes) == 1
    assert "state = closed" in outcomes.pop()


def test_swapped_and_late_messages_begin_the_visit_when_the_rep_did() -> None:
    pin = PIN.replace("]", " sent=09:30]")
    photo = PHOTO.replace("]", " sent=09:40]")
    begun = set()
    for order in itertools.permutations([pin, photo, TYPED]):
        with chat() as replay:
            replay.run(read_script(MORNING + "\n".join(order) + "\nrep: 确认"))
            with replay.database.read(WHOLE) as work:
                ((_, visit),) = firm_tables.visits(work)
            begun.add((visit.opened_at.astimezone(replay.zone).strftime("%H:%M"), visit.state))
            assert "minutes = 30" in kept(replay)
    assert begun == {("09:30", State.CLOSED)}


# --- repeated ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["happy_path", "voice_first", "todo_by_tap", "bad_files", "photo_with_caption"])
def test_every_message_delivered_twice_says_and_changes_nothing_more(name: str) -> None:
    path = next(path for path in TRANSCRIPTS if path.stem == name)
    lines = path.read_text(encoding="utf-8").splitlines()
    doubled: list[str] = []
    for number, line in enumerate(lines):
        doubled.append(line)
        following = lines[number + 1] if number + 1 < len(lines) else ""
        if (line.startswith("rep:") and not following.startswith("heard:")) or line.startswith("heard:"):
            doubled.append("again:")
    with chat() as once, chat() as twice:
        once.run(read_script("\n".join(lines)))
        twice.run(read_script("\n".join(doubled)))
        assert sum(turn.line.word == "again" for turn in twice.turns) >= 5
        assert not [said for turn in twice.turns if turn.line.word == "again" for said in turn.said]
        assert saved_of(twice) == saved_of(once)


# --- taken back -------------------------------------------------------------------------------------------------------

MESSAGES = {
    "pin": PIN,
    "sharper pin": "rep: [place 30.08216 120.49385 live accuracy=4]",
    "far pin": "rep: [place 29.93011 120.49827 live accuracy=10]",
    "photo": PHOTO,
    "photo with words": "rep: [photo 里面.jpg] 老板娘说还在考虑，没下单，解决了解冻的问题",
    "voice": SPOKEN,
    "typed": TYPED,
    "more": "rep: 另外老板娘说薯条太粗，下周三上午来换",
    "confirm": "rep: 确认",
    "number": "rep: 2",
    "correct": "rep: 小酥肉改成8箱",
    "problem": "rep: 问题改成炸得慢",
    "outcome": "rep: 结果改成丢单",
    "date": "rep: 跟进改成下周五",
    "end": "rep: 结束拜访",
    "void": "rep: 作废",
    "back": "rep: 返回",
}


def everything(replay: Replay) -> tuple[dict[int, Visit], list[object], list[str]]:
    """The visits that count, the open 待办 and the outlets registered in chat."""
    with replay.database.read(WHOLE) as work:
        found = {visit.id: visit for _, visit in firm_tables.visits(work) if visit.state is not State.VOID}
        todos: list[object] = [
            (todo.outlet, todo.window, todo.remind_at, todo.what) for todo in follow_ups.open_of(work, "E101")
        ]
        new = [outlet.code for outlet in firm.outlets(work) if outlet.code.startswith("N")]
    return found, todos, new


def changes(replay: Replay) -> int:
    with replay.database.read(WHOLE) as work:
        return sum(row["account"] is not None for row in firm_tables.rows(work, "visit_change"))


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(names=st.lists(st.sampled_from(sorted(MESSAGES)), min_size=1, max_size=7))
@example(names=["typed", "outcome", "back"])
def test_undoing_any_message_restores_what_was_before(names: list[str]) -> None:
    with chat() as replay:
        replay.run(read_script(MORNING))
        for number, name in enumerate(names):
            message = MESSAGES[name].replace("小结.ogg", f"{number}.ogg")
            before, marks = everything(replay), changes(replay)
            replay.run(read_script(message))
            if changes(replay) == marks:
                continue  # nothing of a visit was changed, so there is nothing of it to take back
            replay.run(read_script("rep: 撤销"))
            assert everything(replay) == before, f"{name} was not taken back"
            replay.run(read_script(message.replace(f"{number}.ogg", f"{number}-again.ogg")))


# --- hostile ----------------------------------------------------------------------------------------------------------

HOSTILE = [
    *(
        "{outlet}",
        "%s%n",
        "../../etc/passwd",
        "'; DROP TABLE visit; --",
        "<script>",
        "\u202e反着写",
        "\x00",
        "٣",
        "１２",
    ),
    *(
        "数量改成-5箱",
        "数量改成0箱",
        "数量改成999999999999箱",
        "跟进改成昨天",
        "结果改成",
        "门店改成",
        "问题改成",
        "不是，是",
    ),
    *("q1.0", "/", "//", "/start", "/void"),
]
WORDS = st.one_of(st.text(max_size=200), st.sampled_from(HOSTILE))
BUTTONS = st.one_of(WORDS, st.builds("q{}.{}".format, st.integers(0, 9), st.integers(0, 9)))
COORDINATES = st.floats(allow_nan=True, allow_infinity=True)


@st.composite
def incoming(draw: st.DrawFn) -> Incoming:
    """Whatever a channel might hand over."""
    kind = draw(st.sampled_from(list(Kind)))
    message = Incoming(kind, START, text=draw(WORDS))
    if kind is Kind.TAP:
        return replace(message, tapped=draw(BUTTONS))
    if kind is Kind.PLACE or (kind is Kind.EDIT and draw(st.booleans())):
        vague = draw(st.one_of(st.none(), st.floats(0, 1e9)))
        near = SentPlace(30.082, 120.494, draw(st.sampled_from(PlaceKind)), "wgs84", vague)
        lost = SentPlace(draw(COORDINATES), draw(COORDINATES), PlaceKind.PIN, "gcj02")
        return replace(message, place=draw(st.sampled_from([near, lost])))
    if kind in (Kind.PHOTO, Kind.VOICE):
        problem = draw(st.sampled_from(["too_big", "gone", "empty"]))
        return replace(message, media=Media("ref", name="x", problem=problem))
    return message


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(messages=st.lists(incoming(), min_size=1, max_size=8), begun=st.booleans())
def test_nothing_a_person_sends_breaks_a_turn(messages: list[Incoming], begun: bool) -> None:
    with chat() as replay:
        replay.run(read_script(MORNING + (f"{PIN}\n{PHOTO}\n{TYPED}\n" if begun else "")))
        for number, message in enumerate(messages):
            told = told_to(replay)
            deliver(replay, message, key=f"m{number}")
            now = told_to(replay)
            if not waits_for_nothing(message):
                assert len(now) == len(told) + 1, "every message gets exactly one answer"
            for body in now[len(told) :]:
                for abilities in BY_NAME.values():
                    assert all(render(body, abilities).texts)


def told_to(replay: Replay) -> list[dict[str, object]]:
    with replay.database.read(WHOLE) as work:
        return [message.body for message in outbox.after(work, 0)]


def waits_for_nothing(message: Incoming) -> bool:
    """A live location moving on, somebody opening the chat or leaving it: these are answered by silence."""
    if message.kind is Kind.EDIT:
        return message.place is not None
    return message.kind in (Kind.LEAVE, Kind.ENTER, Kind.NOTICE)


@pytest.mark.parametrize(
    "name", ["🐟鱼{跃}鲜馆🍜", "<b>粗体</b>", "'; DROP TABLE outlet; --", "店" * 60, "\u202e反着写的店"]
)
def test_any_name_a_shop_may_have(name: str) -> None:
    with chat() as replay:
        replay.run(read_script(MORNING + f"rep: [place 30.10005 120.51003 live]\n{PHOTO}\nrep: 新客户\nrep: {name}\n"))
        assert kept(replay)[-1] == f"new_outlet = N0001 {name} 柯桥区"
