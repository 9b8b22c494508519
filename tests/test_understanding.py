"""What a spoken note is understood to say, against labelled notes by phenomenon and against single rules."""

import csv
import json
from datetime import datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlp.firm_words import FirmWords, OutletWords, PhraseRule, ProductWords
from nlp.labels import FIELDS, disagreements, same_window, score, to_json
from nlp.understand import Payment, Understander, Understanding
from tests.growth import SQUARE, growth

HERE = Path(__file__).parent / "understanding"
FIRM = Path(__file__).parents[1] / "bot" / "sample_firm"
AT = datetime(2026, 10, 13, 10, 5, tzinfo=timezone(timedelta(hours=8)))
CLOSE_FACTORS = (
    "竞品缺货",
    "老板娘认可新品",
    "价格有优势",
    "促销政策到位",
    "配送及时",
    "老客户补货",
    "样品试用满意",
    "决策人当面拍板",
)
ROOT_CAUSES = (
    "需求未识别",
    "价格未匹配",
    "决策人未覆盖",
    "竞品锁定",
    "账期未谈拢",
    "库存未消化",
    "样品未验证",
    "配送未满足",
)
CONSIDER = ("是否已发送对比参数表", "是否预约了技术答疑", "是否明确了老板娘关注的保质期敏感点")


def rows(name: str) -> list[dict[str, str]]:
    with (FIRM / f"{name}.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def firm_words() -> FirmWords:
    return FirmWords(
        outlets=tuple(OutletWords(row["客户编码"], row["客户名称"]) for row in rows("客户")),
        products=tuple(
            ProductWords(row["产品编码"], row["产品名称"], tuple(row["别名"].split("|")), tuple(row["单位"].split("|")))
            for row in rows("产品")
        ),
        competitors=tuple(row["竞品名称"] for row in rows("竞品")),
        close_factors=CLOSE_FACTORS,
        root_causes=ROOT_CAUSES,
        phrase_rules=(PhraseRule(("再考虑下",), CONSIDER),),
    )


@cache
def understander() -> Understander:
    return Understander(firm_words())


def understood(text: str, near: tuple[str, ...] = ()) -> Understanding:
    return understander().understand(text, AT, near)


def notes(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (HERE / name).read_text(encoding="utf-8").splitlines()]


@cache
def results(name: str) -> list[dict[str, Any]]:
    return [
        to_json(understander().understand(note["text"], datetime.fromisoformat(note["at"]))) for note in notes(name)
    ]


# --- labelled notes ---


def test_the_sample_notes_are_all_right() -> None:
    wrong = {
        n["id"]: disagreements(n["expect"], got)
        for n, got in zip(notes("sample.jsonl"), results("sample.jsonl"), strict=True)
    }
    assert {note: fields for note, fields in wrong.items() if fields} == {}


def test_exactly_the_known_notes_fail() -> None:
    known = {
        line.split()[0]: sorted(line.split()[1].split(","))
        for line in (HERE / "known_failures.txt").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    }
    failing = {
        note["id"]: sorted(fields)
        for note, got in zip(notes("notes.jsonl"), results("notes.jsonl"), strict=True)
        if (fields := disagreements(note["expect"], got))
    }
    assert failing == known


def test_there_are_enough_notes_of_every_kind() -> None:
    kinds = [note["kind"] for note in notes("notes.jsonl")]
    assert len(kinds) >= 250
    assert len({note["text"] for note in notes("notes.jsonl")}) == len(kinds)
    assert len(set(kinds)) >= 20


def test_scores_by_field() -> None:
    scores = score([note["expect"] for note in notes("notes.jsonl")], results("notes.jsonl"))
    assert scores["all"].f1 >= 0.97
    assert {field: round(scores[field].f1, 2) for field in FIELDS if scores[field].f1 < 0.9} == {}


def test_every_quote_is_in_the_note() -> None:
    for note, got in zip(notes("notes.jsonl"), results("notes.jsonl"), strict=True):
        for quoted in got["quotes"].values():
            for quote in [quoted] if isinstance(quoted, str) else quoted:
                assert quote
                assert quote in note["text"]
        assert set(got["confidence"]) == set(got["quotes"])


def test_scores_count_what_is_right_wrong_and_missed() -> None:
    expected = [
        {
            "customer": "C1",
            "orders": [["P1", 2, "箱"], ["P2", 1, "包"]],
            "follow_up": ["2026-10-19", "2026-10-25", None],
        }
    ]
    got = [
        {
            "customer": "C2",
            "orders": [["P1", 2, "箱"]],
            "follow_up": {"from": "2026-10-20", "to": "2026-10-20", "time": None},
        }
    ]
    scores = score(expected, got)
    assert (scores["customer"].right, scores["customer"].wrong, scores["customer"].missed) == (0, 1, 1)
    assert scores["orders"].precision == 1
    assert scores["orders"].recall == 0.5
    assert scores["follow_up"].f1 == 1
    assert scores["all"].f1 == pytest.approx(2 * 2 / (2 * 2 + 1 + 2))


@pytest.mark.parametrize(
    ("got", "right"),
    [
        (["2026-10-20", "2026-10-20", None], True),
        (["2026-10-22", "2026-10-28", None], True),
        (["2026-10-23", "2026-10-29", None], False),
        (["2026-10-26", "2026-10-26", None], False),
        (["2026-10-20", "2026-10-20", "morning"], False),
    ],
)
def test_a_window_is_right_inside_the_label_or_half_over_it(got: list[str], right: bool) -> None:
    assert same_window(["2026-10-19", "2026-10-25", None], got) is right


# --- single rules ---


@pytest.mark.parametrize(
    "text", ["", "  ", "嗯", "。。。", "谢谢观看", "🎤🎤🎤", "喂喂喂听得到吗", "123", "今天天气不错"]
)
def test_nothing_said_gives_no_field(text: str) -> None:
    got = to_json(understood(text))
    assert got["quotes"] == {}
    assert got["outcome"] == "none"
    assert understood(text).outcome is None


def test_misheard_names_are_found_and_less_sure() -> None:
    exact, misheard = understood("新昌炒年糕要蚝油五箱").outlet, understood("新常炒年高要毫油五箱").outlet
    assert exact
    assert misheard
    assert exact.value == misheard.value == "C0011"
    assert misheard.quote == "新常炒年高"
    assert misheard.confidence < exact.confidence
    assert understood("新常炒年高要毫油五箱").orders[0].value.product == "P006"


def test_an_ambiguous_outlet_is_asked_for() -> None:
    words = FirmWords((OutletWords("A", "城东阿福面馆"), OutletWords("B", "城西阿福面馆")), (), (), (), ())
    both = Understander(words)
    said = both.understand("阿福面馆老板不在", AT)
    assert said.outlet is None
    assert {candidate.value for candidate in said.outlet_candidates} == {"A", "B"}
    near = both.understand("城西阿福面馆老板不在", AT, near=("A",)).outlet
    assert near
    assert near.value == "B"


@pytest.mark.parametrize("text", ["福满楼酒店要鸡翅两箱", "越城饭店没谈成", "老王家常菜说太贵"])
def test_an_unknown_outlet_is_not_guessed(text: str) -> None:
    assert understood(text).outlet is None


@pytest.mark.parametrize(
    ("text", "orders"),
    [
        ("城南烧烤鸡翅六箱薯条十包", [("P004", 6, "箱"), ("P003", 10, "包")]),
        ("城南烧烤六箱鸡翅十包薯条", [("P004", 6, "箱"), ("P003", 10, "包")]),
        ("鸡翅和薯条各五箱", [("P004", 5, "箱"), ("P003", 5, "箱")]),
        ("生抽五箱，不对，是九箱", [("P007", 9, "箱")]),
        ("不是五箱，是八箱酸菜鱼", [("P009", 8, "箱")]),
        ("薯条十箱不要了换成馒头", [("P012", 10, "箱")]),
        ("不要薯条，换成馒头十袋", [("P012", 10, "袋")]),
        ("冰柜里还有鸡翅十二箱", []),
        ("退了两箱鸡翅", []),
        ("上次订的黑鱼片八箱还没卖完", []),
        ("要是便宜十块就要二十箱底料", []),
        ("味农那边的鸡翅一箱二百六", []),
        ("底料两件", [("P005", 2, "箱")]),
    ],
)
def test_orders(text: str, orders: list[tuple[str, float, str]]) -> None:
    got = [(line.value.product, line.value.quantity, line.value.unit) for line in understood(text).orders]
    assert got == orders


@pytest.mark.parametrize(
    ("text", "payment"),
    [
        ("收款一万二，六十天账期的那笔", Payment(12_000, "60天")),
        ("收到现金八百六十块五", Payment(860.5, "现结")),
        ("还欠三千二没收到", None),
        ("想要六十天账期，没谈成", None),
        ("生抽两箱，现结", Payment(None, "现结")),
        ("应收五千，今天收到三千", Payment(3_000, None)),
        ("收款五千，哦不对，五千二", Payment(5_200, None)),
        ("说好下周四给六千", None),
    ],
)
def test_payment(text: str, payment: Payment | None) -> None:
    found = understood(text).payment
    assert (found.value if found else None) == payment


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("不缺货，价格也不贵", {"stock"}),
        ("没嫌贵也没嫌远", set()),
        ("上回说送货慢，这回没提了", set()),
        ("老板嫌贵，账期又短", {"price", "terms"}),
        ("要是能便宜点就订", {"price"}),
        ("配送也不慢", set()),
        ("味道太咸", {"taste"}),
    ],
)
def test_objections(text: str, codes: set[str]) -> None:
    assert {objection.value for objection in understood(text).objections} == codes


def test_without_evidence_there_is_no_root_cause() -> None:
    note = understood("老灶台老板说再看看")
    assert note.outcome
    assert note.outcome.value == "pending"
    assert note.root_cause is None


@pytest.mark.parametrize("phrase", ["再考虑下", "再考虑一下", "考虑考虑", "再考虑考虑吧"])
def test_vague_words_open_the_firms_actions(phrase: str) -> None:
    assert understood(f"老板说{phrase}").actions == CONSIDER


def test_refused_words_open_nothing() -> None:
    assert understood("老板说不用考虑了，直接订").actions == ()


def test_an_action_says_what_proves_it() -> None:
    rules = (
        PhraseRule(("再考虑下",), ("是否已发送对比参数表", "是否预约了技术答疑"), ("照片", "待办")),
        PhraseRule(("回头说",), ("是否报价",)),
    )
    heard = to_json(Understander(FirmWords((), (), (), (), (), rules)).understand("老板说再考虑下，回头说", AT))
    assert heard["actions"] == ["是否已发送对比参数表", "是否预约了技术答疑", "是否报价"]
    assert heard["proofs"] == {"是否已发送对比参数表": "照片", "是否预约了技术答疑": "待办", "是否报价": ""}


def test_an_outlet_is_known_by_its_short_name() -> None:
    outlets = (OutletWords("A", "绍兴市越城区阿福餐饮店", ("老地方",)), OutletWords("B", "城西阿福面馆", ("福记",)))
    reader = Understander(FirmWords(outlets, (), (), (), ()))
    assert to_json(reader.understand("今天去了福记，老板不在", AT))["customer"] == "B"
    assert to_json(reader.understand("老地方说下周再约", AT))["customer"] == "A"
    assert to_json(reader.understand("今天去了符记", AT))["customer"] == "B"
    assert to_json(reader.understand("今天去了张记", AT))["customer"] is None


def test_next_week_again() -> None:
    assert understood("没要，下周再约").again_next_week
    assert understood("下礼拜再来").again_next_week
    assert not understood("明天再来，下周放假").again_next_week


def test_the_problem_solved_is_quoted() -> None:
    problem = understood("今天解决了薯条发软的问题").problem
    assert problem
    assert problem.value == "薯条发软"
    assert understood("没什么问题").problem is None


def test_reasons_the_firm_does_not_use_are_not_given() -> None:
    words = firm_words()
    other = FirmWords(words.outlets, words.products, words.competitors, ("老板喝高了",), ("没缘分",))
    note = Understander(other).understand("城南烧烤鸡翅两箱，价格有优势，老板喝高了", AT)
    assert note.close_factor
    assert note.close_factor.value == "老板喝高了"


# --- any text ---


@settings(max_examples=150, deadline=None)
@given(
    st.text(
        st.sampled_from("今明下周五二三号月箱鸡翅薯条不是要没老板娘一万块半，。😀 \n0９点前后账期欠退样品味农沈园"),
        max_size=60,
    )
    | st.text(max_size=40)
)
def test_any_text_is_read_without_error_and_quoted_truly(text: str) -> None:
    got = to_json(understood(text))
    for quoted in got["quotes"].values():
        assert all(quote in text for quote in ([quoted] if isinstance(quoted, str) else quoted))


@pytest.mark.parametrize("piece", ["鸡翅", "五", "😀", "9", "下周", "不是五箱是八箱", "新昌", "收", "，", "老板娘嫌贵"])
def test_the_cost_of_a_long_note_grows_with_its_length_only(piece: str) -> None:
    assert growth(understood, piece) < SQUARE
