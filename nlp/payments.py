"""What was paid or agreed in this visit; owed money, promises and unit prices are none of it."""

import re
from dataclasses import dataclass

from nlp.deal import SLIP
from nlp.numbers import Amount, Number, find_amounts
from nlp.patterns import regex

_RECEIVED = regex(
    r"打过?来了?|款到|实收|收款|回款|收了|收到|收现金|付了|打款|打了|转账|转了|结了|结清|"
    r"到账|付清|入账|现金|现结|货款|刷了|微信付|结掉|还了|清了|给了|"
    r"给的现金|扫码"
)
_DEAL = regex(r"一共|总共|合计|总价|总计|总金额|金额|共计|货值|算下来|签了")
_OWED = regex(r"欠|剩|应收|还差|没结|未付|未结|没收到|尾款|余款|没付|拖着|下[周个]|该付|要付")
_PER_UNIT = regex(
    r"每[箱包瓶桶盒袋件]|(?<![十百千\d])[一1][箱包瓶桶盒袋件]要?才?$|便宜|[降涨高贵省加减少低差多][了出]?[^，。]{0,3}$|"
    r"让利?|单价|满$|降到|返|进场费"
)
_UNIT_AFTER = regex(r"(?:一|每|/)[箱包瓶桶盒袋件]|的?优惠|以上")
_CLOSES = regex(r"[，。；！？]|账期|现结|月结|(?:三十|六十|30|60)天")
_STILL_OPEN = regex(
    r"[^，。]{0,4}(?:没收|的账|欠)|[^，。]{0,8}[没未](?:结|付|清|到|收|打)|还没|"
    r"[^，。]{0,2}，(?:今天|这次|都)?(?:一分)?没(?:付|给|打款|结)"
)
_RECEIVED_AFTER = regex(
    r"[^，。]{0,3}(?:到账|结清|付清|现结)|[结还付]了|"
    r"的?(?:货款|款|账|定金|钱)[^，。没未◇]{0,5}(?:到账|结[了清掉]|付[了清]|打过?来|收[到了])"
)
_TERM = regex(
    r"(?P<cash>现结|现款|现金|货到付款|当场付清|当场结清|款到发货)|"
    r"(?:账期|月结)[^，。\d]{0,4}?(?P<after>三十|六十|30|60|一个月|"
    r"两个月)天?|(?P<before>三十|六十|30|60|一个月|两个月|2个月|1个月)天?的?(?:账期|"
    r"月结|账)|(?P<plain>三十|六十|30|60)天[的了]?(?=[，。◇]|$|那)|(?P<monthly>月结)"
)
_TERM_DAYS = regex(r"(?:三十|六十|九十|30|60|90)天")
_DAYS = {
    "三十": "30天",
    "30": "30天",
    "一个月": "30天",
    "1个月": "30天",
    "六十": "60天",
    "60": "60天",
    "两个月": "60天",
    "2个月": "60天",
}


@dataclass(frozen=True, slots=True)
class Paid:
    amount: Number | None
    term: str | None
    start: int
    end: int


def find_payment(text: str, *, won: bool) -> Paid | None:
    """Amount of this visit's deal or receipt and the agreed term; owed money and unit prices are neither.

    A term counts only when something was sold or received: asked for is not agreed.
    """
    amount = _amount(text, won=won)
    received = amount is not None and bool(_RECEIVED.search(text))
    if not won and not received:
        return None
    term, said = _term(text)
    if amount is None and term is None:
        return None
    spans = [(found.start, found.end) for found in (amount, said) if found]
    return Paid(amount.value if amount else None, term, min(s for s, _ in spans), max(e for _, e in spans))


@dataclass(frozen=True, slots=True)
class _Place:
    start: int
    end: int


def _term(text: str) -> tuple[str | None, _Place | None]:
    found: tuple[str | None, _Place | None] = (None, None)
    for match in _TERM.finditer(text):
        if re.search(r"(?:没|不)(?:同意|肯|接受|是)?$|不用$", text[: match.start()]):
            continue
        if match["cash"]:
            term = "现结"
        elif match["monthly"]:
            term = "30天"
        else:
            term = _DAYS[match["after"] or match["before"] or match["plain"]]
        if found[0] is None or term != "现结":
            found = (term, _Place(match.start(), match.end()))
    return found


def _amount(text: str, *, won: bool) -> Amount | None:
    best: tuple[int, Amount] | None = None
    # 八千五三十天账期: the term must not run into the amount.
    for amount in find_amounts(_TERM_DAYS.sub(lambda days: "◆" * len(days[0]), text)):
        weight = _weight(text, amount, won=won)
        slipped = best is not None and SLIP.search(text, best[1].end, amount.start)
        if slipped and best and re.search(r"(?:是|应该是|改成|到|更正(?:一下)?)$", text[: amount.start]):
            weight = max(weight, best[0])  # 付了一万三，说错了，是一万两千三
        if weight and (best is None or weight > best[0] or slipped):
            best = (weight, amount)
    return best[1] if best else None


def _weight(text: str, amount: Amount, *, won: bool) -> int:
    clause_start = max(text.rfind(mark, 0, amount.start) for mark in "，。；！？") + 1
    before = text[clause_start : amount.start]
    after = text[amount.end : amount.end + 14]
    if _PER_UNIT.search(before) or _UNIT_AFTER.match(after):
        return 0
    if (
        _OWED.search(before)
        and not re.match(r"[结还付]了", after)
        and not _RECEIVED.search(before.replace("没收到", ""))
    ):
        return 0
    if re.match(r"，?(?:说好|答应|约好|说)?[^，。]{0,2}◇+[^，。]{0,3}(?:付|给|结|打)", text[amount.end :]):
        return 0
    if _STILL_OPEN.match(after):
        return 0
    if _RECEIVED.search(before):
        return 3
    if _DEAL.search(before) or _RECEIVED_AFTER.match(after):
        return 2
    counted = re.search(r"[箱包瓶桶盒袋件]$", before) and (not after or _CLOSES.match(after))
    alone = not before.strip() and (not after or after[0] in "，。；！？")
    sure_of_sale = won and (alone or bool(counted) or not amount.bare)
    return 1 if sure_of_sale or (alone and _RECEIVED.search(text[: amount.start])) else 0
