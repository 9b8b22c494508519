"""Employees, the chat accounts tied to them, invites, and the questions each account was asked."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update

from rules.people import Employee, Role
from storage.database import Work, insert
from storage.tables import AccountRow, EmployeeRow, InviteRow, QuestionRow


@dataclass(frozen=True, slots=True)
class Account:
    """A chat account of an employee. `expects` is what the next free text is for, beside the visit's own questions."""

    channel: str
    user_ref: str
    chat_ref: str
    employee: str
    language: str = "zh-CN"
    reachable: bool = True
    current_visit: int | None = None
    current_question: int | None = None
    expects: dict[str, Any] | None = None
    id: int = 0


@dataclass(frozen=True, slots=True)
class Question:
    """What was offered to be tapped: the values, in the order shown."""

    account: int
    about: str
    subject: int
    step: str
    options: tuple[str, ...]
    asked_at: datetime
    multi: bool = False
    answered_at: datetime | None = None
    id: int = 0


GROUPS = "wecom_group"  # the channel whose accounts are groups of people; each belongs to a manager
_NAMED_IN_IMPORT = {"wecom": EmployeeRow.wecom}


def staff(work: Work) -> list[Employee]:
    return [_employee(row) for row in work.session.scalars(select(EmployeeRow).order_by(EmployeeRow.code))]


def employee(work: Work, code: str) -> Employee | None:
    row = work.session.get(EmployeeRow, code)
    return None if row is None else _employee(row)


def employee_named(work: Work, name_or_code: str) -> Employee | None:
    """By 工号 or, where only one bears it, by name."""
    row = work.session.get(EmployeeRow, name_or_code)
    if row is None:
        named = work.session.scalars(select(EmployeeRow).where(EmployeeRow.name == name_or_code)).all()
        row = named[0] if len(named) == 1 else None
    return None if row is None else _employee(row)


def tied_by_import(channel: str) -> bool:
    """Whether the firm's own 业务员 table says whose account is whose on this channel: then nobody needs an invite."""
    return channel in _NAMED_IN_IMPORT


def employee_of_login(work: Work, channel: str, user_ref: str) -> Employee | None:
    """Who works here and is named by this account in the import; one that two people bear is nobody's."""
    column = _NAMED_IN_IMPORT.get(channel)
    if column is None or not user_ref:
        return None
    rows = work.session.scalars(select(EmployeeRow).where(column == user_ref, EmployeeRow.active)).all()
    return _employee(rows[0]) if len(rows) == 1 else None


def knows(work: Work, channel: str, user_ref: str) -> bool:
    """Whether this is somebody of the firm, whose files may be fetched: an account that is tied, or is about to be."""
    if tied_by_import(channel):
        return employee_of_login(work, channel, user_ref) is not None
    return account(work, channel, user_ref) is not None


def alone(work: Work, code: str) -> None:
    """Only one transaction at a time works on what an employee does: the messages of all the accounts, the notes heard,
    a manager's decision. What was read before is out of date now and read anew when it is asked for again.
    """
    work.alone(f"employee:{code}")
    work.session.expire_all()


def save_employees(work: Work, people: Sequence[Employee]) -> None:
    """New and changed people. An account that the import no longer names stops getting what is pushed."""
    for person in people:
        work.session.merge(
            EmployeeRow(
                code=person.code,
                name=person.name,
                role=person.role.value,
                districts=list(person.districts),
                manager=person.manager,
                active=person.active,
                wecom=person.wecom,
            )
        )
        for channel, login in (("wecom", person.wecom),):
            work.session.execute(
                update(AccountRow)
                .where(AccountRow.channel == channel, AccountRow.employee == person.code, AccountRow.user_ref != login)
                .values(reachable=False)
            )
    work.session.flush()


def account(work: Work, channel: str, user_ref: str) -> Account | None:
    row = work.session.scalar(select(AccountRow).where(AccountRow.channel == channel, AccountRow.user_ref == user_ref))
    return None if row is None else _account(row)


def account_by_id(work: Work, account_id: int) -> Account:
    return _account(work.session.get_one(AccountRow, account_id))


def accounts_of(work: Work, employee_code: str) -> list[Account]:
    rows = work.session.scalars(select(AccountRow).where(AccountRow.employee == employee_code).order_by(AccountRow.id))
    return [_account(row) for row in rows]


def accounts(work: Work) -> list[Account]:
    return [_account(row) for row in work.session.scalars(select(AccountRow).order_by(AccountRow.id))]


def group_accounts(work: Work) -> list[Account]:
    rows = work.session.scalars(select(AccountRow).where(AccountRow.channel == GROUPS).order_by(AccountRow.id))
    return [_account(row) for row in rows]


def link(work: Work, made: Account, now: datetime) -> Account:
    """Tie a chat account to an employee; one that was tied to somebody else before is moved."""
    work.alone(f"account:{made.channel}:{made.user_ref}")
    row = work.session.scalar(
        select(AccountRow).where(AccountRow.channel == made.channel, AccountRow.user_ref == made.user_ref)
    )
    if row is None:
        row = AccountRow(channel=made.channel, user_ref=made.user_ref, chat_ref=made.chat_ref, linked_at=now)
        work.session.add(row)
    row.chat_ref, row.employee, row.language = made.chat_ref, made.employee, made.language
    row.reachable, row.linked_at = True, now
    row.current_visit = row.current_question = row.expects = None
    work.session.flush()
    return _account(row)


def save_account(work: Work, kept: Account) -> None:
    """Only what differs from what this transaction read is written: a reminder may ask something in the meantime."""
    row = work.session.get_one(AccountRow, kept.id)
    row.chat_ref, row.language, row.reachable = kept.chat_ref, kept.language, kept.reachable
    row.current_visit, row.current_question, row.expects = kept.current_visit, kept.current_question, kept.expects
    work.session.flush()


def set_reachable(work: Work, account_id: int, reachable: bool) -> None:
    work.session.execute(update(AccountRow).where(AccountRow.id == account_id).values(reachable=reachable))


@dataclass(frozen=True, slots=True)
class Invite:
    """What is stored of an invite: of its token only the hash."""

    token_hash: str
    employee: str
    made_at: datetime
    expires_at: datetime


def new_invite(employee_code: str, now: datetime, hours: int = 72) -> tuple[str, Invite]:
    """A one-time token of 128 bits, and the invite to keep."""
    token = secrets.token_urlsafe(16)
    return token, Invite(_hash(token), employee_code, now, now + timedelta(hours=hours))


def keep_invite(work: Work, invite: Invite) -> None:
    """Store an invite; one that is stored already stays as it is, used or not."""
    work.session.execute(
        insert(work, InviteRow)
        .values(
            token_hash=invite.token_hash,
            employee=invite.employee,
            made_at=invite.made_at,
            expires_at=invite.expires_at,
        )
        .on_conflict_do_nothing()
    )


def make_invite(work: Work, employee_code: str, now: datetime, hours: int = 72) -> str:
    """Make and store an invite; its token."""
    token, invite = new_invite(employee_code, now, hours)
    keep_invite(work, invite)
    return token


def use_invite(work: Work, token: str, now: datetime) -> str | None:
    """The invited employee's code, once; None for a token that is unknown, used or expired."""
    return work.session.scalar(
        update(InviteRow)
        .where(InviteRow.token_hash == _hash(token), InviteRow.used_at.is_(None), InviteRow.expires_at > now)
        .values(used_at=now)
        .returning(InviteRow.employee)
    )


def ask(work: Work, question: Question) -> int:
    row = QuestionRow(
        account=question.account,
        about=question.about,
        subject=question.subject,
        step=question.step,
        options=list(question.options),
        multi=question.multi,
        asked_at=question.asked_at,
    )
    work.session.add(row)
    work.session.flush()
    return row.id


def question(work: Work, question_id: int, account_id: int) -> Question | None:
    """A question this account was asked; somebody else's is not found."""
    row = work.session.get(QuestionRow, question_id)
    if row is None or row.account != account_id:
        return None
    return Question(
        account=row.account,
        about=row.about,
        subject=row.subject,
        step=row.step,
        options=tuple(str(option) for option in row.options),
        asked_at=row.asked_at,
        multi=row.multi,
        answered_at=row.answered_at,
        id=row.id,
    )


def answered(work: Work, question_id: int, now: datetime) -> None:
    work.session.execute(update(QuestionRow).where(QuestionRow.id == question_id).values(answered_at=now))


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _employee(row: EmployeeRow) -> Employee:
    return Employee(
        code=row.code,
        name=row.name,
        role=Role(row.role),
        districts=tuple(str(district) for district in row.districts),
        manager=row.manager,
        active=row.active,
        wecom=row.wecom,
    )


def _account(row: AccountRow) -> Account:
    return Account(
        channel=row.channel,
        user_ref=row.user_ref,
        chat_ref=row.chat_ref,
        employee=row.employee,
        language=row.language,
        reachable=row.reachable,
        current_visit=row.current_visit,
        current_question=row.current_question,
        expects=row.expects,
        id=row.id,
    )
