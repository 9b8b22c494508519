"""What a photo's bytes say, and what hostile bytes do to us: nothing. Every picture is made here."""

import io
import os
import random
import struct
import subprocess
import sys
import zipfile
import zlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageEnhance
from PIL.ExifTags import GPS, IFD, Base
from PIL.TiffImagePlugin import IFDRational

from handlers.photos import BadPhoto, PhotoFacts, bits_apart, near_same, read_photo
from rules.limits import Limits
from rules.places import Point, metres_between

ZONE = "Asia/Shanghai"
BITS = Limits().near_same_bits
SHOP = Point(30.0812, 120.4903)  # 柯桥
TAKEN = datetime(2026, 3, 2, 1, 41, 7, tzinfo=UTC)  # 09:41:07 in 绍兴
PHASH = st.integers(0, 2**256 - 1).map(lambda number: f"{number:064x}")


def store_front(seed: int, size: tuple[int, int] = (1200, 900)) -> Image.Image:
    """A made-up shop: sky, wall, sign, door, windows and goods, all at random places in random colours."""
    chance = random.Random(seed)

    def colour() -> tuple[int, int, int]:
        return (chance.randrange(256), chance.randrange(256), chance.randrange(256))

    image = Image.new("RGB", size, colour())
    draw = ImageDraw.Draw(image)
    width, height = size
    for _ in range(60):
        x, y = chance.randrange(width), chance.randrange(height)
        box = (x, y, x + chance.randrange(20, width // 3), y + chance.randrange(20, height // 3))
        if chance.random() < 0.7:
            draw.rectangle(box, fill=colour())
        else:
            draw.ellipse(box, fill=colour())
    return image


def saved(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def dms(degrees: float) -> tuple[IFDRational, IFDRational, IFDRational]:
    whole, rest = divmod(degrees, 1)
    minutes, rest = divmod(rest * 60, 1)
    return IFDRational(int(whole), 1), IFDRational(int(minutes), 1), IFDRational(round(rest * 60 * 10_000), 10_000)


def exif(
    taken: str | None = "2026:03:02 09:41:07",
    offset: str | None = "+08:00",
    where: Point | None = SHOP,
    measured_at: datetime | None = TAKEN,
    orientation: int = 1,
) -> Image.Exif:
    tags = Image.Exif()
    tags[Base.Orientation] = orientation
    camera: dict[int, Any] = {}
    if taken is not None:
        camera[Base.DateTimeOriginal] = taken
    if offset is not None:
        camera[Base.OffsetTimeOriginal] = offset
    gps: dict[int, Any] = {}
    if where is not None:
        gps |= {
            GPS.GPSLatitudeRef: "N" if where.lat >= 0 else "S",
            GPS.GPSLatitude: dms(abs(where.lat)),
            GPS.GPSLongitudeRef: "E" if where.lon >= 0 else "W",
            GPS.GPSLongitude: dms(abs(where.lon)),
        }
    if measured_at is not None:
        gps[GPS.GPSDateStamp] = measured_at.strftime("%Y:%m:%d")
        gps[GPS.GPSTimeStamp] = tuple(
            IFDRational(part, 1) for part in (measured_at.hour, measured_at.minute, measured_at.second)
        )
    tags._ifds[IFD.Exif] = camera
    tags._ifds[IFD.GPSInfo] = gps
    tags[IFD.Exif] = camera
    tags[IFD.GPSInfo] = gps
    return tags


def read(data: bytes, time_zone: str = ZONE) -> PhotoFacts:
    return read_photo(data, time_zone)


def refusal(data: bytes) -> str:
    with pytest.raises(BadPhoto) as bad:
        read(data)
    return bad.value.reason


# --- what a good photo says ---


@pytest.mark.parametrize(("kind", "mime"), [("JPEG", "image/jpeg"), ("PNG", "image/png"), ("WEBP", "image/webp")])
def test_kind_size_time_place_and_fingerprint(kind: str, mime: str) -> None:
    facts = read(saved(store_front(1), kind, exif=exif()))
    assert (facts.mime, facts.width, facts.height) == (mime, 1200, 900)
    assert facts.taken_at == TAKEN
    assert facts.taken_where is not None
    assert metres_between(facts.taken_where, SHOP) < 0.1
    assert len(facts.phash) == 64
    assert facts.phash_quality > 50


def test_a_photo_the_chat_app_stripped_says_neither_time_nor_place() -> None:
    """微信压缩过的照片没有拍摄信息"""
    facts = read(saved(store_front(1)))
    assert facts.taken_at is None
    assert facts.taken_where is None


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "I;16"])
def test_every_kind_of_png_is_read(mode: str) -> None:
    image = Image.new(mode, (300, 200)) if mode == "I;16" else store_front(2, (300, 200)).convert(mode)
    facts = read(saved(image, "PNG"))
    assert (facts.width, facts.height) == (300, 200)


def test_a_palette_png_with_transparency_is_read() -> None:
    image = store_front(2, (300, 200)).convert("P")
    assert read(saved(image, "PNG", transparency=bytes(256))).width == 300


def test_cmyk_and_progressive_jpegs_are_read() -> None:
    assert read(saved(store_front(2).convert("CMYK"))).width == 1200
    assert read(saved(store_front(2), progressive=True)).width == 1200


def test_a_jpeg_with_a_second_picture_behind_it_is_a_photo() -> None:
    """手机的人像、HDR 照片：一张 JPEG 后面跟着第二层"""
    data = saved(store_front(3), "MPO", save_all=True, append_images=[store_front(4, (300, 200))])
    facts = read(data)
    assert (facts.mime, facts.width, facts.height) == ("image/jpeg", 1200, 900)


# --- time ---


@pytest.mark.parametrize(
    ("offset", "hour_utc"),
    [("+08:00", 1), (None, 1), ("+09:00", 0), ("-01:00", 10), ("+99:99", 1), ("北京", 1), ("", 1)],
)
def test_the_offset_counts_and_without_one_the_firms_zone(offset: str | None, hour_utc: int) -> None:
    facts = read(saved(store_front(1, (64, 64)), exif=exif(offset=offset, where=None, measured_at=None)))
    assert facts.taken_at == TAKEN.replace(hour=hour_utc)


@pytest.mark.parametrize(
    "taken", ["0000:00:00 00:00:00", "1970:01:01 08:00:00", "2026:13:45 99:99:99", "昨天", "", "9999:12:31 23:59:59"]
)
def test_a_clock_that_was_never_set_says_nothing(taken: str) -> None:
    facts = read(saved(store_front(1, (64, 64)), exif=exif(taken=taken, offset="-10:00", where=None, measured_at=None)))
    assert facts.taken_at is None


def test_satellite_time_stands_in_for_a_camera_without_a_clock() -> None:
    assert read(saved(store_front(1, (64, 64)), exif=exif(taken=None))).taken_at == TAKEN


def test_a_position_from_another_time_says_nothing_about_the_picture() -> None:
    """手机没有卫星信号时会写上一次的位置：不能据此说照片是在别处拍的"""
    old = TAKEN - timedelta(minutes=31)
    assert read(saved(store_front(1, (64, 64)), exif=exif(measured_at=old))).taken_where is None
    recent = TAKEN - timedelta(minutes=29)
    assert read(saved(store_front(1, (64, 64)), exif=exif(measured_at=recent))).taken_where is not None


# --- place ---


@pytest.mark.parametrize("where", [Point(-33.86, 151.21), Point(40.7, -74.0), Point(-22.9, -43.2)])
def test_all_quarters_of_the_globe(where: Point) -> None:
    found = read(saved(store_front(1, (64, 64)), exif=exif(where=where))).taken_where
    assert found is not None
    assert metres_between(found, where) < 0.1


def test_zero_zero_is_a_phone_without_a_fix() -> None:
    assert read(saved(store_front(1, (64, 64)), exif=exif(where=Point(0.0, 0.0)))).taken_where is None


@pytest.mark.parametrize(
    "broken",
    [
        {GPS.GPSLatitude: (IFDRational(30, 0), IFDRational(0, 1), IFDRational(0, 1))},
        {GPS.GPSLatitude: (IFDRational(30, 1), IFDRational(99, 1), IFDRational(0, 1))},
        {GPS.GPSLatitude: (IFDRational(300, 1), IFDRational(0, 1), IFDRational(0, 1))},
        {GPS.GPSLatitude: (IFDRational(30, 1),)},
        {GPS.GPSLatitudeRef: "X"},
    ],
    ids=["division by zero", "99 minutes", "300 degrees", "only degrees", "neither north nor south"],
)
def test_an_impossible_position_is_no_position(broken: dict[int, Any]) -> None:
    tags = exif()
    gps = {**tags._ifds[IFD.GPSInfo], **broken}
    tags._ifds[IFD.GPSInfo] = gps
    tags[IFD.GPSInfo] = gps
    facts = read(saved(store_front(1, (64, 64)), exif=tags))
    assert facts.taken_where is None
    assert facts.taken_at == TAKEN


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow grumbles about what it skips
@settings(max_examples=150, deadline=None)
@given(st.data())
def test_garbage_exif_never_spoils_a_photo(data: st.DataObject) -> None:
    good = exif().tobytes()
    bad = bytearray(good)
    for at in data.draw(st.lists(st.integers(6, len(good) - 1), min_size=1, max_size=12)):
        bad[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(6, len(bad)))
    facts = read(saved(Image.new("RGB", (64, 48)), exif=bytes(bad[:cut])))
    assert {facts.width, facts.height} == {64, 48}


# --- the same picture ---


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_held_sideways_is_the_same_photo_upright(orientation: int) -> None:
    """横着拍的照片，转正以后还是同一张"""
    upright = store_front(5)
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Image.Transpose that undoes each EXIF orientation
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(back[orientation]))
    facts = read(saved(stored, quality=95, exif=exif(orientation=orientation)))
    assert (facts.width, facts.height) == (1200, 900)
    assert same(facts, read(saved(upright, quality=95)))


def same(one: PhotoFacts, other: PhotoFacts) -> bool:
    return near_same(one.phash, one.phash_quality, other.phash, other.phash_quality, BITS)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("change", ["recompressed", "half the size", "brighter", "as webp", "as a screenshot"])
def test_the_same_photo_again_is_found(seed: int, change: str) -> None:
    """同一张照片换个尺寸、压一压、调亮一点再发：认得出来"""
    photo = store_front(seed)
    again = {
        "recompressed": saved(photo, quality=30),
        "half the size": saved(photo.resize((600, 450)), quality=70),
        "brighter": saved(ImageEnhance.Brightness(photo).enhance(1.1), quality=80),
        "as webp": saved(photo, "WEBP", quality=60),
        "as a screenshot": saved(photo.resize((900, 675)), "PNG"),
    }[change]
    assert same(read(saved(photo, quality=90)), read(again))


def test_two_different_shops_are_never_the_same() -> None:
    shops = [read(saved(store_front(seed, (640, 480)))) for seed in range(40)]
    assert all(shop.phash_quality >= 50 for shop in shops)
    apart = [bits_apart(a.phash, b.phash) for at, a in enumerate(shops) for b in shops[:at]]
    assert min(apart) > 2 * BITS
    assert 120 < sum(apart) / len(apart) < 136


def test_two_blank_walls_are_not_called_the_same() -> None:
    """两家店的白墙看起来一样：宁可漏掉，不可冤枉"""
    white, grey = (read(saved(Image.new("RGB", (800, 600), (shade,) * 3))) for shade in (255, 130))
    assert max(white.phash_quality, grey.phash_quality) < 50
    assert not same(white, grey)
    assert not same(white, white)


@given(PHASH, PHASH, st.integers(0, 256))
def test_distance_is_symmetric(one: str, other: str, bits: int) -> None:
    assert bits_apart(one, other) == bits_apart(other, one)
    assert near_same(one, 100, other, 100, bits) == near_same(other, 100, one, 100, bits)


@given(PHASH, st.sets(st.integers(0, 255)), st.integers(0, 256))
def test_near_same_counts_the_bits_that_differ(phash: str, flipped: set[int], bits: int) -> None:
    other = f"{int(phash, 16) ^ sum(1 << bit for bit in flipped):064x}"
    assert bits_apart(phash, other) == len(flipped)
    assert near_same(phash, 50, other, 50, bits) == (len(flipped) <= bits)
    assert not near_same(phash, 49, other, 100, bits)
    assert not near_same(phash, 100, other, 49, bits)


@given(PHASH, PHASH, PHASH)
def test_distance_keeps_the_triangle(a: str, b: str, c: str) -> None:
    assert bits_apart(a, c) <= bits_apart(a, b) + bits_apart(b, c)


@pytest.mark.parametrize("phash", ["", "00", "0" * 63])
def test_a_fingerprint_of_another_length_is_a_mistake_of_ours(phash: str) -> None:
    with pytest.raises(ValueError, match="64 hexadecimal"):
        bits_apart(phash, "0" * 64)


# --- hostile files ---


def png_header_only(width: int, height: int) -> bytes:
    """A PNG that claims a size and is followed by one short, valid stream of pixels."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def zip_file() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("photo.jpg", bytes(1_000_000))
    return file.getvalue()


NOT_PHOTOS = {
    "empty": (b"", "empty"),
    "one byte": (b"\xff", "not_a_photo"),
    "text": ("门头照".encode(), "not_a_photo"),
    "zip": (zip_file(), "not_a_photo"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>', "not_a_photo"),
    "gif": (saved(Image.new("RGB", (9, 9)), "GIF"), "not_a_photo"),
    "pdf": (b"%PDF-1.7\n", "not_a_photo"),
    "video": (b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00", "not_a_photo"),
    "avif": (b"\x00\x00\x00\x1cftypavif\x00\x00\x00\x00", "not_a_photo"),
    "heic of an iphone": (b"\x00\x00\x00\x28ftypheic\x00\x00\x00\x00mif1heic", "heic"),
    "heif": (b"\x00\x00\x00\x1cftypmif1\x00\x00\x00\x00mif1heic", "heic"),
    "21 MB": (b"\xff\xd8\xff" + bytes(21 * 1024 * 1024), "too_big"),
    "jpeg of three bytes": (b"\xff\xd8\xff", "broken"),
    "png of noise": (b"\x89PNG\r\n\x1a\n" + bytes(500), "broken"),
    "webp of noise": (b"RIFF\x00\x01\x00\x00WEBPVP8 " + bytes(500), "broken"),
    "moving webp": (
        saved(store_front(1, (64, 64)), "WEBP", save_all=True, append_images=[store_front(2, (64, 64))]),
        "not_a_photo",
    ),
    "moving png": (
        saved(store_front(1, (64, 64)), "PNG", save_all=True, append_images=[store_front(2, (64, 64))]),
        "not_a_photo",
    ),
}


@pytest.mark.parametrize("name", NOT_PHOTOS)
def test_what_is_no_photo_is_refused_with_its_reason(name: str) -> None:
    data, reason = NOT_PHOTOS[name]
    assert refusal(data) == reason


@pytest.mark.parametrize("size", [(20_000, 10_000), (9_000, 6_000), (50_000_001, 1), (2**31 - 1, 2**31 - 1)])
def test_a_picture_of_too_many_pixels_is_refused_by_its_header(size: tuple[int, int]) -> None:
    """两亿像素的炸弹：只看文件头就拒绝"""
    assert refusal(png_header_only(*size)) == "too_many_pixels"


def test_a_webp_of_too_many_pixels_is_refused_by_its_header() -> None:
    data = saved(Image.new("RGB", (4001, 4001)), "WEBP", lossless=True, quality=0, method=0)
    assert refusal(data) == "too_many_pixels"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.7, 0.97])
def test_a_truncated_photo_is_broken(kind: str, kept: float) -> None:
    data = saved(store_front(6, (640, 480)), kind)
    assert refusal(data[: int(len(data) * kept)]) == "broken"


def test_a_jpeg_of_endless_scans_is_refused_before_decoding() -> None:
    """几千遍扫描的 JPEG 会让解码器忙上几小时"""
    data = saved(store_front(7, (640, 480)), progressive=True)
    last_scan = data[data.rindex(b"\xff\xda") : -2]
    assert read(data).width == 640
    assert refusal(data[:-2] + last_scan * 200 + data[-2:]) == "broken"


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["JPEG", "PNG", "WEBP"]), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=20))
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")
def test_a_photo_with_flipped_bytes_is_read_or_refused(kind: str, flips: list[tuple[float, int]]) -> None:
    data = bytearray(SMALL[kind])
    for where, value in flips:
        data[min(len(data) - 1, int(where * len(data)))] = value
    assert outcome(bytes(data)) in {"read", "not_a_photo", "too_many_pixels", "broken"}


def outcome(data: bytes) -> str:
    try:
        facts = read(data)
    except BadPhoto as bad:
        return bad.reason
    return "read" if facts.width * facts.height <= 50_000_000 else "read in spite of its size"


SMALL = {kind: saved(store_front(8, (96, 64)), kind, exif=exif()) for kind in ("JPEG", "PNG", "WEBP")}

MEASURE = """
import resource, sys
from handlers.photos import read_photo
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with open(sys.argv[1], "rb") as file:
    data = file.read()
facts = read_photo(data, "Asia/Shanghai")
print(facts.width, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize(
    ("kind", "size", "options"),
    [
        ("PNG", (8000, 6250), {"compress_level": 1}),
        ("JPEG", (8000, 6250), {}),
        ("JPEG", (8000, 6250), {"progressive": True, "subsampling": 0}),
        ("WEBP", (4000, 4000), {"lossless": True, "quality": 0, "method": 0}),
    ],
    ids=["png", "jpeg", "progressive jpeg", "webp"],
)
def test_the_largest_photos_stay_within_400_megabytes(
    kind: str, size: tuple[int, int], options: dict[str, Any], tmp_path: Any
) -> None:
    path = tmp_path / "largest"
    path.write_bytes(saved(Image.new("RGB", size, (90, 120, 30)), kind, **options))
    shown = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    ).stdout.split()
    assert int(shown[0]) == size[0]
    assert int(shown[1]) < 400, f"{shown[1]} MB"
