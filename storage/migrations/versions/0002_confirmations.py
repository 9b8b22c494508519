"""What the reps confirmed and corrected of what the bot proposed."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "confirmation",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("change", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("visit", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("rep", sa.String(40), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("field", sa.String(20), nullable=False),
        sa.Column("item", sa.Integer(), nullable=False),
        sa.Column("rule", sa.String(120), nullable=False),
        sa.Column("proposed", sa.JSON(), nullable=False),
        sa.Column("confirmed", sa.JSON(), nullable=True),
        sa.Column("verdict", sa.String(12), nullable=False),
        sa.Column("quote", sa.Text(), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["change"], ["visit_change.id"]),
        sa.ForeignKeyConstraint(["visit"], ["visit.id"]),
        sa.ForeignKeyConstraint(["rep"], ["employee.code"]),
        sa.PrimaryKeyConstraint("id"),
    )
    for column in ("change", "visit", "rep", "at"):
        op.create_index(f"ix_confirmation_{column}", "confirmation", [column])


def downgrade() -> None:
    op.drop_table("confirmation")
