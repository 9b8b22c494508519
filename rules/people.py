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


class Reach(StrEnum):
    """How far a scope goes. `TEAM`: the visits at outlets of the own districts, whoever made them."""

    NOBODY = "nobody"
    OWN = "own"
    TEAM = "team"
    ALL = "all"


class Part(StrEnum):
    """A part of the program that works for no one person, and says so."""

    INTAKE = "intake"  # a message is told apart: whose it is, and whether it was an invite
    CLOCK = "clock"  # what time brings about
    WORKER = "worker"  # a note is listened to
    SENDER = "sender"
    SITE = "site"  # whose browser it is
    CONSOLE = "console"  # whoever may run commands on the machine


class Errand(StrEnum):
    """For what somebody's unit of work looks beyond the own scope for a moment. There are no other ways out of it."""

    SIGN = "sign"  # what stands on the sign of an outlet that a pin, a word or a visit leads to
    CUSTOMER = "customer"  # what was said before at an outlet that is one's own now
    SAME_PHOTO = "same_photo"  # whether a picture was used for another visit, whoever made it
    NUMBER = "number"  # the next free number of an outlet, and whether one is still in use
    POST = "post"  # a message to somebody else


@dataclass(frozen=True, slots=True)
class Scope:
    """The part of the firm somebody may look at: whole, some districts, or one rep's own.

    `who` is the employee it was made for; `part` is the part of the program instead, where it is nobody's.
    """

    everything: bool = False
    districts: frozenset[str] = frozenset()
    rep: str | None = None
    who: str = ""
    part: Part | None = None

    def holds(self, district: str, rep: str) -> bool:
        return self.everything or rep == self.rep or district in self.districts

    @property
    def reach(self) -> Reach:
        if self.everything:
            return Reach.ALL
        if self.rep is not None:
            return Reach.OWN
        return Reach.TEAM if self.who else Reach.NOBODY


def system(part: Part) -> Scope:
    """The whole firm, for a part of the program that names itself."""
    return Scope(everything=True, part=part)


def scope_of(employee: Employee) -> Scope:
    """A rep sees the own data, an area manager the own districts, everybody else the firm; nobody who left sees any."""
    if not employee.active:
        return Scope()
    if employee.role is Role.REP:
        return Scope(rep=employee.code, who=employee.code)
    if employee.role is Role.AREA_MANAGER:
        return Scope(districts=frozenset(employee.districts), who=employee.code)
    return Scope(everything=True, who=employee.code)


def managers_over(rep: Employee, staff: Collection[Employee]) -> list[Employee]:
    """The active people above a rep, nearest first; a loop in the import ends the walk."""
    by_code = {person.code: person for person in staff}
    chain: list[Employee] = []
    above = by_code.get(rep.manager or "")
    while above is not None and above not in chain and above.code != rep.code:
        chain.append(above)
        above = by_code.get(above.manager or "")
    return [person for person in chain if person.active]
