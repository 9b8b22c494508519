"""How often each rule of understanding was right, by what the firm's own reps confirmed and corrected."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rules.confirmations import GOOD, Tally
from storage import confirmations
from storage.confirmations import Mistake
from storage.database import Work


@dataclass(frozen=True, slots=True)
class RulesReport:
    """Tallies by rule and by field, the worst first, and the latest mistakes of every weak rule."""

    rules: tuple[Tally, ...]
    fields: tuple[Tally, ...]
    mistakes: tuple[Mistake, ...]

    @property
    def weak(self) -> tuple[Tally, ...]:
        """The rules that are right in less than 80 % of at least five judged items."""
        return tuple(rule for rule in self.rules if rule.weak)


def rules_report(work: Work, since: datetime | None = None, until: datetime | None = None) -> RulesReport:
    """The report on what was settled in [since, until); everything without."""
    rules = sorted(confirmations.tallies(work, since, until), key=_worst_first)
    wrong = [
        mistake
        for rule in rules
        if rule.weak
        for mistake in confirmations.mistakes(work, rule.field, rule.rule, since, until)
    ]
    return RulesReport(tuple(rules), tuple(sorted(_by_field(rules), key=_worst_first)), tuple(wrong))


def to_json(report: RulesReport) -> dict[str, Any]:
    """The report as `zoudian rules report --json` prints it; precision is 0 to 1, null where nothing was judged."""
    return {
        "good": GOOD,
        "fields": [_tally(one) for one in report.fields],
        "rules": [{**_tally(one), "rule": one.rule, "weak": one.weak} for one in report.rules],
        "mistakes": [
            {
                "field": one.field,
                "rule": one.rule,
                "visit": one.visit,
                "at": one.at.isoformat(),
                "quote": one.quote,
                "proposed": one.proposed,
                "confirmed": one.confirmed,
            }
            for one in report.mistakes
        ],
    }


def _by_field(rules: Sequence[Tally]) -> list[Tally]:
    found: dict[str, Tally] = {}
    for rule in rules:
        sofar = found.get(rule.field, Tally(rule.field, ""))
        found[rule.field] = Tally(
            rule.field,
            "",
            confirmed=sofar.confirmed + rule.confirmed,
            corrected=sofar.corrected + rule.corrected,
            removed=sofar.removed + rule.removed,
            unjudged=sofar.unjudged + rule.unjudged,
        )
    return list(found.values())


def _worst_first(tally: Tally) -> tuple[bool, float, int, str, str]:
    """Weak ones, then by precision, then the often used; what was never judged comes last."""
    precision = 2.0 if tally.precision is None else tally.precision
    return not tally.weak, precision, -tally.judged, tally.field, tally.rule


def _tally(one: Tally) -> dict[str, Any]:
    return {
        "field": one.field,
        "judged": one.judged,
        "confirmed": one.confirmed,
        "corrected": one.corrected,
        "removed": one.removed,
        "unjudged": one.unjudged,
        "precision": None if one.precision is None else round(one.precision, 4),
    }
