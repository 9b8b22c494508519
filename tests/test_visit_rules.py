"""The life of a visit: what it may not close without, when it ended, and how it is put right."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.limits import Limits
from rules.visit import (
    Answer,
    MayNotClose,
    Outcome,
    Plain,
    Source,
    State,
    Visit,
    close,
    duration,
    missing,
    reopen,
    void,
)

LIMITS = Limits()
BEGAN = datetime(2026, 3, 2, 1, 41, tzinfo=UTC)
ALWAYS: dict[str, Plain] = {"place": 1, "outlet": "C001", "photo": [4], "report": [9], "problem": "保质期太短"}
ASKED_IN_ORDER = ["place", "outlet", "photo", "report", "problem", "outcome", "close_factor", "root_cause"]
NEEDED_FOR = {
    Outcome.WON: {"close_factor"},
    Outcome.PENDING: {"root_cause"},
    Outcome.LOST: {"root_cause"},
    Outcome.NONE: set[str](),
}
OUTCOMES = st.sampled_from(list(Outcome))


def after(minutes: float) -> datetime:
    return BEGAN + timedelta(minutes=minutes)


def complete(outcome: Outcome) -> Visit:
    """A visit of which everything is known."""
    known: dict[str, Plain] = {
        **ALWAYS,
        "outcome": outcome.value,
        "close_factor": "价格有优势",
        "root_cause": "价格未匹配",
    }
    answers = {name: Answer(value, Source.REP) for name, value in known.items()}
    return Visit("R01", BEGAN, answers=answers, touched_at=after(10))


def mandatory(outcome: Outcome) -> list[str]:
    return [name for name in ASKED_IN_ORDER if name in {*ALWAYS, "outcome", *NEEDED_FOR[outcome]}]


def absent(visit: Visit, name: str) -> Visit:
    return visit.drop(name)


def guessed(visit: Visit, name: str) -> Visit:
    return visit.put(name, replace(visit.answers[name], sure=False))


def empty(visit: Visit, name: str) -> Visit:
    nothing: Plain = [] if isinstance(visit.value(name), list) else ""
    return visit.put(name, replace(visit.answers[name], value=nothing))


# --- 必填没有，就不能结束 ---


@pytest.mark.parametrize("outcome", list(Outcome), ids=["成交", "跟进中", "丢单", "无销售"])
def test_a_complete_visit_closes(outcome: Outcome) -> None:
    closed = close(complete(outcome), after(12), LIMITS)
    assert (closed.state, closed.closed_at) == (State.CLOSED, after(12))


@given(OUTCOMES, st.sets(st.sampled_from(ASKED_IN_ORDER)), st.sampled_from([absent, guessed, empty]))
def test_every_subset_of_what_is_missing_is_refused_by_name_and_in_order(
    outcome: Outcome, taken: set[str], take: Callable[[Visit, str], Visit]
) -> None:
    """少任何一项都不能结束；语音猜的、没确认的，等于没有"""
    visit = complete(outcome)
    for name in sorted(taken - {"outcome"}):
        visit = take(visit, name)
    lacking = [name for name in mandatory(outcome) if name in taken - {"outcome"}]
    assert list(missing(visit)) == lacking
    if not lacking:
        assert close(visit, after(12), LIMITS).state is State.CLOSED
        return
    with pytest.raises(MayNotClose) as refused:
        close(visit, after(12), LIMITS)
    assert list(refused.value.missing) == lacking


@pytest.mark.parametrize(
    ("outcome", "needed"),
    [
        (Outcome.WON, ("outcome", "close_factor")),
        (Outcome.LOST, ("outcome", "root_cause")),
        (Outcome.NONE, ("outcome",)),
    ],
)
def test_a_guessed_outcome_asks_for_what_it_would_need(outcome: Outcome, needed: tuple[str, ...]) -> None:
    visit = guessed(complete(outcome).drop("close_factor", "root_cause"), "outcome")
    assert missing(visit) == needed


def test_a_visit_without_an_outcome_is_asked_for_no_reason_yet() -> None:
    assert missing(complete(Outcome.WON).drop("outcome", "close_factor", "root_cause")) == ("outcome",)


def test_a_new_visit_lacks_everything() -> None:
    assert missing(Visit("R01", BEGAN)) == ("place", "outlet", "photo", "report", "problem", "outcome")


# --- 什么时候离店 ---


@pytest.mark.parametrize(
    ("touched", "closing", "left"),
    [(10, 12, 12), (10, 70, 70), (10, 71, 10), (10, 60 * 26, 10), (None, 5, 5), (None, 61, 0), (10, 8, 10)],
    ids=[
        "说完两分钟后提交",
        "一小时整还算在店里",
        "一小时零一分：忘了提交，按最后一条证据",
        "第二天才补交",
        "没有后来的证据",
        "没有后来的证据，又忘了提交",
        "消息先后颠倒",
    ],
)
def test_a_forgotten_tap_makes_no_visit_longer(touched: float | None, closing: float, left: float) -> None:
    visit = replace(complete(Outcome.NONE), touched_at=None if touched is None else after(touched))
    closed = close(visit, after(closing), LIMITS)
    assert closed.left_at == after(left)
    assert duration(closed) == timedelta(minutes=left)


def test_the_rep_said_when_the_visit_ended() -> None:
    """说了“结束拜访”，之后在车上补话不算在店时间"""
    visit = replace(complete(Outcome.NONE), left_at=after(20), touched_at=after(50))
    assert duration(close(visit, after(55), LIMITS)) == timedelta(minutes=20)


@given(st.integers(0, 3000), st.integers(0, 3000))
def test_a_visit_never_lasts_longer_than_its_last_evidence_and_an_hour(touched: int, more: int) -> None:
    visit = replace(complete(Outcome.NONE), touched_at=after(touched))
    lasted = duration(close(visit, after(touched + more), LIMITS))
    assert timedelta(minutes=touched) <= lasted <= timedelta(minutes=touched + 60)


def test_an_open_visit_has_no_length_and_none_is_negative() -> None:
    assert duration(complete(Outcome.NONE)) == timedelta(0)
    assert duration(replace(complete(Outcome.NONE), left_at=after(-5))) == timedelta(0)


# --- 更正、撤销 ---


def test_a_correction_makes_no_visit_longer() -> None:
    """12 分钟的拜访，半小时后改一个答案：还是 12 分钟，不会变成超过 25 分钟"""
    closed = close(complete(Outcome.NONE), after(12), LIMITS)
    opened = reopen(closed)
    assert (opened.state, opened.closed_at) == (State.OPEN, None)
    again = close(opened, after(42), LIMITS)
    assert duration(again) == timedelta(minutes=12)
    assert again.closed_at == after(42)


def test_what_is_reopened_must_be_complete_again() -> None:
    opened = reopen(close(complete(Outcome.NONE), after(12), LIMITS))
    lost = opened.put("outcome", Answer(Outcome.LOST.value, Source.REP)).drop("root_cause")
    with pytest.raises(MayNotClose, match="root_cause"):
        close(lost, after(20), LIMITS)


def test_a_void_visit_keeps_what_was_said() -> None:
    visit = complete(Outcome.WON)
    gone = void(visit, after(12))
    assert gone.state is State.VOID
    assert gone.answers == visit.answers


# --- 答案 ---


def test_put_and_drop_leave_the_visit_before_as_it_was() -> None:
    visit = complete(Outcome.WON)
    assert visit.drop("problem").value("problem") is None
    assert visit.put("problem", Answer("配送慢", Source.REP)).value("problem") == "配送慢"
    assert visit.value("problem") == "保质期太短"


def test_an_outlet_counts_once_it_is_certain() -> None:
    visit = complete(Outcome.WON)
    assert visit.outlet == "C001"
    assert guessed(visit, "outlet").outlet is None
    assert guessed(visit, "outlet").proposals == ("outlet",)


def test_ids_are_the_numbers_of_stored_evidence() -> None:
    visit = complete(Outcome.WON)
    assert visit.ids("photo") == [4]
    assert visit.ids("problem") == []
    assert visit.ids("nothing") == []
