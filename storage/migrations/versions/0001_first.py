"""The first shape of everything."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)
# In the order they are made: what is pointed to comes first.
_TABLES = (
    "competitor",
    "employee",
    "inbox",
    "job",
    "occurrence",
    "product",
    "schedule",
    "account",
    "alert",
    "invite",
    "outlet",
    "place",
    "outbox",
    "question",
    "visit",
    "appeal",
    "follow_up",
    "note",
    "photo",
    "visit_change",
)


def upgrade() -> None:
    op.create_table(
        "competitor",
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("line", sa.String(40), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "employee",
        sa.Column("code", sa.String(40), nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("districts", sa.JSON(), nullable=False),
        sa.Column("manager", sa.String(40), nullable=True),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("code"),
    )
    op.create_index("ix_employee_name", "employee", ["name"])
    op.create_table(
        "inbox",
        sa.Column("id", _BIG_ID, nullable=False),
        sa.Column("channel", sa.String(20), nullable=False),
        sa.Column("account", sa.String(80), nullable=False),
        sa.Column("delivery_key", sa.String(200), nullable=False),
        sa.Column("person", sa.String(160), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("chat_ref", sa.String(120), nullable=False),
        sa.Column("raw", sa.JSON(), nullable=False),
        sa.Column("message", sa.JSON(), nullable=True),
        sa.Column("received_at", _TIME, nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("not_before", _TIME, nullable=True),
        sa.Column("done_at", _TIME, nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("channel", "account", "delivery_key"),
    )
    op.create_index("ix_inbox_waiting", "inbox", ["state", "person", "position"])
    op.create_table(
        "job",
        sa.Column("id", _BIG_ID, nullable=False),
        sa.Column("task", sa.String(40), nullable=False),
        sa.Column("args", sa.JSON(), nullable=False),
        sa.Column("lock", sa.String(160), nullable=True),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("run_at", _TIME, nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_job_due", "job", ["state", "run_at"])
    op.create_index("ix_job_lock", "job", ["lock"])
    op.create_table(
        "occurrence",
        sa.Column("schedule", sa.String(40), nullable=False),
        sa.Column("local_day", sa.Date(), nullable=False),
        sa.Column("due_at", _TIME, nullable=False),
        sa.Column("outcome", sa.String(8), nullable=False),
        sa.Column("made_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("schedule", "local_day"),
    )
    op.create_table(
        "product",
        sa.Column("code", sa.String(40), nullable=False),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("aliases", sa.JSON(), nullable=False),
        sa.Column("line", sa.String(40), nullable=False),
        sa.Column("spec", sa.String(80), nullable=False),
        sa.Column("units", sa.JSON(), nullable=False),
        sa.Column("price_fen", sa.Integer(), nullable=True),
        sa.Column("is_new", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("code"),
    )
    op.create_table(
        "schedule",
        sa.Column("name", sa.String(40), nullable=False),
        sa.Column("last_due", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "account",
        sa.Column("id", _BIG_ID, nullable=False),
        sa.Column("channel", sa.String(20), nullable=False),
        sa.Column("user_ref", sa.String(120), nullable=False),
        sa.Column("chat_ref", sa.String(120), nullable=False),
        sa.Column("employee", sa.String(40), nullable=False),
        sa.Column("language", sa.String(10), nullable=False),
        sa.Column("linked_at", _TIME, nullable=False),
        sa.Column("reachable", sa.Boolean(), nullable=False),
        sa.Column("current_visit", sa.Integer(), nullable=True),
        sa.Column("current_question", sa.Integer(), nullable=True),
        sa.Column("expects", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(
            ["employee"],
            ["employee.code"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("channel", "user_ref"),
    )
    op.create_index("ix_account_employee", "account", ["employee"])
    op.create_table(
        "alert",
        sa.Column("id", _BIG_ID, nullable=False),
        sa.Column("manager", sa.String(40), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("local_day", sa.Date(), nullable=False),
        sa.Column("made_at", _TIME, nullable=False),
        sa.Column("findings", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["manager"],
            ["employee.code"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("manager", "local_day", "kind"),
    )
    op.create_index("ix_alert_local_day", "alert", ["local_day"])
    op.create_table(
        "invite",
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("employee", sa.String(40), nullable=False),
        sa.Column("made_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.Column("used_at", _TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["employee"],
            ["employee.code"],
        ),
        sa.PrimaryKeyConstraint("token_hash"),
    )
    op.create_table(
        "outlet",
        sa.Column("code", sa.String(40), nullable=False),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("district", sa.String(40), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("lat", sa.Double(), nullable=True),
        sa.Column("lon", sa.Double(), nullable=True),
        sa.Column("rep", sa.String(40), nullable=True),
        sa.Column("first_contact_on", sa.Date(), nullable=True),
        sa.Column("delivery", sa.Text(), nullable=False),
        sa.Column("created_by_visit", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["rep"],
            ["employee.code"],
        ),
        sa.PrimaryKeyConstraint("code"),
    )
    op.create_index("ix_outlet_district", "outlet", ["district"])
    op.create_index("ix_outlet_name", "outlet", ["name"])
    op.create_index("ix_outlet_rep", "outlet", ["rep"])
    op.create_table(
        "place",
        sa.Column("id", _BIG_ID, nullable=False),
        sa.Column("rep", sa.String(40), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("lat", sa.Double(), nullable=False),
        sa.Column("lon", sa.Double(), nullable=False),
        sa.Column("raw_lat", sa.Double(), nullable=False),
        sa.Column("raw_lon", sa.Double(), nullable=False),
        sa.Column("datum", sa.String(8), nullable=False),
        sa.Column("kind", sa.String(12), nullable=False),
        sa.Column("accuracy_m", sa.Double(), nullable=True),
        sa.Column("fixed_at", _TIME, nullable=True),
        sa.Column("inbox", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["rep"],
            ["employee.code"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_place_rep", "place", ["rep"])
    op.create_table(
        "outbox",
        sa.Column("id", _BIG_ID, nullable=False),
        sa.Column("dedupe_key", sa.String(200), nullable=False),
        sa.Column("account", _BIG_ID, nullable=True),
        sa.Column("channel", sa.String(20), nullable=False),
        sa.Column("chat_ref", sa.String(120), nullable=False),
        sa.Column("intent", sa.String(12), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("in_reply_to", sa.Integer(), nullable=True),
        sa.Column("made_at", _TIME, nullable=False),
        sa.Column("due_at", _TIME, nullable=False),
        sa.Column("not_after", _TIME, nullable=True),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("sent_at", _TIME, nullable=True),
        sa.Column("provider_id", sa.String(120), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account"],
            ["account.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("dedupe_key"),
    )
    op.create_index("ix_outbox_account", "outbox", ["account"])
    op.create_index("ix_outbox_due", "outbox", ["state", "due_at", "id"])
    op.create_table(
        "question",
        sa.Column("id", _BIG_ID, nullable=False),
        sa.Column("account", _BIG_ID, nullable=False),
        sa.Column("about", sa.String(20), nullable=False),
        sa.Column("subject", sa.Integer(), nullable=False),
        sa.Column("step", sa.String(40), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("multi", sa.Boolean(), nullable=False),
        sa.Column("asked_at", _TIME, nullable=False),
        sa.Column("answered_at", _TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["account"],
            ["account.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_question_account", "question", ["account"])
    op.create_table(
        "visit",
        sa.Column("id", _BIG_ID, nullable=False),
        sa.Column("rep", sa.String(40), nullable=False),
        sa.Column("outlet", sa.String(40), nullable=True),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("outcome", sa.String(10), nullable=True),
        sa.Column("opened_at", _TIME, nullable=False),
        sa.Column("touched_at", _TIME, nullable=True),
        sa.Column("left_at", _TIME, nullable=True),
        sa.Column("closed_at", _TIME, nullable=True),
        sa.Column("local_day", sa.Date(), nullable=False),
        sa.Column("grade", sa.String(14), nullable=True),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("answers", sa.JSON(), nullable=False),
        sa.Column("late_entry", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["outlet"],
            ["outlet.code"],
        ),
        sa.ForeignKeyConstraint(
            ["rep"],
            ["employee.code"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_visit_outlet", "visit", ["outlet"])
    op.create_index("ix_visit_rep_day", "visit", ["rep", "local_day"])
    op.create_index("ix_visit_state", "visit", ["state"])
    op.create_table(
        "appeal",
        sa.Column("id", _BIG_ID, nullable=False),
        sa.Column("visit", _BIG_ID, nullable=False),
        sa.Column("rep", sa.String(40), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("decided_by", sa.String(40), nullable=True),
        sa.Column("decided_at", _TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["decided_by"],
            ["employee.code"],
        ),
        sa.ForeignKeyConstraint(
            ["rep"],
            ["employee.code"],
        ),
        sa.ForeignKeyConstraint(
            ["visit"],
            ["visit.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_appeal_visit", "appeal", ["visit"])
    op.create_table(
        "follow_up",
        sa.Column("id", _BIG_ID, nullable=False),
        sa.Column("rep", sa.String(40), nullable=False),
        sa.Column("outlet", sa.String(40), nullable=False),
        sa.Column("visit", _BIG_ID, nullable=False),
        sa.Column("first", sa.Date(), nullable=False),
        sa.Column("last", sa.Date(), nullable=False),
        sa.Column("time", sa.String(12), nullable=True),
        sa.Column("quote", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("remind_at", _TIME, nullable=False),
        sa.Column("reminded_at", _TIME, nullable=True),
        sa.Column("made_by_itself", sa.Boolean(), nullable=False),
        sa.Column("ended_at", _TIME, nullable=True),
        sa.Column("postponed", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["outlet"],
            ["outlet.code"],
        ),
        sa.ForeignKeyConstraint(
            ["rep"],
            ["employee.code"],
        ),
        sa.ForeignKeyConstraint(
            ["visit"],
            ["visit.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_follow_up_due", "follow_up", ["state", "remind_at"])
    op.create_index("ix_follow_up_outlet", "follow_up", ["outlet"])
    op.create_index("ix_follow_up_rep", "follow_up", ["rep"])
    op.create_index("ix_follow_up_visit", "follow_up", ["visit"])
    op.create_table(
        "note",
        sa.Column("id", _BIG_ID, nullable=False),
        sa.Column("rep", sa.String(40), nullable=False),
        sa.Column("visit", _BIG_ID, nullable=True),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("file", sa.String(80), nullable=False),
        sa.Column("mime", sa.String(40), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=True),
        sa.Column("engine", sa.String(80), nullable=False),
        sa.Column("heard_at", _TIME, nullable=True),
        sa.Column("inbox", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["rep"],
            ["employee.code"],
        ),
        sa.ForeignKeyConstraint(
            ["visit"],
            ["visit.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_note_rep", "note", ["rep"])
    op.create_index("ix_note_state", "note", ["state"])
    op.create_index("ix_note_visit", "note", ["visit"])
    op.create_table(
        "photo",
        sa.Column("id", _BIG_ID, nullable=False),
        sa.Column("rep", sa.String(40), nullable=False),
        sa.Column("visit", _BIG_ID, nullable=True),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("file", sa.String(80), nullable=False),
        sa.Column("mime", sa.String(40), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("taken_at", _TIME, nullable=True),
        sa.Column("taken_lat", sa.Double(), nullable=True),
        sa.Column("taken_lon", sa.Double(), nullable=True),
        sa.Column("phash", sa.String(64), nullable=False),
        sa.Column("phash_quality", sa.Integer(), nullable=False),
        sa.Column("same_as", sa.Integer(), nullable=True),
        sa.Column("inbox", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["rep"],
            ["employee.code"],
        ),
        sa.ForeignKeyConstraint(
            ["visit"],
            ["visit.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_photo_file", "photo", ["file"])
    op.create_index("ix_photo_rep", "photo", ["rep"])
    op.create_index("ix_photo_visit", "photo", ["visit"])
    op.create_table(
        "visit_change",
        sa.Column("id", _BIG_ID, nullable=False),
        sa.Column("visit", _BIG_ID, nullable=False),
        sa.Column("account", _BIG_ID, nullable=True),
        sa.Column("inbox", sa.Integer(), nullable=True),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("before", sa.JSON(), nullable=True),
        sa.Column("after", sa.JSON(), nullable=False),
        sa.Column("undone_at", _TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["account"],
            ["account.id"],
        ),
        sa.ForeignKeyConstraint(
            ["visit"],
            ["visit.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_visit_change_account", "visit_change", ["account"])
    op.create_index("ix_visit_change_visit", "visit_change", ["visit"])


def downgrade() -> None:
    for table in reversed(_TABLES):
        op.drop_table(table)
