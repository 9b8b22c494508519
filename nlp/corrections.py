"""A rep's typed correction of one field: 数量改成8箱, 鸡翅改成六箱, 结果改成丢单, 跟进改成下周五, 不是五箱是八箱."""

import re
from dataclasses import dataclass
from datetime import datetime

from nlp.dates import read_window
from nlp.firm_words import FirmWords
from nlp.names import OutletNames
from nlp.numbers import COUNTERS, NUMERAL, Quantity, find_quantities, read_number
from nlp.patterns import regex
from nlp.people import find_people
from nlp.pinyin import blurred, syllables
from nlp.spoken import read_spoken
from rules.windows import Window

_CHANGE = r"(?:应该)?(?:改成|改为|改到|改|换成|更正为|应该是|应为|是|[:：])"
_FIELDS = (
    ("outlet", r"客户(?:名称|名)?|门店|店名|终端"),
    ("problem", r"(?:本次)?(?:解决的?)?(?:具体)?问题"),
    ("outcome", r"(?:拜访)?结果|成交(?:结果|情况)|状态"),
    ("close_factor", r"(?:本次)?(?:成交)?(?:关键)?因素|成交原因"),
    ("root_cause", r"(?:未成交|没成交|丢单|根本)?原因|归因|根因"),
    ("follow_up", r"(?:下次)?跟进(?:时间|日期)?|下次(?:拜访|再约)?(?:时间)?|(?:拜访|回访)时间|时间|日期"),
    ("contacts", r"联系人|对接人|见的人|拜访对象"),
    ("quantity", r"数量|箱数|订单"),
)
_FIELD = regex(
    "(?:把)?(?:" + "|".join(f"(?P<{field}>{words})" for field, words in _FIELDS) + f"){_CHANGE}(?P<value>.+)"
)
_NOT_THIS_BUT = regex(r"(?:(?P<before>.*?)，?)?不是(?P<old>[^，]+?)，?(?:而)?是(?P<new>.+)")
_OF_PRODUCT = regex(rf"(?:把)?(?P<product>.+?)(?:数量)?{_CHANGE}(?P<value>.+)")

_OUTCOMES = (
    ("lost", regex(r"丢单|丢了|没戏|彻底没|不做了|不要了|死了|黄了|拒绝|lost|不合作")),
    (
        "pending",
        regex(
            r"还?在谈|没定|未定|没成|未成交|没成交|没谈成|待定|跟进中|考虑|再说|再谈|没下单|没订|pending|悬着|没拿下|没签"
        ),
    ),
    ("none", regex(r"没谈生意|例行|无销售|没卖|巡店|没聊|没人|不涉及|只是?收款|日常|不在|关门|none")),
    ("won", regex(r"成交|下了?单|成了|订了|签了|拿下|谈成|要了|won|^成$")),
)


@dataclass(frozen=True, slots=True)
class Correction:
    field: str
    """outlet | problem | outcome | close_factor | root_cause | follow_up | quantity | contacts"""
    value: object
    """outlet: code; outcome: won|pending|lost|none; follow_up: rules.windows.Window; contacts: tuple of roles;
    quantity: (number, unit or None); the others: the words or the firm's name of it."""
    product: str | None
    """Product code of a quantity, None when the line did not name one."""
    quote: str


def read_outcome(text: str) -> str | None:
    """成交, 下单了, 没成, 丢单, 还在谈 … to won | pending | lost | none; None when it says neither."""
    said = read_spoken(text).text
    return next((outcome for outcome, words in _OUTCOMES if words.search(said)), None)


def read_correction(text: str, words: FirmWords, at: datetime) -> Correction | None:
    """What a typed line wants changed; None when it is no correction or its value cannot be read (then ask)."""
    spoken = read_spoken(text.strip())
    line = spoken.text.strip("。！， ")
    found = _FIELD.fullmatch(line)
    if found:
        field = next(name for name, _ in _FIELDS if found[name])
        value = _value(field, found["value"].strip(), words, at)
        return Correction(field, value, None, text.strip()) if value is not None else None
    swapped = _NOT_THIS_BUT.fullmatch(line)
    if swapped:
        return _swapped(swapped, text.strip(), words)
    changed = _OF_PRODUCT.fullmatch(line)
    if changed:
        product = _product(changed["product"], words)
        quantity = _quantity(changed["value"], words, product)
        if product and quantity:
            return Correction("quantity", quantity, product, text.strip())
    return None


def _swapped(match: re.Match[str], quote: str, words: FirmWords) -> Correction | None:
    new = match["new"]
    product = _product(match["before"] or "", words) or _product(new, words)
    quantity = _quantity(_without_products(new, words), words, product)
    if quantity and _quantity(_without_products(match["old"], words), words, product):
        return Correction("quantity", quantity, product, quote)
    outlet = _outlet(new, words)
    if outlet and _outlet(match["old"], words):
        return Correction("outlet", outlet, None, quote)
    people = tuple(person.role for person in find_people(new))
    if people and find_people(match["old"]):
        return Correction("contacts", people, None, quote)
    return None


def _value(field: str, said: str, words: FirmWords, at: datetime) -> object | None:
    if field == "quantity":
        return _quantity(said, words, None)
    if field == "outlet":
        return _outlet(said, words)
    if field == "outcome":
        return read_outcome(said)
    if field == "close_factor":
        return _listed(said, words.close_factors)
    if field == "root_cause":
        return _listed(said, words.root_causes)
    if field == "follow_up":
        window: Window | None = read_window(said, at)
        return window
    if field == "contacts":
        return tuple(person.role for person in find_people(said)) or None
    return said


def _quantity(said: str, words: FirmWords, product: str | None) -> tuple[int | float, str | None] | None:
    units = tuple({unit for one in words.products for unit in one.units if product in {None, one.code}}) or COUNTERS
    found: list[Quantity] = find_quantities(said, units)
    if len(found) == 1:
        return found[0].value, found[0].unit
    bare = re.fullmatch(NUMERAL, said)
    value = read_number(said) if bare else None
    return (value, None) if value and value > 0 else None


def _without_products(said: str, words: FirmWords) -> str:
    for name in sorted((name for one in words.products for name in (one.name, *one.aliases)), key=len, reverse=True):
        said = said.replace(name, "")
    return said.strip("的")


def _product(said: str, words: FirmWords) -> str | None:
    """The product whose longest name stands in the words, else the one that sounds like them."""
    names = sorted(
        ((name, one.code) for one in words.products for name in (one.name, *one.aliases) if name),
        key=lambda named: len(named[0]),
        reverse=True,
    )
    for name, code in names:
        if name in said:
            return code
    heard = [blurred(sound) for sound in syllables(said)]
    return next((code for name, code in names if heard == [blurred(sound) for sound in syllables(name)]), None)


def _outlet(said: str, words: FirmWords) -> str | None:
    names = OutletNames(words.outlets)
    match = names.meant(names.find(said))
    return match.code if match else None


def _listed(said: str, names: tuple[str, ...]) -> str | None:
    """The firm's reason that was typed, also in part (账期, 缺货) when only one fits."""
    said = said.strip("。 ")
    if said in names:
        return said
    fitting = [name for name in names if said and (said in name or name in said)]
    return fitting[0] if len(fitting) == 1 else None
