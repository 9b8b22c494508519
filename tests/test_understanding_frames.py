"""Sentences made up by frame, in eight batches, each scored before the rules had seen it (docs/understanding.md).

A label a sentence does not have was left open by its author and is not compared.
"""

import json
from typing import Any

import pytest

from nlp.frames import OBJECTIONS
from tests.test_understanding import HERE
from tests.test_understanding_blind import read

BATCHES = "abcdefgh"
FIELDS = ("objections", "root_cause", "outcome", "close_factor")


def sentences() -> list[dict[str, Any]]:
    lines = (HERE / "said.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def wrong(note: dict[str, Any]) -> list[str]:
    """The fields of one sentence that are not as labelled; lists in any order."""
    got = read(note["text"])
    return sorted(
        field
        for field, label in note["expect"].items()
        if (sorted(label) != sorted(got[field]) if isinstance(label, list) else label != got[field])
    )


def known_failures() -> dict[str, list[str]]:
    lines = (HERE / "said_failures.txt").read_text(encoding="utf-8").splitlines()
    return {line.split()[0]: sorted(line.split()[1].split(",")) for line in lines if line and not line.startswith("#")}


@pytest.mark.parametrize("batch", BATCHES)
def test_exactly_the_known_sentences_fail(batch: str) -> None:
    mine = [note for note in sentences() if note["id"].startswith(batch)]
    assert len(mine) > 30
    assert {note["id"]: fields for note in mine if (fields := wrong(note))} == {
        name: fields for name, fields in known_failures().items() if name.startswith(batch)
    }


def test_every_objection_has_its_sentences() -> None:
    said = [code for note in sentences() for code in note["expect"].get("objections", ())]
    assert {code: said.count(code) >= 20 for code in OBJECTIONS} == dict.fromkeys(OBJECTIONS, True)


@pytest.mark.parametrize(
    "text",
    [
        "沈园茶餐厅没说赚不到钱，也没嫌送货晚，下周再约",
        "价格扛得住，账期也没问题，老板说等等再说",
        "上回说车上不来，这回没再提，下周再约",
        "不是放不下，也不是卖不动，老板就是想再等等",
        "我怕他们赚不到钱，老板说没事，下周再约",
        "隔壁那家嫌配送不及时，他们家没这个问题，下周再约",
        "冰柜修好了，有地方放了，下周再约",
        "催款，财务说手头紧，下周再来",
    ],
)
def test_what_is_denied_past_or_somebody_elses_is_no_objection(text: str) -> None:
    assert read(text)["objections"] == []


@pytest.mark.parametrize(
    ("text", "rule", "quote"),
    [("老灶台老板说这个价他报不出去", "price", "价他报不出"), ("鉴湖渔家说你们车次太稀", "delivery", "车次太稀")],
)
def test_a_frame_shows_the_words_it_read(text: str, rule: str, quote: str) -> None:
    got = read(text)
    assert (got["objections"], got["quotes"]["objections"]) == ([rule], [quote])
    assert got["confidence"]["objections"] == 0.75


def test_still_talking_is_no_chore() -> None:
    note = "渔家还在谈，先帮他们解决了鱼片解冻出水的问题。"
    assert (read(note)["outcome"], read(note)["problem"]) == ("pending", "鱼片解冻出水")


@pytest.mark.parametrize(
    ("text", "samples"),
    [
        ("今天带了两包牛肉丸去鉴湖渔家，厨师长现场煮了，说还行。", [["P008", 2, "包"]]),
        ("绍兴饭店要样，给了黑鱼片一包、酸菜鱼一包。", [["P002", 1, "包"], ["P009", 1, "包"]]),
        ("便利店拿了一瓶蚝油去试，没收钱。", [["P006", 1, "瓶"]]),
        ("城南烧烤说先拿一包鸡翅试试，好再订。", [["P004", 1, "包"]]),
        ("老板要了一包鱼片回去自己烧烧看。", [["P002", 1, "包"]]),
        ("我说试试我们的鸡块嘛，他说行，拿了一包。", [["P010", 1, "包"]]),
    ],
)
def test_what_is_taken_to_be_tried_is_a_sample(text: str, samples: list[list[Any]]) -> None:
    assert (read(text)["samples"], read(text)["orders"]) == (samples, [])


@pytest.mark.parametrize(
    "text",
    [
        "鸡翅腌得太咸，客人喝了三瓶水",
        "轻纺城快餐采购说别人家还搭两箱薯条呢",
        "小笼包总店说能给到二百四她立马订二十箱鸡块",
        "便利店问了问生抽多少钱一箱，没说要不要",
        "小笼包总店鸡块还摞着二十来箱，下个月再来",
        "绍兴饭店验收发现蚝油日期是去年的，拒收了两箱",
    ],
)
def test_what_is_counted_but_not_ordered(text: str) -> None:
    assert read(text)["orders"] == []
