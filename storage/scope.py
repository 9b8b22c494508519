"""The first wall: a statement finds of the firm's tables only the rows that its unit of work may see.

A unit of work carries a Scope (rules.people). The scope chooses a dialect, which is the database's own but for how it
spells the tables below: in place of `visit` a query reads `(SELECT * FROM visit WHERE …) AS visit`, so that what lies
outside is not there, for whatever the query does with it: joins, aliases, counts, EXISTS. An UPDATE or DELETE gets the
same condition, a row to be written is looked at before it is. Without a scope such a table raises NoScope. SQLAlchemy
keeps compiled statements by dialect, so a statement is spelt once for each reach; whose scope it is, is a parameter.

On PostgreSQL the policies of migration 0013 are a second wall of the same course, which raw SQL meets too.
"""

import copy
import json
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, ClassVar, Final

from sqlalchemy import Delete, Insert, TextClause, Update, bindparam, event, text
from sqlalchemy.engine import Connection, Dialect, Engine
from sqlalchemy.sql.compiler import SQLCompiler

from rules.people import Reach, Scope

WORK: Final = "zoudian_work"  # the execution option that names the unit of work
OWN_ACCOUNT: Final = "own account"  # what somebody was asked is nobody else's, not the manager's either
WHO: Final = "z_who"
DISTRICTS: Final = "z_districts"


class NoScope(Exception):
    """A table of the firm's data was used in a unit of work that does not say on whose behalf. Names the table."""


class OutOfScope(Exception):
    """A row outside of the unit of work's scope was to be written. Names the table."""


# --- what a scope holds -----------------------------------------------------------------------------------------------

# {t} is the table as it is called where the condition stands. {who} and {districts} are the scope's values; {D} is the
# set of districts, and {team} whether the employee {code} has one of them. A row is looked up by its key in a subselect
# that gives one value: in place of EXISTS the server may read the whole other table, to ask about three rows.
_HAS_TEAM = "(SELECT {team} FROM employee AS z_e WHERE z_e.code = {t}.rep)"
_AT_TEAM_OUTLET = "(SELECT z_o.district FROM outlet AS z_o WHERE z_o.code = {t}.outlet) IN {D}"
_VISIT = "(CASE WHEN {t}.outlet IS NULL THEN " + _HAS_TEAM + " ELSE " + _AT_TEAM_OUTLET + " END)"
_OF_TEAM_VISIT = "(SELECT " + _VISIT.replace("{t}", "z_v") + " FROM visit AS z_v WHERE z_v.id = {t}.visit)"
_OWN_QUESTION = "(SELECT z_a.employee FROM account AS z_a WHERE z_a.id = {t}.account) = {who}"
_EVIDENCE = "(CASE WHEN {t}.visit IS NULL THEN " + _HAS_TEAM + " ELSE " + _OF_TEAM_VISIT + " END)"
_AUDIT = "({t}.who = {who} OR {concerned})"

_CONDITIONS: Final[dict[str, dict[Reach, str]]] = {
    "outlet": {Reach.OWN: "{t}.rep = {who}", Reach.TEAM: "{t}.district IN {D}"},
    "visit": {Reach.OWN: "{t}.rep = {who}", Reach.TEAM: _VISIT},
    "visit_change": {
        Reach.OWN: "(SELECT z_v.rep FROM visit AS z_v WHERE z_v.id = {t}.visit) = {who}",
        Reach.TEAM: _OF_TEAM_VISIT,
    },
    "confirmation": {Reach.OWN: "{t}.rep = {who}", Reach.TEAM: _OF_TEAM_VISIT},
    # Where somebody was is seen as the place of a visit, and not otherwise.
    "place": {
        Reach.OWN: "{t}.rep = {who}",
        Reach.TEAM: "EXISTS (SELECT 1 FROM visit AS z_v WHERE z_v.rep = {t}.rep AND {is_place} AND "
        + _VISIT.replace("{t}", "z_v")
        + ")",
    },
    "photo": {Reach.OWN: "{t}.rep = {who}", Reach.TEAM: _EVIDENCE},
    "note": {Reach.OWN: "{t}.rep = {who}", Reach.TEAM: _EVIDENCE},
    "appeal": {Reach.OWN: "{t}.rep = {who}", Reach.TEAM: _OF_TEAM_VISIT},
    "follow_up": {
        Reach.OWN: "{t}.rep = {who}",
        Reach.TEAM: _AT_TEAM_OUTLET,
    },
    "alert": {Reach.OWN: "{t}.manager = {who}", Reach.TEAM: "{t}.manager = {who}"},
    "account": {
        Reach.OWN: "{t}.employee = {who}",
        Reach.TEAM: "({t}.employee = {who} OR " + _HAS_TEAM.replace("{t}.rep", "{t}.employee") + ")",
    },
    "question": {Reach.OWN: _OWN_QUESTION, Reach.TEAM: _OWN_QUESTION},
    "audit": {Reach.OWN: _AUDIT, Reach.TEAM: _AUDIT},
}
# Why an account cannot be reached is seen by whoever sees the account.
_CONDITIONS["unreachable"] = {
    reach: "(SELECT " + seen.replace("{t}", "z_a") + " FROM account AS z_a WHERE z_a.id = {t}.account)"
    for reach, seen in _CONDITIONS["account"].items()
}
SCOPED: Final = frozenset(_CONDITIONS)

# What the two databases say differently.
_SPELT: Final[dict[str, dict[str, str]]] = {
    "sqlite": {
        "D": "(SELECT value FROM json_each({districts}))",
        "team": "EXISTS (SELECT 1 FROM json_each(z_e.districts) AS z_d WHERE z_d.value IN {D})",
        "is_place": "json_extract(z_v.answers, '$.place.value') = {t}.id",
        "concerned": "instr({t}.whose, '\"' || {who} || '\"') > 0",
    },
    "postgresql": {
        "D": "(SELECT json_array_elements_text(CAST({districts} AS json)))",
        "team": "EXISTS (SELECT 1 FROM json_array_elements_text(z_e.districts) AS z_d (value) WHERE z_d.value IN {D})",
        "is_place": "z_v.answers -> 'place' ->> 'value' = CAST({t}.id AS text)",
        "concerned": "position('\"' || CAST({who} AS text) || '\"' IN {t}.whose) > 0",
    },
}

# Which columns of a row to be written say whose it is, and which name a row that must be in the scope itself.
_OWNER: Final = {
    **dict.fromkeys(SCOPED - {"visit_change", "question", "unreachable"}, "rep"),
    "alert": "manager",
    "account": "employee",
    "audit": "who",
}
_BELONGS: Final[dict[str, tuple[str, str]]] = {
    **{name: ("visit", "visit") for name in ("visit_change", "confirmation", "photo", "note", "appeal", "follow_up")},
    **dict.fromkeys(("question", "unreachable"), ("account", OWN_ACCOUNT)),
}


@cache
def condition(table: str, reach: Reach, dialect: str, called: str = "") -> str:
    """The rows of a table that a reach leaves, as SQL with the parameters z_who and z_districts."""
    if reach is Reach.ALL:
        return "1 = 1"
    if reach is Reach.NOBODY:
        return "1 = 0"
    spelt = _CONDITIONS[table][reach]
    for name in ("concerned", "is_place", "team", "D"):
        spelt = spelt.replace(f"{{{name}}}", _SPELT[dialect][name])
    return spelt.format(t=called or table, who=f":{WHO}", districts=f":{DISTRICTS}")


@cache
def _criterion(table: str, reach: Reach, dialect: str) -> TextClause:
    spelt = condition(table, reach, dialect)
    return text(spelt).bindparams(*(bindparam(name) for name in (WHO, DISTRICTS) if f":{name}" in spelt))


# --- spelling it out --------------------------------------------------------------------------------------------------


class _Spelling(SQLCompiler):
    """Mixed into the database's own compiler. `touches`: a table above is meant; `changes`: the one that is written."""

    reach: ClassVar[Reach | None] = None
    touches = False
    changes = ""

    def visit_table(  # type: ignore[override]  # SQLAlchemy's spells out what this hands on
        self, table: Any, asfrom: bool = False, iscrud: bool = False, **kw: Any
    ) -> Any:
        called: str = super().visit_table(table, asfrom, iscrud, **kw)  # type: ignore[no-untyped-call]  # it has no types
        if table.name not in SCOPED or not (asfrom or kw.get("ashint") or kw.get("within_tstring")):
            return called
        limited = self._meet(table)
        if limited is None or iscrud or kw.get("ashint"):
            return called
        rows = f"(SELECT * FROM {called} WHERE {self.process(limited)})"
        alias = kw.get("enclosing_alias")
        return rows if alias is not None and alias.element is table else f"{rows} AS {called}"

    def visit_insert(self, insert_stmt: Any, *args: Any, **kw: Any) -> Any:
        self._begin_change(insert_stmt)
        return super().visit_insert(insert_stmt, *args, **kw)  # type: ignore[no-untyped-call]  # as above

    def visit_update(self, update_stmt: Any, *args: Any, **kw: Any) -> Any:
        return super().visit_update(self._begin_change(update_stmt), *args, **kw)

    def visit_delete(self, delete_stmt: Any, *args: Any, **kw: Any) -> Any:
        return super().visit_delete(self._begin_change(delete_stmt), *args, **kw)  # type: ignore[no-untyped-call]  # same

    def _begin_change(self, statement: Any) -> Any:
        table = statement.table
        if table.name not in SCOPED:
            return statement
        limited = self._meet(table)
        self.changes = table.name
        if limited is None:
            return statement
        if isinstance(statement, Update | Delete):
            return statement.where(limited)
        conflict = getattr(statement, "_post_values_clause", None)
        if getattr(statement, "select", None) is not None or hasattr(conflict, "update_values_to_set"):
            raise OutOfScope(table.name)  # which rows it would write, nobody could look at before
        return statement

    def _meet(self, table: Any) -> TextClause | None:
        """Note that the table is meant; what limits it."""
        if self.reach is None:
            raise NoScope(table.name)
        self.touches = True
        return None if self.reach is Reach.ALL else _criterion(table.name, self.reach, self.dialect.name)


class Dialects:
    """One engine's dialect, once for each reach; made when first wanted, as the engine must have connected before."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, Reach | None], Dialect] = {}

    def of(self, engine: Engine, reach: Reach | None) -> Dialect:
        key = (id(engine.dialect), reach)
        if key not in self._made:
            spelt = copy.copy(engine.dialect)
            theirs = engine.dialect.statement_compiler
            spelt.statement_compiler = type(f"Spelling_{reach}", (_Spelling, theirs), {"reach": reach})
            self._made[key] = spelt
        return self._made[key]


# --- around each statement --------------------------------------------------------------------------------------------


def values(scope: Scope | None) -> dict[str, str]:
    """The parameters that a scope's conditions want."""
    if scope is None or scope.reach in (Reach.ALL, Reach.NOBODY):
        return {}
    return {WHO: scope.who, DISTRICTS: _plain(scope)}


def settings(scope: Scope | None) -> tuple[str, str, str]:
    """What PostgreSQL's policies read: zoudian.scope, zoudian.who and zoudian.districts."""
    if scope is None:
        return "", "", "[]"
    return scope.reach.value, scope.who, _plain(scope)


def _plain(scope: Scope) -> str:
    return json.dumps(sorted(scope.districts), ensure_ascii=False)


def watch(engine: Engine) -> None:
    """Give every statement on this engine its scope's values, and look at what is to be written."""
    event.listen(engine, "before_execute", _fill_in, retval=True)
    event.listen(engine, "before_cursor_execute", _look_at, retval=True)


def overheard(connection: Connection) -> bool:
    """Whether somebody besides this wall listens to the statements of a connection."""
    heard = connection.dispatch
    others = [one for one in heard.before_execute if one is not _fill_in]
    others += [one for one in heard.before_cursor_execute if one is not _look_at]
    return bool(others or list(heard.after_cursor_execute))


def _fill_in(_connection: Connection, element: Any, many: Any, one: Any, options: Mapping[str, Any]) -> Any:
    work = options.get(WORK)
    if work is None or not work.scope_values or isinstance(element, Insert):
        return element, many, one
    if many:
        return element, [{**row, **work.scope_values} for row in many], one
    return element, many, {**one, **work.scope_values}


def _look_at(
    _connection: Connection, _cursor: object, statement: str, parameters: Any, context: Any, _many: bool
) -> tuple[str, Any]:
    compiled, work = context.compiled, context.execution_options.get(WORK)
    if work is None or not getattr(compiled, "touches", False):
        return statement, parameters
    if compiled.changes and work.scope.reach is not Reach.ALL:
        check(work.scope, compiled.changes, context.compiled_parameters, context.isinsert, work.sees)
    work.tell_server()
    return statement, parameters


def check(
    scope: Scope,
    table: str,
    rows: Iterable[Mapping[str, Any]],
    is_new: bool,
    sees: Callable[[str, int | str], bool],
) -> None:
    """A rep writes what is the rep's own; a manager what is the manager's own, or belongs to a visit of the team. A
    row of a visit or account belongs to one that is in the scope.
    """
    owner, (column, whole) = _OWNER.get(table), _BELONGS.get(table, ("", ""))
    if table == "follow_up" and scope.reach is Reach.TEAM:
        column = whole = "outlet"  # the district is the outlet's
    for row in rows:
        belongs = row.get(column) if column else None
        if belongs is not None and not sees(whole, belongs):
            raise OutOfScope(table)
        if owner is None:
            allowed = belongs is not None or not is_new
        elif owner in row:
            allowed = row[owner] == scope.who or (scope.reach is Reach.TEAM and (belongs is not None or not is_new))
        else:
            allowed = not is_new
        if not allowed:
            raise OutOfScope(table)
