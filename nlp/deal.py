"""What was ordered, what was given as a sample; stock, returns and earlier orders kept apart."""

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace

from nlp import cues
from nlp.cutting import Clause, Mention
from nlp.numbers import COUNTERS, NUMERAL, Number, Quantity, read_number
from nlp.patterns import regex

_ORDER = regex(
    r"要了|订|定了|下了?单|拿了?|来了?|补了?|加了?|进了?|买了?|采购了|签了|换成|改成|只要|要(?!求)|成交|再来|拨"
)
_STRONG_ORDER = regex(r"下单了|就下单|订了|要了|定了|成交|同意了|答应了|买了|补了|现结")
_KINDS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("taken_back", regex(r"取消|不要了|算了|没要|不订了|不要$|没订|勿要|先不(?!急)")),
    ("return", regex(r"退|换货|化了|碎了|破|烂|漏|坏了|少送|漏发|错发|"
        r"洒了|没拧|缺了|发[黏粘霉臭绿]|馊|鼓包|拒收|没收|补送|补发|换新|新的")),
    ("usage", regex(
        r"往常|一个月用|每个?月|每天|每周|一天用|才用|平时|一般(?!般)|一次要|要用|能用|用到|"
        r"一次只能|每次|至少|最少|起送|起订|起步|以上|一次拿(?!了)| 里|当中|先送"
    )),
    ("stock", regex(
        r"还有(?! )|(?<![，、对])还有(?= )|[还只]?剩|库存|存货|压着|压了|"
        r"积压|堆|没卖[完掉出]|卖不[了掉]|[摆存放]着|卖得慢|够[卖用吃]|拆了|剩下|摞|搁了|没动|没用完|冰柜里|仓库里|冰箱里|还没拆|没消化"
    )),
    ("sample", regex(
        r"样品|试吃|试用|试菜|试做|试样|测试|给[^，。]{1,5}[试尝做]|"
        r"送样|小样|免费|赠送|尝了|放了|留了|[送给][^，。]*试(?=$|，|。)"
    )),
)  # fmt: skip
_PROSPECT = regex(
    r"能[^，。]{0,3}(?:给|做|降|便宜)[^，。]{0,12}(?:立马|马上|立刻|就)(?:要|订|进|拿|来)(?!了)|"
    r"要是|如果|假如|的话|万一|合适的话|可能|打算|准备|下次|以后再|"
    r"等[^，。]{1,8}再|(?<!这)才(?:肯|要|订)|就(?:能|会|可以)?(?:要|订|进|"
    r"拿|来)(?!了)|考虑|他?还想|考虑要|想要"
)
_PAST = regex(r"上次|上回|上个?月|上周|去年|以前|之前|昨天|前天|原来|上一?批|往年|上礼拜|上星期")
_EARLIER_ORDER = regex(
    r"(?:前天|昨天|上次|上回|上周|上个月|之前|早上|节前|月初|[一二三四五六七八九十]月份?)[^，。]{0,3}(?:[订定要拿进]的|那[批单])"
)
_CONDITION = regex(r"要是|如果|假如|万一|的话|倘若")
_AFTER_ALL = regex(r"今天(?:就|先|照|还是)|这次先|先[按来拿要订进]|现在就|当场|后来|最后|结果|另外")
_GIVEN = regex(r"(?<![少补漏])(?:[放留送带寄捎]了|给了(?:[他她]们?|店里|厨房|老板娘?|厨师长?)|先试|[试尝]了|试吃了)$")
_TO_TASTE = regex(r"[^。；]{0,20}[让给请](?:[他她]们?|厨师长?|大厨|老板娘?|店里)[^，。]{0,2}[尝试]")
_TO_TRY = regex(
    r"□*(?:回去|回家|去|来)?(?:自己)?先?(?:试试|试用|试一?下|试做|试炸|试吃|尝尝|尝一?下|(?:烧烧|炸炸|煮煮|做做)看|试(?=[，。]|$))(?!水|卖)"
)
_TOOK_TO_TRY = regex(
    r"(?:试试|尝尝|试一下)(?!水)[^。]{0,16}(?:[拿留要给]了)$|(?:要|讨|索)(?:个|点|些)?样[^。]{0,12}(?:给了|留了)[□、和\d一二两三包瓶盒袋]*$"
)
_OFFER = regex(
    r"[每满]$|买$|[涨降卖报压砍]到$|(?:别家|别人家?|人家|◎+)[^，。]{0,4}[搭送赠]$|(?:只|就|才)(?:落|赚|挣)[^，。]*$|(?<!试)卖$|多少钱$|什么价$|怎么卖$|超过$|[满买][^，。]{0,4}送$"
)
_STOCK_LIST = regex(
    rf"(?:库存|存货|还剩|剩下|[点盘]了[^，。□]{{0,2}}货|到的货)[^，。□]{{0,4}}，(?:[□，、和跟]|{NUMERAL}(?:{'|'.join(COUNTERS)}))*$"
)
_NOW = regex(r"这次|这回|现在|今天|又|再|先订|照旧|补")
SLIP = regex(
    r"不对|说错|错了|哦不|，不，|应该是|改[成为到]|更正|记错|不是(?=，|$)|后来|又说|想了想|算了|换成|总共|一共|合计|也就是|等于|相当于|折合|[减加降]到|减成|加成"
)
_TOTAL = regex(r"总共|一共|合计")
_OTHER_PRODUCT = regex(r"(?:不对|说错了?|错了|哦不)，?(?:应该)?是$")
_ENDS = ("，", "。", "、", "；")
_LIST_ONLY = regex(r"[和跟与、及还有]*")
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


def find_lines(
    text: str,
    clauses: Sequence[Clause],
    products: Sequence[Mention],
    quantities: Sequence[Quantity],
    rivals: Sequence[Mention],
) -> list[DealLine]:
    """Every counted product of the note with what the words around it make of it."""
    lines: list[DealLine] = []
    used: set[int] = set()
    previous_end = 0
    ends = [0, *(product.end for product in products)]
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
            kind = _kind(text, clause, ends, product, quantity, previous_end, min(until, clause.end), lines, rivals)
            start, end = min(product.start, quantity.start), max(product.end, quantity.end)
            if start < previous_end <= quantity.start and product.end <= previous_end:
                start = quantity.start
            lines.append(
                DealLine(
                    product.code,
                    quantity.value,
                    quantity.unit,
                    kind,
                    start,
                    end,
                    quantity.start,
                    product.sure and not quantity.about,
                )
            )
        previous_end = quantity.end
    lines = _without_slips(text, lines)
    lines = _renamed(text, lines, products)
    lines = _cancelled(text, lines, products, used)
    lines = _swapped(text, lines, products, used)
    return _firmed(text, lines)


def _before(text: str, place: int) -> str:
    """The few characters in front; enough for every cue that is tied to a place."""
    return text[max(0, place - 16) : place]


def _owners(
    text: str, products: Sequence[Mention], quantities: Sequence[Quantity], number: int, used: set[int], since: int
) -> list[Mention]:
    quantity = quantities[number]
    before = [p for p in products if since <= p.start and p.end <= quantity.start and p.start not in used]
    after = next(
        (p for p in products if p.start >= quantity.end and text[quantity.end : p.start] in {"", "的", "个", "儿"}),
        None,
    )
    if re.search(r"各(?:要|订|来|拿|进|补)?了?$", _before(text, quantity.start)):
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
    if _OFFER.search(before) or re.match(r"以上|起|送一|就送", after):
        return True
    if quantity.value != 1:
        return False
    if re.match(rf"[贵便]|[低高差少多省][了出]?{NUMERAL}", after):
        return True
    follows = re.match(r"要?卖?才?([\d一二两三四五六七八九十百千万]+)(?![箱包瓶桶盒袋件个天])", after)
    return bool(follows and read_number(follows[1])) or bool(
        re.search(r"[块元百十](?:钱|[一二三四五六七八九])?$", before) and not re.search(r"□.{0,2}$", before)
    )


def _kind(
    text: str,
    clause: Clause,
    ends: Sequence[int],
    product: Mention,
    quantity: Quantity,
    since: int,
    until: int,
    lines: Sequence[DealLine],
    rivals: Sequence[Mention],
) -> str:
    earlier = ends[bisect_right(ends, min(product.start, quantity.start)) - 1]
    first = max(clause.start, since, earlier)
    start, end = min(product.start, quantity.start), max(product.end, quantity.end)
    if product.end < first or product.start > clause.end:
        start, end = quantity.start, quantity.end
    before, after = text[min(first, start) : start], text[end : max(end, until)]
    beside = (start, end) != (quantity.start, quantity.end)
    between = text[min(product.end, quantity.end) : max(product.start, quantity.start)][-8:] if beside else ""
    local = f"{before} {between} {after}"
    whole = re.sub("□+", " ", text[clause.start : clause.end])
    if lines and lines[-1].kind == "order" and before.startswith("还有") and text[end:].startswith(_ENDS):
        before, whole, local = before[2:], whole.replace("还有", ""), local[2:]  # 酱油两箱，还有薯条五包，
    if re.search(r"(?:不是|不要搞成|别搞成|不要写成|从|由)$", _before(text, quantity.start)) or re.search(
        r"[没不别勿弗](?:肯|想|再|有)?(?:要|订|下|补|进|拿|送)了?$", before
    ):
        return "taken_back"
    if re.match(r"(?:现在)?(?:取消|不要了|算了|没要|不订了|先不(?!急))", after):
        return "taken_back"
    ordered = bool(_ORDER.search(before)) or bool(_ORDER.search(between))
    if _GIVEN.search(before) and not re.search(r"送了?$", after):
        return "sample"
    if _TO_TRY.match(text, quantity.end) and quantity.unit not in {"箱", "件"} and not re.search("订|下单", before):
        return "sample"
    said = text[text.rfind("。", 0, quantity.start) + 1 : quantity.start]
    if quantity.unit not in {"箱", "件"} and _TOOK_TO_TRY.search(said):
        return "sample"
    if _TO_TASTE.match(text, quantity.end) and not ordered:
        return "sample"
    if _is_planned(text, clause, before, quantity.end):
        return "prospect"
    if _EARLIER_ORDER.search(text[clause.start : quantity.start]) or (_PAST.search(whole) and not _NOW.search(local)):
        return "past"
    for name, pattern in _KINDS:
        if pattern.search(local) and not (
            name in {"stock", "taken_back"} and ordered and not pattern.search(before + between)
        ):
            if name == "sample" and re.search(r"(?:样品|试)[^，。]*[^，。]{0,6}(?:订|要了|下单)", before):
                continue
            if name == "return" and re.search(r"另外|又|还(?:补|订|要)", before):
                continue
            return name
    if not ordered and _STOCK_LIST.search(text[:start]):
        return "stock"
    if not ordered:
        for name, pattern in _KINDS[1:]:
            if pattern.search(whole) and not _ORDER.search(whole):
                return name
        rival = any(clause.start <= rival.start < quantity.start for rival in rivals)
        if rival and re.search(r"◎+(?:那边|那里)?的?$", before):
            return "past"
    if ordered and any(
        re.match(r"◎+(?:那边|那里|家)", text[rival.start :])
        for rival in rivals
        if clause.start <= rival.start < quantity.start
    ):
        return "past"
    if (
        not ordered
        and lines
        and lines[-1].end >= clause.start
        and re.fullmatch(r"[、和跟与及]?", text[lines[-1].end : start])
    ):
        return lines[-1].kind
    return "order"


def _is_planned(text: str, clause: Clause, before: str, end: int) -> bool:
    """Only if or only later: 如果…就要, 等活动开始再下单."""
    opened = max(text.rfind("。", 0, clause.start), 0)
    conditions = _CONDITION.finditer(text, opened, clause.end)
    if any(not _AFTER_ALL.search(text, condition.end(), max(end, condition.end())) for condition in conditions):
        return True
    if re.match(r"(?:左右|吧)?，?(?:还|但|都)?[还没]*(?:最后)?没?(?:最后)?(?:定下来|定(?=[，。]|$)|确定)", text[end:]):
        return True
    if re.match(r"[^。]{0,6}等[^，。]{1,14}再(?:下单|订|要|拿|进|定)", text[end:]):
        return True
    return bool(_PROSPECT.search(before)) or bool(
        re.search(r"◇(?!第)[^，。]{0,3}下单(?!了)", text[clause.start - 12 if clause.start > 12 else 0 : end])
    )


def _without_slips(text: str, lines: Sequence[DealLine]) -> list[DealLine]:
    """六箱，不对，是九箱: the later number of the same product stands."""
    kept: list[DealLine] = []
    for line in lines:
        if kept and _TOTAL.search(_before(text, line.at)[-4:]):  # 四桶，再加两桶，一共六桶
            summed = (line.product, line.unit, "order")
            kept = [one for one in kept[:-1] if (one.product, one.unit, one.kind) != summed] + kept[-1:]
        same = bool(kept) and kept[-1].product == line.product
        slipped = same and (SLIP.search(text, kept[-1].at, line.at) or kept[-1].kind == "taken_back")
        if kept and not same:  # 鸡翅五箱，不对，是鸡块五箱
            slipped = bool(_OTHER_PRODUCT.search(_before(text, line.start)))
        if same and (line.quantity, line.unit, line.kind) == (kept[-1].quantity, kept[-1].unit, kept[-1].kind):
            continue  # 两箱，对，两箱
        if same and not kept[-1].sure and line.sure and line.kind == "order":
            slipped = True  # 十几箱吧，就写十五箱
        if not slipped or line.kind in {"stock", "return", "taken_back"}:
            kept.append(line)
            continue
        kept[-1] = replace(line, kind="order" if line.kind == "prospect" else line.kind)
    return kept


def _cancelled(text: str, lines: list[DealLine], products: Sequence[Mention], used: set[int]) -> list[DealLine]:
    """薯条两箱，薯条又不要了 (后来说不要薯条了): named again only to be taken back."""
    gone = {
        product.code: product.start
        for product in products
        if product.start not in used
        and (
            re.match(r"(?:又|就|也|先)?(?:不要了|取消|算了|不订了|不拿了)", text[product.end :][:8])
            or re.search(r"(?<!要)(?:不要|不订|不拿|取消|去掉)$", _before(text, product.start))
        )
    }
    return [replace(line, kind="taken_back") if line.at < gone.get(line.product, 0) else line for line in lines]


def _swapped(text: str, lines: list[DealLine], products: Sequence[Mention], used: set[int]) -> list[DealLine]:
    """薯条十箱不要了换成馒头: the quantity goes over to the new product when none of its own is said."""
    for product in products:
        if product.start in used or not re.search(r"换成|改成", text[max(0, product.start - 4) : product.start]):
            continue
        old = next(
            (line for line in reversed(lines) if line.at < product.start and line.kind in {"taken_back", "order"}), None
        )
        if old is None:
            continue
        lines = [line for line in lines if line is not old]
        lines.append(replace(old, product=product.code, kind="order", end=product.end))
    return lines


def _renamed(text: str, lines: list[DealLine], products: Sequence[Mention]) -> list[DealLine]:
    """酱油六箱，是蚝油不是酱油: the quantity belongs to the product that was meant."""
    wrong = {p.code for p in products if _before(text, p.start).endswith("不是")}
    meant = next(
        (p for p in products if re.search(r"(?<!不)是$", _before(text, p.start)) and p.code not in wrong), None
    )
    if meant is None or any(line.product == meant.code for line in lines):
        return lines
    return [replace(line, product=meant.code) if line.product in wrong else line for line in lines]


def _firmed(text: str, lines: list[DealLine]) -> list[DealLine]:
    """如果周五能到就要六箱，… 老板就下单了: what was conditional became an order in the end."""
    return [
        replace(line, kind="order") if line.kind == "prospect" and _became_order(text, line, lines) else line
        for line in lines
    ]


def _became_order(text: str, line: DealLine, lines: Sequence[DealLine]) -> bool:
    said = _STRONG_ORDER.search(text, line.end)
    return bool(said) and not any(other.kind == "order" for other in lines) and not cues.NOT_SOLD.search(text, line.end)
