"""Outlets, products and competitors."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from math import cos, radians
from typing import Any

from sqlalchemy import bindparam, delete, func, select

from rules.follow_up import TodoState
from rules.outlets import Outlet
from rules.people import Errand
from rules.places import Point
from rules.products import Competitor, Product
from storage.database import INSERTS, Work
from storage.many import one_of
from storage.tables.columns import plain
from storage.tables.firm import CompetitorRow, OutletRow, ProductRow, RevisionRow
from storage.tables.visits import FollowUpRow

METRES_A_DEGREE = 111_195.0  # of latitude, on the sphere that rules.places measures on

_OUTLET, _REVISIONS = plain(OutletRow), plain(RevisionRow)
_ONE = select(_OUTLET).where(_OUTLET.c.code == bindparam("wanted"))
_ALL = select(_OUTLET).order_by(_OUTLET.c.code)
_NAMES = select(_OUTLET.c.code, _OUTLET.c.name).order_by(_OUTLET.c.code)
_CODED = select(_OUTLET).where(one_of(_OUTLET.c.code, "codes")).order_by(_OUTLET.c.code)
_CODES_OF = select(_OUTLET.c.code).where(_OUTLET.c.rep == bindparam("who")).order_by(_OUTLET.c.code)
_AROUND = (
    select(_OUTLET)
    .where(
        _OUTLET.c.lat.between(bindparam("south"), bindparam("north")),
        _OUTLET.c.lon.between(bindparam("west"), bindparam("east")),
    )
    .order_by(_OUTLET.c.code)
)
_LAST_FOUND = (
    select(_OUTLET.c.code)
    .where(_OUTLET.c.code.like("N____%"), _OUTLET.c.code.regexp_match("^N[0-9]{4,9}$"))
    .order_by(func.length(_OUTLET.c.code).desc(), _OUTLET.c.code.desc())
    .limit(1)
)
_PRODUCTS = select(plain(ProductRow)).order_by(plain(ProductRow).c.code)
_REVISION = select(_REVISIONS.c.number).where(_REVISIONS.c.name == "names")
_REVISED = {
    name: sql(_REVISIONS).on_conflict_do_update(
        index_elements=[_REVISIONS.c.name], set_={"number": _REVISIONS.c.number + 1}
    )
    for name, sql in INSERTS.items()
}


def outlets(work: Work, reps: Collection[str] | None = None) -> list[Outlet]:
    """All outlets, or those of these reps."""
    query = select(_OUTLET).order_by(_OUTLET.c.code)
    if reps is not None:
        query = query.where(_OUTLET.c.rep.in_(list(reps)))
    return [_outlet(row) for row in work.run(query)]


def each_outlet(work: Work) -> Iterator[Outlet]:
    """All outlets, however many, one after another."""
    return map(_outlet, work.stream(_ALL))


def outlet_names(work: Work) -> dict[str, str]:
    """Every outlet's name by its code."""
    return {code: name for code, name in work.stream(_NAMES)}


def codes_of(work: Work, rep: str) -> list[str]:
    """The codes of a rep's outlets, in order."""
    return [row.code for row in work.run(_CODES_OF, who=rep)]


def revision(work: Work) -> int:
    """A number that grows whenever the name of an outlet, product or competitor may have changed."""
    return work.run(_REVISION).scalar_one_or_none() or 0


def _revised(work: Work) -> None:
    """Everything that writes here ends with this."""
    work.session.flush()
    work.forget()
    work.run(_REVISED[work.dialect], name="names", number=1)


def outlets_around(work: Work, point: Point, metres: float) -> list[Outlet]:
    """The outlets in a box that reaches at least so far in every direction; the caller measures exactly. Of others'
    only what stands on the sign (see `signs`).
    """
    key = ("outlets around", point, metres)
    if key not in work.memo:
        north = 1.01 * metres / METRES_A_DEGREE
        east = north / max(cos(radians(point.lat)), 0.01)
        with work.beyond(Errand.SIGN):
            rows = work.run(
                _AROUND,
                south=point.lat - north,
                north=point.lat + north,
                west=point.lon - east,
                east=point.lon + east,
            )
        found = work.memo[key] = [_sign(work, row) for row in rows]
        work.memo.update({("sign", item.code): item for item in found})
    return list(work.memo[key])


def outlet(work: Work, code: str) -> Outlet | None:
    key = ("outlet", code)
    if key not in work.memo:
        row = work.run(_ONE, wanted=code).one_or_none()
        work.memo[key] = None if row is None else _outlet(row)
    known: Outlet | None = work.memo[key]
    return known


def sign(work: Work, code: str) -> Outlet | None:
    return signs(work, [code]).get(code)


def signs(work: Work, codes: Collection[str]) -> dict[str, Outlet]:
    """Outlets that a pin, a word or a visit led to, whoever looks after them. Of one that is outside the scope it tells
    what anybody in front of it can read, and whose it is: not what was agreed with it.
    """
    lacking = sorted({code for code in codes if ("sign", code) not in work.memo})
    if lacking:
        with work.beyond(Errand.SIGN):
            rows = work.run(_CODED, codes=lacking).all()
        found = {row.code: _sign(work, row) for row in rows}
        work.memo.update({("sign", code): found.get(code) for code in lacking})
    return {code: known for code in sorted(set(codes)) if (known := work.memo["sign", code]) is not None}


def _sign(work: Work, row: Any) -> Outlet:
    outlet = _outlet(row)
    if work.scope.holds(outlet.district, outlet.rep or ""):
        return outlet
    return replace(outlet, first_contact_on=None, delivery="", aliases=())


def outlets_by_code(work: Work, codes: Collection[str]) -> dict[str, Outlet]:
    """Those that there are; whoever asks for one of them afterwards finds it read."""
    if not codes:
        return {}
    found = {row.code: _outlet(row) for row in work.run(_CODED, codes=codes)}
    work.memo.update({("outlet", code): outlet for code, outlet in found.items()})
    return found


def next_outlet_code(work: Work) -> str:
    """The code for an outlet found by a rep: N0001, N0002 … so that it never collides with the firm's own. After N9999
    comes N10000.
    """
    work.alone("outlet code")
    with work.beyond(Errand.NUMBER):
        last = work.run(_LAST_FOUND).scalar_one_or_none()
    return f"N{int(last[1:]) + 1:04d}" if last else "N0001"


def add_outlet(work: Work, found: Outlet, visit: int | None = None) -> None:
    row = _outlet_row(found)
    row.created_by_visit = visit
    work.session.add(row)
    _revised(work)


def drop_outlet(work: Work, code: str) -> None:
    """Take back an outlet whose registration was undone, and the 待办 at it, which were taken back before."""
    todo = plain(FollowUpRow)
    work.run(delete(todo).where(todo.c.outlet == code, todo.c.state == TodoState.VOID.value))
    row = work.session.get(OutletRow, code)
    if row is not None:
        work.session.delete(row)
    _revised(work)


def save_outlets(work: Work, found: Sequence[Outlet]) -> None:
    for item in found:
        work.session.merge(_outlet_row(item))
    _revised(work)


def products(work: Work) -> list[Product]:
    return [
        Product(
            code=row.code,
            name=row.name,
            aliases=tuple(str(alias) for alias in row.aliases),
            line=row.line,
            spec=row.spec,
            units=tuple(str(unit) for unit in row.units),
            price_fen=row.price_fen,
            is_new=row.is_new,
        )
        for row in work.run(_PRODUCTS)
    ]


def save_products(work: Work, sold: Sequence[Product]) -> None:
    for item in sold:
        work.session.merge(
            ProductRow(
                code=item.code,
                name=item.name,
                aliases=list(item.aliases),
                line=item.line,
                spec=item.spec,
                units=list(item.units),
                price_fen=item.price_fen,
                is_new=item.is_new,
            )
        )
    _revised(work)


def competitors(work: Work) -> list[Competitor]:
    return [
        Competitor(row.name, row.line)
        for row in work.session.scalars(select(CompetitorRow).order_by(CompetitorRow.name))
    ]


def save_competitors(work: Work, rivals: Sequence[Competitor]) -> None:
    for item in rivals:
        work.session.merge(CompetitorRow(name=item.name, line=item.line))
    _revised(work)


def _outlet(row: Any) -> Outlet:
    return Outlet(
        code=row.code,
        name=row.name,
        kind=row.kind,
        district=row.district,
        address=row.address,
        point=Point(row.lat, row.lon) if row.lat is not None and row.lon is not None else None,
        rep=row.rep,
        first_contact_on=row.first_contact_on,
        delivery=row.delivery,
        aliases=tuple(str(alias) for alias in row.aliases),
    )


def _outlet_row(item: Outlet) -> OutletRow:
    return OutletRow(
        code=item.code,
        name=item.name,
        kind=item.kind,
        district=item.district,
        address=item.address,
        lat=item.point.lat if item.point else None,
        lon=item.point.lon if item.point else None,
        rep=item.rep,
        first_contact_on=item.first_contact_on,
        delivery=item.delivery,
        aliases=list(item.aliases),
    )
