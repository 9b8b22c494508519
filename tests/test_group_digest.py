"""The day's summary for a group: everybody by name, until that is more than anybody reads."""

from datetime import date

import texts
from handlers.group_digest import BUSIEST, MOST_NAMED, Counted, told
from handlers.sentences import sentence
from rules.people import Employee, Role
from rules.visit import Outcome, State
from storage.figures import Tally

DAY = date(2026, 11, 23)
DIRECTOR = Employee("E001", "钱总", Role.DIRECTOR, (), None)


def summary(reps: int, *, language: str = "zh-CN") -> list[str]:
    """Of that many reps, the first of whom made one visit, the second two and so on, and the last three none."""
    staff = [Employee(f"R{number}", f"代表{number}", Role.REP, ("柯桥区",), "E001") for number in range(1, reps + 1)]
    tallies = [Tally("柯桥区", f"R{number}", State.CLOSED, Outcome.WON, None, number) for number in range(1, reps - 2)]
    said = told(DIRECTOR, Counted([DIRECTOR, *staff], tallies), DAY)
    return [sentence(texts.load(language), one) for one in said]


def test_a_team_is_told_by_name() -> None:
    assert summary(6) == [
        "📊 11月23日 日报（全公司）",
        "拜访 6 次，已提交 6 次",
        "成交 6 次",
        "代表3：3 次、代表2：2 次、代表1：1 次",
        "没有拜访：代表4、代表5、代表6",
    ]
    assert "代表1：1 次" in summary(MOST_NAMED)[3]


def test_a_firm_is_told_in_numbers_and_the_busiest_by_name() -> None:
    assert summary(1000) == [
        "📊 11月23日 日报（全公司）",
        "拜访 497503 次，已提交 497503 次",
        "成交 497503 次",
        f"代表997：997 次、代表996：996 次、代表995：995 次、其余 {997 - BUSIEST} 人共 494515 次",
        "没有拜访：3 人",
    ]
    assert summary(1000, language="en")[-1] == "No visit: 3 reps"
    assert len(summary(MOST_NAMED + 1)[3]) < len(summary(MOST_NAMED)[3])
