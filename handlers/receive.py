"""The one door. Whatever a person did on whatever channel goes through `receive`, in one transaction."""

import logging
from dataclasses import replace
from datetime import datetime

from handlers import commands, evidence_in, joining, offered, typed
from handlers.evidence_in import Prepared
from handlers.messages import Incoming, Kind
from handlers.tools import Tools
from handlers.turn import Turn
from handlers.typed import LONGEST_TEXT, SHORTEST_NOTE
from handlers.wire import incoming_from_plain
from nlp.understand import Understander
from rules.people import Employee, Part, scope_of, system
from storage import inbox, outbox, people
from storage.database import Database, Work
from storage.inbox import Delivery
from storage.people import Account

log = logging.getLogger(__name__)


def receive(database: Database, tools: Tools, delivery_id: int, now: datetime) -> None:
    """As `apply`, of a delivery that is known by its number alone."""
    with database.read() as work:
        delivery = inbox.load(work, delivery_id)
    if delivery is not None:
        apply(database, tools, delivery, now)


def apply(database: Database, tools: Tools, delivery: Delivery, now: datetime) -> None:
    """Apply one delivery, as it is stored: what it changes, what is said back, and that it is done, all in one commit.

    Applying it again does nothing. Raises whatever went wrong in us; then nothing of it was kept.
    """
    if delivery.message is None:
        return
    message = incoming_from_plain(delivery.message, delivery.id)
    prepared = evidence_in.prepare(tools, message)
    if len(message.text) >= SHORTEST_NOTE and _is_known(database, delivery):
        tools.ear.think_ahead(database, message.text, min(message.at, now))
    with database.work(system(Part.INTAKE), shares=True) as work:
        ear = tools.ear.as_of(database, work)
        if ear is not None:
            _take(work, tools, ear, delivery, message, prepared, now)
            return
    ear = tools.ear.of(database)  # takes about a second, so it is built outside
    with database.work(system(Part.INTAKE), shares=True) as work:
        _take(work, tools, ear, delivery, message, prepared, now)


def _take(
    work: Work,
    tools: Tools,
    ear: Understander,
    delivery: Delivery,
    message: Incoming,
    prepared: Prepared,
    now: datetime,
) -> None:
    if inbox.take(work, delivery.id, now) and not _apply(work, tools, ear, delivery, message, prepared, now):
        inbox.ignored(work, delivery.id)


def _is_known(database: Database, delivery: Delivery) -> bool:
    """Whether somebody of the firm wrote it: what strangers say is read by nobody, a plug-in least of all."""
    with database.read(system(Part.INTAKE)) as work:
        return people.knows(work, delivery.channel, delivery.person.partition(":")[2])


def apologise(database: Database, delivery_id: int, now: datetime) -> None:
    """A message was set aside after several tries: the person is told that it is kept and somebody will look."""
    with database.work(system(Part.INTAKE)) as work:
        joining.apologise(work, delivery_id, now)


def _apply(
    work: Work,
    tools: Tools,
    ear: Understander,
    delivery: Delivery,
    message: Incoming,
    prepared: Prepared,
    now: datetime,
) -> bool:
    user_ref = delivery.person.partition(":")[2]
    met = people.account(work, delivery.channel, user_ref)
    account = joining.recognise(work, delivery, user_ref, now)
    if message.kind is Kind.JOIN and message.text:
        return joining.join(work, delivery, user_ref, message, now)
    account, employee = _on_behalf_of(work, delivery.channel, account)
    if account is None or employee is None or not employee.active:
        return joining.refuse(work, delivery, user_ref, message, now)
    if message.kind is Kind.LEAVE:
        people.out_of_reach(work, account.id, "left", now)
        return True
    if message.kind is Kind.NOTICE:
        return False
    if message.kind is Kind.ENTER and met is None:
        message = replace(message, kind=Kind.JOIN)
    if not account.reachable:
        people.set_reachable(work, account.id, True)
    turn = Turn(work, tools, ear, now, min(message.at, now), account, employee, message)
    turn.set_account(reachable=True, chat_ref=delivery.chat_ref)
    if message.kind is not Kind.EDIT:
        turn.released = outbox.release(work, delivery.channel, delivery.chat_ref, now)
    handle(turn, message, prepared)
    key = f"album:{account.id}:{message.album}" if message.album else f"in:{delivery.id}"
    turn.finish(key)
    return True


def _on_behalf_of(work: Work, channel: str, met: Account | None) -> tuple[Account | None, Employee | None]:
    """From here on for whoever wrote, alone with what they do: what is outside of their scope is not there."""
    while met is not None:
        employee = people.employee(work, met.employee)
        if employee is None or not employee.active:
            return met, employee
        work.act_for(scope_of(employee))
        people.alone(work, employee.code)
        # Read anew by statements of their own: one that waited for the lock itself would see what was before it waited.
        now = people.employee(work, employee.code)
        account = people.account(work, channel, met.user_ref) if now == employee else None
        if account is not None:
            return account, employee
        work.act_for(system(Part.INTAKE))  # while this waited, the person or whose the account is was changed
        met = people.account(work, channel, met.user_ref)
    return None, None


def handle(turn: Turn, message: Incoming, prepared: Prepared) -> None:
    """What a message of a known person does."""
    if prepared.problem:
        turn.say(prepared.problem)
        offered.remind_of_question(turn)
    elif message.kind is Kind.TAP:
        offered.tapped(turn, message.tapped)
    elif message.kind is Kind.JOIN:
        commands.start(turn)
    elif message.kind is Kind.ENTER:
        return
    elif message.kind is Kind.EDIT and message.place is None:
        turn.say("edit.not_taken")
        offered.remind_of_question(turn)
    elif message.kind is Kind.TEXT:
        typed.text(turn, message.text)
    elif turn.employee.manages:
        if message.kind is not Kind.EDIT:
            turn.say("help.manager")
    elif message.place is not None:
        evidence_in.take_place(turn, message.place, track=message.kind is Kind.EDIT)
    elif message.kind is Kind.PHOTO and message.media is not None and prepared.photo is not None:
        evidence_in.take_photo(turn, message.media, prepared.photo, _summary_in(message.text))
    elif message.kind is Kind.VOICE and message.media is not None:
        evidence_in.take_voice(turn, message.media)
    else:
        turn.say("other.not_taken")
        offered.remind_of_question(turn)


def _summary_in(caption: str) -> str:
    """A photo's caption where it tells of the visit, else nothing."""
    caption = caption[:LONGEST_TEXT].strip()
    return caption if len(caption) >= SHORTEST_NOTE and commands.read_command(caption) is None else ""
