"""What a pin gives back: what the rep should know before going in."""

from contextlib import nullcontext
from datetime import datetime
from zoneinfo import ZoneInfo

from handlers.card import day_text, value_say, window_say
from handlers.messages import Say
from rules.outlets import Outlet
from rules.people import Errand
from rules.products import Product
from rules.visit import Outcome
from storage import firm, follow_ups, visits
from storage.database import Work


def brief(work: Work, outlet: Outlet, now: datetime, zone: str) -> list[Say]:
    """Last visit, last order, open promises and objections of an outlet, newest first; one line for a first visit.

    At one's own outlet whoever went there, at another's what one did there oneself.
    """
    own = outlet.rep is not None and outlet.rep == work.scope.who
    with work.beyond(Errand.CUSTOMER) if own else nullcontext():  # with the customer one takes over its history
        past = visits.last_at_outlet(work, outlet.code)
        promises = follow_ups.open_at(work, outlet.code)[:2]
    products: dict[str, Product] = {item.code: item for item in firm.products(work)} if past else {}
    lines: list[Say] = []
    if not past:
        lines.append(Say("brief.first_visit"))
    else:
        last = past[0]
        day = last.opened_at.astimezone(ZoneInfo(zone)).date()
        outcome = Say(f"outcome.{last.outcome.value}") if last.outcome else Say("brief.no_outcome")
        lines.append(
            Say("brief.last_visit", {"day": day_text(day), "outcome": outcome, "problem": last.value("problem")})
        )
    for name in ("orders", "objections"):
        wanted = (visit for visit in past if visit.value(name))
        # What was noted as an order in a visit that was lost after all is none.
        told = next((visit for visit in wanted if name != "orders" or visit.outcome is Outcome.WON), None)
        if told is not None:
            day = told.opened_at.astimezone(ZoneInfo(zone)).date()
            value = value_say(name, told.answers[name], {}, products)
            lines.append(Say(f"brief.{name}", {"day": day_text(day), "value": value}))
    for todo in promises:
        lines.append(Say("brief.promise", {"window": window_say(todo.window), "quote": todo.window.quote}))
    if outlet.delivery:
        lines.append(Say("brief.delivery", {"text": outlet.delivery}))
    return lines
