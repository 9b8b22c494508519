"""The card: what the bot understood, each item with the words it came from, to be confirmed with one tap."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from handlers.messages import Choice, Reply, Say
from handlers.proposals import EXTRAS, window_from_plain
from rules import visit as visits
from rules.limits import Limits
from rules.products import Product
from rules.visit import Answer, Visit
from rules.windows import Window

CONFIRM, EDIT = "confirm", "edit"
MANDATORY = ("outlet", "problem", "outcome", "close_factor", "root_cause")
EDITABLE = ("problem", "outcome", "close_factor", "root_cause", "orders", "follow_up", "contacts", "outlet")


def card(
    visit: Visit,
    outlet_names: Mapping[str, str],
    products: Mapping[str, Product],
    heard: Sequence[tuple[str, str]],
) -> Reply:
    """Everything known about the visit, what is still missing, and the confirming tap.

    `heard`: the words of each voice note, and the channel that recognised them ("" for our own recogniser).
    """
    lines = [Say("card.title", {"outlet": _title(visit, outlet_names)})]
    for channel, notes in groupby(heard, key=lambda one: one[1]):
        text = "\n".join(words for words, _ in notes)
        lines.append(spoken(text, channel) if channel else Say("card.transcript", {"text": text}))
    for name in (*MANDATORY, *EXTRAS):
        answer = visit.answers.get(name)
        if answer is not None and not (name == "outlet" and answer.sure):
            lines.append(_line(name, answer, outlet_names, products))
    lacking = [name for name in visits.missing(visit) if name not in visit.answers]
    if lacking:
        lines.append(Say("card.missing", {"names": [Say(f"field.{name}") for name in lacking]}))
    return confirm_question(visit, Say("lines", {"lines": lines}))


def spoken(text: str, channel: str) -> Say:
    """Words that a channel recognised, with its name: a person should know that it was not our own recogniser."""
    return Say("card.transcript_from", {"text": text, "channel": Say(f"channel.{channel}")})


def confirm_question(visit: Visit, say: Say) -> Reply:
    """The tap that settles the card, under whatever is said."""
    return Reply(
        say,
        (Choice(CONFIRM, Say("card.confirm")), Choice(EDIT, Say("card.edit"))),
        about="visit",
        subject=visit.id,
        step="card",
    )


def edit_question(visit: Visit) -> Reply:
    """Which item to correct."""
    names = [name for name in EDITABLE if name in visit.answers or name in ("problem", "outcome", "follow_up")]
    return Reply(
        Say("card.edit_which"),
        tuple(Choice(name, Say(f"field.{name}")) for name in names),
        about="visit",
        subject=visit.id,
        step="edit",
    )


def value_say(name: str, answer: Answer, outlet_names: Mapping[str, str], products: Mapping[str, Product]) -> Say:
    """An answer as a person reads it."""
    value: Any = answer.value
    if name == "outcome":
        return Say(f"outcome.{value}")
    if name == "outlet":
        return Say("as_is", {"text": outlet_names.get(str(value), str(value))})
    if name == "objections":
        return Say("listed", {"items": [Say(f"objection.{code}") for code in value]})
    if name in ("orders", "samples"):
        return Say("listed", {"items": [_goods(line, products) for line in value]})
    if name == "payment":
        return _payment(value)
    if name == "follow_up":
        return window_say(window_from_plain(value))
    if isinstance(value, list):
        return Say("listed", {"items": [Say("as_is", {"text": str(item)}) for item in value]})
    return Say("as_is", {"text": str(value)})


def window_say(window: Window) -> Say:
    """下周 11月30日—12月6日 15:00 as one sentence."""
    days = {"first": day_text(window.first), "last": day_text(window.last)}
    key = "window.day" if window.first == window.last else "window.span"
    if window.time is None:
        return Say(key, {**days, "time": ""})
    part = Say(f"part_of_day.{window.time}") if window.time.isalpha() else Say("as_is", {"text": window.time})
    return Say(f"{key}_time", {**days, "time": part})


def day_text(day: Any) -> str:
    return f"{day.month}月{day.day}日"


def what_to_do(visit: Visit, limits: Limits) -> str:
    """The words a 待办 is headed with: the problem the visit was about."""
    return str(visit.value("problem") or "")[:80]


def _title(visit: Visit, outlet_names: Mapping[str, str]) -> Say:
    name = outlet_names.get(visit.outlet or "")
    return Say("card.no_outlet") if name is None else Say("as_is", {"text": name})


def _line(name: str, answer: Answer, outlet_names: Mapping[str, str], products: Mapping[str, Product]) -> Say:
    key = "card.item_quoted" if answer.quote else "card.item"
    value = value_say(name, answer, outlet_names, products)
    return Say(key, {"name": Say(f"field.{name}"), "value": value, "quote": answer.quote})


def _goods(line: Any, products: Mapping[str, Product]) -> Say:
    code, quantity, unit = line
    name = products[code].name if code in products else code
    shown = int(quantity) if float(quantity).is_integer() else quantity
    return Say("goods", {"name": name, "quantity": shown, "unit": unit})


def _payment(value: Any) -> Say:
    amount, term = value.get("amount"), value.get("term")
    shown = f"{amount:g}" if isinstance(amount, int | float) else ""
    if shown and term:
        return Say("payment.both", {"amount": shown, "term": term})
    return Say("payment.amount", {"amount": shown}) if shown else Say("payment.term", {"term": str(term or "")})
