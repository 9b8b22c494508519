"""The policies look a row's visit, outlet or employee up by its key, where they could read the whole other table."""

from alembic import op

revision = "0013"
down_revision = "0012"

SCOPE = "(SELECT current_setting('zoudian.scope', true))"
WHO = "(SELECT current_setting('zoudian.who', true))"
SET = "(SELECT CAST(NULLIF(current_setting('zoudian.districts', true), '') AS json))"
DISTRICTS = f"(SELECT json_array_elements_text({SET}))"
HAS_TEAM = (
    "(SELECT EXISTS (SELECT 1 FROM json_array_elements_text(z_e.districts) AS z_d (value) "
    "WHERE z_d.value IN " + DISTRICTS + ") FROM employee AS z_e WHERE z_e.code = {})"
)
# A policy's subselect meets the policy of the table it reads: the visit it finds is one that may be seen. It gives one
# value: for EXISTS the server may choose to read all visits there are, whatever is asked.
SEEN_VISIT = "(SELECT true FROM visit AS z_v WHERE z_v.id = {}.visit)"
SEEN_OUTLET = "(SELECT z_o.district FROM outlet AS z_o WHERE z_o.code = {}.outlet) IN " + DISTRICTS
EVIDENCE = (
    "CASE WHEN {0}.visit IS NULL THEN " + HAS_TEAM.format("{0}.rep") + " ELSE " + SEEN_VISIT.format("{0}") + " END"
)
OWN_ACCOUNT = f"(SELECT z_a.employee FROM account AS z_a WHERE z_a.id = question.account) = {WHO}"

# As in 0012; table: (what a rep sees of it, what an area manager sees of it). Those not named stay as they are.
POLICIES = {
    "visit": (
        f"visit.rep = {WHO}",
        f"CASE WHEN visit.outlet IS NULL THEN {HAS_TEAM.format('visit.rep')} ELSE {SEEN_OUTLET.format('visit')} END",
    ),
    "visit_change": (SEEN_VISIT.format("visit_change"), SEEN_VISIT.format("visit_change")),
    "confirmation": (f"confirmation.rep = {WHO}", SEEN_VISIT.format("confirmation")),
    "photo": (f"photo.rep = {WHO}", EVIDENCE.format("photo")),
    "note": (f"note.rep = {WHO}", EVIDENCE.format("note")),
    "appeal": (f"appeal.rep = {WHO}", SEEN_VISIT.format("appeal")),
    "follow_up": (f"follow_up.rep = {WHO}", SEEN_OUTLET.format("follow_up")),
    "account": (f"account.employee = {WHO}", f"account.employee = {WHO} OR {HAS_TEAM.format('account.employee')}"),
    "question": (OWN_ACCOUNT, OWN_ACCOUNT),
}

OLD_TEAM = (
    "EXISTS (SELECT 1 FROM employee AS z_e, json_array_elements_text(z_e.districts) AS z_d (value) "
    "WHERE z_e.code = {} AND z_d.value IN " + DISTRICTS + ")"
)
OLD_VISIT = "EXISTS (SELECT 1 FROM visit AS z_v WHERE z_v.id = {}.visit)"
OLD_OUTLET = "EXISTS (SELECT 1 FROM outlet AS z_o WHERE z_o.code = {}.outlet AND z_o.district IN " + DISTRICTS + ")"
OLD_EVIDENCE = (
    "CASE WHEN {0}.visit IS NULL THEN " + OLD_TEAM.format("{0}.rep") + " ELSE " + OLD_VISIT.format("{0}") + " END"
)
OLD_ACCOUNT = f"EXISTS (SELECT 1 FROM account AS z_a WHERE z_a.id = question.account AND z_a.employee = {WHO})"
OLD_POLICIES = {
    "visit": (
        f"visit.rep = {WHO}",
        f"CASE WHEN visit.outlet IS NULL THEN {OLD_TEAM.format('visit.rep')} ELSE {OLD_OUTLET.format('visit')} END",
    ),
    "visit_change": (OLD_VISIT.format("visit_change"), OLD_VISIT.format("visit_change")),
    "confirmation": (f"confirmation.rep = {WHO}", OLD_VISIT.format("confirmation")),
    "photo": (f"photo.rep = {WHO}", OLD_EVIDENCE.format("photo")),
    "note": (f"note.rep = {WHO}", OLD_EVIDENCE.format("note")),
    "appeal": (f"appeal.rep = {WHO}", OLD_VISIT.format("appeal")),
    "follow_up": (f"follow_up.rep = {WHO}", OLD_OUTLET.format("follow_up")),
    "account": (f"account.employee = {WHO}", f"account.employee = {WHO} OR {OLD_TEAM.format('account.employee')}"),
    "question": (OLD_ACCOUNT, OLD_ACCOUNT),
}


def upgrade() -> None:
    _raise_wall(POLICIES)


def downgrade() -> None:
    _raise_wall(OLD_POLICIES)


def _raise_wall(policies: dict[str, tuple[str, str]]) -> None:
    """In place: there is no moment without it."""
    if op.get_bind().dialect.name != "postgresql":
        return
    for table, (own, team) in policies.items():
        seen = f"CASE {SCOPE} WHEN 'all' THEN true WHEN 'own' THEN {own} WHEN 'team' THEN {team} ELSE false END"
        op.execute(f"ALTER POLICY zoudian_scope ON {table} USING ({seen})")
