"""The steps engine, without a database: order does not matter, going back undoes, a guess fills nothing."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from handlers.messages import NotUnderstood
from handlers.steps import Around, Flow, Said, confirmed
from handlers.visit_flow import visit_flow
from rules.limits import CLOSE_FACTORS, ROOT_CAUSES, Limits
from rules.outlets import Near, Outlet
from rules.visit import Answer, MayNotClose, Outcome, Plain, Source, Visit, close, missing

UNHURRIED = settings(deadline=None)  # several test runs may share the machine

FLOW: Flow = visit_flow(Limits())
NEW = Visit(rep="E101", opened_at=datetime(2026, 11, 23, 2, 0, tzinfo=UTC))
NAMES = [step.name for step in FLOW.steps]

Do = Callable[[Visit], Visit]

SURE_OR_NOT = st.booleans()
OUTCOMES = st.sampled_from(list(Outcome))


def evidence(said: Said) -> Do:
    return lambda visit: FLOW.take(visit, said)[0]


def told(name: str, said: Said) -> Do:
    return lambda visit: FLOW.take_for(visit, FLOW.step(name), said)


def reasons(outcome: Outcome) -> list[Do]:
    """The answers that only this outcome asks for; they can be given once the outcome is known."""
    if outcome is Outcome.WON:
        return [told("close_factor", Said(choice=CLOSE_FACTORS[2]))]
    return [] if outcome is Outcome.NONE else [told("root_cause", Said(choice=ROOT_CAUSES[4]))]


def evidence_and_answers(outcome: Outcome) -> list[Do]:
    return [
        evidence(Said(place=1)),
        evidence(Said(photo=4)),
        evidence(Said(photo=5)),
        evidence(Said(note=9)),
        told("outlet", Said(choice="C0001")),
        told("problem", Said(text="出餐慢")),
        told("outcome", Said(choice=outcome.value)),
    ]


def values(visit: Visit) -> dict[str, Plain]:
    """What is known, lists without their order: which photo came first is nobody's affair."""
    return {
        name: sorted(answer.value, key=str) if isinstance(answer.value, list) else answer.value
        for name, answer in visit.answers.items()
    }


def played(steps: list[Do], visit: Visit = NEW) -> Visit:
    for step in steps:
        visit = step(visit)
    return visit


@UNHURRIED
@given(outcome=OUTCOMES, data=st.data())
def test_any_order_reaches_the_same_visit(outcome: Outcome, data: st.DataObject) -> None:
    usual = evidence_and_answers(outcome)
    shuffled = data.draw(st.permutations(usual))
    reached = played([*shuffled, *reasons(outcome)])
    assert values(reached) == values(played([*usual, *reasons(outcome)]))
    assert FLOW.open_step(reached) is None
    assert close(reached, NEW.opened_at, Limits()).closed_at is not None


@UNHURRIED
@given(outcome=OUTCOMES, leave_out=st.integers(0, 7))
def test_what_is_left_out_is_asked_and_refused(outcome: Outcome, leave_out: int) -> None:
    steps = [*evidence_and_answers(outcome), *reasons(outcome)]
    assume(leave_out < len(steps) and leave_out not in (1, 2))  # one of two photos is enough
    assume(leave_out != 6 or not reasons(outcome))
    visit = played(steps[:leave_out] + steps[leave_out + 1 :])
    asked = FLOW.open_step(visit)
    assert asked is not None
    assert missing(visit) == (asked.name,)
    with pytest.raises(MayNotClose):
        close(visit, NEW.opened_at, Limits())


def an_answer(name: str, value: Plain, sure: bool) -> Answer:
    return Answer(value, Source.REP if sure else Source.NOTE, sure)


@st.composite
def visits(draw: st.DrawFn, sure: st.SearchStrategy[bool] = SURE_OR_NOT) -> Visit:
    """Any mixture of answers and guesses that the steps can bring about."""
    possible: dict[str, st.SearchStrategy[Plain]] = {
        "place": st.integers(1, 99),
        "outlet": st.sampled_from(["C0001", "N0001"]),
        "photo": st.lists(st.integers(1, 99), min_size=1, max_size=3).map(lambda ids: [*ids]),
        "report": st.lists(st.integers(1, 99), min_size=1, max_size=3).map(lambda ids: [*ids]),
        "problem": st.text(min_size=2, max_size=8),
        "outcome": OUTCOMES.map(lambda outcome: outcome.value),
        "close_factor": st.sampled_from(CLOSE_FACTORS),
        "root_cause": st.sampled_from(ROOT_CAUSES),
        "contacts": st.just(["老板娘"]),
    }
    visit = NEW
    for name in draw(st.lists(st.sampled_from(list(possible)), unique=True)):
        visit = visit.put(name, an_answer(name, draw(possible[name]), draw(sure)))
    return visit


@UNHURRIED
@given(visits())
def test_nothing_is_asked_exactly_when_nothing_is_missing(visit: Visit) -> None:
    asked = FLOW.open_step(visit)
    assert (asked.name if asked else None) == (missing(visit)[0] if missing(visit) else None)


@UNHURRIED
@given(visits(sure=st.just(False)))
def test_guesses_fill_nothing(visit: Visit) -> None:
    asked = FLOW.open_step(visit)
    assert asked is not None
    assert asked.name == NAMES[0]
    assert visit.outlet is None


@UNHURRIED
@given(visits())
def test_confirming_makes_every_guess_an_answer_and_changes_none(visit: Visit) -> None:
    after = confirmed(visit, visit.proposals)
    assert after.proposals == ()
    assert values(after) == values(visit)
    assert {name: answer.quote for name, answer in after.answers.items()} == {
        name: answer.quote for name, answer in visit.answers.items()
    }


@UNHURRIED
@given(outcome=OUTCOMES, answered=st.integers(0, 3))
def test_going_back_is_the_inverse_of_answering(outcome: Outcome, answered: int) -> None:
    questions = [*evidence_and_answers(outcome)[5:], *reasons(outcome)]
    assume(answered < len(questions))
    before = played(evidence_and_answers(outcome)[:5] + questions[:answered])
    after = questions[answered](before)
    back, name = FLOW.without_last(after)
    assert back == before
    assert name == next(step for step in after.answers if step not in before.answers)


def test_going_back_finds_the_last_answer_by_step_not_by_time() -> None:
    """A JSON column keeps no order of keys, and a note may have answered the later question first."""
    visit = played([told("outcome", Said(choice="none")), told("problem", Said(text="出餐慢"))])
    back, name = FLOW.without_last(visit)
    assert name == "outcome"
    assert set(back.answers) == {"problem"}
    assert FLOW.without_last(FLOW.without_last(back)[0]) == (NEW, None)


@UNHURRIED
@given(visits())
def test_going_back_leaves_evidence_alone(visit: Visit) -> None:
    back, name = FLOW.without_last(visit)
    gone = set(visit.answers) - set(back.answers)
    assert gone == ({name} if name else set())
    assert not gone & {"place", "outlet", "photo", "report"}


def test_a_changed_outcome_drops_the_answers_it_no_longer_needs() -> None:
    won = played([*evidence_and_answers(Outcome.WON), *reasons(Outcome.WON)])
    lost = told("outcome", Said(choice="lost"))(won)
    assert "close_factor" not in lost.answers
    asked = FLOW.open_step(lost)
    assert asked is not None
    assert asked.name == "root_cause"


@UNHURRIED
@given(st.lists(st.sampled_from(["出餐慢", "炸得慢", "解冻慢"]), min_size=1, max_size=6))
def test_the_first_words_stay_beside_a_correction(typed: list[str]) -> None:
    visit = played([told("problem", Said(text=text)) for text in typed])
    answer = visit.answers["problem"]
    assert answer.value == typed[-1]
    assert answer.original in (None, typed[0])
    if typed[-1] != typed[0]:
        assert answer.original == typed[0]


@pytest.mark.parametrize(
    ("name", "said", "key"),
    [
        ("place", Said(text="我到了"), "visit.place.not_a_pin"),
        ("photo", Said(text="拍好了"), "visit.photo.not_a_photo"),
        ("report", Said(text="好"), "visit.report.too_short"),
        ("problem", Said(text=" 慢 "), "visit.problem.too_short"),
        ("outcome", Said(text="也许"), "visit.pick_one"),
        ("close_factor", Said(choice="天气好"), "visit.pick_one"),
        ("root_cause", Said(choice="竞品缺货"), "visit.pick_one"),
        ("outlet", Said(text="天上人间"), "visit.outlet.not_found"),
    ],
)
def test_what_is_no_answer_is_explained(name: str, said: Said, key: str) -> None:
    with pytest.raises(NotUnderstood) as trouble:
        FLOW.take_for(NEW, FLOW.step(name), said)
    assert trouble.value.say.key == key


def test_a_message_fills_its_step_whatever_is_being_asked() -> None:
    visit, taken = FLOW.take(NEW, Said(note=7))
    assert taken == ["report"]
    visit, taken = FLOW.take(visit, Said(text="只是说话"))
    assert taken == []
    visit, taken = FLOW.take(visit, Said(place=3))
    assert (taken, visit.value("place")) == (["place"], 3)


def test_the_firms_own_words_are_the_choices() -> None:
    flow = visit_flow(replace(Limits(), close_factors=("人情到位",), root_causes=("天气", "老板出差")))
    for name, words in (("close_factor", ["人情到位"]), ("root_cause", ["天气", "老板出差"])):
        asked = flow.ask(flow.step(name), NEW, Around())
        assert [choice.label for choice in asked.choices] == words
        assert asked.say.key == f"visit.{name}.ask"


def test_outlets_in_question_end_with_a_new_one() -> None:
    shop = Outlet("C0001", "柯桥老灶台酒家", "餐饮", "柯桥区", "", None, "E101", None)
    around = Around((Near(shop, 12.0),), (("C0001", shop.name),))
    asked = FLOW.ask(FLOW.step("outlet"), NEW, around)
    assert [choice.value for choice in asked.choices] == ["C0001", "new"]
