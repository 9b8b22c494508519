"""What the rep confirms, corrects and leaves out is kept item by item, with the rule that had proposed it."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from bot.replay import Replay
from bot.script import read_script as read
from rules.confirmations import Settled, Tally, Verdict, settled
from rules.visit import Answer, Plain, Source, State, Trace, Visit
from storage import confirmations, visits
from storage.tables.visits import ConfirmationRow
from tests.chatfirm import played
from tests.databases import WHOLE

NOON = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
ARRIVED = """at: 2026-11-23 10:00
rep: [place 30.08218 120.49390 live accuracy=8]
rep: [photo 门头.jpg]
"""
NOTE = "rep: 见了老板，要了五箱小酥肉，配送及时，解决了出餐慢的问题，下周三再来。\n"


def kept(replay: Replay) -> list[tuple[str, str, str, object, object]]:
    """(field, rule, verdict, proposed, confirmed) of every row, oldest first."""
    with replay.database.read(WHOLE) as work:
        rows = work.session.scalars(select(ConfirmationRow).order_by(ConfirmationRow.id)).all()
        return [(row.field, row.rule, row.verdict, row.proposed, row.confirmed) for row in rows]


def tallies(replay: Replay) -> dict[str, Tally]:
    with replay.database.read(WHOLE) as work:
        return {one.field: one for one in confirmations.tallies(work)}


def answer(value: Plain, *rules: str, sure: bool = False, original: Plain = None) -> Answer:
    traces = tuple(Trace(rule, "原话", 0.9) for rule in rules)
    return Answer(value, Source.NOTE, sure, original=original, traces=traces)


def visit(state: State = State.OPEN, **answers: Answer) -> Visit:
    return Visit("E101", NOON, state, answers, id=7)


def verdicts(found: list[Settled]) -> list[tuple[str, int, Verdict, Plain, Plain]]:
    return [(one.field, one.item, one.verdict, one.proposed, one.confirmed) for one in found]


def test_one_tap_confirms_every_item_with_its_rule_and_words(tmp_path: Path) -> None:
    with played(tmp_path, ARRIVED + NOTE) as replay:
        assert kept(replay) == []
        replay.run(read("rep: 确认"))
        found = kept(replay)
        assert {verdict for _, _, verdict, _, _ in found} == {"confirmed"}
        assert {(field, rule) for field, rule, *_ in found} == {
            ("problem", "pattern 1"),
            ("outcome", "won.said"),
            ("close_factor", "配送及时.said"),
            ("contacts", "role"),
            ("orders", "name"),
            ("follow_up", "day"),
        }
        with replay.database.read(WHOLE) as work:
            order = work.session.scalars(select(ConfirmationRow).where(ConfirmationRow.field == "orders")).one()
        assert (order.proposed, order.quote, order.confidence) == (["P001", 5, "箱"], "五箱小酥肉", 0.95)
        assert (order.rep, order.item, order.at) == ("E101", 0, datetime(2026, 11, 23, 2, 0, tzinfo=UTC))


def test_a_correction_before_and_after_the_tap_is_a_mistake_of_the_rule(tmp_path: Path) -> None:
    with played(tmp_path, ARRIVED + NOTE + "rep: 数量改成8箱\nrep: 确认\nrep: 问题改成缺货\n") as replay:
        found = tallies(replay)
        assert (found["orders"].confirmed, found["orders"].corrected) == (0, 1)
        assert (found["problem"].confirmed, found["problem"].corrected) == (0, 1)
        assert found["outcome"].confirmed == 1
        with replay.database.read(WHOLE) as work:
            (wrong,) = confirmations.mistakes(work, "orders", "name")
        assert (wrong.quote, wrong.proposed, wrong.confirmed) == ("五箱小酥肉", ["P001", 5, "箱"], ["P001", 8, "箱"])


def test_back_to_what_was_heard_is_a_confirmation_after_all(tmp_path: Path) -> None:
    with played(tmp_path, ARRIVED + NOTE + "rep: 数量改成8箱\nrep: 数量改成5箱\nrep: 确认\n") as replay:
        assert (tallies(replay)["orders"].confirmed, tallies(replay)["orders"].corrected) == (1, 0)


def test_undo_takes_the_verdicts_of_its_change_back(tmp_path: Path) -> None:
    with played(tmp_path, ARRIVED + NOTE + "rep: 数量改成8箱\nrep: 确认\n") as replay:
        assert tallies(replay)["outcome"].judged == 1
        replay.run(read("rep: 撤销"))
        assert set(tallies(replay)) == {"orders"}
        replay.run(read("rep: 撤销"))
        assert tallies(replay) == {}
        assert len(kept(replay)) > 5  # they are kept: only their change no longer holds
        replay.run(read("rep: 确认"))
        assert tallies(replay)["orders"] == Tally("orders", "name", confirmed=1)


def test_another_outcome_takes_the_close_factor_out(tmp_path: Path) -> None:
    with played(tmp_path, ARRIVED + NOTE + "rep: 结果改成还在谈\n") as replay:
        assert tallies(replay)["outcome"].corrected == 1
        assert tallies(replay)["close_factor"].removed == 1


def test_a_second_note_settles_nothing(tmp_path: Path) -> None:
    """The notes are understood anew together: what one proposed and the other takes back was nobody's verdict."""
    with played(tmp_path, ARRIVED + NOTE + "rep: 不对，小酥肉不要了，老板说再考虑一下，嫌贵\n") as replay:
        assert kept(replay) == []
        with replay.database.read(WHOLE) as work:
            (now,) = visits.open_visits(work, "E101")
        assert len(now.ids("report")) == 2
        assert "close_factor" not in now.answers  # it was proposed by the first note alone


def test_a_visit_given_up_judges_nothing(tmp_path: Path) -> None:
    with played(tmp_path, ARRIVED + NOTE + "rep: 作废\n") as replay:
        assert {verdict for _, _, verdict, _, _ in kept(replay)} == {"unjudged"}
        assert all(one.precision is None for one in tallies(replay).values())


def test_a_span_counts_what_was_settled_in_it(tmp_path: Path) -> None:
    with played(tmp_path, ARRIVED + NOTE + "rep: 确认\n") as replay, replay.database.read(WHOLE) as work:
        at = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
        assert confirmations.tallies(work, since=at)
        assert confirmations.tallies(work, until=at) == []


def test_visits_stored_before_traces_were_kept_are_read(tmp_path: Path) -> None:
    with played(tmp_path, ARRIVED + NOTE) as replay, replay.database.read(WHOLE) as work:
        (stored,) = visits.open_visits(work, "E101")
        plain = visits.to_plain(stored)
    assert visits.from_plain(plain) == stored
    for one in plain["answers"].values():
        del one["traces"]
    assert visits.from_plain(plain).answers["orders"].traces == ()


# --- the rule itself --------------------------------------------------------------------------------------------------


def test_items_of_a_list_are_judged_one_by_one() -> None:
    lines: Plain = [["P001", 5, "箱"], ["P002", 3, "箱"], ["P003", 1, "箱"]]
    before = visit(orders=answer(lines, "name", "sound", "name"))
    after = visit(orders=Answer([["P003", 1, "箱"], ["P001", 8, "箱"]], Source.REP))
    assert verdicts(settled(before, after)) == [
        ("orders", 2, Verdict.CONFIRMED, ["P003", 1, "箱"], ["P003", 1, "箱"]),
        ("orders", 0, Verdict.CORRECTED, ["P001", 5, "箱"], ["P001", 8, "箱"]),
        ("orders", 1, Verdict.REMOVED, ["P002", 3, "箱"], None),
    ]


@pytest.mark.parametrize(
    ("proposed", "now", "expected"),
    [
        (["老板"], ["老板娘"], [(Verdict.CORRECTED, "老板娘")]),
        (["老板"], ["老板", "采购"], [(Verdict.CONFIRMED, "老板")]),
        (["老板", "采购"], ["店长"], [(Verdict.REMOVED, None), (Verdict.REMOVED, None)]),
        (["老板"], [], [(Verdict.REMOVED, None)]),
    ],
)
def test_what_took_the_place_of_a_wrong_item(
    proposed: list[Plain], now: list[Plain], expected: list[tuple[Verdict, Plain]]
) -> None:
    before = visit(contacts=answer(proposed, *["role"] * len(proposed)))
    found = settled(before, visit(contacts=Answer(now, Source.REP)))
    assert [(one.verdict, one.confirmed) for one in found] == expected


def test_the_same_days_typed_again_are_the_same() -> None:
    heard: dict[str, Plain] = {"first": "2026-12-02", "last": "2026-12-02", "time": None, "quote": "下周三"}
    typed: dict[str, Plain] = {**heard, "quote": "12月2号", "again_next_week": False}
    before = visit(follow_up=answer(heard, "day"))
    assert settled(before, visit(follow_up=Answer(typed, Source.REP)))[0].verdict is Verdict.CONFIRMED


def test_a_question_put_again_judges_nothing_yet() -> None:
    """/back drops an answer that is still needed: the verdict comes with the next answer, if the rep gives one."""
    before = visit(outcome=answer("won", "won.said", sure=True))
    assert [one.verdict for one in settled(before, visit())] == [Verdict.UNJUDGED]


def test_what_nobody_proposed_is_nothing_to_judge() -> None:
    before = visit(problem=Answer("缺货", Source.REP))
    assert settled(before, visit(problem=Answer("送货慢", Source.REP))) == []


def test_an_untouched_answer_is_not_judged_again() -> None:
    sure = answer("won", "won.said", sure=True)
    assert settled(visit(outcome=sure), visit(outcome=sure, problem=Answer("缺货", Source.REP))) == []


@pytest.mark.parametrize(
    ("confirmed", "wrong", "weak"), [(4, 1, False), (3, 1, False), (3, 2, True), (0, 4, False), (0, 5, True)]
)
def test_a_rule_is_weak_below_80_percent_of_at_least_five(confirmed: int, wrong: int, weak: bool) -> None:
    tally = Tally("objections", "price.said", confirmed=confirmed, corrected=wrong - wrong // 2, removed=wrong // 2)
    assert tally.weak is weak
    assert tally.precision == pytest.approx(confirmed / (confirmed + wrong))
