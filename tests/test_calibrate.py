"""zoudian calibrate: one pin and one device fix of the same person tell which datum a channel's pins are in."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bot.cli import SAMPLE_FIRM, main
from rules.calibration import calibrate
from rules.evidence import Place, PlaceKind
from rules.places import Point, gcj02_from_wgs84, metres_between, to_wgs84
from storage import evidence, inbox
from storage.database import Database
from storage.inbox import Delivery
from tests.databases import WHOLE

CORNER = Point(30.08218, 120.49390)


async def zoudian(*arguments: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, main, list(arguments))


def arrived(folder: Path, channel: str, key: str, at: datetime) -> int:
    database = Database(f"sqlite:///{folder / '库' / 'zoudian.db'}")
    try:
        with database.work(WHOLE) as work:
            row = inbox.accept(work, Delivery(channel, "a", key, f"{channel}:x", "x", {}, {"kind": "notice"}, at))
            assert row is not None
            assert inbox.take(work, row, at)
            return row
    finally:
        database.close()


def sent(folder: Path, channel: str, raw: Point, kind: PlaceKind, datum: str, at: datetime, who: str = "E101") -> None:
    """A position as it lies in the database after its channel handed it over in what it took for its datum."""
    row = arrived(folder, channel, f"{channel}{kind}{at.timestamp()}", at)
    database = Database(f"sqlite:///{folder / '库' / 'zoudian.db'}")
    try:
        with database.work(WHOLE) as work:
            known = "gcj02" if datum == "gcj02" else "wgs84"
            place = Place(to_wgs84(raw, known), kind, at, raw, known, accuracy_m=8.0)  # type: ignore[arg-type]
            evidence.add_place(work, who, place, row)
    finally:
        database.close()


@pytest.fixture
async def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "config.toml").write_text('"数据"."目录" = "库"\n', "utf-8")
    monkeypatch.chdir(tmp_path)
    assert (await zoudian("import", str(SAMPLE_FIRM))).exit_code == 0
    return tmp_path


@pytest.mark.parametrize("channel", ["wecom", "mp"])
@pytest.mark.parametrize(
    ("truth", "set_to", "code"), [("gcj02", "gcj02", 0), ("wgs84", "gcj02", 1), ("gcj02", "wgs84", 1)]
)
async def test_one_pin_and_one_fix_tell_the_datum(home: Path, channel: str, truth: str, set_to: str, code: int) -> None:
    now = datetime.now(UTC)
    pin = gcj02_from_wgs84(CORNER) if truth == "gcj02" else CORNER
    sent(home, "web", CORNER, PlaceKind.BROWSER, "wgs84", now - timedelta(minutes=3))
    sent(home, channel, pin, PlaceKind.PIN, set_to, now)
    result = await zoudian("calibrate")
    assert result.exit_code == code, result.output
    assert f"按 {truth} 算相距 0 米" in result.output
    assert (f'应该设为 "{truth}"' in result.output) == bool(code)
    assert (await zoudian("calibrate", "--channel", "telegram")).exit_code == 1


async def test_no_pair_or_none_that_tells(home: Path) -> None:
    now = datetime.now(UTC)
    assert (await zoudian("calibrate")).exit_code == 1
    sent(home, "wecom", gcj02_from_wgs84(CORNER), PlaceKind.PIN, "gcj02", now)
    sent(home, "web", CORNER, PlaceKind.BROWSER, "wgs84", now - timedelta(hours=3))
    sent(home, "web", CORNER, PlaceKind.BROWSER, "wgs84", now, "E102")
    result = await zoudian("calibrate")
    assert "没有人在 15 分钟内" in result.output, "neither an old fix nor somebody else's"
    far = Point(CORNER.lat + 0.01, CORNER.lon)
    sent(home, "web", far, PlaceKind.BROWSER, "wgs84", now - timedelta(minutes=2))
    result = await zoudian("calibrate")
    assert result.exit_code == 1
    assert "看不出来" in result.output


async def test_a_fix_that_is_known_goes_before_one_that_is_reported(home: Path) -> None:
    now = datetime.now(UTC)
    sent(home, "wecom", gcj02_from_wgs84(CORNER), PlaceKind.PIN, "gcj02", now)
    sent(home, "wecom", CORNER, PlaceKind.REPORT, "gcj02", now)
    assert "应用自己上报" in (await zoudian("calibrate")).output
    sent(home, "web", CORNER, PlaceKind.BROWSER, "wgs84", now - timedelta(minutes=5))
    result = await zoudian("calibrate")
    assert result.exit_code == 0
    assert "应用自己上报" not in result.output


def test_a_known_corner_is_found_within_five_metres() -> None:
    shown = gcj02_from_wgs84(CORNER)
    assert metres_between(shown, CORNER) > 100, "unconverted it would lie outside every fence"
    assert metres_between(to_wgs84(shown, "gcj02"), CORNER) < 5
    assert calibrate(shown, CORNER).fits == "gcj02"
    assert calibrate(CORNER, CORNER).fits == "wgs84"
    assert calibrate(Point(48.8584, 2.2945), Point(48.8584, 2.2945)).fits is None, "abroad nothing is shifted"
