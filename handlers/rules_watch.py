"""A word in the evening to whoever keeps the rules: which of them the reps keep correcting."""

from datetime import date, datetime, timedelta

from handlers.messages import Reply, Say
from handlers.turn import tell
from reports.rules_report import RulesReport, rules_report
from rules.confirmations import GOOD, Tally
from rules.limits import Limits
from rules.people import Employee, Role
from storage import people
from storage.confirmations import Mistake
from storage.database import Work

LOOK_BACK = timedelta(days=30)  # a rule that was put right leaves the list
MOST = 10  # rules in one message


def nightly(work: Work, day: date, now: datetime, limits: Limits) -> int:
    """Tell operations (else the directors) the rules that are right too rarely; how many people were told.

    Nobody is told where no rule is weak.
    """
    report = rules_report(work, since=now - LOOK_BACK)
    if not report.weak:
        return 0
    reply = Reply(Say("lines", {"lines": _lines(report)}))
    keepers = _keepers(people.staff(work))
    for person in keepers:
        tell(work, person.code, reply, now, f"rules:{day}:{person.code}", "notice")
    return len(keepers)


def _keepers(staff: list[Employee]) -> list[Employee]:
    active = [person for person in staff if person.active]
    operations = [person for person in active if person.role is Role.OPERATIONS]
    return operations or [person for person in active if person.role is Role.DIRECTOR]


def _lines(report: RulesReport) -> list[Say]:
    weak = report.weak
    lines = [Say("learning.head", {"count": len(weak), "days": LOOK_BACK.days, "good": round(100 * GOOD)})]
    for rule in weak[:MOST]:
        lines.append(rule_say(rule))
        lines += [mistake_say(one) for one in report.mistakes if (one.field, one.rule) == (rule.field, rule.rule)][:1]
    if len(weak) > MOST:
        lines.append(Say("learning.more", {"count": len(weak) - MOST}))
    return lines


def rule_say(rule: Tally) -> Say:
    return Say(
        "learning.rule",
        {
            "field": Say(f"field.{rule.field}"),
            "rule": rule.rule,
            "judged": rule.judged,
            "confirmed": rule.confirmed,
            "percent": round(100 * (rule.precision or 0)),
        },
    )


def mistake_say(one: Mistake) -> Say:
    """The words and what the rep made of them, as far as that fits into one line."""
    values = {"visit": one.visit, "quote": one.quote or Say("learning.no_words"), "was": _brief(one.proposed)}
    if one.confirmed is None:
        return Say("learning.removed", values)
    return Say("learning.corrected", {**values, "now": _brief(one.confirmed)})


def _brief(value: object) -> str:
    """A value in few characters: 老板娘, P001 8 箱, 2026-11-30 2026-12-06."""
    if isinstance(value, dict):
        value = [part for name, part in value.items() if name not in ("quote", "again_next_week")]
    parts = value if isinstance(value, list) else [value]
    return " ".join(str(part) for part in parts if part is not None)[:60]
