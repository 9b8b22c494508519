"""Who may talk to the bot: a one-time invite ties a chat account to an employee; others get a polite refusal."""

from datetime import datetime

from handlers.messages import Incoming, Kind, Reply, Say
from handlers.turn import outgoing
from handlers.wire import reply_to_plain
from rules.people import Employee
from storage import inbox, outbox, people
from storage.database import Work
from storage.inbox import Delivery
from storage.outbox import Outgoing
from storage.people import Account
from texts import DEFAULT


def join(work: Work, delivery: Delivery, user_ref: str, message: Incoming, now: datetime) -> bool:
    """Use an invite. A used, expired or invented one is refused with the same words."""
    code = people.use_invite(work, message.text, now)
    employee = people.employee(work, code) if code is not None else None
    if employee is None or not employee.active:
        known = people.account(work, delivery.channel, user_ref)
        if known is not None:
            outbox.queue(
                work, outgoing(known, Reply(Say("join.again")), now, f"in:{delivery.id}", in_reply_to=delivery.id)
            )
            return True
        return refuse(work, delivery, user_ref, message, now)
    account = people.link(
        work,
        Account(delivery.channel, user_ref, delivery.chat_ref, employee.code, DEFAULT),
        now,
    )
    greet(work, account, employee, now, f"in:{delivery.id}", delivery.id)
    return True


def greet(
    work: Work, account: Account, employee: Employee, now: datetime, dedupe_key: str, in_reply_to: int | None = None
) -> None:
    """The first words to an account that was just tied: who it is tied to, and how a visit goes."""
    key = "hello.manager" if employee.manages else "hello.rep"
    lines = [Say("join.welcome", {"name": employee.name}), Say(key, {"name": employee.name})]
    reply = Reply(Say("lines", {"lines": lines}), wants_place=not employee.manages)
    outbox.queue(work, outgoing(account, reply, now, dedupe_key, in_reply_to=in_reply_to))


def recognise(work: Work, delivery: Delivery, user_ref: str, now: datetime) -> Account | None:
    """The account this comes from. Where the import names the accounts, its word holds: the first message ties one
    to its employee, and one that it no longer names is nobody's.
    """
    known = people.account(work, delivery.channel, user_ref)
    if not people.tied_by_import(delivery.channel):
        return known
    employee = people.employee_of_login(work, delivery.channel, user_ref)
    if employee is None:
        return None
    if known is not None and known.employee == employee.code:
        return known
    return people.link(work, Account(delivery.channel, user_ref, delivery.chat_ref, employee.code, DEFAULT), now)


def refuse(work: Work, delivery: Delivery, user_ref: str, message: Incoming, now: datetime) -> bool:
    """One fixed answer a day, no data, and nothing of what a stranger sent is kept."""
    inbox.forget_content(work, delivery.id)
    if message.kind not in (Kind.LEAVE, Kind.EDIT, Kind.ENTER, Kind.NOTICE):
        outbox.queue(
            work,
            Outgoing(
                dedupe_key=f"refuse:{delivery.channel}:{user_ref}:{now:%Y%m%d}",
                channel=delivery.channel,
                chat_ref=delivery.chat_ref,
                intent="refusal",
                body=reply_to_plain(Reply(_refusal(delivery.channel, user_ref)), None, DEFAULT),
                made_at=now,
                due_at=now,
                in_reply_to=delivery.id,
            ),
        )
    return False


def _refusal(channel: str, user_ref: str) -> Say:
    """Where the import names the accounts no invite helps: the own account is told, for whoever keeps the table."""
    return Say("not_named", {"account": user_ref}) if people.tied_by_import(channel) else Say("join.refused")


def apologise(work: Work, delivery_id: int, now: datetime) -> None:
    """We are broken: the message is set aside, and its sender knows."""
    delivery = inbox.of_id(work, delivery_id)
    account = people.account(work, delivery.channel, delivery.person.partition(":")[2]) if delivery else None
    if delivery is not None and account is not None:
        reply = Reply(Say("broken.apology", {"number": delivery.id}))
        outbox.queue(work, outgoing(account, reply, now, f"broken:{delivery.id}", in_reply_to=delivery.id))
