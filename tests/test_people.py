"""Whose data each may see: a rep the own, an area manager the own districts, nobody anything outside."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.people import Employee, Role, Scope, managers_over, scope_of

DISTRICTS = ("柯桥区", "越城区", "上虞区", "")
CODES = tuple(f"R{number:02}" for number in range(6))
PEOPLE = st.builds(
    Employee,
    code=st.sampled_from(CODES),
    name=st.just("王建"),
    role=st.sampled_from(list(Role)),
    districts=st.lists(st.sampled_from(DISTRICTS[:3]), unique=True).map(tuple),
    manager=st.one_of(st.none(), st.sampled_from(CODES)),
    active=st.booleans(),
)


def person(code: str, role: Role, *districts: str, manager: str | None = None, active: bool = True) -> Employee:
    return Employee(code, code, role, districts, manager, active)


REP = person("R01", Role.REP, "柯桥区", manager="M01")
AREA = person("M01", Role.AREA_MANAGER, "柯桥区", "越城区", manager="D01")
DIRECTOR = person("D01", Role.DIRECTOR)
OPERATIONS = person("O01", Role.OPERATIONS)
LEFT = person("D02", Role.DIRECTOR, active=False)


@pytest.mark.parametrize(
    ("who", "district", "rep", "sees"),
    [
        (REP, "柯桥区", "R01", True),
        (REP, "柯桥区", "R02", False),
        (AREA, "柯桥区", "R02", True),
        (AREA, "越城区", "R09", True),
        (AREA, "上虞区", "R03", False),
        (AREA, "", "R03", False),
        (DIRECTOR, "上虞区", "R03", True),
        (OPERATIONS, "上虞区", "R03", True),
        (LEFT, "柯桥区", "R01", False),
    ],
    ids=[
        "业务员看自己",
        "业务员不看同区同事",
        "区域经理看本区",
        "区域经理看另一个本区",
        "区域经理不看别的区",
        "区域经理不看没有区域的记录",
        "总监看全部",
        "运营看全部",
        "离职的什么也不看",
    ],
)
def test_who_sees_what(who: Employee, district: str, rep: str, sees: bool) -> None:
    assert scope_of(who).holds(district, rep) is sees


@given(PEOPLE, st.sampled_from(DISTRICTS), st.sampled_from(CODES))
def test_nobody_sees_outside(who: Employee, district: str, rep: str) -> None:
    """任何人、任何区、任何业务员：看得到的，都是该看的"""
    if not scope_of(who).holds(district, rep):
        return
    assert who.active
    match who.role:
        case Role.REP:
            assert rep == who.code
        case Role.AREA_MANAGER:
            assert district in who.districts
        case Role.DIRECTOR | Role.OPERATIONS:
            assert who.manages


@given(PEOPLE, st.sampled_from(DISTRICTS))
def test_a_rep_at_work_always_sees_the_own_data(who: Employee, district: str) -> None:
    if who.active and who.role is Role.REP:
        assert scope_of(who).holds(district, who.code)


@given(st.sampled_from(DISTRICTS), st.sampled_from(CODES))
def test_an_empty_scope_holds_nothing(district: str, rep: str) -> None:
    assert not Scope().holds(district, rep)


def test_an_area_manager_without_a_district_sees_nothing() -> None:
    """没有分配区域，不等于看全公司"""
    scope = scope_of(person("M09", Role.AREA_MANAGER))
    assert not any(scope.holds(district, code) for district in DISTRICTS for code in CODES)


def test_only_reps_manage_nobody() -> None:
    assert [role for role in Role if not person("X", role).manages] == [Role.REP]


# --- 上级 ---


def test_the_managers_above_nearest_first() -> None:
    assert managers_over(REP, [DIRECTOR, REP, AREA]) == [AREA, DIRECTOR]


def test_who_left_is_passed_over_and_the_next_above_stays() -> None:
    gone = person("M01", Role.AREA_MANAGER, "柯桥区", manager="D01", active=False)
    assert managers_over(REP, [DIRECTOR, REP, gone]) == [DIRECTOR]


def test_a_manager_nobody_imported_ends_the_walk() -> None:
    assert managers_over(REP, [REP]) == []


@given(st.lists(PEOPLE, max_size=6, unique_by=lambda someone: someone.code), PEOPLE)
def test_a_loop_in_the_import_ends_the_walk(staff: list[Employee], rep: Employee) -> None:
    """导入表里甲的上级是乙、乙的上级是甲"""
    above = managers_over(rep, staff)
    assert len({someone.code for someone in above}) == len(above)
    assert all(someone.active and someone in staff for someone in above)
    assert rep.code not in {someone.code for someone in above}
