"""Pushing to many at once: the same as one after another, in a few statements."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from handlers.messages import Choice, Reply, Say
from handlers.turn import Word, tell_each
from rules.people import Employee, Role
from rules.visit import Visit
from storage import outbox, people, visits
from storage.database import Database
from storage.people import Account
from tests.databases import WHOLE, open_migrated, postgres_only
from tests.test_statements import counted

NOW = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
QUESTION = Reply(
    Say("as_is", {"text": "？"}), (Choice("yes", "是"), Choice("no", "否")), about="todo", subject=7, step="todo"
)
TOLD = Reply(Say("as_is", {"text": "！"}))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_migrated(tmp_path)
    with opened.work(WHOLE) as work:
        people.save_employees(work, [Employee(f"E{n}", f"业务{n}", Role.REP, ("柯桥区",)) for n in range(60)])
        for n in range(60):
            people.link(work, Account("web", f"w{n}", f"w{n}", f"E{n}"), NOW)
        people.link(work, Account("telegram", "t1", "t1", "E1"), NOW)
    yield opened
    opened.close()


def account(database: Database, channel: str, ref: str) -> Account:
    with database.read(WHOLE) as work:
        found = people.account(work, channel, ref)
    assert found is not None
    return found


def test_each_account_gets_each_word_in_order_with_a_question_of_its_own(database: Database) -> None:
    words = [Word("E1", QUESTION, "a"), Word("E2", QUESTION, "b"), Word("E1", QUESTION, "c"), Word("E2", TOLD, "d")]
    with database.work(WHOLE) as work:
        made = tell_each(work, words, NOW, "reminder")
    assert len(made) == len(set(made)) == 6
    with database.read(WHOLE) as work:
        queued = outbox.after(work, 0)
        assert sorted(one.id for one in queued) == sorted(made)
        by_chat = {chat: [one for one in queued if one.chat_ref == chat] for chat in ("w1", "t1", "w2")}
        keys = {chat: [one.dedupe_key.partition(":")[0] for one in ones] for chat, ones in by_chat.items()}
        assert keys == {"w1": ["a", "c"], "t1": ["a", "c"], "w2": ["b", "d"]}
        for one in queued:
            number, asked_of = one.body.get("question"), one.account or 0
            if number is not None:
                question = people.question(work, number, asked_of)
                assert question is not None
                assert (question.about, question.subject, question.options) == ("todo", 7, ("yes", "no"))
        last = {chat: ones[-1].body.get("question") for chat, ones in by_chat.items()}
        assert "question" not in by_chat["w2"][1].body
        first_of_w2 = by_chat["w2"][0].body["question"]
    assert account(database, "web", "w1").current_question == last["w1"]
    assert account(database, "telegram", "t1").current_question == last["t1"]
    assert account(database, "web", "w2").current_question == first_of_w2


def test_what_was_told_is_not_told_again_nor_is_it_to_an_account_that_nothing_reaches(database: Database) -> None:
    with database.work(WHOLE) as work:
        people.out_of_reach(work, account(database, "telegram", "t1").id, "blocked", NOW)
    with database.work(WHOLE) as work:
        assert len(tell_each(work, [Word("E1", TOLD, "a"), Word("E1", TOLD, "a")], NOW, "notice")) == 1
    with database.work(WHOLE) as work:
        assert len(tell_each(work, [Word("E1", TOLD, "a"), Word("E2", TOLD, "b")], NOW, "notice")) == 1
        assert tell_each(work, [], NOW, "notice") == []


def test_a_number_goes_on_answering_the_question_of_an_open_visit(database: Database) -> None:
    known = account(database, "web", "w3")
    with database.work(WHOLE) as work:
        visit = visits.add(work, Visit("E3", NOW), "Asia/Shanghai")
        people.save_account(work, replace(people.account_by_id(work, known.id), current_visit=visit))
    with database.work(WHOLE) as work:
        tell_each(work, [Word("E3", QUESTION, "a")], NOW, "reminder")
    assert account(database, "web", "w3").current_question is None


@postgres_only  # SQLite numbers the questions one by one, without a journey to a server
def test_many_cost_as_many_statements_as_few(database: Database) -> None:
    def statements(first: int, last: int) -> int:
        with counted(database) as seen, database.work(WHOLE) as work:
            tell_each(work, [Word(f"E{n}", QUESTION, f"k{n}") for n in range(first, last)], NOW, "reminder")
        return len(seen)

    assert statements(0, 50) == statements(50, 55)
