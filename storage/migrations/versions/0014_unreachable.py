"""Why somebody cannot be reached is seen with the account, on PostgreSQL, and not otherwise."""

from alembic import op

revision = "0014"
down_revision = "0013"

# The subselect meets the policy of `account`: what it finds is an account that may be seen.
SEEN = """
CASE (SELECT current_setting('zoudian.scope', true))
WHEN 'all' THEN true
WHEN 'own' THEN (SELECT true FROM account AS z_a WHERE z_a.id = unreachable.account)
WHEN 'team' THEN (SELECT true FROM account AS z_a WHERE z_a.id = unreachable.account)
ELSE false END
"""


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE unreachable ENABLE ROW LEVEL SECURITY")
        op.execute("ALTER TABLE unreachable FORCE ROW LEVEL SECURITY")  # the bot is the owner, and is bound too
        op.execute(f"CREATE POLICY zoudian_scope ON unreachable USING ({SEEN})")


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP POLICY zoudian_scope ON unreachable")
        op.execute("ALTER TABLE unreachable NO FORCE ROW LEVEL SECURITY")
        op.execute("ALTER TABLE unreachable DISABLE ROW LEVEL SECURITY")
