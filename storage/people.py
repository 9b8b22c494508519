"""Employees, the chat accounts tied to them, invites, and the questions each account was asked."""

import hashlib
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy import insert as core_insert

from rules.people import Employee, Role
from storage.database import Work, insert, insert_one
from storage.many import among, one_of
from storage.tables.columns import plain
from storage.tables.firm import EmployeeRow
from storage.tables.people import AccountRow, InviteRow, QuestionRow, UnreachableRow

_ACCOUNTS, _EMPLOYEES, _QUESTIONS = plain(AccountRow), plain(EmployeeRow), plain(QuestionRow)
_EMPLOYEE_CODED = select(_EMPLOYEES).where(_EMPLOYEES.c.code == bindparam("who"))
_EMPLOYEES_CODED = select(_EMPLOYEES).where(one_of(_EMPLOYEES.c.code, "codes")).order_by(_EMPLOYEES.c.code)
_STAFF = select(_EMPLOYEES).order_by(_EMPLOYEES.c.code)
_ACCOUNT = select(_ACCOUNTS).where(_ACCOUNTS.c.id == bindparam("row_id"))
_ACCOUNT_OF = (
    select(_ACCOUNTS, _EMPLOYEES)
    .join(_EMPLOYEES, _EMPLOYEES.c.code == _ACCOUNTS.c.employee)
    .where(_ACCOUNTS.c.channel == bindparam("where"), _ACCOUNTS.c.user_ref == bindparam("who"))
)
_ACCOUNTS_OF = select(_ACCOUNTS).where(_ACCOUNTS.c.employee == bindparam("who")).order_by(_ACCOUNTS.c.id)
_ACCOUNTS_OF_MANY = select(_ACCOUNTS).where(one_of(_ACCOUNTS.c.employee, "employees")).order_by(_ACCOUNTS.c.id)
_NEW_ACCOUNT = core_insert(_ACCOUNTS)
_CHANGE_ACCOUNT = update(_ACCOUNTS).where(_ACCOUNTS.c.id == bindparam("row_id"))
_LOST = plain(UnreachableRow)
_REACHED = delete(_LOST).where(_LOST.c.account == bindparam("row_id"))
_WHY_NOT_REACHED = update(_LOST).where(_LOST.c.account == bindparam("row_id")).values(why=bindparam("reason"))
_CHANGEABLE = ("chat_ref", "language", "reachable", "current_visit", "current_question", "expects")
_QUESTION = core_insert(_QUESTIONS)
_QUESTIONS_ASKED = core_insert(_QUESTIONS).returning(_QUESTIONS.c.id, sort_by_parameter_order=True)
_AWAIT = _CHANGE_ACCOUNT.values(current_question=bindparam("asked"))
_QUESTION_ASKED = select(_QUESTIONS).where(_QUESTIONS.c.id == bindparam("row_id"))
_ANSWERED = update(_QUESTIONS).where(_QUESTIONS.c.id == bindparam("row_id")).values(answered_at=bindparam("at"))


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

    @property
    def is_group(self) -> bool:
        """Whether others read along: what is for this employee alone does not go here."""
        return self.channel == GROUPS


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


_ROLES = {role.value: role for role in Role}

GROUPS = "wecom_group"  # the channel whose accounts are groups of people; each belongs to a manager
_NAMED_IN_IMPORT = {
    "wecom": select(_EMPLOYEES).where(_EMPLOYEES.c.wecom == bindparam("who"), _EMPLOYEES.c.active).limit(2)
}


def staff(work: Work) -> list[Employee]:
    """Everybody, by 工号; read once in a transaction."""
    if "staff" not in work.memo:
        work.flush()
        work.memo["staff"] = [_employee(row) for row in work.run(_STAFF)]
    return list(work.memo["staff"])


def employee(work: Work, code: str) -> Employee | None:
    key = ("employee", code)
    if key not in work.memo:
        row = work.run(_EMPLOYEE_CODED, who=code).one_or_none()
        work.memo[key] = None if row is None else _employee(row)
    found: Employee | None = work.memo[key]
    return found


def employees(work: Work, codes: Collection[str]) -> dict[str, Employee]:
    """Those of these codes that there are, by code; for a few of many, where `staff` reads everybody."""
    lacking = [code for code in codes if ("employee", code) not in work.memo]
    if lacking:
        found = {row.code: _employee(row) for row in work.run(_EMPLOYEES_CODED, codes=lacking)}
        work.memo.update({("employee", code): found.get(code) for code in lacking})
    return {code: known for code in codes if (known := work.memo["employee", code]) is not None}


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
    named = _NAMED_IN_IMPORT.get(channel)
    if named is None or not user_ref:
        return None
    rows = work.run(named, who=user_ref).all()
    return _employee(rows[0]) if len(rows) == 1 else None


def knows(work: Work, channel: str, user_ref: str) -> bool:
    """Whether this is somebody of the firm: who works here and has an account that is tied, or is about to be. What
    anybody else sends is neither fetched nor read.
    """
    if tied_by_import(channel):
        return employee_of_login(work, channel, user_ref) is not None
    known = account(work, channel, user_ref)
    person = employee(work, known.employee) if known is not None else None
    return person is not None and person.active


def alone(work: Work, code: str) -> None:
    """Only one transaction at a time works on what an employee does: the messages of all the accounts, the notes heard,
    a manager's decision. What was read before is out of date now and read anew when it is asked for again.
    """
    if work.dialect == "postgresql":
        work.alone(f"employee:{code}")
        work.forget()


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
        renamed = (AccountRow.employee == person.code, AccountRow.user_ref != person.wecom)
        work.session.execute(update(AccountRow).where(AccountRow.channel == "wecom", *renamed).values(reachable=False))
    work.session.flush()
    work.forget()


def account(work: Work, channel: str, user_ref: str) -> Account | None:
    """A chat account; its employee is read along with it."""
    number = work.memo.get(("account of", channel, user_ref))
    if number is not None:
        return account_by_id(work, number)
    row = work.run(_ACCOUNT_OF, where=channel, who=user_ref).one_or_none()
    if row is None:
        return None
    work.memo["account of", channel, user_ref] = row.id
    work.memo["employee", row.code] = _employee(row)
    return _read(work, row)


def account_by_id(work: Work, account_id: int) -> Account:
    """Raises where there is none."""
    known: Account | None = work.memo.get(("account", account_id))
    return known if known is not None else _read(work, work.run(_ACCOUNT, row_id=account_id).one())


def accounts_of(work: Work, employee_code: str) -> list[Account]:
    known: list[int] | None = work.memo.get(("accounts of", employee_code))
    if known is not None:
        return [account_by_id(work, number) for number in known]
    return [_read(work, row) for row in work.run(_ACCOUNTS_OF, who=employee_code)]


def read_accounts(work: Work, employees: Collection[str]) -> None:
    """Read the accounts of many at once, for whoever asks `accounts_of` for each of them in this transaction."""
    found: dict[str, list[int]] = {code: [] for code in employees}
    for row in work.run(_ACCOUNTS_OF_MANY, employees=list(found)):
        found[row.employee].append(_read(work, row).id)
    work.memo.update({("accounts of", code): numbers for code, numbers in found.items()})


def accounts(work: Work) -> list[Account]:
    return [_read(work, row) for row in work.run(select(_ACCOUNTS).order_by(_ACCOUNTS.c.id))]


def accounts_numbered(work: Work, numbers: Collection[int]) -> list[Account]:
    """Those of these rows that there are."""
    rows = work.run(select(_ACCOUNTS).where(among(work, _ACCOUNTS.c.id, numbers)).order_by(_ACCOUNTS.c.id))
    return [_read(work, row) for row in rows]


def group_accounts(work: Work) -> list[Account]:
    rows = work.run(select(_ACCOUNTS).where(_ACCOUNTS.c.channel == GROUPS).order_by(_ACCOUNTS.c.id))
    return [_read(work, row) for row in rows]


def link(work: Work, made: Account, now: datetime) -> Account:
    """Tie a chat account to an employee; one that was tied to somebody else before is moved."""
    work.alone(f"account:{made.channel}:{made.user_ref}")
    work.forget()
    tied = {
        "chat_ref": made.chat_ref,
        "employee": made.employee,
        "language": made.language,
        "reachable": True,
        "linked_at": now,
        "current_visit": None,
        "current_question": None,
        "expects": None,
    }
    known = account(work, made.channel, made.user_ref)
    if known is None:
        work.run(_NEW_ACCOUNT, channel=made.channel, user_ref=made.user_ref, **tied)
    else:
        work.run(_CHANGE_ACCOUNT, row_id=known.id, **tied)
        work.run(_REACHED, row_id=known.id)
    work.forget()
    return _read(work, work.run(_ACCOUNT_OF, where=made.channel, who=made.user_ref).one())


def save_account(work: Work, kept: Account) -> None:
    """Only what differs from what this transaction read is written: a reminder may ask something in the meantime."""
    stored = account_by_id(work, kept.id)
    changes = {name: value for name in _CHANGEABLE if (value := getattr(kept, name)) != getattr(stored, name)}
    if changes:
        work.run(_CHANGE_ACCOUNT, row_id=kept.id, **changes)
        work.memo["account", kept.id] = replace(stored, **changes)


def set_reachable(work: Work, account_id: int, reachable: bool) -> None:
    work.memo.pop("unreachable", None)
    save_account(work, replace(account_by_id(work, account_id), reachable=reachable))
    if reachable:
        work.run(_REACHED, row_id=account_id)


def out_of_reach(work: Work, account_id: int, why: str, now: datetime) -> None:
    """Nothing arrives there until the person writes again. `why` is a key under `undelivered.`."""
    set_reachable(work, account_id, False)
    row = insert(work, UnreachableRow).values(account=account_id, why=why, since=now)
    work.run(row.on_conflict_do_nothing(index_elements=[UnreachableRow.account]))
    work.run(_WHY_NOT_REACHED, row_id=account_id, reason=why)


def unreachable(work: Work) -> list[tuple[Account, str, datetime]]:
    """Every account that nothing arrives at, why, and since when; read once in a transaction."""
    known: list[tuple[Account, str, datetime]] | None = work.memo.get("unreachable")
    if known is not None:
        return known
    rows = work.run(
        select(_ACCOUNTS, _LOST.c.why, _LOST.c.since)
        .join(_LOST, _LOST.c.account == _ACCOUNTS.c.id)
        .where(_ACCOUNTS.c.reachable.is_(False))
        .order_by(_ACCOUNTS.c.id)
    )
    found = work.memo["unreachable"] = [(_read(work, row), row.why, row.since) for row in rows]
    return found


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
    return insert_one(
        work,
        _QUESTION,
        account=question.account,
        about=question.about,
        subject=question.subject,
        step=question.step,
        options=list(question.options),
        multi=question.multi,
        asked_at=question.asked_at,
    )


def ask_each(work: Work, questions: Sequence[Question]) -> list[int]:
    """As `ask` for each of several; their numbers in the same order."""
    rows = [
        {
            "account": question.account,
            "about": question.about,
            "subject": question.subject,
            "step": question.step,
            "options": list(question.options),
            "multi": question.multi,
            "asked_at": question.asked_at,
        }
        for question in questions
    ]
    return [row.id for row in work.run_each(_QUESTIONS_ASKED, rows)]


def await_answers(work: Work, asked: Mapping[int, int]) -> None:
    """Note for accounts the question that a number typed next answers."""
    rows = [{"row_id": account, "asked": number} for account, number in asked.items()]
    work.run_each(_AWAIT, rows)
    for account, number in asked.items():
        work.memo["account", account] = replace(account_by_id(work, account), current_question=number)


def question(work: Work, question_id: int, account_id: int) -> Question | None:
    """A question this account was asked; somebody else's is not found."""
    known: Question | None = work.memo.get(("question", question_id))
    if known is None:
        row = work.run(_QUESTION_ASKED, row_id=question_id).one_or_none()
        known = work.memo["question", question_id] = None if row is None else _question(row)
    return known if known is not None and known.account == account_id else None


def _question(row: Any) -> Question:
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
    work.memo.pop(("question", question_id), None)
    work.run(_ANSWERED, row_id=question_id, at=now)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _employee(row: Any) -> Employee:
    return Employee(
        code=row.code,
        name=row.name,
        role=_ROLES[row.role],
        districts=tuple(map(str, row.districts)),
        manager=row.manager,
        active=row.active,
        wecom=row.wecom,
    )


def _read(work: Work, row: Any) -> Account:
    read = work.memo["account", row.id] = Account(
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
    return read
