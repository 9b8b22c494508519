"""The demo's recogniser really hears voice notes about the sample firm, Opus and 8 kHz AMR, and visits come of them.

It is a test model for synthetic speech (see tests/test_recogniser/README.md); it says nothing about real voices.
"""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from bot.replay import Replay
from bot.script import read_script
from bot.wiring import SAMPLE_FIRM, TEST_MODEL
from handlers.tools import Tools, make_tools
from nlp.transcribe import Hints, WhisperTranscriber
from reports.firm_import import read_firm, save_firm
from rules.limits import Limits
from storage import visits
from storage.database import Database
from storage.files import LocalFiles
from tests.databases import WHOLE, open_migrated

CLIPS = SAMPLE_FIRM / "clips"
NOTES = json.loads((CLIPS / "manifest.json").read_text(encoding="utf-8"))
AT = datetime(2026, 10, 13, 10, 5, tzinfo=ZoneInfo("Asia/Shanghai"))

pytestmark = pytest.mark.recogniser


@pytest.fixture(scope="module")
def whisper() -> WhisperTranscriber:
    return WhisperTranscriber(TEST_MODEL)


@pytest.fixture
def firm(tmp_path: Path) -> Iterator[tuple[Database, Tools]]:
    database = open_migrated(tmp_path)
    with database.work(WHOLE) as work:
        save_firm(work, read_firm(SAMPLE_FIRM))
    yield database, make_tools(Limits(), LocalFiles(tmp_path / "files"))
    database.close()


@pytest.mark.parametrize("note", NOTES, ids=lambda note: note["file"])
def test_every_note_is_heard_to_the_letter(whisper: WhisperTranscriber, note: dict[str, str]) -> None:
    transcript = whisper.transcribe((CLIPS / note["file"]).read_bytes(), Hints())
    assert (transcript.text, transcript.doubtful) == (note["text"], ())


def test_an_amr_note_as_wechat_sends_it_becomes_a_visit(
    firm: tuple[Database, Tools], whisper: WhisperTranscriber
) -> None:
    database, tools = firm
    script = "\n".join(
        [
            "at: 2026-10-13 10:05",
            "rep: [place 29.97126 120.58034 live accuracy=8]",
            "rep: [photo 门头.jpg]",
            "rep: [voice note00.amr 10s]",
            "rep: [tap 确认]",
            "rep: 担心炸品送来化冻",
        ]
    )
    replay = Replay(database, tools, transcriber=whisper, media=(CLIPS,), rep="周洋")
    replay.run(read_script(script))
    with database.read(WHOLE) as work:
        [visit] = visits.last_closed(work, replay.rep.code, 5)
    assert visit.outlet == "C0017"
    assert visit.value("orders") == [["P004", 6, "箱"], ["P003", 10, "包"]]
    assert visit.value("close_factor") == "价格有优势"
    follow_up = visit.value("follow_up")
    assert isinstance(follow_up, dict)
    assert (follow_up["first"], follow_up["time"]) == ("2026-10-23", "10:00")
