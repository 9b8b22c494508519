"""The alert of a manager over very many districts: what is told of it, and that nothing of it is lost."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

import texts
from handlers.alerts import MOST_FINDINGS, WORST, alert_reply
from handlers.sentences import sentence
from reports.day import alerts_of_day
from rules.anomalies import Anomaly, Finding
from rules.people import Employee, Role
from storage import alerts, people
from tests.databases import WHOLE, open_migrated

DAY = date(2026, 11, 23)
NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
WORDS = texts.load("zh-CN")


def many(districts: int) -> list[Finding]:
    """Two rules in each district; the later the district, the more reps."""
    found = []
    for number in range(districts):
        reps = tuple(f"E{number}-{rep}" for rep in range(1 + number))
        found.append(Finding(Anomaly.NO_VISIT, f"区{number}", reps))
        found.append(Finding(Anomaly.DOUBTFUL, f"区{number}", reps[:1], visits=(number,)))
    return found


@pytest.mark.parametrize("count", [1, MOST_FINDINGS - 1, MOST_FINDINGS])
def test_an_alert_that_can_be_read_has_a_line_for_each_finding(count: int) -> None:
    reply = alert_reply(1, DAY, many(MOST_FINDINGS)[:count])
    lines = sentence(WORDS, reply.say).splitlines()
    assert len(lines) == 1 + count
    assert [choice.value for choice in reply.choices] == [str(number) for number in range(count)]


def test_one_that_nobody_would_read_has_the_sums_and_the_worst_districts_of_each_rule() -> None:
    found = many(100)
    reply = alert_reply(1, DAY, found)
    lines = sentence(WORDS, reply.say).splitlines()
    assert lines == [
        "🔔 今日异常预警（11月23日，200 项）",
        "无拜访：100 个区域，5050 名业务员。最多的：",
        "· 区99100名业务员今天没有拜访",
        "· 区9899名业务员今天没有拜访",
        "· 区9798名业务员今天没有拜访",
        "签到存疑：100 个区域，100 名业务员。最多的：",
        "· 区01名业务员有存疑签到（1 次）",
        "· 区11名业务员有存疑签到（1 次）",
        "· 区21名业务员有存疑签到（1 次）",
        "以上每类只列了人数最多的区域，其余 194 项请看经理页。",
    ]
    assert len(reply.choices) == 2 * WORST
    tapped = [found[int(choice.value)] for choice in reply.choices]
    assert [(one.rule, one.district) for one in tapped] == [
        *((Anomaly.NO_VISIT, f"区{number}") for number in (99, 98, 97)),
        *((Anomaly.DOUBTFUL, f"区{number}") for number in (0, 1, 2)),
    ]


def test_one_finding_too_many_is_told_in_sums() -> None:
    found = many(MOST_FINDINGS)[: MOST_FINDINGS + 1]
    assert len(alert_reply(1, DAY, found).choices) == 2 * WORST


def test_the_page_of_the_day_has_every_finding(tmp_path: Path) -> None:
    database, found = open_migrated(tmp_path), many(100)
    director = Employee("D1", "周总", Role.DIRECTOR, (), None, True)
    with database.work(WHOLE) as work:
        people.save_employees(work, [director])
        number = alerts.add(work, "D1", DAY, NOW, found)
    with database.read(WHOLE) as work:
        lines = alerts_of_day(work, director, DAY)
    database.close()
    assert [line.finding for line in lines] == found
    assert {line.alert for line in lines} == {number}
