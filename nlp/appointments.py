"""Which of the windows said is the follow-up."""

import re
from collections.abc import Sequence

from nlp.dates import Said

_VISIT = re.compile(
    r"再(?![说讲])|来(?!不及)|回访|拜访|见|约|碰|谈|聊|开会|问|看|过去|过来|跟进|沟通|联系|确认|对账|收款|去收|去投标|答复|回话|结果|签|听|申请|电话|理货|给"
)
_DELIVERY = re.compile(r"再|带|打款|报|试|收|还|结|清|去|换|要|拿|交|订|定|付|在|打过|送|到货|要货|拿货|到|交货|补")
_NO_APPOINTMENT_BEFORE = re.compile(
    r"(?:活动|合同|保质期|有效期|政策|促销|效期)[^，。]{0,4}(?:到|至|截止)$|(?:上次|上回|之前|以前|去年|原来)[^，。◇]{0,8}$"
)
_NO_APPOINTMENT_AFTER = re.compile(
    r"^(?:[签订拿送买退收付发下][的了]|到的|才到|刚到|就到(?:期)?了|到期|不要货|不补|放假|生意|开业十|不行|来不及|没空|没时间|不在|不方便|开采购会|结束|截止)"
)
_MASK = re.compile(r"[○□◎]")
_ALONE = 3
_SLIP_AFTER = re.compile(r"^[^，。]{0,4}，?(?:哦|噢)?(?:不对|不，|不是|说错|错了|来不及|不行)")


def pick_follow_up(text: str, said: Sequence[Said], *, sold_out: bool) -> Said | None:
    """The window with the strongest appointment beside it: a visit before a delivery, a day before a span,
    the first among equals.

    `text` has the appointments masked, so its clauses are those of the words around them. Nothing after a final no.
    """
    best: tuple[tuple[int, bool], Said] | None = None
    for one in said:
        strength = (_strength(text, one), one.window.first == one.window.last)
        if strength[0] and (best is None or strength > best[0]):
            best = (strength, one)
    if sold_out and best and best[0][0] < 3:
        return None
    return best[1] if best else None


def _strength(text: str, one: Said) -> int:
    before, after = text[max(0, one.start - 14) : one.start], text[one.end : one.end + 40]
    if _NO_APPOINTMENT_BEFORE.search(before) or _NO_APPOINTMENT_AFTER.match(after) or _SLIP_AFTER.match(after):
        return 0
    if re.match(r"[^，。]{0,3}(?:不用|不要|不需要|别|不送|不营业|送不|停)|才?(?:开张|开门)(?![^，。]*再)", after):
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
