"""Cards to tap in 企业微信, and whose account there is whose."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("employee", sa.Column("wecom", sa.String(64), nullable=False, server_default=""))
    op.create_index("ix_employee_wecom", "employee", ["wecom"])
    op.create_table(
        "card",
        sa.Column("task_id", sa.String(128), nullable=False),
        sa.Column("account", sa.String(80), nullable=False),
        sa.Column("chat_ref", sa.String(120), nullable=False),
        sa.Column("question", sa.BigInteger(), nullable=False),
        sa.Column("again", sa.Boolean(), nullable=False),
        sa.Column("made_at", _TIME, nullable=False),
        sa.Column("sent_at", _TIME, nullable=True),
        sa.Column("message_id", sa.String(200), nullable=False),
        sa.Column("sent_code", sa.String(200), nullable=False),
        sa.Column("tapped_code", sa.String(200), nullable=False),
        sa.Column("tapped_at", _TIME, nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("ended_at", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("task_id"),
    )
    op.create_index("ix_card_question", "card", ["question"])
    op.create_index("ix_card_made_at", "card", ["made_at"])


def downgrade() -> None:
    op.drop_table("card")
    op.drop_index("ix_employee_wecom", "employee")
    with op.batch_alter_table("employee") as employee:
        employee.drop_column("wecom")
