"""A number that tells when names changed, and indexes for what every message asks."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_DUE = sa.text("state = 'due'")


def upgrade() -> None:
    op.create_table(
        "revision",
        sa.Column("name", sa.String(20), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_index("ix_outlet_place", "outlet", ["lat", "lon"])
    op.create_index("ix_visit_rep_opened", "visit", ["rep", "opened_at"])
    op.create_index("ix_outbox_chat", "outbox", ["channel", "chat_ref", "id"], sqlite_where=_DUE, postgresql_where=_DUE)


def downgrade() -> None:
    op.drop_index("ix_outbox_chat", "outbox")
    op.drop_index("ix_visit_rep_opened", "visit")
    op.drop_index("ix_outlet_place", "outlet")
    op.drop_table("revision")
