"""The index over pieces of fingerprints finds exactly what comparing with every photo finds."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert

from handlers.photos import bits_apart, near_same
from rules.evidence import Photo
from rules.people import Employee, Role
from rules.visit import Visit
from storage import evidence, people, photo_pieces, visits
from storage.database import Database, Work
from storage.migrate import migrate, migrate_down
from storage.photo_pieces import MOST_VALUES, PIECES, WIDTHS, near, pieces_of, probes, radii
from storage.tables.columns import plain
from storage.tables.visits import PhotoRow
from tests.databases import WHOLE, open_database, open_migrated

NOON = datetime(2026, 11, 20, 4, tzinfo=UTC)
REP = Employee("E1", "王建", Role.REP, ("柯桥区",))
fingerprints = st.integers(0, 2**256 - 1)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_migrated(tmp_path)
    yield opened
    opened.close()


def hexed(fingerprint: int) -> str:
    return f"{fingerprint:064x}"


@given(fingerprints)
def test_the_pieces_are_all_of_the_fingerprint(fingerprint: int) -> None:
    whole = 0
    for piece, width in zip(pieces_of(fingerprint), WIDTHS, strict=True):
        assert 0 <= piece < 2**width
        whole = whole << width | piece
    assert whole == fingerprint
    assert sum(WIDTHS) == 256


@given(st.integers(0, 60))
def test_radii_are_enough_by_the_pigeonhole(bits: int) -> None:
    assert sum(radius + 1 for radius in radii(bits)) == bits + 1


@given(fingerprints, st.integers(0, 33), st.randoms(use_true_random=False), st.booleans())
def test_whatever_differs_in_so_many_bits_is_asked_for(
    fingerprint: int, bits: int, chance: random.Random, crowded: bool
) -> None:
    """Also where the bits that differ stand together, or are spread as evenly as they can be."""
    if crowded:
        first = chance.randrange(256)
        flipped = [(first + step) % 256 for step in range(bits)]
    else:
        flipped = chance.sample(range(256), bits)
    other = fingerprint
    for bit in flipped:
        other ^= 1 << bit
    asked = probes(hexed(fingerprint), 100, bits)
    assert asked is not None
    assert any(piece in values for piece, values in zip(pieces_of(other), asked, strict=True))


def test_a_piece_less_would_miss_some() -> None:
    """The radii are the smallest: spread over the pieces, one bit more than they allow for is not found."""
    bits, other = 30, 0
    left = 256
    for width, radius in zip(WIDTHS, radii(bits), strict=True):
        left -= width
        other |= ((1 << radius + 1) - 1) << left
    asked = probes(hexed(0), 100, bits)
    assert asked is not None
    assert other.bit_count() == bits + 1
    assert not any(piece in values for piece, values in zip(pieces_of(other), asked, strict=True))


def test_too_many_values_are_not_asked_for() -> None:
    asked = probes(hexed(5), 100, 33)
    assert asked is not None
    assert PIECES < sum(len(values) for values in asked) <= MOST_VALUES
    assert probes(hexed(5), 100, 60) is None
    assert probes(hexed(5), 49, 30) == []


def keep(work: Work, visit: int, fingerprint: int, quality: int, file: str, at: datetime = NOON) -> int:
    photo = Photo(file, at, phash=hexed(fingerprint))
    return evidence.add_photo(
        work, REP.code, visit, photo, mime="image/jpeg", size=(1, 1), phash_quality=quality, inbox=None
    )


@pytest.mark.parametrize("bits", [0, 12, 30, 31, 60])
def test_finds_what_comparing_with_every_photo_finds(database: Database, bits: int) -> None:
    chance = random.Random(bits)
    base = [chance.getrandbits(256) for _ in range(8)]
    with database.work(WHOLE) as work:
        people.save_employees(work, [REP])
        own = [visits.add(work, Visit(REP.code, NOON), "Asia/Shanghai") for _ in range(4)]
        for _ in range(300):
            fingerprint = chance.choice(base)
            for bit in chance.sample(range(256), chance.choice((0, 1, bits, bits + 1, bits + 2, 90))):
                fingerprint ^= 1 << bit
            file = f"{chance.randrange(200):064x}"
            at = NOON - timedelta(days=chance.choice((1, 100, 364, 366)))
            keep(work, chance.choice(own), fingerprint, chance.choice((49, 50, 100)), file, at)
    since, hits = NOON - timedelta(days=365), 0
    with database.read(WHOLE) as work:
        everything = photo_pieces.of_others(work, since, own[0])
        for fingerprint in base:
            for quality, file in ((100, f"{7:064x}"), (49, f"{9:064x}")):
                wanted = [
                    row
                    for row in everything
                    if row[2] == file or near_same(hexed(fingerprint), quality, row[3], row[4], bits)
                ]
                found = near(work, hexed(fingerprint), quality, file, bits, since, own[0], few=0)
                kept = [
                    row
                    for row in found
                    if row[2] == file or near_same(hexed(fingerprint), quality, row[3], row[4], bits)
                ]
                assert kept == wanted
                hits += len(wanted)
    assert hits > 20
    assert len(everything) < 300  # too old ones and the own visit's are left out


def test_unrelated_photos_are_hardly_ever_compared(database: Database) -> None:
    chance = random.Random(1)
    with database.work(WHOLE) as work:
        people.save_employees(work, [REP])
        visit = visits.add(work, Visit(REP.code, NOON), "Asia/Shanghai")
        for number in range(500):
            keep(work, visit, chance.getrandbits(256), 100, f"{number:064x}")
    with database.read(WHOLE) as work:
        found = near(work, hexed(chance.getrandbits(256)), 100, "f" * 64, 30, NOON - timedelta(days=1), 0, few=0)
        assert len(found) < 5
        asked = hexed(chance.getrandbits(256))
        assert len(near(work, asked, 100, "f" * 64, 30, NOON - timedelta(days=1), 0)) == 500  # few: all of them
        assert all(bits_apart(asked, row[3]) > 30 for row in found)


def test_photos_from_before_the_index_are_in_it_after_migrating(tmp_path: Path) -> None:
    database = open_database(tmp_path, "old.db")
    migrate(database)
    migrate_down(database, "0009")
    with database.work(WHOLE) as work:
        people.save_employees(work, [REP])
        visit = visits.add(work, Visit(REP.code, NOON), "Asia/Shanghai")
        for number, quality in ((77, 100), (78, 49)):
            columns = {"rep": REP.code, "visit": visit, "at": NOON, "file": "a" * 64, "mime": "image/jpeg"}
            columns |= {"width": 1, "height": 1, "phash": hexed(number), "phash_quality": quality}
            work.run(insert(plain(PhotoRow)), **columns)
    migrate(database)
    with database.read(WHOLE) as work:
        found = near(work, hexed(77), 100, "f" * 64, 30, NOON - timedelta(days=1), 0, few=0)
    database.close()
    assert [row[3] for row in found] == [hexed(77)]
