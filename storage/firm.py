"""Outlets, products and competitors."""

from collections.abc import Collection, Sequence

from sqlalchemy import delete, func, select

from rules.follow_up import TodoState
from rules.outlets import Outlet
from rules.places import Point
from rules.products import Competitor, Product
from storage.database import Work
from storage.tables import CompetitorRow, FollowUpRow, OutletRow, ProductRow


def outlets(work: Work, reps: Collection[str] | None = None) -> list[Outlet]:
    """All outlets, or those of these reps."""
    query = select(OutletRow).order_by(OutletRow.code)
    if reps is not None:
        query = query.where(OutletRow.rep.in_(list(reps)))
    return [_outlet(row) for row in work.session.scalars(query)]


def state(work: Work) -> tuple[object, ...]:
    """What changes whenever a name does while the bot runs: reps add outlets; imports need the bot stopped."""
    counted = [work.session.scalar(select(func.count()).select_from(t)) for t in (OutletRow, ProductRow, CompetitorRow)]
    found = select(OutletRow.code, OutletRow.name).where(OutletRow.created_by_visit.is_not(None))
    return (*counted, *((row.code, row.name) for row in work.session.execute(found.order_by(OutletRow.code))))


def outlets_around(work: Work, point: Point, degrees: float = 0.05) -> list[Outlet]:
    """Outlets in a box around a point; the caller measures exactly. 0.05 degrees is about 5 km."""
    rows = work.session.scalars(
        select(OutletRow)
        .where(
            OutletRow.lat.between(point.lat - degrees, point.lat + degrees),
            OutletRow.lon.between(point.lon - 2 * degrees, point.lon + 2 * degrees),
        )
        .order_by(OutletRow.code)
    )
    return [_outlet(row) for row in rows]


def outlet(work: Work, code: str) -> Outlet | None:
    row = work.session.get(OutletRow, code)
    return None if row is None else _outlet(row)


def outlets_by_code(work: Work, codes: Collection[str]) -> dict[str, Outlet]:
    rows = work.session.scalars(select(OutletRow).where(OutletRow.code.in_(list(codes))).order_by(OutletRow.code))
    return {row.code: _outlet(row) for row in rows}


def next_outlet_code(work: Work) -> str:
    """The code for an outlet found by a rep: N0001, N0002 … so that it never collides with the firm's own."""
    work.alone("outlet code")
    last = work.session.scalar(select(func.max(OutletRow.code)).where(OutletRow.code.like("N____")))
    return f"N{int(last[1:]) + 1:04d}" if last and last[1:].isdigit() else "N0001"


def add_outlet(work: Work, found: Outlet, visit: int | None = None) -> None:
    row = _outlet_row(found)
    row.created_by_visit = visit
    work.session.add(row)
    work.session.flush()


def drop_outlet(work: Work, code: str) -> None:
    """Take back an outlet whose registration was undone, and the 待办 at it, which were taken back before."""
    work.session.execute(
        delete(FollowUpRow).where(FollowUpRow.outlet == code, FollowUpRow.state == TodoState.VOID.value)
    )
    row = work.session.get(OutletRow, code)
    if row is not None:
        work.session.delete(row)
        work.session.flush()


def save_outlets(work: Work, found: Sequence[Outlet]) -> None:
    for item in found:
        work.session.merge(_outlet_row(item))
    work.session.flush()


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
        for row in work.session.scalars(select(ProductRow).order_by(ProductRow.code))
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
    work.session.flush()


def competitors(work: Work) -> list[Competitor]:
    return [
        Competitor(row.name, row.line)
        for row in work.session.scalars(select(CompetitorRow).order_by(CompetitorRow.name))
    ]


def save_competitors(work: Work, rivals: Sequence[Competitor]) -> None:
    for item in rivals:
        work.session.merge(CompetitorRow(name=item.name, line=item.line))
    work.session.flush()


def _outlet(row: OutletRow) -> Outlet:
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
