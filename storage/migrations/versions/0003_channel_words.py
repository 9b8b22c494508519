"""What a channel itself made of a voice note, and which channel that was."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("note", sa.Column("channel", sa.String(20), nullable=False, server_default=""))
    op.add_column("note", sa.Column("channel_text", sa.Text(), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("note", "channel_text")
    op.drop_column("note", "channel")
