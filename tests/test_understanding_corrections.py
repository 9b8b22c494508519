"""Lines a rep types to correct a summary."""

from datetime import date, datetime, timedelta, timezone

import pytest

from nlp.corrections import read_correction, read_outcome
from nlp.firm_words import FirmWords, OutletWords, ProductWords
from rules.windows import Window

AT = datetime(2026, 10, 13, 10, 5, tzinfo=timezone(timedelta(hours=8)))
WORDS = FirmWords(
    outlets=(OutletWords("C1", "鲁迅路阿福面馆"), OutletWords("C2", "越城小厨")),
    products=(
        ProductWords("P004", "奥尔良鸡翅", ("鸡翅",), ("箱", "包")),
        ProductWords("P003", "粗薯条", ("薯条",), ("箱", "包")),
    ),
    competitors=("味农",),
    close_factors=("价格有优势", "竞品缺货"),
    root_causes=("账期未谈拢", "价格未匹配"),
)


@pytest.mark.parametrize(
    ("text", "field", "value", "product"),
    [
        ("数量改成8箱", "quantity", (8, "箱"), None),
        ("数量改成８箱", "quantity", (8, "箱"), None),
        ("数量改成八", "quantity", (8, None), None),
        ("鸡翅改成六箱", "quantity", (6, "箱"), "P004"),
        ("把薯条改成十包", "quantity", (10, "包"), "P003"),
        ("鸡赤改成六箱", "quantity", (6, "箱"), "P004"),
        ("不是五箱是八箱", "quantity", (8, "箱"), None),
        ("鸡翅不是五箱，是八箱", "quantity", (8, "箱"), "P004"),
        ("不是五箱，是八箱鸡翅", "quantity", (8, "箱"), "P004"),
        ("结果改成丢单", "outcome", "lost", None),
        ("结果：成交", "outcome", "won", None),
        ("原因改成账期未谈拢", "root_cause", "账期未谈拢", None),
        ("原因改成账期", "root_cause", "账期未谈拢", None),
        ("因素改成竞品缺货", "close_factor", "竞品缺货", None),
        ("问题改成薯条发软", "problem", "薯条发软", None),
        ("客户改成阿福面馆", "outlet", "C1", None),
        ("不是阿福面馆，是越城小厨", "outlet", "C2", None),
        ("联系人改成老板娘", "contacts", ("老板娘",), None),
        ("不是老板是老板娘", "contacts", ("老板娘",), None),
        ("客戶改成阿福麵館", "outlet", "C1", None),
    ],
)
def test_corrections(text: str, field: str, value: object, product: str | None) -> None:
    correction = read_correction(text, WORDS, AT)
    assert correction
    assert (correction.field, correction.value, correction.product) == (field, value, product)
    assert correction.quote == text


def test_a_new_date() -> None:
    correction = read_correction("跟进改成下周五", WORDS, AT)
    assert correction
    assert correction.field == "follow_up"
    assert correction.value == Window(date(2026, 10, 23), date(2026, 10, 23), None, "下周五")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "你好",
        "鸡翅六箱",
        "客户改成天上人间",
        "原因改成心情不好",
        "跟进改成改天",
        "数量改成很多",
        "不是我说你，是真的",
        "改成",
    ],
)
def test_what_is_no_readable_correction(text: str) -> None:
    assert read_correction(text, WORDS, AT) is None


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("成交", "won"),
        ("下单了", "won"),
        ("没成", "pending"),
        ("没成交", "pending"),
        ("丢单", "lost"),
        ("还在谈", "pending"),
        ("例行拜访", "none"),
        ("成了", "won"),
        ("未成交", "pending"),
        ("下單了", "won"),
        ("天气不错", None),
        ("", None),
    ],
)
def test_outcomes(text: str, outcome: str | None) -> None:
    assert read_outcome(text) == outcome
