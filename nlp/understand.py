"""A spoken visit note in, the summary's fields out, each with the words that say it.

Order of work: even out the text; find appointments, quantities and money before any word is cut; find the firm's
words; mask them all; read clauses. A field nothing supports stays empty: the rep is asked, nothing is guessed.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from nlp import cues, reasons
from nlp.appointments import pick_follow_up
from nlp.cutting import Clause, Lexicon, Mention
from nlp.dates import find_said
from nlp.deal import DealLine, find_lines
from nlp.firm_words import FirmWords, OwnWords
from nlp.names import OutletMatch, OutletNames
from nlp.numbers import find_quantities
from nlp.payments import Paid, find_payment
from nlp.people import ROLES, Person, find_people
from nlp.phrases import find_actions
from nlp.reasons import Hit
from nlp.spoken import Spoken, even_out, read_spoken
from rules.windows import Window

T = TypeVar("T")
_LONGEST = 4_096
"""Characters read of a note; what lies behind is not a visit note any more."""
_SURE, _LIKELY, _SOUNDS_LIKE = 0.95, 0.85, 0.7
_NAMED, _HEARD = "name", "sound"
"""The rule that found a name: written as it is known, or only sounding like it."""


@dataclass(frozen=True, slots=True)
class Found(Generic[T]):
    """`quote` is a substring of the note; `confidence` is 0 to 1 by kind of evidence, not a measured probability.

    `rule` names what found it, so that confirmations tell how often that is right: "price.said", "sound", "own".
    """

    value: T
    quote: str
    confidence: float
    rule: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    product: str
    quantity: float | int
    unit: str


@dataclass(frozen=True, slots=True)
class Payment:
    """Amount in yuan of this visit's deal or receipt, and the agreed term 现结 / 30天 / 60天."""

    amount: float | None
    term: str | None


@dataclass(frozen=True, slots=True)
class Understanding:
    outlet: Found[str] | None
    outlet_candidates: tuple[Found[str], ...]
    contacts: tuple[Found[str], ...]
    problem: Found[str] | None
    outcome: Found[str] | None
    """won | pending | lost | none (nothing was being sold); None: the words do not say."""
    close_factor: Found[str] | None
    root_cause: Found[str] | None
    objections: tuple[Found[str], ...]
    competitors: tuple[Found[str], ...]
    orders: tuple[Found[Line], ...]
    samples: tuple[Found[Line], ...]
    payment: Found[Payment] | None
    follow_up: Found[Window] | None
    again_next_week: bool
    actions: tuple[str, ...]
    proofs: tuple[str, ...]
    """What counts as proof of each action, in their order; "" where anything does."""


@dataclass(frozen=True, slots=True)
class Masked:
    """The note with the firm's words hidden behind marks, and where its clauses are."""

    text: str
    clauses: tuple[Clause, ...]


class Understander:
    """Holds the firm's words ready; building one takes about a second (jieba's dictionary), so keep it."""

    def __init__(self, words: FirmWords) -> None:
        self._words = words
        self._outlets = OutletNames(words.outlets)
        products = {
            word: product.code for product in words.products for word in (product.name, *product.aliases) if word
        }
        self._product_codes = set(products.values())
        self._units_of = {product.code: product.units for product in words.products}
        self._units = tuple({unit for product in words.products for unit in product.units})
        # A competitor is its own code; a product of the same name wins.
        self._lexicon = Lexicon(
            {**{name: name for name in words.competitors}, **products}, ROLES, lone=words.competitors
        )
        self._own = own_cues(words.own_words)

    @property
    def words(self) -> FirmWords:
        """The names it listens for."""
        return self._words

    def understand(self, text: str, at: datetime, near: Sequence[str] = ()) -> Understanding:
        """Fields of one note said at `at` (the firm's local time); `near`: outlet codes to prefer."""
        spoken = read_spoken(text[:_LONGEST])
        said = find_said(spoken.text, at, spoken.quote)
        dated = _hide(spoken.text, [(one.start, one.end) for one in said], "◇")
        quantities = find_quantities(dated, self._units)
        mentions = self._lexicon.mentions(dated, quantities)
        products = [mention for mention in mentions if mention.code in self._product_codes]
        rivals = [mention for mention in mentions if mention.code not in self._product_codes]
        outlets = self._outlets.find(
            dated,
            near,
            [(one.start, one.end) for one in mentions if one.sure] + [(one.start, one.end) for one in quantities],
        )
        meant = self._outlets.meant(outlets)
        if meant:  # 海鲜大排档 holds a sound of 鲜达
            products, rivals = (
                [one for one in some if one.sure or not (one.start < meant.end and meant.start < one.end)]
                for some in (products, rivals)
            )
        masked = self._masked(dated, products, rivals, meant)
        lines = find_lines(masked.text, masked.clauses, products, quantities, rivals)
        lines = [line for line in lines if self._is_counted_so(masked.text, line)]
        orders = [line for line in lines if line.kind == "order"]
        samples = [line for line in lines if line.kind == "sample"]
        received = find_payment(masked.text, won=False)
        actions = find_actions(spoken.text, self._words.phrase_rules)
        verdict = reasons.judge(
            masked.text,
            masked.clauses,
            orders=[line.start for line in orders],
            samples=bool(samples),
            lines=lines,
            said=said,
            received=(received.start, received.end) if received else None,
            own=self._own,
        )
        if verdict.outcome is not None and verdict.outcome.code == "lost":
            orders = []
        payment = find_payment(masked.text, won=bool(verdict.outcome and verdict.outcome.code == "won"))
        follow_up = pick_follow_up(masked.text, said, sold_out=bool(verdict.outcome and verdict.outcome.code == "lost"))
        return Understanding(
            outlet=_outlet(spoken, meant) if meant else None,
            outlet_candidates=tuple(_outlet(spoken, match) for match in outlets[:3]),
            contacts=tuple(
                Found(_in_own_word(spoken, person), spoken.quote(person.start, person.end), _LIKELY, "role")
                for person in find_people(masked.text)
            ),
            problem=_problem(spoken, masked.text),
            outcome=_hit(spoken, verdict.outcome),
            close_factor=_known(_hit(spoken, verdict.close_factor), self._words.close_factors)
            or self._own_words(spoken, verdict, "won"),
            root_cause=_known(_hit(spoken, verdict.root_cause), self._words.root_causes)
            or self._own_words(spoken, verdict, "open"),
            objections=tuple(
                Found(hit.code, spoken.quote(hit.start, hit.end), hit.confidence, _rule(hit))
                for hit in verdict.objections
            ),
            competitors=_unique(spoken, rivals),
            orders=tuple(self._line(spoken, line) for line in orders),
            samples=tuple(self._line(spoken, line) for line in samples),
            payment=Found(
                Payment(payment.amount, payment.term),
                spoken.quote(payment.start, payment.end),
                _LIKELY,
                _payment_rule(payment),
            )
            if payment
            else None,
            follow_up=Found(
                follow_up.window,
                spoken.quote(follow_up.start, follow_up.end),
                _SURE,
                "day" if follow_up.window.first == follow_up.window.last else "span",
            )
            if follow_up
            else None,
            again_next_week=bool(cues.NEXT_WEEK_AGAIN.search(spoken.text)),
            actions=tuple(actions),
            proofs=tuple(actions.values()),
        )

    def _masked(
        self, text: str, products: Sequence[Mention], rivals: Sequence[Mention], outlet: OutletMatch | None
    ) -> Masked:
        clauses = tuple(self._lexicon.clauses(text))
        text = _hide(text, [(one.start, one.end) for one in products], "□")
        text = _hide(text, [(one.start, one.end) for one in rivals], "◎")
        if outlet:
            text = _hide(text, [(outlet.start, outlet.end)], "○")
        return Masked(text, clauses)

    def _is_counted_so(self, text: str, line: DealLine) -> bool:
        """Not so in 鸡翅太咸，客人喝了三瓶水: counted in another clause, in a unit it is not sold in."""
        return line.unit in {*self._units_of[line.product], "件"} or "，" not in text[line.start : line.end]

    def _line(self, spoken: Spoken, line: DealLine) -> Found[Line]:
        confidence = _SURE if line.sure else _SOUNDS_LIKE
        units = self._units_of[line.product]
        # 件 is what the trade calls a case, whatever the price list says.
        unit = "箱" if line.unit == "件" and "箱" in units and "件" not in units else line.unit
        return Found(
            Line(line.product, line.quantity, unit),
            spoken.quote(line.start, line.end),
            confidence,
            _NAMED if line.sure else _HEARD,
        )

    def _own_words(self, spoken: Spoken, verdict: reasons.Verdict, when: str) -> Found[str] | None:
        """A reason of the firm's own list, said word for word."""
        if (
            verdict.outcome is None
            or (verdict.outcome.code == "won") != (when == "won")
            or verdict.outcome.code == "none"
        ):
            return None
        for name in self._words.close_factors if when == "won" else self._words.root_causes:
            place = spoken.text.find(name)
            if place >= 0:
                return Found(name, spoken.quote(place, place + len(name)), _SURE, f"{name}.word for word")
        return None


def own_cues(own_words: Sequence[OwnWords]) -> dict[str, list[reasons.Cue]]:
    """The firm's own words by field, evened out like the notes they are looked for in."""
    found: dict[str, list[reasons.Cue]] = {}
    for own in own_words:
        words = [read_spoken(word).text for word in own.words]
        pattern = "|".join(re.escape(word) for word in sorted(filter(None, words), key=len, reverse=True))
        if pattern:
            found.setdefault(own.field, []).append((own.means, re.compile(pattern)))
    return found


def warm() -> None:
    """Load what is slow to load (pinyin, converter) before the first note."""
    read_spoken("暖")
    OutletNames(()).find("暖机")


def _hide(text: str, spans: Sequence[tuple[int, int]], mark: str) -> str:
    chars = list(text)
    for start, end in spans:
        chars[start:end] = mark * (end - start)
    return "".join(chars)


def _in_own_word(spoken: Spoken, person: Person) -> str:
    """The role in the speaker's word: 老闆娘 stays 老闆娘."""
    quote = spoken.quote(person.start, person.end)
    return quote if even_out(quote) == person.role else person.role


def _outlet(spoken: Spoken, match: OutletMatch) -> Found[str]:
    rule = _NAMED if match.score >= 1 else _HEARD
    return Found(match.code, spoken.quote(match.start, match.end), round(_SURE - (1 - match.score) / 2, 2), rule)


def _hit(spoken: Spoken, hit: Hit | None) -> Found[str] | None:
    return Found(hit.code, spoken.quote(hit.start, hit.end), hit.confidence, _rule(hit)) if hit else None


def _rule(hit: Hit) -> str:
    """A family of words and how directly they say it: price.said, pending.weak, price.own."""
    return f"{hit.code}.{'own' if hit.own else reasons.DIRECTNESS.get(hit.confidence, 'said')}"


def _payment_rule(payment: Paid) -> str:
    return "+".join(name for name in ("amount", "term") if getattr(payment, name) is not None)


def _known(found: Found[str] | None, names: Sequence[str]) -> Found[str] | None:
    return found if found and found.value in names else None


def _unique(spoken: Spoken, mentions: Sequence[Mention]) -> tuple[Found[str], ...]:
    found: dict[str, Found[str]] = {}
    for mention in mentions:
        confidence, rule = (_SURE, _NAMED) if mention.sure else (_SOUNDS_LIKE, _HEARD)
        found.setdefault(mention.code, Found(mention.code, spoken.quote(mention.start, mention.end), confidence, rule))
    return tuple(found.values())


def _problem(spoken: Spoken, text: str) -> Found[str] | None:
    """The words of the problem solved, only when a solving was said."""
    for number, pattern in enumerate(cues.PROBLEM, 1):
        match = pattern.search(text)
        if match and not re.search(r"[没不未]$", text[: match.start()]):
            words = spoken.quote(*match.span("what")).strip("，。 ")
            return Found(words, words, _LIKELY, f"pattern {number}")
    return None
