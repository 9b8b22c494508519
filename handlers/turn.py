"""One turn: what somebody did, on whose behalf it is handled, and what is said back, in one message."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from handlers.messages import Incoming, Reply, Say
from handlers.tools import Tools
from handlers.wire import reply_to_plain
from nlp.understand import Understander
from rules.people import Employee, Errand
from storage import outbox, people
from storage.database import Work
from storage.outbox import Outgoing
from storage.people import Account, Question


@dataclass(slots=True)
class Turn:
    """`now` is the clock, `at` is when the person acted; they differ where the signal was lost for a while."""

    work: Work
    tools: Tools
    ear: Understander
    now: datetime
    at: datetime
    account: Account
    employee: Employee
    message: Incoming | None = None
    lines: list[Say] = field(default_factory=list)
    question: Reply | None = None
    attach: str = ""
    later: bool = False  # more follows by itself
    released: int = 0  # what had waited for this person to write, and goes out now
    cause: int | None = None  # the delivery that brought what is told of now, where this turn is nobody's message

    def say(self, key: str, **values: Any) -> None:
        self.lines.append(Say(key, values))

    def ask(self, reply: Reply) -> None:
        """The question this turn ends with; its sentence comes after everything said before."""
        self.question = reply

    def set_account(self, **changes: Any) -> None:
        self.account = replace(self.account, **changes)

    @property
    def inbox_id(self) -> int | None:
        return self.message.source if self.message is not None and self.message.source else None

    def finish(self, dedupe_key: str, *, intent: str = "reply") -> None:
        """Queue the one message that was composed, and keep what the account now expects."""
        if self.question is not None or self.lines:
            reply = self._composed()
            number = None
            if reply.choices:
                number = ask(self.work, self.account, reply, self.now)
                self.set_account(current_question=number)
            elif self.question is not None:  # it wants words or evidence: a number typed next means nothing older
                self.set_account(current_question=None)
            answer = outgoing(
                *(self.account, reply, self.now, dedupe_key),
                intent=intent,
                question=number,
                in_reply_to=self.inbox_id,
                cause=self.cause,
            )
            outbox.queue(self.work, answer)
        people.save_account(self.work, self.account)

    def _composed(self) -> Reply:
        question = self.question or Reply(Say("nothing"))
        lines = [*self.lines, question.say] if self.question is not None else self.lines
        say = lines[0] if len(lines) == 1 else Say("lines", {"lines": lines})
        return replace(question, say=say, attach=self.attach or question.attach, later=self.later)


def ask(work: Work, account: Account, reply: Reply, now: datetime) -> int:
    """Keep what is offered, so that a tap or a number can be told from a stale one."""
    return people.ask(work, _question(account, reply, now))


def _question(account: Account, reply: Reply, now: datetime) -> Question:
    return Question(
        account=account.id,
        about=reply.about,
        subject=reply.subject,
        step=reply.step,
        options=tuple(choice.value for choice in reply.choices),
        asked_at=now,
        multi=reply.multi,
    )


def outgoing(
    account: Account,
    reply: Reply,
    now: datetime,
    dedupe_key: str,
    *,
    intent: str = "reply",
    question: int | None = None,
    in_reply_to: int | None = None,
    not_after: datetime | None = None,
    cause: int | None = None,
) -> Outgoing:
    """One message to one chat account, to be queued. `question`: what its choices answer; `cause`: see Outgoing."""
    body = reply_to_plain(reply, question, account.language)
    return Outgoing(
        dedupe_key=dedupe_key,
        channel=account.channel,
        chat_ref=account.chat_ref,
        intent=intent,
        body=body if cause is None else {**body, "cause": cause},
        made_at=now,
        due_at=now,
        account=account.id,
        in_reply_to=in_reply_to,
        not_after=not_after,
    )


@dataclass(frozen=True, slots=True)
class Word:
    """What is pushed to one employee; the key keeps it from being pushed twice."""

    person: str
    reply: Reply
    dedupe_key: str


def tell(
    work: Work, person: str, reply: Reply, now: datetime, dedupe_key: str, intent: str, *, group_too: bool = False
) -> list[int]:
    """Push a message to every reachable account of an employee; the outbox rows made. See `tell_each`."""
    return tell_each(work, [Word(person, reply, dedupe_key)], now, intent, group_too=group_too)


def tell_each(work: Work, words: Sequence[Word], now: datetime, intent: str, *, group_too: bool = False) -> list[int]:
    """Push messages to every reachable account of their employees, in a few statements however many they are; the
    outbox rows made. An account that is a group reads them only with `group_too`: an appeal or a 待办 is nobody else's
    business.

    A number typed next answers the last one asked, unless a visit is open: then numbers go on answering the visit's
    question.
    """
    if not words:
        return []
    with work.beyond(Errand.POST):
        people.read_accounts(work, {word.person for word in words})
        sent = [
            (word, account)
            for word in words
            for account in reachable(people.accounts_of(work, word.person))
            if group_too or not account.is_group
        ]
        asking = [(word, account) for word, account in sent if word.reply.choices]
        asked = people.ask_each(work, [_question(account, word.reply, now) for word, account in asking])
        number_of = {
            (word.dedupe_key, account.id): number for (word, account), number in zip(asking, asked, strict=True)
        }
        queued = outbox.queue_each(
            work,
            [
                outgoing(
                    *(account, word.reply, now, f"{word.dedupe_key}:{account.id}"),
                    intent=intent,
                    question=number_of.get((word.dedupe_key, account.id)),
                )
                for word, account in sent
            ],
        )
        answers = {
            account.id: number
            for (_, account), number in zip(asking, asked, strict=True)
            if account.current_visit is None
        }
        people.await_answers(work, answers)
    return [row for row in queued if row is not None]


def reachable(accounts: Sequence[Account]) -> list[Account]:
    return [account for account in accounts if account.reachable]
