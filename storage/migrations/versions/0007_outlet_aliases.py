"""What reps call an outlet for short."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    with op.batch_alter_table("outlet") as outlet:
        outlet.add_column(sa.Column("aliases", sa.JSON(), nullable=False, server_default="[]"))
    with op.batch_alter_table("outlet") as outlet:
        outlet.alter_column("aliases", server_default=None)


def downgrade() -> None:
    with op.batch_alter_table("outlet") as outlet:
        outlet.drop_column("aliases")
