"""A pin, a photo, a voice note or a typed summary comes in: kept as evidence first, then put into the right visit."""

from dataclasses import dataclass, replace
from datetime import timedelta

from handlers.brief import brief
from handlers.messages import Incoming, Media, SentPlace
from handlers.photos import BadPhoto, PhotoFacts, near_same, read_photo
from handlers.steps import Said
from handlers.tools import Tools
from handlers.turn import Turn
from handlers.visit_talk import (
    changed,
    current_visit,
    go_on,
    grade_say,
    missing_fields,
    near_place,
    open_visit,
    outlet_title,
    touched,
    understand,
)
from handlers.visit_talk import grade as grade_of
from nlp.guards import plain_words
from rules import evidence as grades
from rules.evidence import Photo, Place, PlaceKind
from rules.outlets import Outlet, clear_match, nearby
from rules.people import Errand
from rules.places import Point, is_plausible, metres_between, to_wgs84
from rules.visit import Answer, Source, State, Visit
from storage import evidence, firm, jobs, photo_pieces, visits
from storage.evidence import Note

MAX_FILE_BYTES = 20 * 1024 * 1024
PAST_MIDNIGHT = timedelta(hours=2)  # a visit that goes on over midnight is still the same
DISTRICT_M = 10_000.0  # as far the nearest outlet tells the district of a new one
REUSE_DAYS = 365  # how far back the same photo is looked for


@dataclass(frozen=True, slots=True)
class Prepared:
    """What could be found out about a file before the transaction began: decoding is slow and needs no database."""

    photo: PhotoFacts | None = None
    problem: str = ""  # a text key


def prepare(tools: Tools, message: Incoming) -> Prepared:
    """Look at a message's file. Never raises for what is wrong with the file."""
    media = message.media
    if media is None:
        return Prepared()
    if media.problem:
        return Prepared(problem=f"media.{media.problem}")
    if message.kind.value != "photo" or not media.file:  # a stranger's file was never fetched
        return Prepared()
    if not media.file:  # a stranger's: it was not fetched, and is refused in a moment
        return Prepared(problem="media.gone")
    try:
        return Prepared(photo=read_photo(tools.files.get(media.file), tools.limits.time_zone))
    except BadPhoto as bad:
        return Prepared(problem=f"photo.{bad.reason}")


def take_place(turn: Turn, sent: SentPlace, *, track: bool) -> None:
    """A position: it fills the place of the visit it belongs to, or opens one."""
    raw = Point(sent.lat, sent.lon)
    if not is_plausible(raw):
        if not track:
            turn.say("visit.place.impossible")
        return
    place = Place(
        point=to_wgs84(raw, sent.datum),
        kind=sent.kind,
        at=turn.at,
        raw=raw,
        datum=sent.datum,
        accuracy_m=sent.accuracy_m,
        fixed_at=sent.fixed_at,
    )
    place = replace(place, id=evidence.add_place(turn.work, turn.employee.code, place, turn.inbox_id))
    current = _current(turn)
    if track and current is None:
        turn.lines.clear()  # a live location goes on after its visit ended; nobody is spoken to for that
        return
    place = _fixed_just_before(turn, place) or place
    visit, before = _visit_for(turn, place, current, track=track)
    if visit is None:
        return
    if current is not None and before is not None and visit.id != current.id:
        turn.set_account(current_visit=visit.id)
        turn.say("switch.done", outlet=outlet_title(turn, visit))
    known = _place_of(turn, visit)
    if known is not None and not grades.better(place, known):
        if not track:
            if not turn.lines:
                turn.say("visit.place.again")
            go_on(turn, visit)
        return
    visit, _ = turn.tools.flow.take(touched(turn, visit), Said(place=place.id))
    visit = _settle_outlet(turn, visit, place)
    changed(turn, before, visit)
    if track:
        return
    outlet = firm.sign(turn.work, visit.outlet) if visit.outlet else None
    if outlet is not None:
        turn.say("visit.at_outlet", outlet=outlet.name)
        graded = grade_of(turn, visit)
        if graded is not None and graded.level is grades.Level.DOUBTFUL:
            turn.lines.append(grade_say(graded))
        turn.lines += brief(turn.work, outlet, turn.now, turn.tools.limits.time_zone)
    elif not near_place(turn, visit):
        turn.say("visit.outlet.none_near", metres=round(turn.tools.limits.fence_m))
    go_on(turn, visit)


def take_photo(turn: Turn, media: Media, facts: PhotoFacts, caption: str = "") -> None:
    """A photo joins the open visit, or opens one; one that was used for another visit is flagged, not refused.

    A caption that tells of the visit is a typed summary; both are one change, so one 撤销 takes back both.
    """
    visit, before = _current_or_new(turn)
    photo = Photo(
        file=media.file,
        at=turn.at,
        taken_at=facts.taken_at,
        taken_where=facts.taken_where,
        phash=facts.phash,
        same_as=_used_before(turn, visit.id, media.file, facts),
    )
    photo_id = evidence.add_photo(
        turn.work,
        turn.employee.code,
        visit.id,
        photo,
        mime=facts.mime,
        size=(facts.width, facts.height),
        phash_quality=facts.phash_quality,
        inbox=turn.inbox_id,
    )
    visit, _ = turn.tools.flow.take(touched(turn, visit), Said(photo=photo_id))
    if photo.same_as is not None:
        turn.say("visit.photo.used_before", visit=photo.same_as)
    else:
        turn.say("visit.photo.taken", count=len(visit.ids("photo")))
    if caption:
        visit = _typed(turn, visit, caption)
    go_on(turn, changed(turn, before, visit), show_card=bool(caption))


def take_voice(turn: Turn, media: Media) -> None:
    """A voice note is kept with the visit and given to the recogniser; the rep hears back when it has listened.

    What the channel itself recognised is kept beside it, for the case that ours cannot (scheduler.worker.listen).
    """
    if media.size == 0:
        turn.say("media.empty")
        return
    visit, before = _current_or_new(turn)
    note = Note(
        rep=turn.employee.code,
        at=turn.at,
        state="waiting",
        visit=visit.id,
        file=media.file,
        mime=media.mime,
        seconds=media.seconds,
        channel=turn.account.channel,
        channel_text="" if turn.tools.channel_words == "never" else plain_words(media.recognised),
    )
    note_id = evidence.add_note(turn.work, note, turn.inbox_id)
    jobs.put(
        turn.work,
        "transcribe",
        {"note": note_id, "account": turn.account.id, "inbox": turn.inbox_id},
        turn.now,
        lock=f"visit:{visit.id}",
    )
    visit, _ = turn.tools.flow.take(touched(turn, visit), Said(note=note_id))
    changed(turn, before, visit)
    turn.later = True
    turn.say("visit.voice.taken" if media.seconds else "visit.voice.taken_plain", seconds=round(media.seconds or 0))
    step = turn.tools.flow.open_step(visit)
    if step is not None and step.evidence and step.name != "outlet":
        go_on(turn, visit)


def take_typed_note(turn: Turn, text: str) -> None:
    """A typed summary is a note like a spoken one, and is understood at once."""
    visit, before = _current_or_new(turn)
    go_on(turn, changed(turn, before, _typed(turn, visit, text)), show_card=True)


def add_outlet_found(turn: Turn, visit: Visit, name: str) -> Visit:
    """新客户: register the outlet the rep stands at; it counts for the 新客开发目标 of the day."""
    places = evidence.places(turn.work, [i for i in (visit.value("place"),) if isinstance(i, int)])
    point = next(iter(places.values())).point if places else None
    outlet = Outlet(
        code=firm.next_outlet_code(turn.work),
        name=name,
        kind="",
        district=_district(turn, point),
        address="",
        point=point,
        rep=turn.employee.code,
        first_contact_on=turn.at.astimezone(turn.tools.zone).date(),
    )
    firm.add_outlet(turn.work, outlet, visit.id)
    after = turn.tools.flow.answer(visit, "outlet", outlet.code)
    return changed(turn, visit, after)


def _typed(turn: Turn, visit: Visit, text: str) -> Visit:
    """The visit with a typed note, understood."""
    note = Note(rep=turn.employee.code, at=turn.at, state="typed", visit=visit.id, text=text)
    note_id = evidence.add_note(turn.work, note, turn.inbox_id)
    visit, _ = turn.tools.flow.take(touched(turn, visit), Said(note=note_id))
    return understand(turn, visit)


def _current_or_new(turn: Turn) -> tuple[Visit, Visit | None]:
    """(the visit evidence belongs to, the same as it was before or None when it begins now)."""
    current = _current(turn)
    return (current, current) if current is not None else (open_visit(turn), None)


def _current(turn: Turn) -> Visit | None:
    """The open visit that fresh evidence belongs to. One left open on an earlier day takes no more by itself."""
    current = current_visit(turn)
    if current is None:
        return None
    zone = turn.tools.zone
    last = current.touched_at or current.opened_at
    same_day = turn.at.astimezone(zone).date() <= last.astimezone(zone).date()
    if same_day or turn.at - last <= PAST_MIDNIGHT:
        return current
    turn.say("visit.second_open", names=missing_fields(current))
    return None


def _visit_for(turn: Turn, place: Place, current: Visit | None, *, track: bool) -> tuple[Visit | None, Visit | None]:
    """Which visit a pin belongs to: the current one while it may, another open one at that outlet, else a new one."""
    if current is not None:
        here = _place_of(turn, current)
        if here is None or _same_spot(turn, current, here, place):
            return current, current
    if track:
        return None, None
    match = _match(turn, place)
    for other in visits.open_visits(turn.work, turn.employee.code):
        if match is not None and other.outlet == match.code:
            return other, other
    if current is not None:
        turn.say("visit.second_open", names=missing_fields(current))
    return open_visit(turn), None


def _same_spot(turn: Turn, visit: Visit, here: Place, new: Place) -> bool:
    limits = turn.tools.limits
    outlet = firm.sign(turn.work, visit.outlet) if visit.outlet else None
    anchor = outlet.point if outlet is not None and outlet.point is not None else here.point
    reach = limits.fence_m + (new.accuracy_m or 0.0)
    return min(metres_between(anchor, new.point), metres_between(here.point, new.point)) <= reach


def _match(turn: Turn, place: Place) -> Outlet | None:
    limits = turn.tools.limits
    close_by = firm.outlets_around(turn.work, place.point, 2 * limits.fence_m)
    near = nearby(place.point, close_by, limits.fence_m, place.accuracy_m or 0.0)
    own = [item for item in near if item.outlet.rep == turn.employee.code]
    return clear_match(own, limits.clear_match_ratio, place.accuracy_m or 0.0)


def _settle_outlet(turn: Turn, visit: Visit, place: Place) -> Visit:
    """One clear outlet at the pin is taken, and so is one that pin and note agree on; else it will be asked."""
    near = near_place(turn, visit)
    own = [item for item in near if item.outlet.rep == turn.employee.code]
    own_match = clear_match(own, turn.tools.limits.clear_match_ratio, place.accuracy_m or 0.0)
    named = visit.value("outlet")
    if named is None:
        if own_match is not None:
            visit = visit.put("outlet", Answer(own_match.code, Source.PIN))
        return understand(turn, visit) if visit.proposals else visit
    if any(item.outlet.code == named for item in near):
        return visit.put("outlet", replace(visit.answers["outlet"], sure=True))
    if own_match is not None:
        return visit.drop("outlet")
    return visit


def _fixed_just_before(turn: Turn, pin: Place) -> Place | None:
    """What the app itself reported, a moment ago and at the same spot as this pin: that is the stronger evidence.

    One that tells of another spot says nothing about the pin: the rep went on since.
    """
    if pin.kind not in (PlaceKind.PIN, PlaceKind.VENUE):
        return None
    limits = turn.tools.limits
    since = turn.at - timedelta(minutes=limits.pin_fresh_minutes)
    fix = evidence.last_place(turn.work, turn.employee.code, PlaceKind.REPORT, since, turn.at)
    if fix is None or metres_between(fix.point, pin.point) > limits.fence_m + (fix.accuracy_m or 0.0):
        return None
    return fix


def _place_of(turn: Turn, visit: Visit) -> Place | None:
    value = visit.value("place")
    return evidence.places(turn.work, [value]).get(value) if isinstance(value, int) else None


def _used_before(turn: Turn, visit: int, file: str, facts: PhotoFacts) -> int | None:
    """The earliest other visit that holds this picture, or nearly this picture; one taken back holds none."""
    since = turn.at - timedelta(days=REUSE_DAYS)
    bits = turn.tools.limits.near_same_bits
    with turn.work.beyond(Errand.SAME_PHOTO):  # whoever made that visit: its number is all that leaves here
        near = photo_pieces.near(turn.work, facts.phash, facts.phash_quality, file, bits, since, visit)
        for photo, other, other_file, phash, quality in near:
            if other_file == file or near_same(facts.phash, facts.phash_quality, phash, quality, bits):
                holder = visits.load(turn.work, other) if other is not None else None
                if holder is not None and holder.state is not State.VOID and photo in holder.ids("photo"):
                    return other
    return None


def _district(turn: Turn, point: Point | None) -> str:
    """The district of the nearest known outlet that lies in one of the rep's own, else the rep's first."""
    own = turn.employee.districts
    if point is not None:
        around = [
            (metres_between(point, outlet.point), outlet.district)
            for outlet in firm.outlets_around(turn.work, point, DISTRICT_M)
            if outlet.point is not None and (not own or outlet.district in own)
        ]
        if around:
            return min(around)[1]
    return own[0] if own else ""
