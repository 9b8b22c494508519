"""客户, 产品, 业务员 and 竞品 from a folder of files. Everything is right and is saved, or nothing is."""

import difflib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reports.columns import COLUMNS, COMPETITORS, EMPLOYEES, MASTER, OPTIONAL, OUTLETS, PRODUCTS
from reports.firm_rows import Row, RowProblem, folded
from reports.sheets import Sheet, Unreadable, read_sheet
from rules.outlets import Outlet
from rules.people import Employee, Role
from rules.products import Competitor, Product
from storage import firm, people
from storage.database import Work

ROLE_WORDS: dict[str, Role] = {
    "业务员": Role.REP,
    "销售代表": Role.REP,
    "业代": Role.REP,
    "区域经理": Role.AREA_MANAGER,
    "销售总监": Role.DIRECTOR,
    "总监": Role.DIRECTOR,
    "销售运营": Role.OPERATIONS,
    "运营": Role.OPERATIONS,
}
WHOLE_FIRM = "全部"
# developer.work.weixin.qq.com/document/path/90195: 1 to 64 bytes.
_WECOM = re.compile(r"[a-z0-9][a-z0-9_.@-]{0,63}")
_ACTIVE: Mapping[str, bool] = {"在职": True, "离职": False}
_YES_NO: Mapping[str, bool] = {
    **dict.fromkeys(("是", "Y", "YES", "TRUE", "1", "√"), True),
    **dict.fromkeys(("否", "N", "NO", "FALSE", "0", "×", ""), False),
}


class ImportRefused(Exception):
    """Nothing was taken; every problem found, in the order of the files."""

    def __init__(self, problems: Sequence[RowProblem]) -> None:
        super().__init__(f"{len(problems)} problems")
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class FirmData:
    employees: tuple[Employee, ...] = ()
    outlets: tuple[Outlet, ...] = ()
    products: tuple[Product, ...] = ()
    competitors: tuple[Competitor, ...] = ()
    aliases_given: bool = True
    """Whether 客户 had its column 别名; without it the aliases that are stored stay."""

    def __len__(self) -> int:
        return len(self.employees) + len(self.outlets) + len(self.products) + len(self.competitors)


@dataclass(frozen=True, slots=True)
class Change:
    """What an import does to one table; `kept` are those the database has and the file has not: they stay."""

    table: str
    new: int
    changed: int
    same: int
    kept: int


def read_firm(folder: Path, staff: Sequence[Employee] = ()) -> FirmData:
    """What the files of a folder say; raises ImportRefused. A table without a file is left out.

    `staff`: those the database knows, to whom outlets and reports may point though no 业务员 file is given.
    """
    problems: list[RowProblem] = []
    tables = {name: _table(folder, name, problems) for name in MASTER}
    if not any(tables.values()) and not problems:
        problems += _no_files(folder)
    employees = tuple(_employees(tables[EMPLOYEES], staff, problems))
    data = FirmData(
        employees=employees,
        outlets=tuple(_outlets(tables[OUTLETS], _with(staff, employees), problems)),
        products=tuple(_products(tables[PRODUCTS], problems)),
        competitors=tuple(_competitors(tables[COMPETITORS], problems)),
        aliases_given=_has(tables[OUTLETS], "别名"),
    )
    if problems:
        raise ImportRefused(problems)
    return data


def compare(work: Work, data: FirmData) -> tuple[Change, ...]:
    """What saving this would do."""
    return tuple(_change(name, before, given) for name, before, given, _ in _subjects(work, data))


def save_firm(
    work: Work, data: FirmData, progress: Callable[[int, int], None] = lambda done, total: None
) -> tuple[Change, ...]:
    """Put in what is new or changed; nothing is taken out. `progress` gets (rows done, rows in all)."""
    changes, done = [], 0
    for name, before, given, save in _subjects(work, data):
        changes.append(_change(name, before, given))
        save([item for key, item in given.items() if before.get(key) != item])
        done += len(given)
        progress(done, len(data))
    return tuple(changes)


def _subjects(
    work: Work, data: FirmData
) -> list[tuple[str, dict[str, Any], dict[str, Any], Callable[[Sequence[Any]], None]]]:
    """(table, stored by key, given by key, how to save), employees first because outlets point to them."""
    stored = {item.code: item for item in firm.outlets(work)}
    outlets = {item.code: item for item in data.outlets}
    if not data.aliases_given:
        outlets = {
            code: replace(item, aliases=stored[code].aliases) if code in stored else item
            for code, item in outlets.items()
        }
    return [
        (
            EMPLOYEES,
            {item.code: item for item in people.staff(work)},
            {item.code: item for item in data.employees},
            lambda items: people.save_employees(work, items),
        ),
        (
            OUTLETS,
            stored,
            outlets,
            lambda items: firm.save_outlets(work, items),
        ),
        (
            PRODUCTS,
            {item.code: item for item in firm.products(work)},
            {item.code: item for item in data.products},
            lambda items: firm.save_products(work, items),
        ),
        (
            COMPETITORS,
            {item.name: item for item in firm.competitors(work)},
            {item.name: item for item in data.competitors},
            lambda items: firm.save_competitors(work, items),
        ),
    ]


def _change(name: str, before: Mapping[str, Any], given: Mapping[str, Any]) -> Change:
    new = sum(key not in before for key in given)
    same = sum(before.get(key) == item for key, item in given.items())
    return Change(name, new, len(given) - new - same, same, sum(key not in given for key in before))


# --- files ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Table:
    file: str
    sheet: Sheet


def _table(folder: Path, name: str, problems: list[RowProblem]) -> _Table | None:
    """The sheet of one table, or None; a header that is not the expected one leaves none either."""
    found = [
        path for path in sorted(folder.iterdir()) if path.stem == name and path.suffix.lower() in (".csv", ".xlsx")
    ]
    if len(found) > 1:
        problems.append(RowProblem(found[1].name, 0, "", "two_files", {"other": found[0].name}))
    if len(found) != 1:
        return None
    try:
        sheet = read_sheet(found[0])
    except Unreadable as error:
        problems.append(RowProblem(found[0].name, error.line, "", error.reason))
        return None
    wrong = list(_header_problems(found[0].name, sheet.header, COLUMNS[name], OPTIONAL.get(name, ())))
    problems += wrong
    return None if wrong else _Table(found[0].name, sheet)


def _has(table: _Table | None, column: str) -> bool:
    return table is not None and column in table.sheet.header


def _header_problems(
    file: str, header: Sequence[str], wanted: Sequence[str], optional: Sequence[str]
) -> Iterable[RowProblem]:
    missing = [name for name in wanted if name not in header]
    for name in header:
        if name not in wanted:
            near = difflib.get_close_matches(name, missing, 1, cutoff=0.4)
            key = "unknown_column_near" if near else "unknown_column"
            yield RowProblem(file, 1, name, key, {"near": near[0] if near else "", "wanted": list(wanted)})
            missing = [other for other in missing if other not in near]
    for name in missing:
        if name not in optional:
            yield RowProblem(file, 1, name, "missing_column")
    for name, count in Counter(header).items():
        if count > 1:
            yield RowProblem(file, 1, name, "column_twice")


def _no_files(folder: Path) -> Iterable[RowProblem]:
    """Files whose names are nearly right, else that there are none."""
    near = [
        RowProblem(path.name, 0, "", "file_name", {"near": f"{match[0]}{path.suffix.lower()}"})
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in (".csv", ".xlsx", ".xls")
        and (match := difflib.get_close_matches(path.stem, MASTER, 1, cutoff=0.4))
    ]
    return near or [RowProblem(folder.name, 0, "", "no_files", {"names": [f"{name}.csv" for name in MASTER]})]


# --- rows -------------------------------------------------------------------------------------------------------------


def _rows(table: _Table | None, key: str, problems: list[RowProblem]) -> Iterable[tuple[int, Row]]:
    """Every row, with a second one of the same key refused."""
    if table is None:
        return
    seen: dict[str, int] = {}
    for line, cells in table.sheet.rows:
        row = Row(table.file, line, cells, problems)
        value = folded(cells[key]).replace(" ", "")
        if value in seen:
            row.refuse(key, "twice", value=value, line=seen[value])
        elif value:
            seen[value] = line
        yield line, row


def _employees(table: _Table | None, staff: Sequence[Employee], problems: list[RowProblem]) -> Iterable[Employee]:
    found: list[tuple[Row, Employee]] = []
    before = {person.code: person.wecom for person in staff}
    for _, row in _rows(table, "工号", problems):
        role = row.one_of("角色", ROLE_WORDS, Role.REP)
        districts = row.words("区域")
        if WHOLE_FIRM in districts:
            districts = ()
        if not districts and role in (Role.REP, Role.AREA_MANAGER):
            row.refuse("区域", "needs_district")
        person = Employee(
            code=row.code("工号", needed=True),
            name=row.text("姓名", needed=True),
            role=role,
            districts=districts,
            manager=row.code("上级工号") or None,
            active=row.one_of("状态", _ACTIVE, True),
            wecom=_login(row) if row.has("企业微信账号") else before.get(row.code("工号"), ""),
        )
        found.append((row, person))
    everybody = {person.code: person for person in _with(staff, [person for _, person in found])}
    logins = Counter(person.wecom for person in everybody.values() if person.wecom and person.active)
    for row, person in found:
        if person.active and logins[person.wecom] > 1:
            others = [one for one in everybody.values() if one.wecom == person.wecom and one.active and one != person]
            row.refuse("企业微信账号", "wecom_taken", value=person.wecom, name=others[0].name)
        if person.manager is not None and person.manager not in everybody:
            near = difflib.get_close_matches(person.manager, everybody, 1, cutoff=0.6)
            row.refuse("上级工号", "unknown_person", value=person.manager, near=near)
        elif _in_a_ring(person, everybody):
            row.refuse("上级工号", "manager_ring", value=person.manager)
        yield person


def _login(row: Row) -> str:
    """A 企业微信 account in small letters: 企业微信 takes no account of case."""
    value = row.code("企业微信账号").lower()
    if value and not _WECOM.fullmatch(value):
        row.refuse("企业微信账号", "bad_wecom", value=value)
    return value


def _in_a_ring(person: Employee, everybody: Mapping[str, Employee]) -> bool:
    """Whether the way up from somebody leads back to the same one."""
    above, steps = everybody.get(person.manager or ""), 0
    while above is not None and steps <= len(everybody):
        if above.code == person.code:
            return True
        above, steps = everybody.get(above.manager or ""), steps + 1
    return False


def _outlets(table: _Table | None, staff: Sequence[Employee], problems: list[RowProblem]) -> Iterable[Outlet]:
    codes = {person.code: person.code for person in staff}
    named: dict[str, list[str]] = {}
    for person in staff:
        named.setdefault(person.name, []).append(person.code)
    for _, row in _rows(table, "客户编码", problems):
        yield Outlet(
            code=row.code("客户编码", needed=True),
            name=row.text("客户名称", needed=True),
            kind=row.text("客户类型"),
            district=row.text("区域", needed=True),
            address=row.text("地址"),
            point=row.point(),
            rep=_rep(row, codes, named),
            first_contact_on=row.day("首次接触日期"),
            delivery=row.text("配送要求"),
            aliases=row.words("别名") if row.has("别名") else (),
        )


def _rep(row: Row, codes: Mapping[str, str], named: Mapping[str, Sequence[str]]) -> str | None:
    """The 工号 behind 负责业务员, which is a 工号 or a name that only one bears."""
    value = row.text("负责业务员")
    if not value:
        return None
    matching = [codes[folded(value)]] if folded(value) in codes else list(named.get(value, ()))
    if len(matching) == 1:
        return matching[0]
    if matching:
        row.refuse("负责业务员", "ambiguous_person", value=value, codes=matching)
    else:
        row.refuse(
            "负责业务员", "unknown_person", value=value, near=difflib.get_close_matches(value, named, 1, cutoff=0.5)
        )
    return None


def _products(table: _Table | None, problems: list[RowProblem]) -> Iterable[Product]:
    for _, row in _rows(table, "产品编码", problems):
        units = row.words("单位")
        if not units:
            row.refuse("单位", "empty_cell")
        yield Product(
            code=row.code("产品编码", needed=True),
            name=row.text("产品名称", needed=True),
            aliases=row.words("别名"),
            line=row.text("产品线"),
            spec=row.text("规格"),
            units=units,
            price_fen=row.fen("单价"),
            is_new=row.one_of("是否新品", _YES_NO, False),
        )


def _competitors(table: _Table | None, problems: list[RowProblem]) -> Iterable[Competitor]:
    for _, row in _rows(table, "竞品名称", problems):
        yield Competitor(row.text("竞品名称", needed=True), row.text("对应产品线"))


def _with(staff: Sequence[Employee], given: Sequence[Employee]) -> tuple[Employee, ...]:
    """Everybody, those of the file as the file has them."""
    return tuple({**{person.code: person for person in staff}, **{person.code: person for person in given}}.values())
