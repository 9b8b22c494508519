"""Which of the windows said is the follow-up."""

import re
from collections.abc import Sequence

from nlp.dates import Said
from nlp.patterns import regex

_VISIT = regex(
    r"再(?![说讲])|来(?!不及)|回访|拜访|见|约|碰|谈|聊|开会|问|看|过去|过来|跟进|沟通|联系|确认|对账|收款|去收|去投标|答复|回话|回音|回信|消息|告诉|通知|结果|到[他她]|签|听|申请|电话|理货|给"
)
_DELIVERY = regex(
    r"再|带|打款|统一打|打[给钱过]|报|试|收|还|结|清|去|换|要|拿|交|订|定|付|在|打过|送|到货|要货|拿货|到|交货|补"
)
_NO_APPOINTMENT_BEFORE = regex(
    r"(?:活动|合同|保质期|有效期|政策|促销|效期)[^，。]{0,4}(?:到|至|截止)$|[够不][卖用吃撑]到$|卖不到$|"
    r"快(?:到|要)?$|(?:总是|都是|老是|每天|一般|平时)[^，。◇]{0,4}$|(?:上次|上回|之前|以前|去年|原来)[^，。◇]{0,8}$"
)
_NO_APPOINTMENT_AFTER = regex(
    r"^(?:[都也]?要[两三][次趟]|[签订拿送买退收付发下][的了]|的?(?:活动|政策|促销|优惠)(?!开始)|给[^，。]{0,10}送了|到的|才到|刚到|就到(?:期)?了|到期|不要货|不补|放假(?!期间|[前后])|生意|开业十|不行|来不及|没空|没时间|不在|不方便|[都也很太实在]*忙|有事|要?用(?:的|(?=[，。□]))|开采购会|结束|截止)"
)
_IF_NOT = regex(r"(?:要是|如果|万一|假如|碰到|要不|来不及|不行)[^。]{0,10}(?:改|换|推|顺延)[到成]?$")
"""周六送，要是下大雨就改周日: what holds is Saturday."""
_ASKED = regex(r"(?:能不能|可不可以|可否|能否|想让|想要?我们|要求|非要|希望)[^，。]{0,8}$")
_REFUSED = regex(
    r"(?<!不然)(?<!否则)(?<!今天)(?<!平时)(?:不行|送不了|送不到|来不及|赶不上|赶不及|办不到|做不到|没答应|不可能|没法|排不开|排不出)"
)
"""问能不能早上六点送…那不行: a time somebody asked for and did not get."""
_THEN = regex(r"[^，。]*[，。](?:[到那]时候?|到那时|到时|那天|当天)[^，。]{0,4}(?:再|去|来|过|送|见|约)")
_EITHER_DAY = regex(r"(?:我?都|也)?(?:行|可以|有空)，(?:让|叫|约)?(?:我们?)?再")
_MASK = regex(r"[○□◎]")
_ALONE = 3
_SLIP_BETWEEN = regex(r"不对|不是|说错|错了|记错|哦不|等等|等一下|应该是|更正")
_SLIP_AFTER = regex(r"^[^，。]{0,4}，?(?:哦|噢)?(?:不对|不，|不是|说错|错了|来不及|不行)")


def pick_follow_up(text: str, said: Sequence[Said], *, sold_out: bool) -> Said | None:
    """The window with the strongest appointment beside it: a visit before a delivery, a day before a span,
    the first among equals.

    `text` has the appointments masked, so its clauses are those of the words around them. Nothing after a final no.
    """
    best: tuple[tuple[int, bool, bool], Said] | None = None
    for number, one in enumerate(said):
        later = said[number + 1].start if number + 1 < len(said) else one.end
        if _SLIP_BETWEEN.search(text, one.end, later):  # 约了周三，等等，是周四
            continue
        fuller = bool(best and one.window.time and _same_days(best[1], one))
        weight = _strength(text, one)
        if weight and fuller and best and not best[1].window.time:  # 后天开业，当天早上七点送到
            weight = max(weight, best[0][0])
        strength = (weight, one.window.first == one.window.last, fuller)
        if weight and (best is None or strength > best[0]):
            best = (strength, one)
    if sold_out and best and best[0][0] < 3:
        return None
    return best[1] if best else None


def _same_days(one: Said, other: Said) -> bool:
    return (one.window.first, one.window.last) == (other.window.first, other.window.last)


def _strength(text: str, one: Said) -> int:
    before, after = text[max(0, one.start - 14) : one.start], text[one.end : one.end + 40]
    if _NO_APPOINTMENT_BEFORE.search(before) or _NO_APPOINTMENT_AFTER.match(after) or _SLIP_AFTER.match(after):
        return 0
    if _IF_NOT.search(before):
        return 1
    if re.search(r"[备迎]着?$", before) and not re.search(r"[前后天]$", one.window.quote):  # 十箱备春节
        return 0
    if _ASKED.search(before) and _REFUSED.search(after):
        return 0
    if re.match(r"再[说讲]", after):
        return 3
    if re.match(r"才?从[^，。]{1,6}[回转过]来", after):  # when somebody is back
        return 1
    if _THEN.match(after) or _EITHER_DAY.match(after):
        return 4
    if re.match(r"[^，。]{0,3}(?:不用|不要|不需要|别(?!的)|不送|不营业|送不|停)|才?(?:开张|开门)(?![^，。]*再)", after):
        return 0
    rest = re.split(r"[，。；！？◇]", after, maxsplit=1)[0]
    start = re.split(r"[，。；！？◇]", before)[-1]
    if re.search(r"开业|周年|保质期", start) or one.window.quote in {"年底", "年末"}:
        return 1
    if _VISIT.search(rest) or re.search(r"约|改到?", start):
        return 4
    if _DELIVERY.search(rest) or _DELIVERY.search(start):
        return 3
    # Nothing said of an appointment: only a date standing by itself (鸡翅五箱。明天。) is one.
    return 2 if len(_MASK.sub("", rest + start)) <= _ALONE else 0
