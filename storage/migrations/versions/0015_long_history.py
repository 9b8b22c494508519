"""Indexes for what messages, the clock and the page ask, so that none costs more in a firm with a long history."""

import sqlalchemy as sa
from alembic import context, op

revision = "0015"
down_revision = "0014"

_OPEN = sa.text("state = 'open'")
_PAGE = sa.text("channel = 'web'")
_WAITING = sa.text("state = 'waiting'")


def upgrade() -> None:
    if context.config.attributes.get("indexes_later"):
        return
    op.create_index("ix_visit_open", "visit", ["rep"], sqlite_where=_OPEN, postgresql_where=_OPEN)
    op.drop_index("ix_visit_state", "visit")
    op.create_index("ix_visit_outlet_opened", "visit", ["outlet", "opened_at"])
    op.drop_index("ix_visit_outlet", "visit")
    op.create_index(
        "ix_outbox_waiting", "outbox", ["channel", "chat_ref"], sqlite_where=_WAITING, postgresql_where=_WAITING
    )
    op.create_index("ix_outbox_page", "outbox", ["chat_ref", "id"], sqlite_where=_PAGE, postgresql_where=_PAGE)
    op.create_index("ix_inbox_page", "inbox", ["person", "id"], sqlite_where=_PAGE, postgresql_where=_PAGE)
    op.create_index("ix_follow_up_to_remind", "follow_up", ["state", "reminded_at", "remind_at"])
    op.drop_index("ix_follow_up_due", "follow_up")


def downgrade() -> None:
    op.create_index("ix_follow_up_due", "follow_up", ["state", "remind_at"], if_not_exists=True)
    op.drop_index("ix_follow_up_to_remind", "follow_up", if_exists=True)
    op.drop_index("ix_inbox_page", "inbox", if_exists=True)
    op.drop_index("ix_outbox_page", "outbox", if_exists=True)
    op.drop_index("ix_outbox_waiting", "outbox", if_exists=True)
    op.create_index("ix_visit_outlet", "visit", ["outlet"], if_not_exists=True)
    op.drop_index("ix_visit_outlet_opened", "visit", if_exists=True)
    op.create_index("ix_visit_state", "visit", ["state"], if_not_exists=True)
    op.drop_index("ix_visit_open", "visit", if_exists=True)
