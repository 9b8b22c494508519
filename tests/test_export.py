"""Exporting the firm: every table, the firm's own words, nothing that a spreadsheet would run, and back again."""

import csv
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl import Workbook, load_workbook

import texts
from bot.cli import SAMPLE_FIRM, main
from reports.columns import COLUMNS, MASTER
from reports.export import WORKBOOK, WouldOverwrite, _write_table, export_firm, may_write
from reports.firm_import import FirmData, compare, read_firm, save_firm
from reports.sheets import _cell, defused, from_csv_cell, undefused
from rules.anomalies import Anomaly, Finding
from rules.confirmations import Settled, Verdict
from rules.evidence import Grade, Level, Photo, Place, PlaceKind, Reason
from rules.follow_up import FollowUp
from rules.outlets import Outlet
from rules.people import Employee, Role
from rules.places import Point
from rules.products import Competitor, Product
from rules.visit import Answer, Plain, Source, State, Trace, Visit
from rules.windows import Window
from storage import alerts, confirmations, evidence, firm, follow_ups, people, visits
from storage.database import Database
from storage.evidence import Appeal, Note
from tests.databases import WHOLE, open_migrated

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)  # 17:00 in Shanghai
ZONE = "Asia/Shanghai"
HOSTILE = (
    "=1+1",
    "=cmd|' /C calc'!A0",
    "+8613800000000",
    "-2+3",
    "@SUM(A1:A2)",
    "\t=1+1",
    "\r=1+1",
    "'=1+1",
    "  =1+1",
    "＝1+1",
    "#N/A",
)
MOST_COLUMNS = max(len(columns) for columns in COLUMNS.values())
RUNS = st.builds(
    lambda quotes, mark, rest: quotes + mark + rest,
    st.text("'", max_size=2),
    st.sampled_from("=+-@\t\r\n＝＋－＠"),
    st.text(max_size=20) | st.sampled_from(["cmd|' /C calc'!A0", 'HYPERLINK("http://x.example")', "1+1"]),
)
BEHIND = st.text(";\t\n\r'\" =-＝,x", max_size=20)  # what would begin a cell for whoever splits at another separator


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(tmp_path / "firm.db") as made:
        yield made


class opened:
    """A migrated database, closed at the end of the block."""

    def __init__(self, path: Path) -> None:
        self.database = open_migrated(path.parent, path.name)

    def __enter__(self) -> Database:
        return self.database

    def __exit__(self, *_: object) -> None:
        self.database.close()


def export(database: Database, folder: Path, *, force: bool = False) -> dict[str, int]:
    with database.read(WHOLE) as work:
        return export_firm(work, folder, texts.load("zh-CN"), ZONE, force=force)


def rows(folder: Path, table: str) -> list[dict[str, str]]:
    with (folder / f"{table}.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def a_whole_day(database: Database) -> int:
    """The sample firm, and one visit with everything that hangs on it."""
    with database.work(WHOLE) as work:
        save_firm(work, read_firm(SAMPLE_FIRM))
        place = Place(
            Point(30.08, 120.49), PlaceKind.PIN, NOW, Point(30.078, 120.494), "gcj02", accuracy_m=12.5, fixed_at=NOW
        )
        place_id = evidence.add_place(work, "E101", place, None)
        opened_visit = Visit("E101", NOW, touched_at=NOW, id=0).put("place", Answer(place_id, Source.PIN))
        visit_id = visits.add(work, opened_visit, ZONE)
        before = visits.load(work, visit_id)
        assert before is not None
        visits.keep_change(work, None, before, NOW, None, None)
        after = before
        said: dict[str, Plain] = {
            "outlet": "C0001",
            "problem": "=HYPERLINK(1)",
            "outcome": "won",
            "close_factor": "价格有优势",
            "contacts": ["老板娘", "厨师长"],
            "objections": ["price", "terms"],
            "competitors": ["味农"],
            "orders": [["P001", 8, "箱"], ["P003", 2.5, "包"]],
            "payment": {"amount": 3200.0, "term": "30天"},
            "follow_up": {"first": "2026-11-30", "last": "2026-12-06", "time": "morning", "quote": "下周"},
        }
        for name, value in said.items():
            after = after.put(name, Answer(value, Source.REP))
        after = after.put("actions", Answer(["是否预约了技术答疑"], Source.NOTE, sure=False))
        closed = Visit(
            rep=after.rep,
            opened_at=NOW,
            state=State.CLOSED,
            answers=after.answers,
            left_at=NOW + timedelta(minutes=27),
            closed_at=NOW + timedelta(minutes=28),
            grade=Grade(Level.DOUBTFUL, (Reason("too_far", {"metres": 310, "fence": 200}), Reason("forwarded"))),
            id=visit_id,
        )
        visits.save(work, closed)
        change = visits.keep_change(work, before, closed, NOW + timedelta(minutes=28), None, None)
        trace = Trace("price.said", "=要了八箱", 0.9)
        proposed = Settled(visit_id, "E101", "orders", 0, trace, ["P001", 8, "箱"], None, Verdict.REMOVED)
        confirmations.keep(work, change, NOW, [proposed])
        photo = Photo("a" * 64, NOW, taken_at=NOW, taken_where=Point(30.08, 120.49))
        evidence.add_photo(
            work, "E101", visit_id, photo, mime="image/jpeg", size=(640, 480), phash_quality=90, inbox=None
        )
        evidence.add_note(work, Note("E101", NOW, "typed", visit_id, text="@老板娘 要了八箱"), None)
        follow_ups.add(
            work,
            FollowUp(
                rep="E101",
                outlet="C0001",
                visit=visit_id,
                window=Window(date(2026, 11, 30), date(2026, 12, 6), "15:00", "下周三点"),
                remind_at=NOW,
                made_by_itself=True,
            ),
        )
        appeal = evidence.add_appeal(work, Appeal(visit_id, "E101", "门口在修路", NOW))
        evidence.decide_appeal(work, appeal, "upheld", "E002", NOW)
        found = [Finding(Anomaly.NO_NEW_OUTLET, "柯桥区", ("E101", "E102"), 2, (visit_id,))]
        alerts.add(work, "E002", date(2026, 11, 23), NOW, found)
    return visit_id


def test_everything_is_there_in_the_firms_words(database: Database, tmp_path: Path) -> None:
    visit_id = a_whole_day(database)
    counts = export(database, tmp_path / "out")
    assert {table: count for table, count in counts.items() if table not in MASTER} == {
        "拜访": 1,
        "拜访修改记录": 14,
        "定位": 1,
        "照片": 1,
        "语音与小结": 1,
        "待办": 1,
        "申诉": 1,
        "预警": 1,
        "确认记录": 1,
    }
    (kept,) = rows(tmp_path / "out", "确认记录")
    assert (kept["机器人填的"], kept["业务员定的"], kept["结果"]) == ('["P001", 8, "箱"]', "", "去掉")
    assert kept["原话"] == "'=要了八箱"
    (visit,) = rows(tmp_path / "out", "拜访")
    assert visit == {
        "拜访编号": str(visit_id),
        "日期": "2026-11-23",
        "工号": "E101",
        "业务员": "王建",
        "客户编码": "C0001",
        "客户名称": "柯桥老灶台酒家",
        "状态": "已提交",
        "结果": "成交",
        "到店时间": "2026-11-23 17:00:00",
        "离店时间": "2026-11-23 17:27:00",
        "提交时间": "2026-11-23 17:28:00",
        "时长分钟": "27",
        "签到等级": "存疑",
        "签到依据": "离门店 310 米，超出 200 米、定位是转发来的",
        "解决的问题": "'=HYPERLINK(1)",
        "成交关键因素": "价格有优势",
        "未成交根因": "",
        "见到的人": "老板娘、厨师长",
        "客户异议": "价格、账期",
        "提到的竞品": "味农",
        "订单": "金牌小酥肉 8箱、粗薯条 2.5包",
        "样品": "",
        "金额": "3200.0",
        "账期": "30天",
        "下次跟进": "2026-11-30—2026-12-06 上午",
        "要核对的动作": "是否预约了技术答疑",
        "未确认的项目": "要核对的动作",
        "补录": "否",
    }
    changes = [(row["项目"], row["改前"], row["改后"]) for row in rows(tmp_path / "out", "拜访修改记录")]
    assert changes[0] == ("状态", "", "进行中")
    assert ("状态", "进行中", "已提交") in changes
    assert ("结果", "", "成交") in changes
    assert ("门店", "", "C0001 柯桥老灶台酒家") in changes
    (todo,) = rows(tmp_path / "out", "待办")
    assert (todo["最早日期"], todo["时间"], todo["状态"], todo["自动生成"]) == ("2026-11-30", "15:00", "进行中", "是")
    (appeal,) = rows(tmp_path / "out", "申诉")
    assert (appeal["状态"], appeal["处理人"]) == ("已认可", "吴经理")
    (alert,) = rows(tmp_path / "out", "预警")
    assert (alert["经理"], alert["业务员"], alert["连续天数"]) == ("吴经理", "王建、孙浩", "2")
    (place,) = rows(tmp_path / "out", "定位")
    assert (place["纬度"], place["原始纬度"], place["坐标系"], place["误差米"]) == ("30.08", "30.078", "gcj02", "12.5")


def test_the_workbook_holds_the_same_as_the_csv_files(database: Database, tmp_path: Path) -> None:
    a_whole_day(database)
    export(database, tmp_path / "out")
    book = load_workbook(tmp_path / "out" / WORKBOOK)
    assert book.sheetnames == list(COLUMNS)
    for table, columns in COLUMNS.items():
        sheet = [list(row) for row in book[table].iter_rows(values_only=True)]
        assert sheet[0] == list(columns)
        assert len(sheet) - 1 == len(rows(tmp_path / "out", table))
    visit = dict(zip(COLUMNS["拜访"], [cell.value for cell in book["拜访"][2]], strict=True))
    assert visit["到店时间"] == datetime(2026, 11, 23, 17, 0)  # noqa: DTZ001 - a spreadsheet's wall clock
    assert visit["解决的问题"] == "=HYPERLINK(1)"
    assert visit["金额"] == 3200


def test_csv_files_open_in_excel_as_utf8(database: Database, tmp_path: Path) -> None:
    a_whole_day(database)
    export(database, tmp_path / "out")
    assert all((tmp_path / "out" / f"{table}.csv").read_bytes().startswith(b"\xef\xbb\xbf") for table in COLUMNS)


@pytest.mark.parametrize("words", HOSTILE)
def test_no_cell_becomes_a_formula(database: Database, tmp_path: Path, words: str) -> None:
    with database.work(WHOLE) as work:
        people.save_employees(work, [Employee("E101", words, Role.REP, ("柯桥区",))])
        firm.save_competitors(work, [Competitor(words, "冻品")])
    export(database, tmp_path / "out")
    (row,) = rows(tmp_path / "out", "竞品")
    assert row["竞品名称"].startswith("'") or words == "#N/A"
    assert from_csv_cell(row["竞品名称"]) == words
    for table in ("竞品", "业务员"):
        cells = [cell for cell in load_workbook(tmp_path / "out" / WORKBOOK)[table][2] if cell.value is not None]
        assert {cell.data_type for cell in cells} == {"s"}
        hostile = next(cell for cell in cells if str(cell.value).strip() == words.strip())
        assert hostile.quotePrefix or words == "#N/A"


@settings(max_examples=25, deadline=None)
@given(st.lists(RUNS | BEHIND | st.text(max_size=20), min_size=MOST_COLUMNS, max_size=MOST_COLUMNS))
def test_no_text_in_any_column_of_any_table_is_run(words: list[str]) -> None:
    book = Workbook(write_only=True)
    with tempfile.TemporaryDirectory() as folder:
        for table, columns in COLUMNS.items():
            row = tuple(words[: len(columns)])
            _write_table(Path(folder) / f"{table}.csv", book.create_sheet(table), table, [row])
            with (Path(folder) / f"{table}.csv").open(encoding="utf-8-sig", newline="") as file:
                (written,) = list(csv.reader(file))[1:]
            assert [cell for cell in written if cell.lstrip(" ")[:1] in set("=+-@\t\r\n＝＋－＠")] == []
            assert [from_csv_cell(cell) for cell in written] == [undefused(_cell(defused(cell))) for cell in row]
            for other in ";\t":
                with (Path(folder) / f"{table}.csv").open(encoding="utf-8-sig", newline="") as file:
                    torn = [cell for line in file for cells in csv.reader([line], delimiter=other) for cell in cells]
                assert [cell for cell in torn if re.match(r"[ \t]*[=+\-@＝＋－＠]", cell)] == []
        book.save(Path(folder) / "all.xlsx")
        with zipfile.ZipFile(Path(folder) / "all.xlsx") as parts:
            sheets = [parts.read(name) for name in parts.namelist() if name.startswith("xl/worksheets/")]
    assert len(sheets) == len(COLUMNS)
    assert not [sheet for sheet in sheets if b"<f>" in sheet or b"<f " in sheet or b't="e"' in sheet]


@pytest.mark.parametrize(
    "words", ["送货太晚;=1+1", 'x;"=HYPERLINK(""http://x.example"")"', "第一\n- 第二\t+8", "a;'=1", "1;2;三"]
)
def test_a_spreadsheet_with_another_separator_runs_nothing_either(
    database: Database, tmp_path: Path, words: str
) -> None:
    """It splits the line where the text goes on; and the text comes back as it was."""
    with database.work(WHOLE) as work:
        firm.save_competitors(work, [Competitor(words, "冻品")])
    export(database, tmp_path / "out")
    file = (tmp_path / "out" / "竞品.csv").read_text(encoding="utf-8-sig")
    torn = [cell for line in file.splitlines() for part in line.split(";") for cell in part.split("\t")]
    assert [cell for cell in torn if cell.lstrip(' "')[:1] in set("=+-@")] == []
    with opened(tmp_path / "second.db") as second:
        with second.work(WHOLE) as work:
            save_firm(work, read_firm(tmp_path / "out"))
        with second.read(WHOLE) as work:
            assert firm.competitors(work) == [Competitor(" ".join(words.split()), "冻品")]


def test_cells_that_a_workbook_cannot_hold_do_not_stop_the_export(database: Database, tmp_path: Path) -> None:
    with database.work(WHOLE) as work:
        firm.save_competitors(work, [Competitor("味\x00农\x0b", "长" * 40_000)])
    export(database, tmp_path / "out")
    assert load_workbook(tmp_path / "out" / WORKBOOK)["竞品"]["A2"].value == "味农"


def test_the_master_tables_come_back_as_they_were(database: Database, tmp_path: Path) -> None:
    odd = FirmData(
        employees=(
            Employee("E001", "钱总", Role.DIRECTOR, ()),
            Employee("E101", "王建", Role.REP, ("柯桥区", "越城区"), "E001"),
            Employee("E102", "王建", Role.REP, ("柯桥区",), "E001", active=False),
        ),
        outlets=(
            Outlet("C0001", "=老灶台", "餐饮", "柯桥区", "1号，左边", Point(30.1, 120.123456789), "E102", None),
            Outlet("N0001", "新店", "", "柯桥区", "", None, None, date(2026, 11, 23), "冷链"),
        ),
        products=(Product("P001", "'-小酥肉", ("酥肉",), "冻品", "", ("箱", "包"), 29, True),),
        competitors=(Competitor("@味农", ""),),
    )
    with database.work(WHOLE) as work:
        save_firm(work, odd)
    export(database, tmp_path / "out")
    with opened(tmp_path / "second.db") as second:
        with second.work(WHOLE) as work:
            save_firm(work, read_firm(tmp_path / "out"))
        with second.read(WHOLE) as work:
            assert set(people.staff(work)) == set(odd.employees)
            assert set(firm.outlets(work)) == set(odd.outlets)
            assert set(firm.products(work)) == set(odd.products)
            assert set(firm.competitors(work)) == set(odd.competitors)


def test_an_export_imported_into_its_own_database_changes_nothing(database: Database, tmp_path: Path) -> None:
    a_whole_day(database)
    export(database, tmp_path / "out")
    with database.read(WHOLE) as work:
        changes = compare(work, read_firm(tmp_path / "out"))
    assert [(one.new, one.changed, one.kept) for one in changes] == [(0, 0, 0)] * 4
    assert all(one.same for one in changes)


def test_an_earlier_export_is_replaced_only_by_force(database: Database, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(database, out)
    with pytest.raises(WouldOverwrite):
        export(database, out)
    a_whole_day(database)
    export(database, out, force=True)
    assert len(rows(out, "拜访")) == 1
    assert {path.name for path in tmp_path.iterdir() if not path.name.startswith("firm.db")} == {"out"}


def test_a_folder_with_other_files_is_never_replaced(database: Database, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    export(database, out)
    (out / "合同.docx").write_text("x")
    with pytest.raises(WouldOverwrite) as refused:
        export(database, out, force=True)
    assert refused.value.foreign == ("合同.docx",)
    (tmp_path / "a file").touch()
    with pytest.raises(WouldOverwrite):
        may_write(tmp_path / "a file", force=True)


def test_an_export_that_fails_leaves_the_earlier_one_whole(database: Database, tmp_path: Path) -> None:
    out = tmp_path / "out"
    a_whole_day(database)
    export(database, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def full_disk(table: str, count: int) -> None:
        if table == "照片":
            raise OSError(28, "No space left on device")

    with database.read(WHOLE) as work, pytest.raises(OSError, match="No space"):
        export_firm(work, out, texts.load("zh-CN"), ZONE, force=True, progress=full_disk)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".out")]


def test_only_the_owner_may_read_an_export(database: Database, tmp_path: Path) -> None:
    export(database, tmp_path / "out")
    assert (tmp_path / "out").stat().st_mode & 0o077 == 0


def test_the_command_exports_and_protects(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('"数据"."目录" = "库"', encoding="utf-8")
    run = CliRunner().invoke
    firm_files = tmp_path / "资料"
    shutil.copytree(SAMPLE_FIRM, firm_files, ignore=shutil.ignore_patterns("clips", "test_model"))
    assert run(main, ["--config", str(config), "import", str(firm_files)]).exit_code == 0
    out = tmp_path / "新" / "导出"
    command = ["--config", str(config), "export", str(out)]
    first = run(main, command)
    assert first.exit_code == 0
    assert "业务员 11 行" in first.stdout
    second = run(main, command)
    assert (second.exit_code, "--force" in second.stderr) == (2, True)
    assert run(main, [*command, "--force"]).exit_code == 0
    assert sorted(os.listdir(out)) == sorted([WORKBOOK, *(f"{table}.csv" for table in COLUMNS)])
