"""Outlets found by the sound of their names."""

import random

import pytest

from nlp.firm_words import OutletWords
from nlp.names import OutletNames
from tests.growth import cost

NAMES = [
    "柯桥老灶台酒家",
    "鲁迅路阿福面馆",
    "越城小厨",
    "兰亭农家乐",
    "安昌古镇腊味馆",
    "东浦黄酒饭店",
    "鉴湖渔家",
    "上虞海鲜大排档",
    "诸暨次坞打面",
    "嵊州小笼包总店",
    "新昌炒年糕",
    "柯岩风景区食堂",
    "轻纺城北市场快餐",
    "绍兴饭店",
    "沈园茶餐厅",
    "胜利路火锅城",
    "城南烧烤",
    "马山工业区食堂",
    "钱清镇便利店",
    "皋埠老街酒楼",
]
OUTLETS = OutletNames([OutletWords(name, name) for name in NAMES])


def meant(text: str, near: tuple[str, ...] = ()) -> str | None:
    match = OUTLETS.meant(OUTLETS.find(text, near))
    return match.code if match else None


@pytest.mark.parametrize("name", NAMES)
def test_full_names(name: str) -> None:
    assert meant(f"刚跑完{name}，老板不在") == name


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("新常炒年高", "新昌炒年糕"),
        ("渔家", "鉴湖渔家"),
        ("见湖渔家", "鉴湖渔家"),
        ("安昌腊味馆", "安昌古镇腊味馆"),
        ("次坞打面", "诸暨次坞打面"),
        ("马山食堂", "马山工业区食堂"),
        ("柯岩食堂", "柯岩风景区食堂"),
        ("钱清便利店", "钱清镇便利店"),
        ("小笼包总店", "嵊州小笼包总店"),
        ("高布老街酒楼", "皋埠老街酒楼"),
        ("科桥老灶台", "柯桥老灶台酒家"),
        ("圣州小龙包", "嵊州小笼包总店"),
        ("轻纺城快餐", "轻纺城北市场快餐"),
        ("阿福", "鲁迅路阿福面馆"),
        ("大排档", "上虞海鲜大排档"),
    ],
)
def test_short_and_misheard_names(said: str, name: str) -> None:
    assert meant(f"{said}，老板不在") == name


@pytest.mark.parametrize(
    "text", ["福满楼酒店老板说贵", "越城饭店没谈成", "食堂采购说下周", "鱼价太贵", "老板不在", "今天跑新昌", "", "火锅"]
)
def test_unknown_or_too_little(text: str) -> None:
    assert meant(text) is None


def test_another_outlet_named_in_passing() -> None:
    assert meant("隔壁就是绍兴饭店，今天去的是沈园茶餐厅") == "沈园茶餐厅"
    assert meant("不是胜利路火锅城，是城南烧烤") == "城南烧烤"


def test_nearby_outlets_break_a_tie() -> None:
    twins = OutletNames([OutletWords("east", "东街小厨"), OutletWords("west", "西街小厨")])
    said = "小厨老板不在"
    assert twins.meant(twins.find(said)) is None
    assert {match.code for match in twins.find("东街西街小厨")} == {"east", "west"}


def test_an_alias_is_a_name() -> None:
    names = OutletNames([OutletWords("A", "绍兴市某某餐饮管理有限公司", ("老地方",))])
    found = names.meant(names.find("去了老地方"))
    assert found
    assert found.code == "A"


def test_thousands_of_outlets_cost_little() -> None:
    draw = random.Random(1)
    chars = "福兴隆泰和顺昌盛源丰鑫旺达利永春华庆安康乐美佳味香鲜海江湖山水金银玉龙凤"
    kinds = ("饭店", "面馆", "酒楼", "食堂", "超市")
    outlets = [OutletWords(str(n), "".join(draw.choices(chars, k=3)) + draw.choice(kinds)) for n in range(10_000)]
    names = OutletNames(outlets)
    text = f"今天去了{outlets[77].name}，老板要了鸡翅六箱，薯条十包，下周五上午十点送到，还说价格有优势"
    few = OutletNames(outlets[:100])
    names.find(text), few.find(text)
    assert cost(lambda: names.find(text)) < 40 * cost(lambda: few.find(text)), "of a hundred times the outlets"
    assert names.find(text)[0].code == "77"
