"""The evidence check: what of a plug-in's answer may become a proposal.

A value must be one the firm knows, and its quote must stand in the text word for word; a number, sum or day must be
readable in its quote. Everything else is dropped without a word, and so is what contradicts the rules.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any, Final

from nlp import cues
from nlp.dates import find_windows
from nlp.firm_words import FirmWords
from nlp.numbers import find_amounts, find_quantities
from nlp.patterns import regex
from nlp.payments import find_payment
from nlp.people import ROLES
from nlp.understand import Found, Line, Payment, Understanding
from rules.windows import Window

CONFIDENCE: Final = 0.5
RULE: Final = "plugin"
_MOST_ITEMS: Final = 20
_LONGEST_QUOTE: Final = 120
_LONGEST_PROBLEM: Final = 40
_LONGEST_CONTACT: Final = 10
_LARGEST_NUMBER: Final = 10_000_000
_OUTCOMES: Final = ("won", "pending", "lost", "none")
_TIME: Final = regex(r"morning|afternoon|evening|(?:[01]\d|2[0-3]):[0-5]\d")
_AHEAD: Final = timedelta(days=370)
_LONGEST_WINDOW: Final = timedelta(days=31)

Read = Callable[[Any, str], Any]
"""(what the plug-in said, its quote) to the value, or None where it is not to be believed."""


def merged(
    rules: Understanding, answers: Iterable[Mapping[str, Any]], text: str, at: datetime, words: FirmWords
) -> Understanding:
    """The rules' findings, with what the answers can show for the fields that the rules left empty."""
    for answer in answers:
        for name, found in _shown(answer, text, at, words).items():
            if not getattr(rules, name) and _fits(name, rules):
                rules = replace(rules, **{name: found})
    return rules


def _shown(answer: Mapping[str, Any], text: str, at: datetime, words: FirmWords) -> dict[str, Any]:
    """Field names of Understanding to what was said and can be shown; the outcome first, as others hang on it."""
    quotes = answer.get("quotes")
    quotes = quotes if isinstance(quotes, Mapping) else {}
    found: dict[str, Any] = {}
    for name, read in _single(at, words, text).items():
        said = "customer" if name == "outlet" else name
        one = _found(answer.get(said), quotes.get(said), text, read)
        if one is not None:
            found[name] = one
    for name, read in _several(words).items():
        values, words_of = answer.get(name), quotes.get(name)
        if isinstance(values, list) and isinstance(words_of, list):
            pairs = list(zip(values, words_of, strict=False))[:_MOST_ITEMS]
            many = [one for value, quote in pairs if (one := _found(value, quote, text, read)) is not None]
            if many:
                found[name] = tuple({repr(one.value): one for one in many}.values())
    return found


def _found(value: Any, quote: Any, text: str, read: Read) -> Found[Any] | None:
    if value is None or not isinstance(quote, str) or not 2 <= len(quote) <= _LONGEST_QUOTE:
        return None
    if quote not in text or not re.search(r"\w", quote):
        return None
    kept = read(value, quote)
    return None if kept is None else Found(kept, quote, CONFIDENCE, RULE)


def _fits(name: str, so_far: Understanding) -> bool:
    """Whether a field goes with the outcome and with what the rules saw."""
    outcome = so_far.outcome.value if so_far.outcome else None
    if name in ("orders", "close_factor"):
        return outcome == "won"
    if name == "root_cause":
        return outcome in ("pending", "lost")
    if name == "outlet":
        return not so_far.outlet_candidates  # several sound alike: the rep is asked, nobody guesses
    return True


def _single(at: datetime, words: FirmWords, text: str) -> dict[str, Read]:
    return {
        "outcome": _one_of(_OUTCOMES),
        "outlet": _one_of([outlet.code for outlet in words.outlets]),
        "problem": lambda value, quote: _words_of(value, text, _LONGEST_PROBLEM),
        "close_factor": _one_of(words.close_factors),
        "root_cause": _one_of(words.root_causes),
        "payment": _payment,
        "follow_up": lambda value, quote: _window(value, quote, at),
    }


def _several(words: FirmWords) -> dict[str, Read]:
    units = {product.code: product.units for product in words.products}
    return {
        "contacts": _contact,
        "objections": _one_of(list(cues.OBJECTIONS)),
        "competitors": _one_of(words.competitors),
        "orders": lambda value, quote: _line(value, quote, units),
        "samples": lambda value, quote: _line(value, quote, units),
    }


def _one_of(known: Sequence[str]) -> Read:
    return lambda value, quote: value if isinstance(value, str) and value in known else None


def _words_of(value: Any, text: str, longest: int) -> str | None:
    return value if isinstance(value, str) and 2 <= len(value) <= longest and value in text else None


def _contact(value: Any, quote: str) -> str | None:
    contact = _words_of(value, quote, _LONGEST_CONTACT)
    return contact if contact and any(contact.endswith(role) for role in ROLES) else None


def _line(value: Any, quote: str, units_of: Mapping[str, tuple[str, ...]]) -> Line | None:
    if not isinstance(value, list) or len(value) != 3:
        return None
    product, quantity, unit = value
    if not isinstance(product, str) or product not in units_of or not _is_number(quantity):
        return None
    said = [one for one in find_quantities(quote, units_of[product]) if one.value == quantity]
    if unit not in units_of[product] or not any(one.unit in (unit, "件") for one in said):
        return None
    return Line(product, quantity, unit)


def _payment(value: Any, quote: str) -> Payment | None:
    if not isinstance(value, list) or len(value) != 2:
        return None
    amount, term = value
    if amount is not None and not (_is_number(amount) and amount in [one.value for one in find_amounts(quote)]):
        return None
    read = find_payment(quote, won=True)
    if term is not None and (read is None or read.term != term):
        return None
    return None if amount is None and term is None else Payment(amount, term)


def _window(value: Any, quote: str, at: datetime) -> Window | None:
    """Days to come, not too far and not too many; where our own reader understands the quote, it must agree."""
    if not isinstance(value, Mapping):
        return None
    first, last, time = _day(value.get("from")), _day(value.get("to")), value.get("time")
    today = at.date()
    if first is None or last is None or not today <= first <= last <= first + _LONGEST_WINDOW:
        return None
    if first > today + _AHEAD or not (time is None or (isinstance(time, str) and _TIME.fullmatch(time))):
        return None
    ours = find_windows(quote, at)
    if ours and not any(one.first <= last and first <= one.last for one in ours):
        return None
    return Window(first, last, time, quote)


def _day(value: Any) -> date | None:
    try:
        return date.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= _LARGEST_NUMBER
