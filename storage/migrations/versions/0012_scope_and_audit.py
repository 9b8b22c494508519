"""Rows that nobody without a scope can see, on PostgreSQL, and the audit trail."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

_BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

# The unit of work says who looks, by set_config(…, true) when its transaction begins; see storage.scope, which says the
# same once more. A subselect is worked out once a query, not once a row.
SCOPE = "(SELECT current_setting('zoudian.scope', true))"
WHO = "(SELECT current_setting('zoudian.who', true))"
SET = "(SELECT CAST(NULLIF(current_setting('zoudian.districts', true), '') AS json))"
DISTRICTS = f"(SELECT json_array_elements_text({SET}))"
TEAM = (
    "EXISTS (SELECT 1 FROM employee AS z_e, json_array_elements_text(z_e.districts) AS z_d (value) "
    "WHERE z_e.code = {} AND z_d.value IN " + DISTRICTS + ")"
)
# A policy's subselect meets the policy of the table it reads: the visit it finds is one that may be seen.
SEEN_VISIT = "EXISTS (SELECT 1 FROM visit AS z_v WHERE z_v.id = {}.visit)"
SEEN_OUTLET = "EXISTS (SELECT 1 FROM outlet AS z_o WHERE z_o.code = {}.outlet AND z_o.district IN " + DISTRICTS + ")"
EVIDENCE = "CASE WHEN {0}.visit IS NULL THEN " + TEAM.format("{0}.rep") + " ELSE " + SEEN_VISIT.format("{0}") + " END"
OWN_ACCOUNT = f"EXISTS (SELECT 1 FROM account AS z_a WHERE z_a.id = question.account AND z_a.employee = {WHO})"

# table: (what a rep sees of it, what an area manager sees of it)
POLICIES = {
    "outlet": (f"outlet.rep = {WHO}", f"outlet.district IN {DISTRICTS}"),
    "visit": (
        f"visit.rep = {WHO}",
        f"CASE WHEN visit.outlet IS NULL THEN {TEAM.format('visit.rep')} ELSE {SEEN_OUTLET.format('visit')} END",
    ),
    "visit_change": (SEEN_VISIT.format("visit_change"), SEEN_VISIT.format("visit_change")),
    "confirmation": (f"confirmation.rep = {WHO}", SEEN_VISIT.format("confirmation")),
    "place": (
        f"place.rep = {WHO}",
        "EXISTS (SELECT 1 FROM visit AS z_v WHERE z_v.rep = place.rep "
        "AND z_v.answers -> 'place' ->> 'value' = CAST(place.id AS text))",
    ),
    "photo": (f"photo.rep = {WHO}", EVIDENCE.format("photo")),
    "note": (f"note.rep = {WHO}", EVIDENCE.format("note")),
    "appeal": (f"appeal.rep = {WHO}", SEEN_VISIT.format("appeal")),
    "follow_up": (f"follow_up.rep = {WHO}", SEEN_OUTLET.format("follow_up")),
    "alert": (f"alert.manager = {WHO}", f"alert.manager = {WHO}"),
    "account": (f"account.employee = {WHO}", f"account.employee = {WHO} OR {TEAM.format('account.employee')}"),
    "question": (OWN_ACCOUNT, OWN_ACCOUNT),
}
CONCERNED = f"audit.who = {WHO} OR position('\"' || {WHO} || '\"' IN audit.whose) > 0"

KEPT = ("audit", "audit_seal")
NO_CHANGES = """
CREATE FUNCTION zoudian_append_only() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$
"""


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("id", _BIG_ID, primary_key=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, index=True),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("whose", sa.Text(), nullable=False),
        sa.Column("rows", sa.Text(), nullable=False),
        sa.Column("old", sa.Text(), nullable=False),
        sa.Column("new", sa.Text(), nullable=False),
    )
    op.create_table(
        "audit_seal",
        sa.Column("position", _BIG_ID, primary_key=True),
        sa.Column("entry", _BIG_ID, sa.ForeignKey("audit.id"), nullable=False, unique=True),
        sa.Column("hash", sa.Text(), nullable=False),
    )
    if op.get_bind().dialect.name == "postgresql":
        _raise_wall()
        op.execute(NO_CHANGES)
    for table in KEPT:
        _keep(table)


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        for table in POLICIES:
            op.execute(f"DROP POLICY zoudian_scope ON {table}")
            op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
            op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
    op.drop_table("audit_seal")
    op.drop_table("audit")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION zoudian_append_only()")


def _raise_wall() -> None:
    for table, (own, team) in POLICIES.items():
        seen = f"CASE {SCOPE} WHEN 'all' THEN true WHEN 'own' THEN {own} WHEN 'team' THEN {team} ELSE false END"
        _guard(table)
        op.execute(f"CREATE POLICY zoudian_scope ON {table} USING ({seen})")
    _guard("audit")
    seen = f"CASE {SCOPE} WHEN 'all' THEN true WHEN 'own' THEN {CONCERNED} WHEN 'team' THEN {CONCERNED} ELSE false END"
    op.execute(f"CREATE POLICY zoudian_scope ON audit FOR SELECT USING ({seen})")
    op.execute(f"CREATE POLICY zoudian_append ON audit FOR INSERT WITH CHECK ({SCOPE} = 'all' OR audit.who = {WHO})")


def _guard(table: str) -> None:
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")  # the owner, which the bot connects as, is bound too


def _keep(table: str) -> None:
    """What is written stays as it was written, whoever asks for something else."""
    if op.get_bind().dialect.name == "postgresql":
        for when, each in (("UPDATE OR DELETE", "ROW"), ("TRUNCATE", "STATEMENT")):
            op.execute(
                f"CREATE TRIGGER {table}_{each.lower()} BEFORE {when} ON {table} "
                f"FOR EACH {each} EXECUTE FUNCTION zoudian_append_only()"
            )
        op.execute(f"REVOKE UPDATE, DELETE, TRUNCATE ON {table} FROM PUBLIC")
        return
    for when in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER {table}_{when.lower()} BEFORE {when} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        )
