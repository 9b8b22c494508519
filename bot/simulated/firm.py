"""Who works in the made-up firm and where its outlets lie. Everything follows from the plan's numbers and its seed."""

import math
from array import array
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, time, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import chinese_calendar

from bot.simulated import names
from rules.limits import Limits

LIMITS = Limits()  # the made-up firm lives by the product's own numbers, whatever a firm's config.toml says
ZONE = ZoneInfo(LIMITS.time_zone)
REPS_A_DISTRICT = 22
LEAST_OUTLETS = 3  # a rep
MOST_DAYS = 400
MOST_VISITS = 12  # a rep and day: more do not fit between morning and evening
CAMPAIGN_DAYS = 5  # the last working days, on which reps register new outlets
JOINS_LATE, LEAVES, NEGLECTS, REGISTERS = 0.02, 0.02, 0.10, 0.85
_PEOPLE = 4095  # beside the numbers of days: the drawing of what belongs to a rep and to no day


@dataclass(frozen=True, slots=True)
class Plan:
    """All that decides what is in the firm. `visits` is about how many a rep makes a day; `until` is its last day."""

    reps: int
    outlets: int
    days: int
    visits: int
    seed: int
    until: date

    def to_plain(self) -> dict[str, Any]:
        return {**asdict(self), "until": self.until.isoformat()}

    @classmethod
    def from_plain(cls, kept: dict[str, Any]) -> "Plan":
        return cls(**{**kept, "until": date.fromisoformat(kept["until"])})


@dataclass(frozen=True, slots=True)
class Rep:
    """`number` counts from 0, and days by their number in the plan; `left` is the first day without this rep.

    `found` says on which days the rep registers a new outlet, and which; `neglects` is the day of the one 待办 that
    nobody ever answers.
    """

    number: int
    code: str
    name: str
    district: int
    joined: int
    left: int | None
    first_outlet: int
    last_outlet: int
    found: dict[int, int]
    neglects: int | None


@dataclass(frozen=True, slots=True)
class Manager:
    """`districts` are numbers; None is the whole firm."""

    code: str
    name: str
    role: str
    districts: tuple[int, ...] | None


class SimulatedFirm:
    """The firm of one plan: people, districts, outlets and the days worked. Holds nothing a visit."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.slots = plan.visits + 3  # numbers kept for a rep's visits of one day
        self.days = [plan.until - timedelta(days=plan.days - 1 - number) for number in range(plan.days)]
        self.worked = [works_on(day) for day in self.days]
        self.districts = _districts(math.ceil(plan.reps / REPS_A_DISTRICT))
        campaign = [number for number, worked in enumerate(self.worked) if worked][-CAMPAIGN_DAYS:]
        self.reps = [self._rep(number, campaign) for number in range(plan.reps)]
        self.managers = self._managers()
        self.points = array("d")
        self._place_outlets()

    def visit_id(self, day: int, rep: int, slot: int) -> int:
        """Numbers are kept for every visit there could be, so that one is known without counting those before it."""
        return (day * self.plan.reps + rep) * self.slots + slot + 1

    def drawing(self, rep: int, day: int = _PEOPLE) -> Random:
        """What chance there is for one rep on one day, the same whenever it is asked for."""
        return Random((self.plan.seed * 1_000_003 + rep) << 12 | day)  # noqa: S311 - made-up data, no secret

    def outlet_code(self, number: int, rep: Rep) -> str:
        """As firms write them, and as the bot does for an outlet that a rep registered."""
        return f"{'N' if number in rep.found.values() else 'C'}{number + 1:06d}"

    def moment(self, day: int, second: int) -> datetime:
        """A local second of a day, aware."""
        return datetime.combine(self.days[day], time(0), ZONE).astimezone(UTC) + timedelta(seconds=second)

    def outlet_rows(self) -> Iterator[tuple[Any, ...]]:
        """code, name, kind, district, address, lat, lon, rep, first contact, created_by_visit."""
        for rep in self.reps:
            found = {outlet: day for day, outlet in rep.found.items()}
            district = self.districts[rep.district][0]
            for number in range(rep.first_outlet, rep.last_outlet):
                draw = Random((self.plan.seed << 32) ^ number)  # noqa: S311
                first, last = draw.choice(names.SHOP_FIRST), draw.randrange(len(names.SHOP_LAST))
                day = found.get(number)
                since = self.days[0] - timedelta(days=draw.randrange(30, 900)) if day is None else self.days[day]
                yield (
                    self.outlet_code(number, rep),
                    f"{district[:2]}{first}{names.SHOP_LAST[last]}",
                    names.SHOP_KINDS[last],
                    district,
                    f"浙江省{district}{draw.choice(names.STREETS)}{draw.randrange(1, 800)}号",
                    self.points[2 * number],
                    self.points[2 * number + 1],
                    rep.code,
                    since.isoformat(),
                    None if day is None else self.visit_id(day, rep.number, 0),
                )

    def _rep(self, number: int, campaign: list[int]) -> Rep:
        plan, draw = self.plan, self.drawing(number)
        joined = draw.randrange(1, plan.days) if draw.random() < JOINS_LATE else 0
        left = draw.randrange(joined, plan.days) if draw.random() < LEAVES else None
        first, last = number * plan.outlets // plan.reps, (number + 1) * plan.outlets // plan.reps
        works = [day for day in range(joined, plan.days if left is None else left) if self.worked[day]]
        most = last - first - (LEAST_OUTLETS - 1)
        days = [day for day in campaign if draw.random() < REGISTERS and day in works][-most:]
        neglects = draw.choice(works) if works and draw.random() < NEGLECTS else None
        return Rep(
            number,
            f"E{number + 1:05d}",
            draw.choice(names.SURNAMES) + "".join(draw.choices(names.GIVEN, k=draw.choice((1, 2, 2)))),
            number * len(self.districts) // plan.reps,
            joined,
            left,
            first,
            last,
            {day: last - 1 - nth for nth, day in enumerate(days)},
            neglects,
        )

    def _managers(self) -> list[Manager]:
        draw, count = Random(self.plan.seed), math.ceil(len(self.districts) * 0.7)  # noqa: S311

        def named() -> str:
            return draw.choice(names.SURNAMES) + draw.choice(names.GIVEN)

        area: list[list[int]] = [[] for _ in range(count)]
        for district in range(len(self.districts)):
            area[district * count // len(self.districts)].append(district)
        return [
            Manager("D0001", named(), "director", None),
            Manager("O0001", named(), "operations", None),
            *(
                Manager(f"M{number + 1:04d}", named(), "area_manager", tuple(held))
                for number, held in enumerate(area)
                if held
            ),
        ]

    def _place_outlets(self) -> None:
        for rep in self.reps:
            draw = self.drawing(rep.number, _PEOPLE - 1)
            _, lat, lon = self.districts[rep.district]
            lat, lon = lat + draw.uniform(-0.02, 0.02), lon + draw.uniform(-0.02, 0.02)
            for _ in range(rep.first_outlet, rep.last_outlet):
                self.points.append(round(lat + draw.uniform(-0.03, 0.03), 6))
                self.points.append(round(lon + draw.uniform(-0.03, 0.03), 6))


def works_on(day: date) -> bool:
    """Whether anybody visits: the firm's working days but the public holidays, and the days worked in their stead."""
    try:
        free, festival = chinese_calendar.get_holiday_detail(day)
    except NotImplementedError:  # a year whose holidays nobody has published yet
        free, festival = False, None
    if festival is not None:
        return not free
    return day.weekday() in LIMITS.work_days


def _districts(count: int) -> list[tuple[str, float, float]]:
    """Real districts; where there are more teams than those, each is cut into parts."""
    parts = math.ceil(count / len(names.COUNTIES))
    found = []
    for number in range(count):
        name, lat, lon = names.COUNTIES[number % len(names.COUNTIES)]
        part = number // len(names.COUNTIES)
        around = 2 * math.pi * part / parts
        far = 0.0 if parts == 1 else 0.04
        label = name if parts == 1 else f"{name}{part + 1}片"
        found.append((label, lat + far * math.cos(around), lon + far * math.sin(around)))
    return found
