"""Nobody goes round the first wall: raw SQL, the bare connection, the ways out of a scope and the whole firm's scope
are used where they are listed here, each with its reason, and nowhere else.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from rules.people import Errand, Part

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("rules", "texts", "nlp", "storage", "reports", "handlers", "scheduler", "web", "bot")

RAW = frozenset(
    {"text", "literal_column", "table", "exec_driver_sql", "raw_connection", "driver_connection", "get_bind"}
    | {"sqlite3", "psycopg", "writer", "reader", "_connection", "execution_options"}
)
OTHERS = {"self", "csv"}
MAY_BE_RAW = {
    "storage/database.py": "opens the transactions and sets the scope on them",
    "storage/engines.py": "opens the connections",
    "storage/shared_commit.py": "begins and ends the transaction that units of work share",
    "storage/scope.py": "spells the conditions",
    "storage/migrate.py": "changes tables, for the whole firm",
    "storage/indexes.py": "builds indexes, for the whole firm",
    "storage/backup.py": "copies the file as it is, for the whole firm",
    "storage/health.py": "reads the file for damage, and pg_roles; its counts go through a scope",
    "storage/job_procrastinate.py": "Procrastinate's own tables",
    "storage/tables/columns.py": "the condition of a partial index, and the one of our words that it is about",
    "storage/leases.py": "pg_stat_activity",
    "storage/tokens.py": "options of a statement on access tokens",
    "storage/push_budget.py": "options of a statement on counters",
    "storage/audit.py": "rows by and by (yield_per)",
    "storage/table_copy.py": "rows by and by (yield_per), and a limit of the connection; copies the whole firm",
    "storage/server_copy.py": "the SQLite file that an archive holds",
    "storage/move.py": "locks all tables while they are filled, for the whole firm",
    "storage/simulated.py": "loads and finishes a firm that was made up, as a whole",
    "storage/send_limits.py": "a setting of the transaction, in the post office",
    "storage/alerts.py": "options of a statement on schedules",
    "bot/doctor.py": "SQLite's version",
    "bot/upkeep_commands.py": "hands the database to the backup",
}
ERRANDS = {
    ("handlers/brief.py", "CUSTOMER"),
    ("handlers/evidence_in.py", "SAME_PHOTO"),
    ("handlers/turn.py", "POST"),
    ("storage/firm.py", "NUMBER"),
    ("storage/firm.py", "SIGN"),
    ("storage/visits.py", "NUMBER"),
}
PARTS = {
    "handlers/receive.py": {"INTAKE"},
    "handlers/tools.py": {"INTAKE"},
    "scheduler/clock.py": {"CLOCK"},
    "scheduler/daily.py": {"CLOCK"},
    "scheduler/worker.py": {"WORKER"},
    "web/site.py": {"SITE"},
    "web/demo.py": {"SITE"},
    "web/here.py": {"SITE"},
    "web/chat.py": {"SITE"},  # a demonstration's outlets to stand at
    "storage/database.py": {"CONSOLE"},  # the bare connection, for migrations
    "storage/health.py": {"CONSOLE"},  # reads every row, for damage
    "storage/move.py": {"CONSOLE"},  # these three copy or make the firm as a whole
    "storage/server_copy.py": {"CONSOLE"},
    "storage/simulated.py": {"CONSOLE"},
    "bot/intake.py": {"INTAKE"},
    "bot/mp_channel.py": {"INTAKE"},
    "bot/sender.py": {"SENDER"},
    "bot/wecom_sending.py": {"SENDER"},
    "bot/wecom_robot.py": {"SENDER"},
}
AT_THE_CONSOLE = {"CONSOLE"}  # everything else in bot: commands, and the bot's own rehearsals


@cache
def modules() -> tuple[tuple[str, ast.Module], ...]:
    """Every module of the product by its path, migrations left out."""
    paths = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py")) if "migrations" not in path.parts]
    return tuple((path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))) for path in paths)


def names(tree: ast.Module) -> set[str]:
    """What a module imports from SQLAlchemy or reaches for on an object, of RAW."""
    found = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("sqlalchemy", "psycopg", "sqlite3")):
            found |= {alias.name for alias in node.names} | {(node.module or "").partition(".")[0]}
        elif isinstance(node, ast.Attribute) and not (isinstance(node.value, ast.Name) and node.value.id in OTHERS):
            found.add(node.attr)
    return found


def test_raw_sql_and_bare_connections_are_where_they_are_listed() -> None:
    sql = {name: names(tree) & (RAW - {"text", "table"}) for name, tree in modules()}
    for name, tree in modules():
        imported = {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sqlalchemy")
            for alias in node.names
        }
        sql[name] |= imported & {"text", "table", "literal_column"}
    used = {name for name, found in sql.items() if found and name.startswith(("storage/", "reports/"))}
    used |= {name for name, found in sql.items() if found & {"exec_driver_sql", "raw_connection", "driver_connection"}}
    assert used - set(MAY_BE_RAW) == set(), {name: sql[name] for name in used - set(MAY_BE_RAW)}


def called(tree: ast.Module, name: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = node.func
            if (isinstance(function, ast.Attribute) and function.attr == name) or (
                isinstance(function, ast.Name) and function.id == name
            ):
                yield node


def argument(call: ast.Call) -> str:
    """X of `system(Part.X)` and `beyond(Errand.X)`: spelt out, so that it can be read here."""
    [given] = call.args
    assert isinstance(given, ast.Attribute), ast.unparse(call)
    return given.attr


def test_the_ways_out_of_a_scope_are_these() -> None:
    found = {(name, argument(call)) for name, tree in modules() for call in called(tree, "beyond")}
    assert found == ERRANDS
    assert {errand for _, errand in found} == {errand.name for errand in Errand}


def test_the_whole_firm_is_for_parts_that_name_themselves() -> None:
    for name, tree in modules():
        if name == "rules/people.py":
            continue
        found = {argument(call) for call in called(tree, "system") if call.args}
        assert found <= PARTS.get(name, AT_THE_CONSOLE if name.startswith("bot/") else set()), name
        assert found <= {part.name for part in Part}
