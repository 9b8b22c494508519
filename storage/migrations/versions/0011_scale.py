"""For firms of any size: fingerprints of photos in pieces with an index each, indexes for questions about a whole day,
and the mark of a made-up firm.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

_WIDTHS = (26,) * 6 + (25,) * 4  # as storage.photo_pieces has them in this version
_COLUMNS = tuple(f"piece_{number}" for number in range(len(_WIDTHS)))
_UNDONE = sa.text("undone_at IS NOT NULL")
_USED = sa.text("same_as IS NOT NULL")
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_AT_A_TIME = 5_000


def upgrade() -> None:
    pieces = op.create_table(
        "photo_pieces",
        sa.Column("photo", _NUMBER, nullable=False, autoincrement=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in _COLUMNS),
        sa.PrimaryKeyConstraint("photo"),
        sa.ForeignKeyConstraint(["photo"], ["photo.id"], ondelete="CASCADE"),
    )
    _cut_up(pieces)
    for name in _COLUMNS:
        op.create_index(f"ix_photo_pieces_{name}", "photo_pieces", [name])
    op.create_table(
        "simulated",
        sa.Column("name", sa.String(20), nullable=False),
        sa.Column("plan", sa.JSON(), nullable=False),
        sa.Column("begun_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_index("ix_photo_used", "photo", ["visit"], sqlite_where=_USED, postgresql_where=_USED)
    op.create_index("ix_visit_day", "visit", ["local_day", "opened_at"])
    op.create_index("ix_follow_up_last", "follow_up", ["state", "last"])
    op.create_index("ix_visit_change_undone", "visit_change", ["id"], sqlite_where=_UNDONE, postgresql_where=_UNDONE)
    op.create_index("ix_confirmation_rule", "confirmation", ["field", "rule", "verdict", "id"])


def downgrade() -> None:
    op.drop_index("ix_confirmation_rule", "confirmation")
    op.drop_index("ix_visit_change_undone", "visit_change")
    op.drop_index("ix_follow_up_last", "follow_up")
    op.drop_index("ix_visit_day", "visit")
    op.drop_index("ix_photo_used", "photo")
    op.drop_table("simulated")
    op.drop_table("photo_pieces")


def _cut_up(pieces: sa.Table) -> None:
    """The photos that are there already."""
    photo = sa.table(
        "photo",
        sa.column("id", _NUMBER),
        sa.column("at", sa.DateTime(timezone=True)),
        sa.column("phash", sa.String()),
        sa.column("phash_quality", sa.Integer()),
    )
    last = 0
    while True:
        query = sa.select(photo).where(photo.c.id > last).order_by(photo.c.id).limit(_AT_A_TIME)
        rows = op.get_bind().execute(query).all()
        if not rows:
            return
        last = rows[-1].id
        cut = [
            {"photo": row.id, "at": row.at, **dict(zip(_COLUMNS, _pieces(int(row.phash, 16)), strict=True))}
            for row in rows
            if row.phash_quality >= 50 and len(row.phash) == 64
        ]
        if cut:
            op.bulk_insert(pieces, cut)


def _pieces(fingerprint: int) -> list[int]:
    found, left = [], 256
    for width in _WIDTHS:
        left -= width
        found.append(fingerprint >> left & (1 << width) - 1)
    return found
