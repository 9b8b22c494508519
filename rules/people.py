"""Who works here, and whose data each may see."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    REP = "rep"
    AREA_MANAGER = "area_manager"
    DIRECTOR = "director"
    OPERATIONS = "operations"


@dataclass(frozen=True, slots=True)
class Employee:
    """One person of the firm. `districts` is empty for those who see the whole firm.

    `wecom` is the account in the firm's 企业微信 directory, in small letters; empty for who has none.
    """

    code: str
    name: str
    role: Role
    districts: tuple[str, ...]
    manager: str | None = None
    active: bool = True
    wecom: str = ""

    @property
    def manages(self) -> bool:
        return self.role is not Role.REP


@dataclass(frozen=True, slots=True)
class Scope:
    """The part of the firm somebody may look at: whole, some districts, or one rep's own."""

    everything: bool = False
    districts: frozenset[str] = frozenset()
    rep: str | None = None

    def holds(self, district: str, rep: str) -> bool:
        return self.everything or rep == self.rep or district in self.districts


def scope_of(employee: Employee) -> Scope:
    """A rep sees the own data, an area manager the own districts, everybody else the firm; nobody who left sees any."""
    if not employee.active:
        return Scope()
    if employee.role is Role.REP:
        return Scope(rep=employee.code)
    if employee.role is Role.AREA_MANAGER:
        return Scope(districts=frozenset(employee.districts))
    return Scope(everything=True)


def managers_over(rep: Employee, staff: Collection[Employee]) -> list[Employee]:
    """The active people above a rep, nearest first; a loop in the import ends the walk."""
    by_code = {person.code: person for person in staff}
    chain: list[Employee] = []
    above = by_code.get(rep.manager or "")
    while above is not None and above not in chain and above.code != rep.code:
        chain.append(above)
        above = by_code.get(above.manager or "")
    return [person for person in chain if person.active]
