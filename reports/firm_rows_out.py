"""Every table of the firm as rows under its own column names, words in place of codes, times local."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from reports.columns import (
    ALERTS,
    APPEALS,
    CHANGES,
    COMPETITORS,
    CONFIRMATIONS,
    EMPLOYEES,
    NOTES,
    OUTLETS,
    PHOTOS,
    PLACES,
    PRODUCTS,
    TODOS,
    VISITS,
)
from reports.firm_import import ROLE_WORDS, WHOLE_FIRM
from rules.evidence import Grade
from rules.people import Employee, Role
from rules.visit import Visit, duration
from storage import firm, firm_tables, people
from storage.database import Work
from storage.firm_tables import Span
from texts import Texts

Cell = str | int | float | date | datetime | None
Rows = Iterator[tuple[Cell, ...]]


@dataclass(frozen=True, slots=True)
class Known:
    """What turns codes into names, and the language and time zone to do it in."""

    texts: Texts
    zone: ZoneInfo
    staff: Mapping[str, str]
    outlets: Mapping[str, str]
    products: Mapping[str, str]
    days: Span | None = None
    words: dict[str, str] = field(default_factory=dict)  # those said before

    def word(self, key: str) -> str:
        """The word of a code; one that has no word is shown as it is."""
        word = self.words.get(key)
        if word is None:
            word = self.words[key] = self.texts.say(key) if self.texts.knows(key) else key.rpartition(".")[2]
        return word

    def yes(self, value: object) -> str:
        return self.word("export.yes" if value else "export.no")

    def local(self, at: datetime | None) -> datetime | None:
        """The firm's wall clock without a zone, which is all a spreadsheet knows."""
        return None if at is None else at.astimezone(self.zone).replace(tzinfo=None, microsecond=0)

    def joined(self, parts: Any) -> str:
        return self.word("between").join(str(part) for part in parts)

    def person(self, code: str | None) -> str:
        return self.staff.get(code or "", "")

    def reasons(self, grade: Grade | None) -> str:
        if grade is None:
            return ""
        return self.joined(self.texts.say(f"reason.{reason.code}", reason.values) for reason in grade.reasons)

    def answer(self, name: str, value: Any) -> str:
        """An answer of a visit as a person reads it."""
        if value in (None, "", []):
            return ""
        if name == "outcome":
            return self.word(f"outcome.{value}")
        if name == "outlet":
            return f"{value} {self.outlets.get(str(value), '')}".strip()
        if name == "objections":
            return self.joined(self.word(f"objection.{code}") for code in value)
        if name in ("orders", "samples"):
            return self.joined(self._goods(*line) for line in value)
        if name == "payment":
            return self.joined(part for part in (value.get("amount"), value.get("term")) if part is not None)
        if name == "follow_up":
            return self.window(value["first"], value["last"], value["time"])
        return self.joined(value) if isinstance(value, list) else str(value)

    def window(self, first: str, last: str, time: str | None) -> str:
        days = first if first == last else f"{first}—{last}"
        return f"{days} {self.clock(time)}".strip()

    def clock(self, time: str | None) -> str:
        """15:00, or the word for a part of the day."""
        return self.word(f"part_of_day.{time}") if time and time.isalpha() else time or ""

    def _goods(self, code: str, quantity: float, unit: str) -> str:
        values = {"name": self.products.get(code, code), "quantity": f"{quantity:g}", "unit": unit}
        return self.texts.say("goods", values)


def known(work: Work, texts: Texts, time_zone: str, days: tuple[date, date] | None = None) -> Known:
    return Known(
        texts=texts,
        zone=ZoneInfo(time_zone),
        staff={person.code: person.name for person in people.staff(work)},
        outlets=firm.outlet_names(work),
        products={product.code: product.name for product in firm.products(work)},
        days=None if days is None else Span(*days, ZoneInfo(time_zone)),
    )


def all_tables() -> dict[str, Callable[[Work, Known], Rows]]:
    """How to read each table, in the order of the workbook's sheets."""
    return {
        OUTLETS: _outlets,
        PRODUCTS: _products,
        EMPLOYEES: _employees,
        COMPETITORS: _competitors,
        VISITS: _visits,
        CHANGES: _changes,
        PLACES: _places,
        PHOTOS: _photos,
        NOTES: _notes,
        TODOS: _todos,
        APPEALS: _appeals,
        ALERTS: _alerts,
        CONFIRMATIONS: _confirmations,
    }


def _outlets(work: Work, _known: Known) -> Rows:
    """负责业务员 by name where only one bears it, else by 工号: the import reads both."""
    staff = people.staff(work)
    names = Counter(person.name for person in staff)
    reps = {person.code: person.name if names[person.name] == 1 else person.code for person in staff}
    for item in firm.each_outlet(work):
        lat, lon = (item.point.lat, item.point.lon) if item.point else (None, None)
        rep = reps.get(item.rep or "", "")
        yield (
            *(item.code, item.name, item.kind, item.district, item.address),
            *(lat, lon, rep, item.first_contact_on, item.delivery, "|".join(item.aliases)),
        )


def _products(work: Work, known: Known) -> Rows:
    for item in firm.products(work):
        price = None if item.price_fen is None else item.price_fen / 100
        yield (
            *(item.code, item.name, "|".join(item.aliases), item.line, item.spec, "|".join(item.units)),
            *(price, known.yes(item.is_new)),
        )


def _employees(work: Work, known: Known) -> Rows:
    words = {role: word for word, role in reversed(ROLE_WORDS.items())}
    for person in people.staff(work):
        state = known.texts.say("export.active" if person.active else "export.left")
        yield (
            *(person.code, person.name, words[person.role], _districts(person), person.manager, state),
            person.wecom,
        )


def _districts(person: Employee) -> str:
    whole = not person.districts and person.role not in (Role.REP, Role.AREA_MANAGER)
    return WHOLE_FIRM if whole else "|".join(person.districts)


def _competitors(work: Work, _known: Known) -> Rows:
    for item in firm.competitors(work):
        yield item.name, item.line


def _visits(work: Work, known: Known) -> Rows:
    for day, visit in firm_tables.visits(work, known.days):
        payment: Any = visit.value("payment") or {}
        outlet = visit.outlet or ""
        minutes = round(duration(visit).total_seconds() / 60) if visit.left_at else None
        yield (
            *(visit.id, day, visit.rep, known.person(visit.rep), outlet, known.outlets.get(outlet, "")),
            *(known.word(f"export.visit_state.{visit.state}"), _said(known, visit, "outcome")),
            *(known.local(visit.opened_at), known.local(visit.left_at), known.local(visit.closed_at), minutes),
            *(known.word(f"level.{visit.grade.level}") if visit.grade else "", known.reasons(visit.grade)),
            *(_said(known, visit, name) for name in ("problem", "close_factor", "root_cause", "contacts")),
            *(_said(known, visit, name) for name in ("objections", "competitors", "orders", "samples")),
            *(payment.get("amount"), payment.get("term"), _said(known, visit, "follow_up")),
            _said(known, visit, "actions"),
            known.joined(known.word(f"field.{name}") for name in visit.proposals),
            known.yes(visit.late_entry),
        )


def _said(known: Known, visit: Visit, name: str) -> str:
    return known.answer(name, visit.value(name))


def _changes(work: Work, known: Known) -> Rows:
    """One row for every item that a message changed."""
    for change in firm_tables.changes(work, known.days):
        for item, before, after in _differences(known, change.before, change.after):
            yield (
                *(change.visit, known.local(change.at), change.by, known.person(change.by)),
                *(item, before, after, known.yes(change.undone)),
            )


def _differences(known: Known, before: Visit | None, after: Visit) -> Iterator[tuple[str, str, str]]:
    state = "" if before is None else known.word(f"export.visit_state.{before.state}")
    new_state = known.word(f"export.visit_state.{after.state}")
    if state != new_state:
        yield known.texts.say("export.state"), state, new_state
    old = {} if before is None else before.answers
    for name in dict.fromkeys((*old, *after.answers)):
        was = old[name].value if name in old else None
        now = after.value(name)
        if was != now:
            yield known.word(f"field.{name}"), known.answer(name, was), known.answer(name, now)


def _places(work: Work, known: Known) -> Rows:
    for row in firm_tables.rows(work, "place", known.days):
        yield (
            *(row["id"], row["rep"], known.person(row["rep"]), known.local(row["at"])),
            *(row["lat"], row["lon"], row["raw_lat"], row["raw_lon"], row["datum"]),
            *(known.word(f"web.place.{row['kind']}"), row["accuracy_m"], known.local(row["fixed_at"])),
        )


def _photos(work: Work, known: Known) -> Rows:
    for row in firm_tables.rows(work, "photo", known.days):
        yield (
            *(row["id"], row["visit"], row["rep"], known.person(row["rep"]), known.local(row["at"])),
            *(row["file"], row["mime"], row["width"], row["height"]),
            *(known.local(row["taken_at"]), row["taken_lat"], row["taken_lon"], row["same_as"]),
        )


def _notes(work: Work, known: Known) -> Rows:
    for row in firm_tables.rows(work, "note", known.days):
        yield (
            *(row["id"], row["visit"], row["rep"], known.person(row["rep"]), known.local(row["at"])),
            *(known.word(f"web.note.{row['state']}"), row["text"], row["confidence"], row["engine"]),
            *(row["seconds"], row["file"], row["mime"]),
        )


def _todos(work: Work, known: Known) -> Rows:
    for row in firm_tables.rows(work, "follow_up", known.days):
        yield (
            *(row["id"], row["visit"], row["rep"], known.person(row["rep"])),
            *(row["outlet"], known.outlets.get(row["outlet"], ""), row["first"], row["last"]),
            *(known.clock(row["time"]), row["quote"], row["what"], known.word(f"todo_state.{row['state']}")),
            *(known.local(row["remind_at"]), known.local(row["reminded_at"]), known.local(row["ended_at"])),
            *(row["postponed"], known.yes(row["made_by_itself"])),
        )


def _appeals(work: Work, known: Known) -> Rows:
    for row in firm_tables.rows(work, "appeal", known.days):
        yield (
            *(row["id"], row["visit"], row["rep"], known.person(row["rep"]), row["words"]),
            *(known.local(row["at"]), known.word(f"web.appeal.{row['state']}")),
            *(known.person(row["decided_by"]), known.local(row["decided_at"])),
        )


def _confirmations(work: Work, known: Known) -> Rows:
    """What was proposed beside what the rep settled on; both as they are stored, codes included."""
    for row in firm_tables.rows(work, "confirmation", known.days):
        yield (
            *(row["visit"], row["rep"], known.person(row["rep"]), known.local(row["at"])),
            *(known.word(f"field.{row['field']}"), row["rule"], _plain(row["proposed"]), _plain(row["confirmed"])),
            *(known.word(f"verdict.{row['verdict']}"), row["quote"], row["confidence"]),
        )


def _plain(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False)


def _alerts(work: Work, known: Known) -> Rows:
    """One row for every finding of an alert."""
    for row in firm_tables.rows(work, "alert", known.days):
        for rule, district, reps, days, visits in row["findings"]:
            yield (
                *(row["id"], row["local_day"], row["manager"], known.person(row["manager"])),
                *(known.local(row["made_at"]), known.word(f"alert_short.{rule}"), district),
                *(known.joined(known.person(rep) for rep in reps), days, known.joined(visits)),
            )
