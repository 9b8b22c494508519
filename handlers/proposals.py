"""From what a note says to what a visit proposes. A proposal is never sure: the rep confirms the card."""

from dataclasses import asdict
from datetime import date
from typing import Any

from nlp.understand import Found, Line, Understanding
from rules.visit import Answer, Plain, Source, Trace, Visit
from rules.windows import Window

# What a card shows beside the mandatory answers; these are never asked.
EXTRAS = ("contacts", "objections", "competitors", "orders", "samples", "payment", "follow_up", "actions")


def proposed(visit: Visit, heard: Understanding) -> Visit:
    """The visit with everything the note said put as proposals; what the rep has settled already stays.

    Proposals of an earlier clip are replaced, because the clips are understood together.
    """
    visit = visit.drop(*visit.proposals)
    settled = visit.value("outcome") if visit.sure("outcome") else None
    for name, answer in _answers(heard, settled).items():
        if not visit.sure(name):
            visit = visit.put(name, answer)
    if not visit.sure("outlet") and heard.outlet is not None:
        visit = visit.put("outlet", _from(heard.outlet, heard.outlet.value))
    return visit


def window_to_plain(window: Window, *, again_next_week: bool = False) -> dict[str, Plain]:
    return {
        "first": window.first.isoformat(),
        "last": window.last.isoformat(),
        "time": window.time,
        "quote": window.quote,
        "again_next_week": again_next_week,
    }


def window_from_plain(value: Any) -> Window:
    return Window(date.fromisoformat(value["first"]), date.fromisoformat(value["last"]), value["time"], value["quote"])


def line_to_plain(line: Line) -> list[Plain]:
    return [line.product, line.quantity, line.unit]


def _answers(heard: Understanding, settled_outcome: Plain) -> dict[str, Answer]:
    """A close factor belongs to a deal and a root cause to none, by the rep's own word on that before the note's."""
    found: dict[str, Answer] = {}
    for name in ("problem", "outcome", "close_factor", "root_cause"):
        said: Found[str] | None = getattr(heard, name)
        if said is not None:
            found[name] = _from(said, said.value)
    said_outcome = heard.outcome.value if heard.outcome is not None else None
    outcome = said_outcome if settled_outcome is None else settled_outcome
    if outcome != "won":
        found.pop("close_factor", None)
    if outcome not in ("pending", "lost"):
        found.pop("root_cause", None)
    for name in ("contacts", "objections", "competitors"):
        many: tuple[Found[str], ...] = getattr(heard, name)
        if many:
            found[name] = _joined(many, [item.value for item in many])
    for name in ("orders", "samples"):
        lines: tuple[Found[Line], ...] = getattr(heard, name)
        if lines:
            found[name] = _joined(lines, [line_to_plain(item.value) for item in lines])
    if heard.payment is not None:
        found["payment"] = _from(heard.payment, dict(asdict(heard.payment.value)))
    if heard.follow_up is not None:
        window = heard.follow_up.value
        # 下周三再约 names its day; only a whole week is the vague 下周再约 that the 25-minute rule is about.
        plain = window_to_plain(window, again_next_week=heard.again_next_week and window.first != window.last)
        found["follow_up"] = _from(heard.follow_up, plain)
    if heard.actions:
        traces = tuple(Trace(action, "", 1.0) for action in heard.actions)
        found["actions"] = Answer(list(heard.actions), Source.NOTE, sure=False, traces=traces)
    return found


def _from(said: Found[Any], value: Plain) -> Answer:
    return Answer(value, Source.NOTE, sure=False, quote=said.quote, confidence=said.confidence, traces=_traces((said,)))


def _joined(many: tuple[Found[Any], ...], values: list[Plain]) -> Answer:
    quotes = list(dict.fromkeys(item.quote for item in many if item.quote))
    return Answer(
        values,
        Source.NOTE,
        sure=False,
        quote="；".join(quotes),
        confidence=min(item.confidence for item in many),
        traces=_traces(many),
    )


def _traces(many: tuple[Found[Any], ...]) -> tuple[Trace, ...]:
    return tuple(Trace(item.rule, item.quote, item.confidence) for item in many)
