"""Several processes on one PostgreSQL: leases, Procrastinate's tables, and columns that take what SQLite's take."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

# Columns that hold the number of a row of another table without being foreign keys. SQLite's integers are wide.
_NUMBERS = (
    ("account", "current_visit"),
    ("account", "current_question"),
    ("outbox", "in_reply_to"),
    ("outlet", "created_by_visit"),
    ("question", "subject"),
    ("visit_change", "inbox"),
    ("place", "inbox"),
    ("photo", "inbox"),
    ("photo", "same_as"),
    ("note", "inbox"),
)


def upgrade() -> None:
    op.create_table(
        "lease",
        sa.Column("name", sa.String(220), nullable=False),
        sa.Column("holder", sa.String(40), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_index("ix_lease_holder", "lease", ["holder"])
    if op.get_bind().dialect.name == "postgresql":
        for table, column in _NUMBERS:
            op.alter_column(table, column, type_=sa.BigInteger())
        _run(_LENGTHS_NOT_HELD)
        from procrastinate.schema import SchemaManager  # noqa: PLC0415 - an extra that SQLite firms do not install

        _run(SchemaManager.get_schema())


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        _run(_WITHOUT_PROCRASTINATE)
        for table, column in _NUMBERS:
            op.alter_column(table, column, type_=sa.Integer())
    op.drop_table("lease")


def _run(script: str) -> None:
    """Several commands in one text: psycopg takes that only where there are no parameters at all."""
    op.get_bind().exec_driver_sql(script, execution_options={"no_parameters": True})


# SQLite does not look at the length of a text; a message must not fail here that would not fail there.
_LENGTHS_NOT_HELD = """
do $$
declare
    short record;
begin
    for short in
        select table_name, column_name from information_schema.columns
        where table_schema = current_schema() and data_type = 'character varying'
            and character_maximum_length is not null and table_name <> 'alembic_version'
    loop
        execute format('alter table %I alter column %I type varchar', short.table_name, short.column_name);
    end loop;
end;
$$
"""

_WITHOUT_PROCRASTINATE = r"""
drop table if exists procrastinate_periodic_defers, procrastinate_events cascade;
drop table if exists procrastinate_jobs, procrastinate_workers cascade;
do $$
declare
    made text;
begin
    for made in
        select oid::regprocedure::text from pg_proc
        where proname like 'procrastinate\_%' and pronamespace = current_schema()::regnamespace
    loop
        execute 'drop function if exists ' || made || ' cascade';
    end loop;
    for made in
        select typname from pg_type
        where typname like 'procrastinate\_%' and typtype in ('e', 'c')
            and typnamespace = current_schema()::regnamespace
    loop
        execute 'drop type if exists ' || quote_ident(made) || ' cascade';
    end loop;
end;
$$
"""
