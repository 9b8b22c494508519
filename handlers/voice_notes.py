"""What becomes of a voice note once the recogniser has listened, or could not."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from handlers.messages import Reply, Say
from handlers.tools import Tools
from handlers.turn import Turn, outgoing, reachable
from handlers.visit_talk import go_on, understand
from nlp.understand import Understander
from rules.visit import Answer, Source, State, Visit
from storage import evidence, jobs, outbox, people, visits
from storage.database import Work
from storage.evidence import Note

LISTENING_LONG = timedelta(seconds=10)
STILL_NEWS = timedelta(minutes=1)  # later than that the card itself is what the rep wants
LISTENING_STALE = timedelta(hours=1)  # older ones wait for something else than the recogniser's speed


@dataclass(frozen=True, slots=True)
class Heard:
    """`state`: heard, silent (nothing was said), broken, no_model. `problem` is a text key under `media.`."""

    state: str
    text: str = ""
    confidence: float | None = None
    engine: str = ""
    seconds: float | None = None
    truncated: bool = False
    unsure: bool = (
        False  # the recogniser itself puts little trust in it: shown to the rep, but nothing is taken from it
    )
    problem: str = ""
    by_channel: bool = False  # the words are the channel's own, not our recogniser's


def note_heard(
    work: Work,
    tools: Tools,
    ear: Understander,
    note_id: int,
    account_id: int,
    heard: Heard,
    now: datetime,
    cause: int | None = None,
) -> None:
    """Keep what was heard, put it into the visit, and tell the rep with the card. Hearing twice changes nothing.

    `cause` is the delivery that brought the note.
    """
    note = evidence.note(work, note_id)
    if note is not None:
        people.alone(work, note.rep)
        note = evidence.note(work, note_id)
    if note is None or note.state not in ("waiting", "no_model"):
        return
    state = "unsure" if heard.unsure else heard.state
    evidence.heard(
        work,
        note_id,
        now,
        state=state,
        text=heard.text,
        confidence=heard.confidence,
        engine=evidence.BY_CHANNEL if heard.by_channel else heard.engine,
        seconds=heard.seconds,
    )
    turn = _turn(work, tools, ear, account_id, note, now)
    visit = visits.load(work, note.visit) if note.visit is not None else None
    if turn is None or visit is None or visit.state is State.VOID:
        return
    turn.cause = cause
    if note.state == "waiting" and note_id not in visit.ids("report"):
        return  # the rep took the note back while it was being listened to
    if heard.state == "heard":
        _joined(turn, visit, note_id, heard)
    else:
        _not_heard(turn, visit, note_id, heard)
    turn.finish(f"heard:{note_id}:{heard.state}")


def listen_again(work: Work, now: datetime) -> int:
    """The model is there now: ask for every note that was kept without one; how many."""
    waiting = evidence.notes_without_model(work)
    for note in waiting:
        accounts = people.accounts_of(work, note.rep)
        if accounts:
            jobs.put(work, "transcribe", {"note": note.id, "account": accounts[0].id}, now, lock=f"visit:{note.visit}")
    return len(waiting)


def still_listening(work: Work, now: datetime) -> int:
    """Tell a rep once, ten seconds after a note came, that it is still being listened to; how many were told."""
    told = 0
    for note in evidence.notes_waiting(work, now - LISTENING_LONG, now - LISTENING_STALE):
        visit = visits.load(work, note.visit) if note.visit is not None else None
        if visit is None or note.id not in visit.ids("report"):
            continue  # taken back
        for account in reachable(people.accounts_of(work, note.rep)):
            reply = Reply(Say("visit.voice.still"))
            key = f"listening:{note.id}:{account.id}"
            told += outbox.queue(work, outgoing(account, reply, now, key, not_after=now + STILL_NEWS)) is not None
    return told


def _joined(turn: Turn, visit: Visit, note_id: int, heard: Heard) -> None:
    before = visit
    if note_id not in visit.ids("report"):
        visit = visit.put("report", Answer([*visit.ids("report"), note_id], Source.REP))
    if visit.state is State.CLOSED:
        # Heard after the visit was closed by hand: the words are kept beside it, its answers stay the rep's.
        visits.save(turn.work, visit)
        visits.keep_change(turn.work, before, visit, turn.now, None, None)
        turn.say("visit.voice.late")
        return
    visit = understand(turn, visit)
    visits.save(turn.work, visit)
    # Nobody's message: 撤销 takes back the note itself, and with it what was heard in it.
    visits.keep_change(turn.work, before, visit, turn.now, None, None)
    if turn.account.current_visit is None:
        turn.set_account(current_visit=visit.id)
    if heard.truncated:
        turn.say("media.truncated")
    if heard.unsure:
        turn.say("visit.voice.unsure", text=heard.text)
    go_on(turn, visit, show_card=True)


def _not_heard(turn: Turn, visit: Visit, note_id: int, heard: Heard) -> None:
    """The clip gives no report. It is kept; the visit asks for another, or for a typed summary."""
    if visit.state is State.CLOSED:
        return
    rest: list[int] = [known for known in visit.ids("report") if known != note_id]
    after = visit.put("report", Answer([*rest], Source.REP)) if rest else visit.drop("report")
    after = understand(turn, after)
    visits.save(turn.work, after)
    turn.say(f"media.{heard.problem}" if heard.problem else f"visit.voice.{heard.state}")
    go_on(turn, after, show_card=bool(rest))


def _turn(work: Work, tools: Tools, ear: Understander, account_id: int, note: Note, now: datetime) -> Turn | None:
    account = people.account_by_id(work, account_id)
    employee = people.employee(work, note.rep)
    if employee is None or account.employee != note.rep:
        return None
    return Turn(work, tools, ear, now, now, account, employee)
