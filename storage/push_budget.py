"""What 公众号 lets an account say to one person without being asked, and what it answered already.

The numbers are the platform's (developers.weixin.qq.com, 客服消息): 5 messages within 48 hours after a message of the
person, 3 within a minute after a menu click, a scan or following. Templates of 订阅通知: one for every tick in the box.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from sqlalchemy import delete, select, update

from storage.database import Work, insert
from storage.tables.limits import PushBudgetRow, PushGrantRow
from storage.tables.post import PassiveAnswerRow

Act = Literal["message", "action"]

AFTER: Final[dict[Act, tuple[int, timedelta]]] = {
    "message": (5, timedelta(hours=48)),
    "action": (3, timedelta(minutes=1)),
}
KEEP_ANSWERS: Final = timedelta(hours=1)  # a platform repeats a delivery within seconds


@dataclass(frozen=True, slots=True)
class Budget:
    """How many messages may still be pushed, by what the person did; `why` there are none: window or count."""

    message: int = 0
    action: int = 0
    why: str = "window"

    @property
    def left(self) -> int:
        return self.message + self.action


def opened(work: Work, channel: str, chat_ref: str, act: Act, now: datetime) -> None:
    """The person did something: what that allows begins anew. Several messages of one person may come at once."""
    count, lasts = AFTER[act]
    allowed = {f"{act}_left": count, f"{act}_until": now + lasts}
    new = {"channel": channel, "chat_ref": chat_ref, "message_left": 0, "action_left": 0, **allowed}
    work.session.execute(
        insert(work, PushBudgetRow)
        .values(**new)
        .on_conflict_do_update(index_elements=[PushBudgetRow.channel, PushBudgetRow.chat_ref], set_=allowed)
    )
    work.forget()


def budget(work: Work, channel: str, chat_ref: str, now: datetime) -> Budget:
    row = work.session.get(PushBudgetRow, (channel, chat_ref))
    if row is None:
        return Budget()
    message_open = row.message_until is not None and row.message_until > now
    action_open = row.action_until is not None and row.action_until > now
    return Budget(
        row.message_left if message_open else 0,
        row.action_left if action_open else 0,
        "count" if message_open or action_open else "window",
    )


def take(work: Work, channel: str, chat_ref: str, now: datetime) -> Act | None:
    """Reserve one message, of what ends sooner first; None when there is none left."""
    left = budget(work, channel, chat_ref, now)
    act: Act | None = "action" if left.action else "message" if left.message else None
    if act is not None:
        _add(work, channel, chat_ref, act, -1)
    return act


def give_back(work: Work, channel: str, chat_ref: str, act: Act) -> None:
    """A reserved message surely was not sent."""
    _add(work, channel, chat_ref, act, 1)


def exhausted(work: Work, channel: str, chat_ref: str, *, shut: bool) -> None:
    """The platform counts otherwise than we do, and it is right: nothing is left until the person acts again.

    `shut`: because the window is over (45015), rather than because of the number (45047).
    """
    row = work.session.get(PushBudgetRow, (channel, chat_ref))
    if row is None:
        return
    row.message_left = row.action_left = 0
    if shut:
        row.message_until = row.action_until = None


def granted(work: Work, channel: str, chat_ref: str, template: str, count: int) -> None:
    """The person ticked the box of a template `count` times; with 0 they withdrew it."""
    key = {"channel": channel, "chat_ref": chat_ref, "template": template}
    work.session.execute(
        insert(work, PushGrantRow)
        .values(**key, left=count)
        .on_conflict_do_update(
            index_elements=[PushGrantRow.channel, PushGrantRow.chat_ref, PushGrantRow.template],
            set_={"left": PushGrantRow.left + count if count else 0},
        )
    )
    work.forget()


def take_grant(work: Work, channel: str, chat_ref: str, template: str) -> bool:
    """Use one tick; False when there is none."""
    used = work.session.scalar(
        update(PushGrantRow)
        .where(
            PushGrantRow.channel == channel,
            PushGrantRow.chat_ref == chat_ref,
            PushGrantRow.template == template,
            PushGrantRow.left > 0,
        )
        .values(left=PushGrantRow.left - 1)
        .returning(PushGrantRow.left)
    )
    return used is not None


def keep_answer(work: Work, channel: str, account: str, delivery_key: str, text: str, now: datetime) -> None:
    """What a delivery was answered with, for the platform's repeats of it; those of long ago are forgotten."""
    work.session.execute(delete(PassiveAnswerRow).where(PassiveAnswerRow.at < now - KEEP_ANSWERS))
    values = {"channel": channel, "account": account, "delivery_key": delivery_key, "text": text, "at": now}
    work.session.execute(insert(work, PassiveAnswerRow).values(**values).on_conflict_do_nothing())


def kept_answer(work: Work, channel: str, account: str, delivery_key: str) -> str | None:
    return work.session.scalar(
        select(PassiveAnswerRow.text).where(
            PassiveAnswerRow.channel == channel,
            PassiveAnswerRow.account == account,
            PassiveAnswerRow.delivery_key == delivery_key,
        )
    )


def _add(work: Work, channel: str, chat_ref: str, act: Act, count: int) -> None:
    column = PushBudgetRow.message_left if act == "message" else PushBudgetRow.action_left
    work.session.execute(
        update(PushBudgetRow)
        .where(PushBudgetRow.channel == channel, PushBudgetRow.chat_ref == chat_ref)
        .values({column: column + count})
        .execution_options(synchronize_session=False)
    )
    work.session.expire_all()
