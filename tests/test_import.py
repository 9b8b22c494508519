"""Importing the firm: what is read, what is refused and where, and that nothing is half imported."""

import csv
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from openpyxl import Workbook

from bot.cli import SAMPLE_FIRM, main
from reports.columns import COLUMNS, MASTER
from reports.firm_import import FirmData, ImportRefused, compare, read_firm, save_firm
from reports.sheets import defused, undefused
from rules.outlets import Outlet
from rules.people import Employee, Role
from rules.places import Point
from rules.visit import Visit
from storage import firm, people, visits
from storage.database import Database
from tests.databases import WHOLE, open_migrated

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
Table = list[list[Any]]

STAFF: Table = [
    ["E002", "吴经理", "区域经理", "柯桥区", "", "在职", "WuJingLi"],
    ["E101", "王建", "业务员", "柯桥区", "E002", "在职", ""],
]
OUTLET = ["C0001", "老灶台", "餐饮", "柯桥区", "笛扬路118号", "30.08215", "120.49383", "王建", "2026-03-02", "冷链", ""]
PRODUCT = ["P001", "小酥肉", "酥肉|肉", "冻品", "1kg*10包/箱", "箱|包", "268.00", "否"]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_migrated(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "资料"
    made.mkdir()
    return made


def write(folder: Path, table: str, rows: Table, *, encoding: str = "utf-8", header: list[str] | None = None) -> None:
    with (folder / f"{table}.csv").open("w", encoding=encoding, newline="") as file:
        csv.writer(file).writerows([header or list(COLUMNS[table]), *rows])


def write_xlsx(folder: Path, table: str, rows: Table) -> None:
    book = Workbook()
    for row in [list(COLUMNS[table]), *rows]:
        book.worksheets[0].append(row)
    book.save(folder / f"{table}.xlsx")


def changed(row: list[Any], table: str, **cells: Any) -> list[Any]:
    return [cells.get(name, value) for name, value in zip(COLUMNS[table], row, strict=True)]


def outlet(folder: Path, **cells: Any) -> Outlet:
    write(folder, "业务员", STAFF)
    write(folder, "客户", [changed(OUTLET, "客户", **cells)])
    return read_firm(folder).outlets[0]


def told(folder: Path) -> list[tuple[str, int, str, str]]:
    """(file, line, column, what) of every problem."""
    with pytest.raises(ImportRefused) as refused:
        read_firm(folder)
    return [(one.file, one.line, one.column, one.key) for one in refused.value.problems]


def stored(database: Database) -> FirmData:
    with database.read(WHOLE) as work:
        return FirmData(
            tuple(people.staff(work)),
            tuple(firm.outlets(work)),
            tuple(firm.products(work)),
            tuple(firm.competitors(work)),
        )


def run_import(tmp_path: Path, folder: Path, *options: str) -> Result:
    config = tmp_path / "config.toml"
    config.write_text('"数据"."目录" = "库"', encoding="utf-8")
    return CliRunner().invoke(main, ["--config", str(config), "import", str(folder), *options])


# --- what is read -----------------------------------------------------------------------------------------------------


def test_the_sample_firm_is_read_and_kept_as_it_is(database: Database) -> None:
    data = read_firm(SAMPLE_FIRM)
    with database.work(WHOLE) as work:
        changes = save_firm(work, data)
    assert [(one.new, one.changed, one.same, one.kept) for one in changes] == [
        (len(data.employees), 0, 0, 0),
        (len(data.outlets), 0, 0, 0),
        (len(data.products), 0, 0, 0),
        (len(data.competitors), 0, 0, 0),
    ]
    kept = stored(database)
    assert set(kept.outlets) == set(data.outlets)
    assert set(kept.products) == set(data.products)
    assert set(kept.competitors) == set(data.competitors)
    assert {person.code: person for person in kept.employees}["E107"] == Employee(
        "E107", "何平", Role.REP, ("柯桥区",), "E002", active=False, wecom="heping"
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
def test_encodings_that_excel_writes(folder: Path, encoding: str) -> None:
    write(folder, "业务员", STAFF, encoding=encoding)
    assert [person.name for person in read_firm(folder).employees] == ["吴经理", "王建"]


def test_columns_in_any_order_and_tabs_between_them(folder: Path) -> None:
    header = list(reversed(COLUMNS["业务员"]))
    rows = ["\t".join(reversed(row)) for row in STAFF]
    (folder / "业务员.csv").write_text("\n".join(["\t".join(header), *rows]), encoding="utf-8")
    assert [person.code for person in read_firm(folder).employees] == ["E002", "E101"]


def test_xlsx_with_numbers_and_dates_as_excel_keeps_them(folder: Path) -> None:
    write_xlsx(folder, "业务员", STAFF)
    numbers = {"纬度": 30.08215, "经度": 120.49383, "首次接触日期": datetime(2026, 3, 2)}  # noqa: DTZ001 - as Excel has it
    write_xlsx(folder, "客户", [changed(OUTLET, "客户", **numbers), [None] * len(OUTLET)])
    write_xlsx(folder, "产品", [changed(PRODUCT, "产品", 产品编码=1001, 单价=268.5)])
    data = read_firm(folder)
    assert data.outlets[0].point == Point(30.08215, 120.49383)
    assert data.outlets[0].first_contact_on == date(2026, 3, 2)
    assert (data.products[0].code, data.products[0].price_fen) == ("1001", 26850)


@pytest.mark.parametrize(
    "text",
    ["2026-3-2", "2026/03/02", "2026年3月2日", "2026.3.2", "２０２６－０３－０２", "46083", "2026-03-02 00:00:00"],
)
def test_dates_in_their_usual_forms(folder: Path, text: str) -> None:
    assert outlet(folder, 首次接触日期=text).first_contact_on == date(2026, 3, 2)


@pytest.mark.parametrize(
    ("text", "fen"), [("¥1,268.00", 126800), ("￥268", 26800), ("268元", 26800), ("２６８．５", 26850), ("", None)]
)
def test_prices_as_people_write_them(folder: Path, text: str, fen: int | None) -> None:
    write(folder, "产品", [changed(PRODUCT, "产品", 单价=text)])
    assert read_firm(folder).products[0].price_fen == fen


def test_coordinates_typed_on_a_chinese_keyboard(folder: Path) -> None:
    assert outlet(folder, 纬度="３０。08215", 经度="120。49383°").point == Point(30.08215, 120.49383)
    assert outlet(folder, 纬度="", 经度="").point is None


def test_lists_flags_and_full_width_codes(folder: Path) -> None:
    row = changed(PRODUCT, "产品", 产品编码="Ｐ００１", 别名="酥肉、 肉，酥肉", 单位="箱/包", 是否新品="是")
    write(folder, "产品", [row])
    product = read_firm(folder).products[0]
    assert (product.code, product.aliases, product.units, product.is_new) == (
        "P001",
        ("酥肉", "肉"),
        ("箱", "包"),
        True,
    )


def test_short_names_of_outlets_may_be_left_out_and_then_stay(database: Database, folder: Path) -> None:
    assert outlet(folder, 别名="灶台、老王家，灶台").aliases == ("灶台", "老王家")
    with database.work(WHOLE) as work:
        save_firm(work, read_firm(folder))
    write(folder, "客户", [changed(OUTLET, "客户", 客户名称="老灶台酒家")[:-1]], header=list(COLUMNS["客户"][:-1]))
    with database.work(WHOLE) as work:
        changes = save_firm(work, read_firm(folder))
    assert [(one.new, one.changed) for one in changes if one.table == "客户"] == [(0, 1)]
    assert [(item.name, item.aliases) for item in stored(database).outlets] == [("老灶台酒家", ("灶台", "老王家"))]
    assert outlet(folder, 别名="").aliases == ()
    with database.work(WHOLE) as work:
        save_firm(work, read_firm(folder))
    assert stored(database).outlets[0].aliases == ()


def test_the_rep_by_name_or_by_code(folder: Path) -> None:
    assert outlet(folder, 负责业务员="王建").rep == outlet(folder, 负责业务员="E101").rep == "E101"
    assert outlet(folder, 负责业务员="").rep is None


def test_outlets_alone_may_point_to_people_the_database_knows(folder: Path) -> None:
    write(folder, "客户", [OUTLET])
    assert told(folder) == [("客户.csv", 2, "负责业务员", "unknown_person")]
    assert read_firm(folder, [Employee("E101", "王建", Role.REP, ("柯桥区",))]).outlets[0].rep == "E101"


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "column", "what"),
    [
        ({"客户编码": ""}, "客户编码", "empty_cell"),
        ({"客户名称": " "}, "客户名称", "empty_cell"),
        ({"客户名称": "店" * 121}, "客户名称", "too_long"),
        ({"纬度": "120.49383", "经度": "30.08215"}, "纬度", "swapped"),
        ({"纬度": "0", "经度": "0"}, "纬度", "outside_china"),
        ({"纬度": "51.5", "经度": "-0.12"}, "纬度", "outside_china"),
        ({"纬度": "北纬30度"}, "纬度", "bad_degrees"),
        ({"经度": ""}, "经度", "half_a_point"),
        ({"负责业务员": "王健"}, "负责业务员", "unknown_person"),
        ({"首次接触日期": "3/2/2026"}, "首次接触日期", "bad_date"),
        ({"首次接触日期": "2026-02-30"}, "首次接触日期", "bad_date"),
    ],
)
def test_a_bad_outlet_names_its_column(folder: Path, cells: dict[str, str], column: str, what: str) -> None:
    write(folder, "业务员", STAFF)
    write(folder, "客户", [changed(OUTLET, "客户", 客户编码="C0000"), changed(OUTLET, "客户", **cells)])
    assert told(folder) == [("客户.csv", 3, column, what)]


@pytest.mark.parametrize(
    ("cells", "column", "what"),
    [
        ({"角色": "保安"}, "角色", "not_one_of"),
        ({"状态": "请假"}, "状态", "not_one_of"),
        ({"区域": "全部"}, "区域", "needs_district"),
        ({"上级工号": "E999"}, "上级工号", "unknown_person"),
        ({"上级工号": "E101"}, "上级工号", "manager_ring"),
        ({"工号": "Ｅ００２"}, "工号", "twice"),
        ({"企业微信账号": "王建"}, "企业微信账号", "bad_wecom"),
        ({"企业微信账号": "wujingli"}, "企业微信账号", "wecom_taken"),
    ],
)
def test_a_bad_employee_names_its_column(folder: Path, cells: dict[str, str], column: str, what: str) -> None:
    write(folder, "业务员", [STAFF[0], changed(STAFF[1], "业务员", **cells)])
    assert ("业务员.csv", 3, column, what) in told(folder)


@pytest.mark.parametrize(
    ("cells", "column", "what"),
    [
        ({"单价": "面议"}, "单价", "bad_price"),
        ({"单价": "-1"}, "单价", "bad_price"),
        ({"单价": "1.005"}, "单价", "bad_price"),
        ({"单价": "NaN"}, "单价", "bad_price"),
        ({"单位": ""}, "单位", "empty_cell"),
        ({"是否新品": "也许"}, "是否新品", "not_one_of"),
    ],
)
def test_a_bad_product_names_its_column(folder: Path, cells: dict[str, str], column: str, what: str) -> None:
    write(folder, "产品", [changed(PRODUCT, "产品", **cells)])
    assert told(folder) == [("产品.csv", 2, column, what)]


def test_a_wecom_account_counts_in_small_letters_and_may_be_left_out(folder: Path, database: Database) -> None:
    write(folder, "业务员", STAFF)
    with database.work(WHOLE) as work:
        save_firm(work, read_firm(folder))
        staff = people.staff(work)
    assert [person.wecom for person in staff] == ["wujingli", ""]
    short = list(COLUMNS["业务员"])[:-1]
    write(folder, "业务员", [row[:-1] for row in STAFF], header=short)
    assert [person.wecom for person in read_firm(folder, staff).employees] == ["wujingli", ""], "what was there stays"
    left = changed(STAFF[0], "业务员", 工号="E009", 状态="离职")
    write(folder, "业务员", [*STAFF, left])
    assert [person.wecom for person in read_firm(folder).employees] == ["wujingli", "", "wujingli"], (
        "who left may keep it"
    )
    write(folder, "业务员", [changed(STAFF[1], "业务员", 企业微信账号="WUJINGLI")])
    with pytest.raises(ImportRefused) as refused:
        read_firm(folder, staff)
    assert [one.key for one in refused.value.problems] == ["wecom_taken"], (
        "another one, whom the file leaves out, has it"
    )


def test_two_people_of_one_name_need_the_code(folder: Path) -> None:
    write(folder, "业务员", [*STAFF, changed(STAFF[1], "业务员", 工号="E102")])
    write(folder, "客户", [OUTLET])
    assert told(folder) == [("客户.csv", 2, "负责业务员", "ambiguous_person")]


def test_every_problem_is_collected_with_the_line_where_its_row_begins(folder: Path) -> None:
    write(folder, "业务员", STAFF)
    rows = [
        changed(OUTLET, "客户", 地址="一行\n两行"),
        changed(OUTLET, "客户", 纬度="x"),
        changed(OUTLET, "客户", 客户编码="C0002", 负责业务员="无名"),
    ]
    write(folder, "客户", rows)
    write(folder, "产品", [changed(PRODUCT, "产品", 单价="x")])
    assert told(folder) == [
        ("客户.csv", 4, "客户编码", "twice"),
        ("客户.csv", 4, "纬度", "bad_degrees"),
        ("客户.csv", 5, "负责业务员", "unknown_person"),
        ("产品.csv", 2, "单价", "bad_price"),
    ]


def test_headers_are_checked(folder: Path) -> None:
    header = list(COLUMNS["业务员"])
    header[0], header[5] = "工 号", "工龄年"
    write(folder, "业务员", STAFF, header=header)
    with pytest.raises(ImportRefused) as refused:
        read_firm(folder)
    problems = [(one.column, one.key, one.values.get("near")) for one in refused.value.problems]
    assert problems == [
        ("工 号", "unknown_column_near", "工号"),
        ("工龄年", "unknown_column", ""),
        ("状态", "missing_column", None),
    ]


@pytest.mark.parametrize(
    ("content", "line", "what"),
    [
        (b"", 0, "empty"),
        (b"\xff\xfe\x00", 0, "encoding"),
        ("竞品名称,对应产品线\n味农,冻品,多一格".encode(), 2, "too_many_cells"),
        ('竞品名称,对应产品线\n味农,冻品\n"百川,冻品'.encode(), 3, "broken"),
        ("竞品名称,对应产品线,对应产品线\n味农,冻品,冻品".encode(), 1, "column_twice"),
    ],
)
def test_files_that_hold_no_table(folder: Path, content: bytes, line: int, what: str) -> None:
    (folder / "竞品.csv").write_bytes(content)
    with pytest.raises(ImportRefused) as refused:
        read_firm(folder)
    assert [(one.line, one.key) for one in refused.value.problems] == [(line, what)]


def test_an_xlsx_that_is_none_and_a_table_given_twice(folder: Path) -> None:
    (folder / "竞品.xlsx").write_bytes(b"PK\x03\x04 no")
    assert told(folder) == [("竞品.xlsx", 0, "", "broken")]
    write(folder, "竞品", [["味农", "冻品"]])
    assert told(folder) == [("竞品.xlsx", 0, "", "two_files")]


def test_a_folder_without_the_files(folder: Path) -> None:
    assert told(folder) == [("资料", 0, "", "no_files")]
    (folder / "客户表.csv").write_text("x")
    assert told(folder) == [("客户表.csv", 0, "", "file_name")]


@given(st.text(max_size=30))
def test_a_defused_cell_is_read_back_as_it_was(text: str) -> None:
    assert undefused(defused(text)) == text


# --- what is saved ----------------------------------------------------------------------------------------------------


def test_importing_again_updates_and_takes_nothing_out(database: Database) -> None:
    data = read_firm(SAMPLE_FIRM)
    found_by_rep = replace(data.outlets[0], code="N0001", name="新开的店", point=None)
    with database.work(WHOLE) as work:
        save_firm(work, data)
        visit = visits.add(work, Visit("E101", NOW), "Asia/Shanghai")
        firm.add_outlet(work, found_by_rep, visit)
    renamed = replace(data, outlets=(replace(data.outlets[0], name="老灶台总店"), *data.outlets[1:-1]))
    with database.read(WHOLE) as work:
        preview = compare(work, renamed)
    with database.work(WHOLE) as work:
        assert save_firm(work, renamed) == preview
    of_outlets = preview[1]
    assert (of_outlets.new, of_outlets.changed, of_outlets.kept) == (0, 1, 2)
    names = {item.code: item.name for item in stored(database).outlets}
    assert names["C0001"] == "老灶台总店"
    assert names["N0001"] == "新开的店"
    assert data.outlets[-1].code in names


def test_an_import_of_a_rep_found_outlet_keeps_the_visit_that_found_it(database: Database) -> None:
    data = read_firm(SAMPLE_FIRM)
    with database.work(WHOLE) as work:
        save_firm(work, data)
        visit = visits.add(work, Visit("E101", NOW), "Asia/Shanghai")
        firm.add_outlet(work, replace(data.outlets[0], code="N0001"), visit)
        save_firm(work, FirmData(outlets=(replace(data.outlets[0], code="N0001", name="改名"),)))
    with database.connection() as connection:
        row = connection.exec_driver_sql("select name, created_by_visit from outlet where code = 'N0001'").one()
    assert tuple(row) == ("改名", visit)


def test_the_command_imports_previews_and_refuses_whole(tmp_path: Path) -> None:
    folder = tmp_path / "资料"
    shutil.copytree(SAMPLE_FIRM, folder, ignore=shutil.ignore_patterns("clips", "test_model"))
    preview = run_import(tmp_path, folder, "--dry-run")
    assert preview.exit_code == 0
    assert "预览，没有保存" in preview.stdout
    assert "· 业务员：新增 11，更新 0，不变 0" in preview.stdout

    broken = (folder / "竞品.csv").read_text(encoding="utf-8") + "味农,冻品\n"
    (folder / "竞品.csv").write_text(broken, encoding="utf-8")
    refused = run_import(tmp_path, folder)
    assert refused.exit_code == 1
    last = len(broken.splitlines())
    assert f"竞品.csv 第 {last} 行「竞品名称」：「味农」在第 3 行已经有了。" in refused.stderr

    (folder / "竞品.csv").unlink()
    done = run_import(tmp_path, folder)
    assert done.exit_code == 0
    assert "· 业务员：新增 11，更新 0，不变 0" in done.stdout  # so the refused one had saved nothing
    assert "离职" in done.stderr or "何平" not in (folder / "客户.csv").read_text(encoding="utf-8")
    assert "· 产品：新增 0，更新 0，不变 12" in run_import(tmp_path, folder).stdout


def test_the_command_shows_fifty_problems_and_counts_the_rest(tmp_path: Path, folder: Path) -> None:
    write(folder, "产品", [changed(PRODUCT, "产品", 产品编码=f"P{n}", 单价="x") for n in range(60)])
    result = run_import(tmp_path, folder)
    assert result.exit_code == 1
    assert result.stderr.count("看不懂价格") == 50
    assert "还有 10 处" in result.stderr


def test_outlets_of_somebody_who_left_are_mentioned(tmp_path: Path, folder: Path) -> None:
    write(folder, "业务员", [STAFF[0], changed(STAFF[1], "业务员", 状态="离职")])
    write(folder, "客户", [OUTLET])
    assert "还有 1 家客户：王建" in run_import(tmp_path, folder).stderr


def test_every_table_has_its_columns() -> None:
    assert set(MASTER) <= set(COLUMNS)
    assert all(len(set(names)) == len(names) for names in COLUMNS.values())
