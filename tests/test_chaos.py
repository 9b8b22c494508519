"""A few of the runs of `make chaos`: the whole bot killed at fault points and at any instant, judged from outside."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.judge import Death, judge
from tests.chaos.kills import Kill, Outcome, Pace, Template, plan, rng_of, run
from tests.chaos.points import Point

RUNS = 3


@pytest.mark.chaos
async def test_killed_at_fault_points_and_at_any_instant_it_loses_nothing(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(10**6)
    template = Template(tmp_path)
    clean = await run(template, [], rng_of(seed), None)
    assert clean.verdict.faults == []
    assert len({point.name for found in clean.points for point in found}) > 40
    between = await run(template, [Kill(0, Point("after a send", 3))], rng_of(seed), clean)
    assert (between.kills, between.verdict.faults) == (1, [])
    assert 1 <= between.verdict.sent_twice <= 3, "the provider took one a chat, and we died before we noted it"
    pace = Pace(clean)
    for number in range(RUNS):
        kills = plan(rng_of(seed, number), seed, number, 1000, clean, pace)
        outcome = await run(template, kills, rng_of(seed, number), clean)
        pace.note(kills, outcome)
        assert outcome.verdict.faults == [], f"--seed {seed} --only {number}: {[str(kill) for kill in kills]}"


@pytest.mark.chaos
async def test_the_judge_sees_what_is_lost_or_done_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clean run, judged against records that were tampered with."""
    tampered: dict[str, list[str]] = {}

    def watched(url: str, folder: Path, given: set[int], sent: list[dict[str, Any]], deaths: list[Death], _: object):  # type: ignore[no-untyped-def]
        def faults(given_: set[int], sent_: list[dict[str, Any]], died: Sequence[Death] = ()) -> list[str]:
            return judge(url, folder, given_, sent_, [*deaths, *died], None).faults

        tampered["fine"] = faults(given, sent)
        tampered["an update more"] = faults(given | {1}, sent)
        tampered["an update less"] = faults(given - {min(given)}, sent)
        tampered["an answer that did not arrive"] = faults(given, sent[1:])
        twice = [{**sent[0], "message_id": 10**6}, *sent]
        tampered["an answer twice"] = faults(given, twice)
        tampered["and a death long after it was noted"] = faults(given, twice, [Death(1, twice[0]["date"] + 60.0)])
        explained = faults(given, twice, [Death(1, twice[0]["date"] + 1.0)])
        assert not any("twice" in fault for fault in explained)
        return judge(url, folder, given, sent, deaths, None)

    monkeypatch.setattr("tests.chaos.kills.judge", watched)
    outcome: Outcome = await run(Template(tmp_path), [], rng_of(1), None)
    assert outcome.verdict.faults == tampered.pop("fine") == []
    assert [what for what, faults in tampered.items() if not faults] == []
