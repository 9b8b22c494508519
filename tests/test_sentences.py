"""From keys to sentences, and from what a person types to the choice it means."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.card import value_say
from handlers.messages import Choice, Say
from handlers.sentences import chosen, label, sentence
from handlers.steps import Around
from handlers.visit_flow import outcomes
from rules.limits import ROOT_CAUSES
from rules.products import Product
from rules.visit import Answer, Plain, Source, Visit
from texts import LANGUAGES, Texts, load

UNHURRIED = settings(deadline=None)  # several test runs may share the machine

CHINESE = load("zh-CN")
OPTIONS = ("won", "pending", "lost", "none")
LABELS = {option: (CHINESE.say(f"outcome.{option}"), *CHINESE.variants(f"outcome.{option}")) for option in OPTIONS}
DIGITS = "零一二三四五六七八九"


def window(first: str, last: str, time: str) -> Plain:
    return {"first": first, "last": last, "time": time, "quote": ""}


def meant(typed: str, *, multi: bool = False) -> list[str]:
    return chosen(typed, OPTIONS, LABELS, multi=multi)


SECOND = "2 ２ 二 两 2。 2、 第2个 第二个 第二 还在谈 还在谈。 考虑中 pending PENDING 还在"


@pytest.mark.parametrize("typed", [*SECOND.split(), " 2 ", "还 在 谈"])
def test_every_way_to_say_the_second(typed: str) -> None:
    assert meant(typed) == ["pending"]


NEITHER = "。 0 5 22 -2 2.5 二二 还 也许吧 成交丢单 1,2 ٢"


@pytest.mark.parametrize("typed", [*NEITHER.split(), "", " ", "9" * 50])
def test_what_means_none(typed: str) -> None:
    assert meant(typed) == []


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("1,3", ["won", "lost"]),
        ("1，3", ["won", "lost"]),
        ("1、3", ["won", "lost"]),
        ("1 3", ["won", "lost"]),
        ("一和三", ["won", "lost"]),
        ("成交；丢单", ["won", "lost"]),
        ("3,1,3", ["lost", "won"]),
        ("2", ["pending"]),
        ("1,5", []),
        ("1,也许", []),
    ],
)
def test_several_where_several_may_be_chosen(typed: str, wanted: list[str]) -> None:
    assert meant(typed, multi=True) == wanted


@UNHURRIED
@given(st.integers(1, 12), st.sampled_from(["{}", " {}。", "第{}个", "{}、"]))
def test_any_number_form_picks_the_option_at_that_place(number: int, form: str) -> None:
    options = tuple(f"o{place}" for place in range(1, 13))
    chinese = DIGITS[number] if number < 10 else "十" + DIGITS[number - 10] * (number > 10)
    full_width = "".join(chr(ord(digit) + 0xFEE0) for digit in str(number))
    for shown in (str(number), chinese, full_width):
        assert chosen(form.format(shown), options, {}, multi=False) == [f"o{number}"]


@UNHURRIED
@given(st.text(max_size=60), st.booleans())
def test_any_text_is_survived_and_means_only_what_was_offered(typed: str, multi: bool) -> None:
    assert set(meant(typed, multi=multi)) <= set(OPTIONS)


def test_the_beginning_of_a_label_is_enough_when_only_one_begins_so() -> None:
    assert chosen("账期", ROOT_CAUSES, {}, multi=False) == ["账期未谈拢"]
    assert chosen("需求", ROOT_CAUSES, {}, multi=False) == ["需求未识别"]
    assert chosen("柯桥", ("C1", "C2"), {"C1": ("柯桥甲",), "C2": ("柯桥乙",)}, multi=False) == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_labels_are_told_apart(language: str) -> None:
    """Within one question no two options may be called by the same word."""
    texts = load(language)
    for keys in (
        [f"outcome.{option}" for option in OPTIONS],
        ["card.confirm", "card.edit"],
        ["todo.done_tap", "todo.postpone_tap", "todo.lost_tap"],
        ["appeal.uphold_tap", "appeal.reject_tap"],
    ):
        words = [{texts.say(key).lower(), *(word.lower() for word in texts.variants(key))} for key in keys]
        assert sum(len(some) for some in words) == len(set().union(*words)), keys


def test_a_choice_bears_its_text_or_the_firms_own_words() -> None:
    visit = Visit("E101", datetime(2026, 11, 23, tzinfo=UTC))
    assert [label(CHINESE, choice) for choice in outcomes(visit, Around())] == ["成交", "还在谈", "丢单", "没谈生意"]
    assert label(CHINESE, Choice("x", "老板娘认可新品")) == "老板娘认可新品"


def test_sentences_nest_and_enumerate() -> None:
    say = Say("card.missing", {"names": [Say("field.place"), Say("field.photo")]})
    assert sentence(CHINESE, say) == "还缺：定位、门头照"
    lines = Say("lines", {"lines": [Say("menu.help"), say]})
    assert sentence(CHINESE, lines) == "帮助\n还缺：定位、门头照"


def test_what_people_type_is_never_taken_for_a_placeholder() -> None:
    assert "{rep} {0}" in sentence(CHINESE, Say("visit.outlet.added", {"name": "{rep} {0}", "code": "N0001"}))


def test_a_missing_value_is_an_error_and_an_empty_one_is_not() -> None:
    with pytest.raises(KeyError):
        sentence(CHINESE, Say("visit.outlet.added", {"name": "店"}))
    assert sentence(CHINESE, Say("as_is", {"text": None})) == ""


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("payment", {"amount": 3200.0, "term": "30天"}, "3200 元，30天"),
        ("payment", {"amount": 88.5, "term": None}, "88.5 元"),
        ("payment", {"amount": None, "term": "现结"}, "现结"),
        ("orders", [["P001", 8.0, "箱"], ["P999", 2.5, "包"]], "金牌小酥肉 8箱、P999 2.5包"),
        ("objections", ["price", "stock"], "价格、库存"),
        ("contacts", ["老板娘", "厨师长"], "老板娘、厨师长"),
        ("follow_up", {"first": "2026-12-02", "last": "2026-12-02", "time": "15:00", "quote": ""}, "12月2日 15:00"),
        (
            "follow_up",
            {"first": "2026-11-30", "last": "2026-12-06", "time": "morning", "quote": ""},
            "11月30日—12月6日 上午",
        ),
        ("outlet", "C404", "C404"),
    ],
)
def test_an_answer_as_a_person_reads_it(name: str, value: Plain, shown: str) -> None:
    products = {"P001": Product("P001", "金牌小酥肉", (), "冻品", "", ("箱",), None, False)}
    say = value_say(name, Answer(value, Source.NOTE), {}, products)
    assert sentence(CHINESE, say) == shown


def test_an_unknown_language_reads_chinese() -> None:
    unknown: Texts = load("tlh")
    assert unknown.say("card.confirm") == "确认"
