"""A visit, told as what the bot needs to know, in the order it would ask."""

from handlers.messages import Choice, NotUnderstood, Say
from handlers.steps import Around, Flow, Said, Step, one_of
from rules import visit as visits
from rules.limits import Limits
from rules.visit import Outcome, Plain, Visit

NEW_OUTLET = "new"


def visit_flow(limits: Limits) -> Flow:
    """The steps with the firm's own close factors and root causes."""
    return Flow(
        "visit",
        (
            Step("place", place, takes=lambda said: said.place is not None, evidence=True, wants_place=True),
            Step("outlet", outlet, choices=outlets_in_question, evidence=True),
            Step("photo", photo, takes=lambda said: said.photo is not None, evidence=True),
            Step("report", report, takes=lambda said: said.note is not None, evidence=True),
            Step("problem", problem),
            Step("outcome", one_of(*Outcome), choices=outcomes),
            Step(
                "close_factor",
                one_of(*limits.close_factors),
                when=lambda visit: visits.needs_close_factor(visit.outcome),
                choices=lambda visit, around: words(limits.close_factors),
            ),
            Step(
                "root_cause",
                one_of(*limits.root_causes),
                when=lambda visit: visits.needs_root_cause(visit.outcome),
                choices=lambda visit, around: words(limits.root_causes),
            ),
        ),
    )


def place(said: Said, visit: Visit) -> Plain:
    if said.place is None:
        raise NotUnderstood("visit.place.not_a_pin")
    return said.place


def outlet(said: Said, visit: Visit) -> Plain:
    if not said.choice:
        raise NotUnderstood("visit.outlet.not_found", name=said.text[:40])
    return said.choice


def photo(said: Said, visit: Visit) -> Plain:
    if said.photo is None:
        raise NotUnderstood("visit.photo.not_a_photo")
    return [*visit.ids("photo"), said.photo]


def report(said: Said, visit: Visit) -> Plain:
    if said.note is None:
        raise NotUnderstood("visit.report.too_short")
    return [*visit.ids("report"), said.note]


def problem(said: Said, visit: Visit) -> Plain:
    words_said = said.text.strip()
    if len(words_said) < 2:
        raise NotUnderstood("visit.problem.too_short")
    return words_said[:200]


def outcomes(visit: Visit, around: Around) -> tuple[Choice, ...]:
    return tuple(Choice(outcome.value, Say(f"outcome.{outcome.value}")) for outcome in Outcome)


def words(listed: tuple[str, ...]) -> tuple[Choice, ...]:
    return tuple(Choice(word, word) for word in listed)


def outlets_in_question(visit: Visit, around: Around) -> tuple[Choice, ...]:
    named = tuple(Choice(code, name) for code, name in around.outlet_names)
    return (*named, Choice(NEW_OUTLET, Say("visit.outlet.new")))
