"""Outcome, objections, close factor and root cause of a note, each with the words that say it.

Read clause by clause with negation (不缺货), history (上回说慢，这回没提) and hypothesis (要是能便宜就要). What was
said (objection) and what is the likely cause (root cause) are two things: a cause is given only when words support it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from nlp import cues, frames, frames_result
from nlp.cutting import Clause
from nlp.dates import Said
from nlp.deal import DealLine
from nlp.patterns import regex

_SAID, _DERIVED, _FRAMED, _WEAK = 0.9, 0.8, 0.75, 0.6
DIRECTNESS: Mapping[float, str] = {_SAID: "said", _DERIVED: "derived", _FRAMED: "frame", _WEAK: "weak"}
_MAIN = regex(r"主要|就是|关键|最")
_BOUND = regex(r"独家|签|合同|锁|绑|供货商")


@dataclass(frozen=True, slots=True)
class Hit:
    code: str
    start: int
    end: int
    confidence: float
    own: bool = False
    """Said in words that the firm itself added (config.toml, 说法)."""


Cue = tuple[str, re.Pattern[str]]
"""A code or reason, and the words that say it."""
NO_OWN: Mapping[str, Sequence[Cue]] = {}


@dataclass(frozen=True, slots=True)
class Verdict:
    outcome: Hit | None
    close_factor: Hit | None
    root_cause: Hit | None
    objections: tuple[Hit, ...]


def judge(
    text: str,
    clauses: Sequence[Clause],
    *,
    orders: Sequence[int],
    samples: bool,
    lines: Sequence[DealLine],
    said: Sequence[Said],
    received: tuple[int, int] | None = None,
    own: Mapping[str, Sequence[Cue]] = NO_OWN,
) -> Verdict:
    """`orders`: where each order line starts; `received`: where a payment was said; `own`: the firm's words by field.

    The text is masked (see nlp.cues).
    """
    objections = _objections(text, clauses, orders, own.get("objections", ()))
    outcome = None if orders else _own_first(own.get("outcome", ()), text)
    if outcome is None:
        outcome = _outcome(
            text, clauses, objections, orders=orders, samples=samples, lines=lines, said=said, received=received
        )
    code = outcome.code if outcome else ""
    if code == "won":
        objections = [hit for hit in objections if not _settled_by_order(text, hit, orders, lines)]
        close_factor = _own_first(own.get("close_factor", ()), text) or _close_factor(text, clauses)
        return Verdict(outcome, close_factor, None, tuple(objections))
    if code in {"pending", "lost"}:
        root_cause = _own_first(own.get("root_cause", ()), text) or _root_cause(text, clauses, objections)
        return Verdict(outcome, None, root_cause, tuple(objections))
    if code == "none":
        objections = [hit for hit in objections if hit.code == "quality"]
    return Verdict(outcome, None, None, tuple(objections))


def _holds(text: str, match: re.Match[str]) -> bool:
    """The words are not negated."""
    start = match.start()
    if cues.NEGATED_INSIDE.search(match[0]) or (
        text[start : start + 1] != "没" and cues.NEGATED_BEFORE.search(text[max(0, start - 6) : start])
    ):
        return False
    after = text[match.end() : match.end() + 5]
    if match[0].endswith(("没", "没有", "没什么")) and re.match(
        "什么?(?:意见|问题|异议|话说|得说|嫌|提|说)|(?:意见|问题|异议|话说|得说|嫌|提|说)", after
    ):
        return False
    return not re.match(r"的?问题不大|[^，。]{0,2}没问题|[^，。]{0,2}(?:认可|没意见|谈妥|谈好|签好)", after)


def _objections(text: str, clauses: Sequence[Clause], orders: Sequence[int], own: Sequence[Cue]) -> list[Hit]:
    found: dict[str, Hit] = {}
    for clause in clauses:
        for code, pattern, is_own in _cues(cues.OBJECTIONS, own):
            match = None if code in found else _meant(text, clause, code, pattern)
            if match:
                found[code] = Hit(code, match.start(), match.end(), _SAID, is_own)
    if not found:  # the frames guess: they are asked only where no known word was heard
        found.update(_by_frames(text, clauses))
    for code, pattern in (*cues.ACROSS.items(), *frames.ACROSS.items()):
        across = _first(pattern, text)
        if across and code not in found and not cues.HISTORY.search(across[0]):
            found[code] = Hit(code, across.start(), across.end(), _DERIVED)
    return sorted(_sorted_out(text, found).values(), key=lambda hit: hit.start)


def _meant(text: str, clause: Clause, code: str, pattern: re.Pattern[str]) -> re.Match[str] | None:
    """The first words of the clause that say this objection, of the customer and of today."""
    words = text[clause.start : clause.end]
    for match in pattern.finditer(text, clause.start, clause.end):
        past = (
            (
                _is_history(words, match.start() - clause.start, match.end() - clause.start)
                and not _STILL_FELT.match(text, clause.end)
            )
            or _is_imagined(words, match)
            or _is_settled(text, match, code)
        )
        if match[0] and _holds(text, match) and not past and not _is_ours(text, match, code):
            return match
    return None


def _by_frames(text: str, clauses: Sequence[Clause]) -> dict[str, Hit]:
    """The first objection that the frames see, and further ones that are said to be further ones (又, 也, 而且)."""
    found: dict[str, Hit] = {}
    last = 0
    for clause in clauses:
        for hit in _framed(text, clause, found):
            if _is_chore(text, hit.code):
                continue
            refused = found.get("authority")
            if refused and _REFUSED.search(text[refused.start : refused.end]):
                found, last = {}, 0  # 财务不同意，说要现款: what they object to follows
            if not found or _BESIDES.search(text, last, hit.start + 1):
                found[hit.code], last = hit, hit.end
    return found


_REFUSED = regex(r"不同意|没同意|有意见|不松口|没松口|反对")


_BESIDES = regex(r"又|也|而且|还(?!没|有|在|是|剩|要)|加上|另外|再说|再加|再一个|同时|外加|一来|二来|第二|、")


def _framed(text: str, clause: Clause, known: Mapping[str, Hit]) -> list[Hit]:
    """What the frames make of a clause: of two that overlap, the longer."""
    hits = [
        Hit(code, match.start(), match.end(), _FRAMED)
        for code, pattern in frames.OBJECTIONS.items()
        if code not in known and (match := _meant(text, clause, code, pattern))
    ]
    kept: list[Hit] = []
    for hit in sorted(hits, key=lambda hit: (hit.start - hit.end, hit.start)):
        if all(hit.end <= other.start or other.end <= hit.start for other in kept):
            kept.append(hit)
    return sorted(kept, key=lambda hit: hit.start)


def _cues(built_in: Mapping[str, re.Pattern[str]], own: Sequence[Cue]) -> Iterator[tuple[str, re.Pattern[str], bool]]:
    """(code, words, whether the firm added them)."""
    yield from ((code, pattern, False) for code, pattern in built_in.items())
    yield from ((code, pattern, True) for code, pattern in own)


def _own_first(own: Sequence[Cue], text: str) -> Hit | None:
    """What the firm's own words say: it knows best what they mean."""
    hit = _first_of(own, text)
    return replace(hit, own=True) if hit else None


def _is_history(words: str, place: int, end: int) -> bool:
    past = cues.HISTORY.search(words[:place] or "")
    if not past:
        return False
    return not cues.NOW.search(words[past.end() : max(place, end - 1)]) and not re.search(
        r"没卖完|没动|没用完|压着|还有|还[在剩]?[躺堆压摆冻囤剩]|原封|没[吃走出]|反映|不敢", words
    )


def _is_imagined(words: str, match: re.Match[str]) -> bool:
    """万一卖不掉: feared, not so. A wish (要是能便宜) is an objection."""
    return "万一" in words and words.index("万一") < words.find(match[0])


def _is_settled(text: str, match: re.Match[str], code: str) -> bool:
    """上周退了两箱，包装破了，今天补发: a fault of old that has been made good."""
    sentence = text[text.rfind("。", 0, match.start()) + 1 : match.start()]
    if code == "quality" and _MADE_GOOD.search(text, match.end()) and not _STILL_ANGRY.search(text):
        return True
    return code == "quality" and bool(cues.HISTORY.search(sentence)) and not re.search("反映|现在|这次|不敢", text)


def _is_chore(text: str, code: str) -> bool:
    """The words belong to old money (催款，财务还没批) or to goods made good (少送了，明天补送), not to a sale."""
    if code in {"terms", "authority"} and _OLD_MONEY.search(text):
        return True
    return code == "delivery" and bool(_SENT_AFTER.search(text))


_OLD_MONEY = regex(
    r"欠[的了我款着]|货款(?!统一|都|要)|催[^，。]{0,4}[款账]|收款|尾款|应收|实收|对账|结账|还没还|没还|到账"
)
_SENT_AFTER = regex(r"补[送发给](?!样)")
_MADE_GOOD = regex(r"(?:当场|已经|都|给[他她]们?|我)[^，。]{0,3}[换补]了")
_STILL_ANGRY = regex(r"不敢|生气|有?意见|不高兴|要求|要退|不肯|不想")


_NOT_THEIRS = regex(
    r"我们?(?:就|还|原来)?(?:怕|担心|以为|还以为|猜)[^，。]*$|(?:隔壁|对面|别家|别人)(?:那?家|店)?[^，。]{0,3}(?:嫌|抱怨|怪)[^，。]*$"
)


def _is_ours(text: str, match: re.Match[str], code: str) -> bool:
    """Words about us or about somebody else that are no objection of the customer."""
    if _NOT_THEIRS.search(text[max(0, match.start() - 16) : match.start() + 1]):
        return True
    before = text[max(0, match.start() - 8) : match.start()]
    if code == "price":
        return bool(re.search(r"比[^，。]{0,4}$", before)) or bool(
            re.search(r"谈下来|有优势|^我们[^，。]*便宜", match[0])
        )
    if code == "competitor":
        return bool(re.search(r"(?:隔壁|对面|别家)[^，。]{0,8}$", before))
    if code == "stock":  # what has not been touched are the samples; what goes back is no stock
        return (
            bool(re.match("[^，。]{0,3}(?:要退|退了|退货)", text[match.end() :]))
            or "样品" in text[max(0, match.start() - 16) : match.start()]
        )
    if code == "authority":
        met = re.match(r"[^，。]{0,4}，[^，。]{0,6}(?:(?<![不没])在(?=[，。])|见[着到]了)", text[match.end() :])
        return bool(met) or bool(
            re.search(
                r"(?:我说|我要|我得|我去|我再|我回去|我跟公司)[^，。]{0,3}$|(?:^|[，。])我(?:也|可|自己)?$", before
            )
        )
    if code == "quality":
        return bool(re.search(r"◎+[^，。]*$", before)) or "解决" in text[max(0, match.start() - 12) : match.start()]
    if code == "delivery":  # the road kept us away
        return bool(re.search(r"没去成|没进去|没能进|改天再去", text[match.end() : match.end() + 12]))
    if code == "taste":
        return bool(re.search(r"解决了?[^，。]*$", before))
    if code == "terms":
        return bool(re.search(r"(?:收款|回款|收到|收了|同意|谈好|说好)[^，。]*$", before))
    return False


def _sorted_out(text: str, found: dict[str, Hit]) -> dict[str, Hit]:
    """Where one wording sets off two objections, the one that is meant stays."""
    if (
        "storage" in found
        and "stock" in found
        and cues.FULL_FREEZER.search(text[found["storage"].start : found["storage"].end])
    ):
        del found["storage"]
    if "shelf_life" in found and "stock" in found:
        del found["stock"]
    if (
        "promotion" in found
        and "price" in found
        and re.search(r"特价|划算|优惠(?![点些])", text[found["price"].start : found["price"].end])
    ):
        del found["price"]
    if "contract" in found and "competitor" in found:
        del found["contract"]
    quality = text[found["quality"].start : found["quality"].end] if "quality" in found else ""
    if quality and "taste" in found and re.fullmatch("发[酸馊臭苦]", text[found["taste"].start : found["taste"].end]):
        del found["taste"]  # gone off
    if "delivery" in found and quality == "不新鲜":
        del found["quality"]  # 三天才送一次，鱼不新鲜
    if "shelf_life" in found and "quality" in found and "新鲜" in text[found["quality"].start : found["quality"].end]:
        del found["quality"]
    if "competitor" in found and len(found) > 1:
        said = text[found["competitor"].start : found["competitor"].end]
        if re.fullmatch(r"不[想愿肯]意?换|(?:定|买|换|找)了◎+", said):  # what follows from the other objection
            del found["competitor"]
    if (
        "contract" in found
        and "authority" in found
        and "合同" in text[: found["authority"].start]
        and re.search(r"审|过", text[found["authority"].start : found["authority"].end])
    ):
        del found["authority"]  # 合同要先过集团审
    if (
        "storage" in found
        and "shelf_life" in found
        and re.match("[存放]不[久住]", text[found["shelf_life"].start : found["shelf_life"].end])
    ):
        del found["shelf_life"]  # 没有冷柜，存不住
    if "storage" in found and "stock" in found and found["stock"].start == found["storage"].start:
        del found["stock"]
    return found


def _settled_by_order(text: str, hit: Hit, orders: Sequence[int], lines: Sequence[DealLine]) -> bool:
    """Bought in spite of it: only what concerns goods left out or sent back is still open."""
    if hit.code == "quality":
        return not any(line.kind == "return" for line in lines)
    before = text[max(0, hit.start - 8) : hit.start]
    return not re.search(r"□[^，。]{0,3}(?:没要|不要|没订)，$", before)


def _first(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    return next((match for match in pattern.finditer(text) if _holds(text, match)), None)


def _outcome(
    text: str,
    clauses: Sequence[Clause],
    objections: Sequence[Hit],
    *,
    orders: Sequence[int],
    samples: bool,
    lines: Sequence[DealLine],
    said: Sequence[Said],
    received: tuple[int, int] | None,
) -> Hit | None:
    if orders:
        line = next(line for line in lines if line.kind == "order")
        return Hit("won", line.start, line.end, _SAID)
    lost = _first(cues.LOST, text) or _first(frames_result.LOST, text)
    if lost and not _THREAT.search(text[: lost.start()]):
        return Hit("lost", lost.start(), lost.end(), _SAID)
    bought = _first(_BOUGHT, text)
    if bought and not cues.NOT_SOLD.search(text) and not cues.HYPOTHESIS.search(text):
        return Hit("won", bought.start(), bought.end(), _DERIVED)
    exclusive = next(
        (
            hit
            for hit in objections
            if hit.code == "competitor"
            and re.search("独家|年合同|合同到", text[hit.start : hit.end + 3])
            and not re.search(r"到期(?:了|以?后)?再", text)
        ),
        None,
    )
    if exclusive:
        return Hit("lost", exclusive.start, exclusive.end, _WEAK)
    return _open_or_routine(text, objections, samples=samples, lines=lines, said=said, received=received)


_THREAT = regex(
    r"(?:再这样|不然|否则|要是|如果|除非)[^。]{0,8}$|(?:短期|暂时|这[次回周]|最近|现在|目前|眼下|◇)[^，。]{0,3}$"
)
_BOUGHT = regex(r"成交|下单了|下了单|签了合同|签约了|拿下了|订货了|已经下单")


def _open_or_routine(
    text: str,
    objections: Sequence[Hit],
    *,
    samples: bool,
    lines: Sequence[DealLine],
    said: Sequence[Said],
    received: tuple[int, int] | None,
) -> Hit | None:
    absent = _first(cues.ABSENT_ONLY, text) or (None if _AGAIN.search(text) else _first(cues.BUSY, text))
    nothing_new = cues.NOTHING_NEW.search(text)
    interested = _first(cues.INTERESTED, text)
    routine = cues.ROUTINE.search(text)
    not_sold = cues.NOT_SOLD.search(text)
    open_words = _first(cues.OPEN, text)
    made_good = routine and not re.search("要求|生气|有意见|不敢|不想", text)
    real = [hit for hit in objections if not (made_good and hit.code == "quality")]
    if absent and not real and not not_sold and not samples and not _PUT_OFF.search(text):
        return Hit("none", absent.start(), absent.end(), _DERIVED)
    if real:
        return Hit("pending", real[0].start, real[0].end, _DERIVED)
    if nothing_new and not samples and (routine or any(line.kind in {"past", "return"} for line in lines)):
        return Hit("none", nothing_new.start(), nothing_new.end(), _DERIVED)
    for found in (not_sold, _any_cause(text), interested, _first(_PUT_OFF, text)):
        if found:
            return Hit("pending", found.start(), found.end(), _SAID)
    if samples:
        line = next(line for line in lines if line.kind == "sample")
        return Hit("pending", line.start, line.end, _DERIVED)
    if received:
        return Hit("none", *received, _DERIVED)
    if routine:
        return Hit("none", routine.start(), routine.end(), _DERIVED)
    if open_words:
        return Hit("pending", open_words.start(), open_words.end(), _DERIVED)
    prospect = next((line for line in lines if line.kind in {"prospect", "stock"}), None)
    if prospect:
        return Hit("pending", prospect.start, prospect.end, _WEAK)
    product = re.search("[□◎]+", text)
    if product:
        return Hit("pending", product.start(), product.end(), _WEAK)
    if said:
        return Hit("pending", said[0].start, said[0].end, _WEAK)
    spoken = _SPOKE.search(text)  # the customer said something about it, in words nobody knows
    return Hit("pending", spoken.start(), spoken.end(), _WEAK) if spoken else None


_STILL_FELT = regex(r"[^。]{0,14}(?:不敢|不想|不愿|不要了|不放心|不高兴|有意见|没敢)")
_AGAIN = regex(r"再(?:约|说|谈|聊|讲|议|考虑|看吧)")
_PUT_OFF = regex(r"(?:新品|□|报价|合同|方案|样品|新款)[^。]{0,14}(?:再[聊谈说看讲议]|以后说|考虑)")
_SPOKE = regex(r"说|讲|嫌|要求|问|表示|反映|觉得|抱怨|嘀咕|提出|希望|想(?!起)")


def _any_cause(text: str) -> re.Match[str] | None:
    patterns = (*cues.ROOT_CAUSES.values(), *frames_result.ROOT_CAUSES.values())
    return next((match for pattern in patterns if (match := _first(pattern, text))), None)


def _close_factor(text: str, clauses: Sequence[Clause]) -> Hit | None:
    known = _first_of(cues.CLOSE_FACTORS, text)
    if known:
        return known
    framed = _first_of(tuple(frames_result.CLOSE_FACTORS.items()), text)
    return replace(framed, confidence=_FRAMED) if framed else None


def _first_of(patterns: Sequence[tuple[str, re.Pattern[str]]], text: str) -> Hit | None:
    for code, pattern in patterns:
        for match in pattern.finditer(text):
            if _holds(text, match) and not cues.HYPOTHESIS.search(text[max(0, match.start() - 10) : match.start()]):
                return Hit(code, match.start(), match.end(), _SAID)
    return None


def _root_cause(text: str, clauses: Sequence[Clause], objections: Sequence[Hit]) -> Hit | None:
    causal = [hit for hit in objections if hit.code in cues.ROOT_CAUSE_OF]
    stated = _first_of(tuple(cues.ROOT_CAUSES.items()), text)
    if stated is None and not causal:
        stated = _first_of(tuple(frames_result.ROOT_CAUSES.items()), text)
    if stated and (stated.code == "需求未识别" or not causal):
        return stated
    main = next((hit for hit in causal if _MAIN.search(text[max(0, hit.start - 8) : hit.start])), None)
    bound = next((hit for hit in causal if hit.code == "competitor" and _BOUND.search(text[hit.start : hit.end])), None)
    chosen = bound or main or (causal[0] if causal else None)
    return Hit(cues.ROOT_CAUSE_OF[chosen.code], chosen.start, chosen.end, _DERIVED) if chosen else None
