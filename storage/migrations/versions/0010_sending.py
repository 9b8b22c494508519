"""How fast was sent to whom lately, who told the bot to wait, and why somebody cannot be reached."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.create_table(
        "send_bucket",
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("full_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "send_window",
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("moments", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "send_hold",
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "unreachable",
        sa.Column("account", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("why", sa.String(40), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("account"),
        sa.ForeignKeyConstraint(["account"], ["account.id"]),
    )
    # Why was not kept so far. Elsewhere an account is out of use for other reasons too.
    op.execute(
        "insert into unreachable (account, why, since) select id, 'left', linked_at from account"
        " where not reachable and channel in ('telegram', 'mp')"
    )


def downgrade() -> None:
    for table in ("unreachable", "send_hold", "send_window", "send_bucket"):
        op.drop_table(table)
