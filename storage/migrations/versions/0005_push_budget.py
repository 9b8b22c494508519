"""What 公众号 lets an account push to each person, and the answers it gave to deliveries."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "push_budget",
        sa.Column("channel", sa.String(20), nullable=False),
        sa.Column("chat_ref", sa.String(120), nullable=False),
        sa.Column("message_left", sa.Integer(), nullable=False),
        sa.Column("message_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("action_left", sa.Integer(), nullable=False),
        sa.Column("action_until", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("channel", "chat_ref"),
    )
    op.create_table(
        "push_grant",
        sa.Column("channel", sa.String(20), nullable=False),
        sa.Column("chat_ref", sa.String(120), nullable=False),
        sa.Column("template", sa.String(120), nullable=False),
        sa.Column("left", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("channel", "chat_ref", "template"),
    )
    op.create_table(
        "passive_answer",
        sa.Column("channel", sa.String(20), nullable=False),
        sa.Column("account", sa.String(80), nullable=False),
        sa.Column("delivery_key", sa.String(200), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("channel", "account", "delivery_key"),
    )
    op.create_index("ix_passive_answer_at", "passive_answer", ["at"])


def downgrade() -> None:
    for table in ("passive_answer", "push_grant", "push_budget"):
        op.drop_table(table)
