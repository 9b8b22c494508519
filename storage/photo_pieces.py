"""Finding the photos whose fingerprint is nearly the same, by index, without looking at all the others.

The 256 bits are cut into 10 pieces, each in a column with an index. Two fingerprints that differ in at most d bits
nearly agree in one of the pieces: give every piece i a radius r_i with sum(r_i + 1) > d. Were each piece i off by more
than r_i, the whole would be off by at least sum(r_i + 1) > d. So whoever asks for all values within r_i of each piece
finds every such photo, and some others, which are compared in full. (Norouzi, Punjani and Fleet: Fast Search in Hamming
Space with Multi-Index Hashing, CVPR 2012.)

For the product's 30 bits the radii are 2 nine times and 3 once: about 5,700 values, of the 67 million there are for
a piece. One photo in 7,200 that has nothing to do with it is compared all the same.
"""

import json
from datetime import datetime
from functools import cache
from itertools import combinations
from math import comb
from typing import Any

from sqlalchemy import ARRAY, Integer, Select, bindparam, func, insert, select, union_all

from storage.database import Work
from storage.tables.columns import plain
from storage.tables.visits import PhotoPiecesRow, PhotoRow

PIECES = 10
WIDTHS = (26,) * 6 + (25,) * 4  # bits of each piece, from the most significant
LEAST_QUALITY = 50  # as in handlers.photos: below it a fingerprint means nothing, and is not kept here
MOST_VALUES = 20_000  # asking for more takes longer than reading a year of a large firm
FEW_PHOTOS = 1_000  # up to here reading all of them takes no longer than asking

_PHOTO, _PIECES = plain(PhotoRow), plain(PhotoPiecesRow)
_KEEP = insert(_PIECES)
_COLUMNS = tuple(_PIECES.c[f"piece_{number}"] for number in range(PIECES))
_OF = (_PHOTO.c.id, _PHOTO.c.visit, _PHOTO.c.file, _PHOTO.c.phash, _PHOTO.c.phash_quality)
_NEWEST = select(func.max(_PHOTO.c.id))

Found = tuple[int, int | None, str, str, int]


def pieces_of(fingerprint: int) -> tuple[int, ...]:
    """The pieces of 256 bits, the most significant first."""
    found, left = [], 256
    for width in WIDTHS:
        left -= width
        found.append(fingerprint >> left & (1 << width) - 1)
    return tuple(found)


def keep(work: Work, photo: int, at: datetime, phash: str, quality: int) -> None:
    """Remember the pieces of a photo that was added."""
    if quality >= LEAST_QUALITY and len(phash) == 64:
        values = {f"piece_{number}": piece for number, piece in enumerate(pieces_of(int(phash, 16)))}
        work.run(_KEEP, photo=photo, at=at, **values)


def near(
    work: Work,
    phash: str,
    quality: int,
    file: str,
    bits: int,
    since: datetime,
    not_visit: int,
    few: int = FEW_PHOTOS,
) -> list[Found]:
    """(photo, visit, file, phash, quality), oldest first, of photos since then that belong to another visit: all that
    are the same file or differ in at most `bits` bits, and a few that are neither. The caller compares. Where no more
    than `few` photos were ever kept, these are all of them.
    """
    values = probes(phash, quality, bits)
    if values is None or (work.run(_NEWEST).scalar_one_or_none() or 0) <= few:
        return of_others(work, since, not_visit)
    found = {row[0]: row for row in _plain(work.run(_SAME_FILE, same=file, since=since, mine=not_visit))}
    if values:
        given: dict[str, Any] = {f"values_{number}": piece for number, piece in enumerate(values)}
        if work.dialect == "sqlite":
            given = {name: json.dumps(piece) for name, piece in given.items()}
        rows = work.run(_NEAR[work.dialect], since=since, mine=not_visit, **given)
        found.update({row[0]: row for row in _plain(rows)})
    return [found[number] for number in sorted(found)]


def of_others(work: Work, since: datetime, not_visit: int) -> list[Found]:
    """(photo, visit, file, phash, quality) of every photo since then that belongs to another visit, oldest first."""
    return _plain(work.run(_ALL, since=since, mine=not_visit))


def probes(phash: str, quality: int, bits: int) -> list[list[int]] | None:
    """For each piece the values to ask for; none where the fingerprint means nothing, None where they are too many."""
    if quality < LEAST_QUALITY:
        return []
    wanted = radii(bits)
    if sum(comb(width, size) for width, r in zip(WIDTHS, wanted, strict=True) for size in range(r + 1)) > MOST_VALUES:
        return None
    return [
        [piece ^ mask for mask in _masks(width, radius)]
        for piece, width, radius in zip(pieces_of(int(phash, 16)), WIDTHS, wanted, strict=True)
    ]


def radii(bits: int) -> tuple[int, ...]:
    """The smallest radii with sum(radius + 1) > bits; -1 is a piece that need not be asked for. The narrow pieces get
    the larger ones, as they have fewer values within them.
    """
    least, more = divmod(bits + 1, PIECES)
    return tuple(least - 1 + (number >= PIECES - more) for number in range(PIECES))


@cache
def _masks(width: int, radius: int) -> tuple[int, ...]:
    """Every pattern of at most `radius` bits among `width`."""
    return tuple(
        sum(1 << bit for bit in chosen) for size in range(radius + 1) for chosen in combinations(range(width), size)
    )


def _of_others(query: Select[Any]) -> Select[Any]:
    return query.where(
        _PHOTO.c.at >= bindparam("since"), _PHOTO.c.visit.is_not(None), _PHOTO.c.visit != bindparam("mine")
    )


def _plain(rows: Any) -> list[Found]:
    return [(row.id, row.visit, row.file, row.phash, row.phash_quality) for row in rows]


def _piece_in(dialect: str, number: int) -> Any:
    if dialect == "postgresql":
        return _COLUMNS[number] == func.any(bindparam(f"values_{number}", type_=ARRAY(Integer)))
    return _COLUMNS[number].in_(select(func.json_each(bindparam(f"values_{number}")).table_valued("value").c.value))


def _near(dialect: str) -> Any:
    each = [select(_PIECES.c.photo).where(_piece_in(dialect, number)) for number in range(PIECES)]
    there = union_all(*each).subquery()
    return _of_others(select(*_OF).where(_PHOTO.c.id.in_(select(there.c.photo)))).order_by(_PHOTO.c.id)


_ALL = _of_others(select(*_OF)).order_by(_PHOTO.c.id)
_SAME_FILE = _of_others(select(*_OF).where(_PHOTO.c.file == bindparam("same")))
_NEAR = {dialect: _near(dialect) for dialect in ("sqlite", "postgresql")}
