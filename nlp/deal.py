"""What was ordered, what was given as a sample, and what was paid; kept apart from stock, returns and earlier orders."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from nlp import cues
from nlp.cutting import Clause, Mention
from nlp.numbers import Amount, Number, Quantity, find_amounts, read_number

_ORDER = re.compile(r"要了|订|定了|下了?单|拿了?|来了?|补了?|加了?|进了?|买了?|采购了|签了|换成|改成|只要|要(?!求)|成交|再来|拨")
_STRONG_ORDER = re.compile(r"下单了|就下单|订了|要了|定了|成交|同意了|答应了|买了|补了|现结")
_KINDS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("taken_back", re.compile(r"取消|不要了|算了|没要|不订了|不要$|没订|勿要|先不")),
    ("return", re.compile(r"退|换货|化了|碎了|破|烂|漏|坏了|少送|漏发|错发|补送|补发|换新|新的")),
    ("usage", re.compile(r"往常|一个月用|每个?月|每天|每周|一天用|才用|平时|一般(?!般)|一次要|一次只能|每次|至少|最少|起送|起订|起步|以上|一次拿|^里|当中|先送")),
    ("stock", re.compile(r"还有(?! )|(?<![，、对])还有(?= )|[还只]?剩|库存|存货|压着|压了|积压|堆|没卖完|没动|没用完|冰柜里|仓库里|冰箱里|还没拆|没消化")),
    ("sample", re.compile(r"样品|试吃|试用|试菜|试做|试样|测试|试试|给[^，。]{1,5}[试尝做]|送样|小样|免费|赠送|尝了|放了|留了|[送给][^，。]*试(?=$|，|。)")),
)  # fmt: skip
_PROSPECT = re.compile(r"要是|如果|假如|的话|万一|合适的话|可能|打算|准备|下次|以后再|等[^，。]{1,8}再|才(?:肯|要|订)|就(?:能|会|可以)?(?:要|订|进|拿|来)|考虑|他?还想|考虑要|想要")
_PAST = re.compile(r"上次|上回|上个?月|上周|去年|以前|之前|昨天|前天|原来|上一?批|往年|上礼拜|上星期")
_EARLIER_ORDER = re.compile(r"(?:前天|昨天|上次|上回|上周|上个月|之前|早上)[^，。]{0,3}[订定要拿]的")
_NOW = re.compile(r"这次|这回|现在|今天|又|再|先订|照旧|补")
_SLIP = re.compile(r"不对|说错|错了|哦不|应该是|改[成为到]|更正|记错|不是(?=，|$)|后来|又说|算了|换成|总共|一共|合计")
_LIST_ONLY = re.compile(r"[和跟与、及还有]*")
_REACH = 30
"""Characters a quantity may stand behind its product."""


@dataclass(frozen=True, slots=True)
class DealLine:
    product: str
    quantity: Number
    unit: str
    kind: str
    """order | sample | stock | return | usage | past | prospect | taken_back"""
    start: int
    end: int
    at: int
    """Where the quantity starts."""
    sure: bool


def find_lines(text: str, clauses: Sequence[Clause], products: Sequence[Mention], quantities: Sequence[Quantity], rivals: Sequence[Mention]) -> list[DealLine]:
    """Every counted product of the note with what the words around it make of it."""
    lines: list[DealLine] = []
    used: set[int] = set()
    previous_end = 0
    for number, quantity in enumerate(quantities):
        if _is_price_or_offer(text, quantity):
            continue
        owners = _owners(text, products, quantities, number, used, previous_end)
        if not owners and lines:
            owners = [_last_product(products, lines)]
        clause = _clause_at(clauses, quantity.start)
        until = quantities[number + 1].start if number + 1 < len(quantities) else len(text)
        for product in owners:
            used.add(product.start)
            kind = _kind(text, clause, products, product, quantity, previous_end, min(until, clause.end), lines, rivals)
            start, end = min(product.start, quantity.start), max(product.end, quantity.end)
            if start < previous_end <= quantity.start and product.end <= previous_end:
                start = quantity.start
            lines.append(DealLine(product.code, quantity.value, quantity.unit, kind, start, end, quantity.start, product.sure and not quantity.about))
        previous_end = quantity.end
    lines = _without_slips(text, lines)
    lines = _renamed(text, lines, products)
    lines = _swapped(text, lines, products, used)
    return _firmed(text, lines)


def _owners(text: str, products: Sequence[Mention], quantities: Sequence[Quantity], number: int, used: set[int], since: int) -> list[Mention]:
    quantity = quantities[number]
    before = [p for p in products if since <= p.start and p.end <= quantity.start and p.start not in used]
    after = next((p for p in products if p.start >= quantity.end and text[quantity.end : p.start] in {"", "的", "个", "儿"}), None)
    if re.search(r"各(?:要|订|来|拿|进|补)?了?$", text[: quantity.start]):
        listed = before[-1:]
        for product in reversed(before[:-1]):
            if not _LIST_ONLY.fullmatch(text, product.end, listed[0].start):
                break
            listed.insert(0, product)
        return listed
    gap = quantity.start - before[-1].end if before else _REACH
    following = after is not None and not _starts_next_pair(text, quantities, number, after)
    if before and (gap <= 1 or not following) and gap < _REACH:
        return [before[-1]]
    if after is not None:
        return [after]
    return []


def _starts_next_pair(text: str, quantities: Sequence[Quantity], number: int, product: Mention) -> bool:
    """鸡翅要了六箱薯条十包: 薯条 belongs to the next quantity, when that follows it at once and ends the list."""
    later = quantities[number + 1] if number + 1 < len(quantities) else None
    return later is not None and later.start - product.end <= 1 and not re.match(r"的?□", text[later.end :])


def _last_product(products: Sequence[Mention], lines: Sequence[DealLine]) -> Mention:
    last = lines[-1]
    return next(p for p in reversed(products) if p.code == last.product and p.start <= last.at + _REACH)


def _clause_at(clauses: Sequence[Clause], place: int) -> Clause:
    return next((clause for clause in clauses if clause.start <= place < clause.end), Clause(place, place))


def _is_price_or_offer(text: str, quantity: Quantity) -> bool:
    """每箱六十八, 一箱要八十, 满五箱送一箱: no order."""
    before, after = text[max(0, quantity.start - 6) : quantity.start], text[quantity.end : quantity.end + 6]
    if re.search(r"[每满]$|买$|超过$|[满买][^，。]{0,4}送$", before) or re.match(r"以上|起|送一|就送", after):
        return True
    if quantity.value != 1:
        return False
    if re.match(r"[贵便]", after):
        return True
    follows = re.match(r"要?卖?才?([\d一二两三四五六七八九十百千万]+)(?![箱包瓶桶盒袋件个天])", after)
    return bool(follows and read_number(follows[1])) or bool(re.search(r"[块元百十][一二三四五六七八九]?$", before) and not re.search(r"□.{0,2}$", before))


def _kind(text: str, clause: Clause, products: Sequence[Mention], product: Mention, quantity: Quantity, since: int, until: int, lines: Sequence[DealLine], rivals: Sequence[Mention]) -> str:
    earlier = max((other.end for other in products if other.end <= min(product.start, quantity.start)), default=0)
    first = max(clause.start, since, earlier)
    start, end = min(product.start, quantity.start), max(product.end, quantity.end)
    if product.end < first or product.start > clause.end:
        start, end = quantity.start, quantity.end
    before, after = text[min(first, start) : start], text[end : max(end, until)]
    beside = (start, end) != (quantity.start, quantity.end)
    between = text[min(product.end, quantity.end) : max(product.start, quantity.start)][-8:] if beside else ""
    local = f"{before} {between} {after}"
    whole = text[clause.start : clause.end]
    if re.search(r"(?:不是|不要搞成|别搞成|不要写成)$", text[: quantity.start]) or re.search(r"[没不别勿弗](?:肯|想|再|有)?(?:要|订|下|补|进|拿|送)了?$", before):
        return "taken_back"
    if re.match(r"(?:现在)?(?:取消|不要了|算了|没要|不订了|先不)", after):
        return "taken_back"
    ordered = bool(_ORDER.search(before)) or bool(_ORDER.search(between))
    if re.search(r"[放留送]了$", before) and not re.search(r"送了?$", after):
        return "sample"
    if _is_planned(text, clause, before, quantity.end):
        return "prospect"
    if _EARLIER_ORDER.search(text[clause.start : quantity.start]) or (_PAST.search(whole) and not _NOW.search(local)):
        return "past"
    for name, pattern in _KINDS:
        if pattern.search(local) and not (name in {"stock", "taken_back"} and ordered and not pattern.search(before + between)):
            if name == "sample" and re.search(r"(?:样品|试)[^，。]*[^，。]{0,6}(?:订|要了|下单)", before):
                continue
            if name == "return" and re.search(r"另外|又|还(?:补|订|要)", before):
                continue
            return name
    if not ordered:
        for name, pattern in _KINDS[1:]:
            if pattern.search(whole) and not _ORDER.search(whole):
                return name
        rival = any(clause.start <= rival.start < quantity.start for rival in rivals)
        if rival and re.search(r"◎+(?:那边|那里)?的?$", before):
            return "past"
    if ordered and any(re.match(r"◎+(?:那边|那里|家)", text[rival.start :]) for rival in rivals if clause.start <= rival.start < quantity.start):
        return "past"
    if not ordered and lines and lines[-1].end >= clause.start and re.fullmatch(r"[、和跟与及]?", text[lines[-1].end : start]):
        return lines[-1].kind
    return "order"


def _is_planned(text: str, clause: Clause, before: str, end: int) -> bool:
    """Only if or only later: 如果…就要, 等活动开始再下单."""
    sentence = text[max(text.rfind("。", 0, clause.start), 0) : clause.end]
    if re.search(r"(?:要是|如果|假如|万一|的话|倘若)", sentence):
        return True
    if re.match(r"[^。]{0,6}等[^，。]{1,14}再(?:下单|订|要|拿|进|定)", text[end:]):
        return True
    return bool(_PROSPECT.search(before))


def _without_slips(text: str, lines: Sequence[DealLine]) -> list[DealLine]:
    """六箱，不对，是九箱: the later number of the same product stands."""
    kept: list[DealLine] = []
    for line in lines:
        slipped = kept and kept[-1].product == line.product and (_SLIP.search(text, kept[-1].at, line.at) or kept[-1].kind == "taken_back")
        if slipped and line.kind not in {"stock", "return", "taken_back"}:
            kept.pop()
            line = replace(line, kind="order" if line.kind == "prospect" else line.kind)
        kept.append(line)
    return kept


def _swapped(text: str, lines: list[DealLine], products: Sequence[Mention], used: set[int]) -> list[DealLine]:
    """薯条十箱不要了换成馒头: the quantity goes over to the new product when none of its own is said."""
    for product in products:
        if product.start in used or not re.search(r"换成|改成", text[max(0, product.start - 4) : product.start]):
            continue
        old = next((line for line in reversed(lines) if line.at < product.start and line.kind in {"taken_back", "order"}), None)
        if old is None:
            continue
        lines = [line for line in lines if line is not old]
        lines.append(replace(old, product=product.code, kind="order", end=product.end))
    return lines


def _renamed(text: str, lines: list[DealLine], products: Sequence[Mention]) -> list[DealLine]:
    """酱油六箱，是蚝油不是酱油: the quantity belongs to the product that was meant."""
    wrong = {p.code for p in products if text[: p.start].endswith("不是")}
    meant = next((p for p in products if re.search(r"(?<!不)是$", text[: p.start]) and p.code not in wrong), None)
    if meant is None or any(line.product == meant.code for line in lines):
        return lines
    return [replace(line, product=meant.code) if line.product in wrong else line for line in lines]


def _firmed(text: str, lines: list[DealLine]) -> list[DealLine]:
    """如果周五能到就要六箱，… 老板就下单了: what was conditional became an order in the end."""
    return [
        replace(line, kind="order") if line.kind == "prospect" and _became_order(text, line, lines) else line for line in lines
    ]


def _became_order(text: str, line: DealLine, lines: Sequence[DealLine]) -> bool:
    said = _STRONG_ORDER.search(text, line.end)
    return bool(said) and not any(other.kind == "order" for other in lines) and not cues.NOT_SOLD.search(text, line.end)


# --- money ---

_RECEIVED = re.compile(r"收款|回款|收了|收到|收现金|付了|打款|打了|转账|转了|结了|结清|到账|付清|入账|现金|现结|货款|刷了|微信付|结掉|还了|清了|给了|给的现金|扫码")
_DEAL = re.compile(r"一共|总共|合计|总价|总计|总金额|金额|共计|货值|算下来|签了")
_OWED = re.compile(r"欠|剩|应收|还差|没结|未付|未结|没收到|尾款|余款|没付|拖着|下[周个]|该付|要付")
_PER_UNIT = re.compile(r"每[箱包瓶桶盒袋件]|[一1][箱包瓶桶盒袋件]要?才?$|便宜|[降涨高贵省加减少]了?[^，。]{0,3}$|让利?|单价|满$|降到|返|进场费")
_UNIT_AFTER = re.compile(r"(?:一|每|/)[箱包瓶桶盒袋件]|的?优惠|以上")
_TERM = re.compile(r"(?P<cash>现结|现款|现金|货到付款|当场付清|当场结清|款到发货)|(?:账期|月结)[^，。\d]{0,4}?(?P<after>三十|六十|30|60|一个月|两个月)天?|(?P<before>三十|六十|30|60|一个月|两个月|2个月|1个月)天?的?(?:账期|月结|账)|(?P<monthly>月结)")
_TERM_DAYS = re.compile(r"(?:三十|六十|九十|30|60|90)天")
_DAYS = {"三十": "30天", "30": "30天", "一个月": "30天", "1个月": "30天", "六十": "60天", "60": "60天", "两个月": "60天", "2个月": "60天"}


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
            term = _DAYS[match["after"] or match["before"]]
        if found[0] is None or term != "现结":
            found = (term, _Place(match.start(), match.end()))
    return found


def _amount(text: str, *, won: bool) -> Amount | None:
    best: tuple[int, Amount] | None = None
    # 八千五三十天账期: the term must not run into the amount.
    for amount in find_amounts(_TERM_DAYS.sub(lambda days: "◆" * len(days[0]), text)):
        weight = _weight(text, amount, won=won)
        slipped = best is not None and _SLIP.search(text, best[1].end, amount.start)
        if weight and (best is None or weight > best[0] or slipped):
            best = (weight, amount)
    return best[1] if best else None


def _weight(text: str, amount: Amount, *, won: bool) -> int:
    clause_start = max(text.rfind(mark, 0, amount.start) for mark in "，。；！？") + 1
    before = text[clause_start : amount.start]
    after = text[amount.end : amount.end + 6]
    if _PER_UNIT.search(before) or _UNIT_AFTER.match(after):
        return 0
    if _OWED.search(before) and not _RECEIVED.search(before.replace("没收到", "")):
        return 0
    if re.match(r"，?(?:说好|答应|约好|说)?[^，。]{0,2}◇+[^，。]{0,3}(?:付|给|结|打)", text[amount.end :]):
        return 0
    if re.match(r"[^，。]{0,4}(?:没结|没付|没清|的账|没收|未付|欠)|还没", after):
        return 0
    if _RECEIVED.search(before):
        return 3
    if _DEAL.search(before) or re.match(r"[^，。]{0,3}(?:到账|结清|付清|现结)", after):
        return 2
    alone = not before.strip() and (not after or after[0] in "，。；！？")
    sure_of_sale = won and (alone or not amount.bare)
    return 1 if sure_of_sale or (alone and _RECEIVED.search(text[: amount.start])) else 0
