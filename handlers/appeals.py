"""申诉: a rep objects to a grade in the own words, the manager decides with one tap, the rep hears of it."""

from dataclasses import replace

from handlers import trail
from handlers.messages import Choice, Reply, Say
from handlers.turn import Turn, tell
from rules.audit import Action
from rules.evidence import Grade, Level, Reason
from rules.people import managers_over, scope_of
from storage import evidence, firm, people, visits
from storage.evidence import Appeal

UPHOLD, REJECT = "uphold", "reject"


def begin(turn: Turn, visit_id: int) -> None:
    """Ask for the rep's words, unless an appeal is waiting already."""
    if any(item.state == "open" for item in evidence.appeals_of(turn.work, visit_id)):
        turn.say("appeal.waiting")
        return
    turn.set_account(expects={"appeal": visit_id})
    turn.ask(Reply(Say("appeal.ask")))


def file(turn: Turn, visit_id: int, words: str) -> None:
    """Keep the rep's words and push them to the nearest manager whom a message reaches."""
    turn.set_account(expects=None)
    visit = visits.load(turn.work, visit_id)
    if visit is None or visit.rep != turn.employee.code or visit.grade is None:
        turn.say("stale.gone")
        return
    appeal_id = evidence.add_appeal(turn.work, Appeal(visit_id, turn.employee.code, words[:500], turn.now))
    outlet = firm.sign(turn.work, visit.outlet or "")
    reasons = [Say(f"reason.{reason.code}", dict(reason.values)) for reason in visit.grade.reasons]
    say = Say(
        "appeal.to_manager",
        {
            "rep": turn.employee.name,
            "outlet": outlet.name if outlet else "",
            "level": Say(f"level.{visit.grade.level.value}"),
            "reasons": reasons,
            "words": words[:500],
        },
    )
    choices = (Choice(UPHOLD, Say("appeal.uphold_tap")), Choice(REJECT, Say("appeal.reject_tap")))
    reply = Reply(say, choices, about="appeal", subject=appeal_id, step="appeal")
    for manager in managers_over(turn.employee, people.staff(turn.work)):
        if tell(turn.work, manager.code, reply, turn.now, f"appeal:{appeal_id}", "alert"):
            turn.say("appeal.filed", manager=manager.name)
            return
    turn.say("appeal.filed_nobody")


def decide(turn: Turn, appeal_id: int, choice: str) -> None:
    """认可 makes the check-in verified by a named manager; 驳回 leaves the grade. Either way the rep is told."""
    appeal = evidence.appeal(turn.work, appeal_id)
    if appeal is not None:
        people.alone(turn.work, appeal.rep)
    visit = visits.load(turn.work, appeal.visit) if appeal is not None else None
    if appeal is None or visit is None or not _may_decide(turn, appeal, visit.outlet):
        turn.say("stale.gone")
        return
    upheld = choice == UPHOLD
    state = "upheld" if upheld else "rejected"
    if not evidence.decide_appeal(turn.work, appeal_id, state, turn.employee.code, turn.now):
        turn.say("appeal.decided_before")
        return
    rows: dict[str, tuple[int | str, ...]] = {"appeal": (appeal_id,), "visit": (visit.id,)}
    was = visit.grade.level.value if visit.grade is not None else ""
    became = Level.VERIFIED.value if upheld else was
    trail.note(turn, Action.DECIDE, whose=[appeal.rep], rows=rows, old=was, new=f"{state}: {became}")
    if upheld:
        grade = Grade(Level.VERIFIED, (Reason("appeal_upheld", {"manager": turn.employee.name}),))
        visits.save(turn.work, replace(visit, grade=grade))
    outlet = firm.outlet(turn.work, visit.outlet or "")
    values = {"outlet": outlet.name if outlet else "", "manager": turn.employee.name}
    tell(turn.work, appeal.rep, Reply(Say(f"appeal.{state}", values)), turn.now, f"appeal-told:{appeal_id}", "reminder")
    turn.say(f"appeal.{state}_done")


def _may_decide(turn: Turn, appeal: Appeal, outlet_code: str | None) -> bool:
    outlet = firm.outlet(turn.work, outlet_code) if outlet_code else None
    scope = scope_of(turn.employee)
    return turn.employee.manages and scope.holds(outlet.district if outlet else "", appeal.rep)
