"""The manager's page: the day's visits, one visit with its evidence, the day's alerts. All of it within his scope."""

from collections.abc import Callable, Collection, Sequence
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from aiohttp import web

import texts
from handlers import out_of_reach
from handlers.card import value_say, window_say
from handlers.messages import Say
from handlers.sentences import sentence
from reports import day as day_report
from reports.day import UndeliveredLine, VisitDetail, VisitLine
from rules import visit as rules_visit
from rules.anomalies import Finding
from rules.audit import Action, Entry
from rules.evidence import Grade, Photo, Place
from rules.people import Employee, scope_of
from rules.products import Product
from rules.visit import Visit
from storage import audit, figures, firm, people
from storage.chats import CHANNEL
from storage.database import Work
from storage.evidence import Appeal, Note
from texts import Texts
from web.files import file_response
from web.site import SITE, Refusal, data, manager_of, page

routes = web.RouteTableDef()

# Answers that point to evidence are shown as that evidence; the outlet stands in the title.
MOST_VISITS = 300  # on the page at once; more come when they are asked for
MOST_UNDELIVERED = 200
_SHOWN_AS_EVIDENCE = frozenset({"place", "outlet", "photo", "report", "actions"})


@routes.get("/manager")
async def manager_page(request: web.Request) -> web.StreamResponse:
    """The empty page; what is in it comes by the calls below, for managers alone."""
    return page("manager.html", texts.load(request.app[SITE].settings.language))


@routes.get("/manager/api/day")
async def day(request: web.Request) -> web.StreamResponse:
    """The visits and alerts of a local day; today where none is named. Of a large firm's visits a part, from the
    `skip`ped ones on, of one `district` where that is named.
    """
    site, (visitor, manager) = request.app[SITE], await manager_of(request)
    zone = ZoneInfo(site.limits.time_zone)
    today = site.clock().astimezone(zone).date()
    wanted = _day(request.query.get("day"), today)
    district, skip = request.query.get("district") or None, _whole(request.query.get("skip") or "0")
    words = visitor.texts

    def find(work: Work) -> tuple[dict[str, Any], list[VisitLine]]:
        shown, lines = day_of(work, manager, wanted, words, zone, district=district, skip=skip)
        lost = out_of_reach.line(work, manager) if wanted == today else []
        return {**shown, "undelivered": [sentence(words, line) for line in lost] + shown["undelivered"]}, lines

    shown, lines = await site.look(find, scope_of(manager))
    await _seen(request, manager, {line.rep.code for line in lines}, visit=[line.visit.id for line in lines])
    return data({**shown, "today": today.isoformat()})


def day_of(
    work: Work,
    manager: Employee,
    wanted: date,
    words: Texts,
    zone: ZoneInfo,
    *,
    district: str | None = None,
    skip: int = 0,
    most: int = MOST_VISITS,
) -> tuple[dict[str, Any], list[VisitLine]]:
    """What the page shows of a local day: figures of all visits, and the first `most` of them behind `skip`; and the
    visits themselves.
    """
    products, counted = _products(work), day_report.counts_of_day(work, wanted)
    lines = day_report.visits_of_day(work, wanted, district=district, skip=skip, most=most)
    matching = counted.districts.get(district, 0) if district else counted.visits
    shown = {
        "day": wanted.isoformat(),
        "name": manager.name,
        "scope": "、".join(manager.districts) or words.say("web.manager.whole_firm"),
        "visits": [_row(line, words, zone, products) for line in lines],
        "more": max(0, matching - skip - len(lines)),
        "districts": sorted(counted.districts),
        "alerts": [
            {
                "alert": line.alert,
                "number": line.number,
                "rule": line.finding.rule.value,
                "text": _finding(line.finding, words),
                "names": list(line.names),
            }
            for line in day_report.alerts_of_day(work, manager, wanted)
        ],
        "undelivered": [
            _undelivered(line, words, zone)
            for line in day_report.undelivered_of_day(work, manager, wanted, zone)[:MOST_UNDELIVERED]
        ],
        "counts": {
            "visits": counted.visits,
            "reps": counted.reps,
            "won": counted.won,
            "verified": counted.verified,
            "doubtful": counted.doubtful,
        },
    }
    return shown, lines


@routes.get("/manager/api/visits/{id}")
async def one_visit(request: web.Request) -> web.StreamResponse:
    site, (visitor, manager) = request.app[SITE], await manager_of(request)
    number, zone = _number(request, "id"), ZoneInfo(site.limits.time_zone)

    def find(work: Work) -> tuple[VisitDetail | None, dict[str, Product], dict[str, str]]:
        names = {person.code: person.name for person in people.staff(work)}
        return day_report.visit_detail(work, number), _products(work), names

    detail, products, names = await site.look(find, scope_of(manager))
    if detail is None:
        raise Refusal(404, "not_found")
    place = [detail.place.id] if detail.place is not None else []
    notes, photos = [item.id for item in detail.notes], [item.id for item in detail.photos]
    await _seen(request, manager, {detail.line.rep.code}, visit=[number], place=place, note=notes, photo=photos)
    return data(_detail(detail, visitor.texts, zone, products, names))


@routes.get("/manager/api/alerts/{alert}/{number}")
async def one_finding(request: web.Request) -> web.StreamResponse:
    """A finding's reps with the last three visits of each, as far as this manager may see them."""
    site, (visitor, manager) = request.app[SITE], await manager_of(request)
    alert, number = _number(request, "alert"), _number(request, "number")
    zone = ZoneInfo(site.limits.time_zone)

    def find(work: Work) -> tuple[Finding, list[tuple[str, list[VisitLine]]], dict[str, Product]]:
        finding = day_report.finding_of(work, manager, alert, number)
        if finding is None:
            raise Refusal(404, "not_found")
        reps = people.employees(work, finding.reps)
        last = zip(reps.values(), day_report.last_visits(work, list(reps)), strict=True)
        return finding, [(rep.name, lines) for rep, lines in last], _products(work)

    finding, reps, products = await site.look(find, scope_of(manager))
    shown = [line for _, lines in reps for line in lines]
    await _seen(request, manager, {line.rep.code for line in shown}, visit=[line.visit.id for line in shown])
    words = visitor.texts
    return data(
        {
            "text": _finding(finding, words),
            "reps": [
                {"name": name, "visits": [_row(line, words, zone, products) for line in lines]} for name, lines in reps
            ],
        }
    )


@routes.get("/manager/api/photos/{id}")
async def photo(request: web.Request) -> web.StreamResponse:
    return await _file(request, figures.photo_file, "photo")


@routes.get("/manager/api/notes/{id}/audio")
async def recording(request: web.Request) -> web.StreamResponse:
    return await _file(request, figures.note_file, "note")


async def _file(
    request: web.Request, find: Callable[[Work, int], figures.FileOf | None], table: str
) -> web.StreamResponse:
    """A file is seen through its row alone, and that row within the scope."""
    site, (_, manager) = request.app[SITE], await manager_of(request)
    number = _number(request, "id")
    found = await site.look(lambda work: find(work, number), scope_of(manager))
    if found is None:
        raise Refusal(404, "not_found")
    await _seen(request, manager, {found.rep}, **{table: [number]})
    return await file_response(request, site.files, found.file, found.mime)


async def _seen(request: web.Request, manager: Employee, whose: Collection[str], **rows: Sequence[int]) -> None:
    """Leave in the audit trail what is about to be shown. Nothing is shown where that fails."""
    if not whose:
        return
    site = request.app[SITE]
    kept = {name: tuple(numbers) for name, numbers in rows.items() if numbers}
    entry = Entry(site.clock(), manager.code, manager.role.value, CHANNEL, Action.VIEW, tuple(sorted(whose)), kept)
    await site.change(lambda work: audit.add(work, entry), scope_of(manager))


def _undelivered(line: UndeliveredLine, words: Texts, zone: ZoneInfo) -> str:
    """One message that did not arrive: whose, what kind, when, and why."""
    return words.say(
        "web.manager.undelivered_waits" if line.waits else "web.manager.undelivered_over",
        {
            "name": line.person.name,
            "what": words.say(f"web.message.{line.intent}"),
            "at": _clock(line.made_at, zone),
            "why": words.say(out_of_reach.why_key(line.why)),
        },
    )


def _row(line: VisitLine, words: Texts, zone: ZoneInfo, products: dict[str, Product]) -> dict[str, Any]:
    """A visit as a row; `lasted` in whole minutes, None while it is open."""
    visit, outcome = line.visit, _outcome(line.visit)
    return {
        "id": visit.id,
        "at": _clock(visit.opened_at, zone),
        "on": _date(visit.opened_at, zone),
        "rep": line.rep.name,
        "outlet": line.outlet.name if line.outlet else words.say("card.no_outlet"),
        "district": line.district,
        "outcome": {"code": outcome, "text": words.say(f"outcome.{outcome}")} if outcome else None,
        "grade": _grade(visit.grade, words),
        "lasted": None if visit.left_at is None else int(rules_visit.duration(visit).total_seconds() // 60),
        "summary": _summary(visit, words, products),
        "late_entry": visit.late_entry,
    }


def _detail(
    detail: VisitDetail, words: Texts, zone: ZoneInfo, products: dict[str, Product], names: dict[str, str]
) -> dict[str, Any]:
    visit, outlet = detail.line.visit, detail.line.outlet
    return {
        **_row(detail.line, words, zone, products),
        "address": outlet.address if outlet else "",
        "left": _clock(visit.left_at, zone) if visit.left_at else None,
        "place": _distance(detail.place, detail.metres, words, zone),
        "photos": [_photo(item, words, zone) for item in detail.photos],
        "notes": [_note(item, words, zone) for item in detail.notes],
        "answers": [
            {
                "name": words.say(f"field.{name}"),
                "value": sentence(words, value_say(name, answer, {}, products)),
                "quote": answer.quote,
                "before": _before(visit, name, words, products),
                "sure": answer.sure,
                "source": words.say(f"web.source.{answer.source.value}"),
            }
            for name, answer in visit.answers.items()
            if name not in _SHOWN_AS_EVIDENCE and answer.value not in (None, "", [])
        ],
        "follow_ups": [
            {
                "when": sentence(words, window_say(item.window)),
                "what": item.what,
                "state": words.say(f"web.todo.{item.state.value}"),
                "by_itself": item.made_by_itself,
            }
            for item in detail.follow_ups
        ],
        "appeals": [_appeal(item, words, zone, names) for item in detail.appeals],
    }


def _before(visit: Visit, name: str, words: Texts, products: dict[str, Product]) -> str:
    """What stood in an answer before the rep corrected it, in words."""
    answer = visit.answers[name]
    if answer.original in (None, "", []):
        return ""
    earlier = rules_visit.Answer(answer.original, answer.source)
    return sentence(words, value_say(name, earlier, {}, products))


def _distance(place: Place | None, metres: float | None, words: Texts, zone: ZoneInfo) -> str:
    """Where the rep was, in words instead of a map."""
    if place is None:
        return words.say("web.manager.no_place")
    parts = [words.say(f"web.place.{place.kind.value}"), _clock(place.at, zone)]
    if metres is not None:
        parts.append(words.say("web.manager.metres", {"metres": round(metres)}))
    if place.accuracy_m is not None:
        parts.append(words.say("web.manager.accuracy", {"metres": round(place.accuracy_m)}))
    return " · ".join(parts)


def _photo(photo: Photo, words: Texts, zone: ZoneInfo) -> dict[str, Any]:
    notes = [words.say("web.manager.sent_at", {"at": _clock(photo.at, zone)})]
    if photo.taken_at is not None:
        taken = f"{_date(photo.taken_at, zone)} {_clock(photo.taken_at, zone)}"
        notes.append(words.say("web.manager.taken_at", {"at": taken}))
    if photo.same_as is not None:
        notes.append(words.say("web.manager.same_photo", {"visit": photo.same_as}))
    return {"src": f"/manager/api/photos/{photo.id}", "text": " · ".join(notes), "used": photo.same_as is not None}


def _state(note: Note, words: Texts) -> str:
    if note.words_from:
        return words.say("web.note.by_channel", {"channel": words.say(f"channel.{note.words_from}")})
    return words.say(f"web.note.{note.state}")


def _note(note: Note, words: Texts, zone: ZoneInfo) -> dict[str, Any]:
    return {
        "at": _clock(note.at, zone),
        "text": note.text,
        "state": _state(note, words),
        "seconds": note.seconds,
        "src": f"/manager/api/notes/{note.id}/audio" if note.file else None,
    }


def _appeal(appeal: Appeal, words: Texts, zone: ZoneInfo, names: dict[str, str]) -> dict[str, Any]:
    return {
        "words": appeal.words,
        "at": f"{_date(appeal.at, zone)} {_clock(appeal.at, zone)}",
        "state": words.say(f"web.appeal.{appeal.state}"),
        "by": names.get(appeal.decided_by or "", ""),
    }


def _grade(grade: Grade | None, words: Texts) -> dict[str, Any] | None:
    if grade is None:
        return None
    return {
        "code": grade.level.value,
        "text": words.say(f"level.{grade.level.value}"),
        "reasons": [words.say(f"reason.{reason.code}", reason.values) for reason in grade.reasons],
    }


def _summary(visit: Visit, words: Texts, products: dict[str, Product]) -> str:
    """摘要: the problem, then the reason and the goods, as far as the rep confirmed them."""
    told = [name for name in ("problem", "close_factor", "root_cause", "orders") if visit.sure(name)]
    values = (sentence(words, value_say(name, visit.answers[name], {}, products)) for name in told)
    return "；".join(value.rstrip("。") for value in values if value)


def _finding(finding: Finding, words: Texts) -> str:
    values = {
        "district": finding.district,
        "count": len(finding.reps),
        "days": finding.days,
        "visits": len(finding.visits),
    }
    return sentence(words, Say(f"alert_line.{finding.rule.value}", values)).lstrip("· ")  # no list mark outside a list


def _outcome(visit: Visit) -> str | None:
    return visit.outcome.value if visit.outcome is not None and visit.sure("outcome") else None


def _products(work: Work) -> dict[str, Product]:
    return {item.code: item for item in firm.products(work)}


def _clock(at: datetime, zone: ZoneInfo) -> str:
    return f"{at.astimezone(zone):%H:%M}"


def _date(at: datetime, zone: ZoneInfo) -> str:
    return f"{at.astimezone(zone):%m-%d}"


def _day(text: str | None, today: date) -> date:
    try:
        return today if text is None else date.fromisoformat(text)
    except ValueError:
        raise Refusal(400, "bad") from None


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise Refusal(400, "bad")
    return int(text)


def _number(request: web.Request, name: str) -> int:
    text = request.match_info[name]
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise Refusal(404, "not_found")
    return int(text)
