"""What a bot that only talks to Telegram loads: memory for nothing is memory that a small machine lacks."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
HEAVY = {
    "alembic",
    "av",
    "cryptography",
    "faster_whisper",
    "numpy",
    "openpyxl",
    "procrastinate",
    "psycopg",
    "pygments",
    "pypinyin",
    "rich",
    "wechatpy",
}
CODE = """
import sys
sys.modules.update(rich=None, pygments=None)  # tests and linters bring them; what a bot runs with has neither
from datetime import UTC, datetime
from pathlib import Path
import bot.run_commands, bot.telegram_channel, bot.wiring
from handlers.tools import make_tools
from rules.limits import Limits
from storage.database import Database
from storage.files import LocalFiles
from storage.migrate import migrate
from handlers.photos import read_photo
from io import BytesIO
from PIL import Image
database = Database("sqlite:///" + sys.argv[1])
migrate(database)
ear = make_tools(Limits(), LocalFiles(Path(sys.argv[1]).parent / "files")).ear.of(database)
ear.understand("解决了送货迟到的问题，老板娘订了5箱小酥肉", datetime.now(UTC))
photo = BytesIO()
Image.effect_noise((640, 480), 50).save(photo, "JPEG")
read_photo(photo.getvalue(), "Asia/Shanghai")
print(*sorted({name.partition(".")[0] for name, module in sys.modules.items() if module is not None}))
import bot.wechat_wiring  # and what was not loaded can be
"""


def test_a_bot_of_telegram_alone_loads_nothing_for_others(tmp_path: Path) -> None:
    first, second = (
        subprocess.run(
            [sys.executable, "-c", CODE, str(tmp_path / "firm.db")],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split()
        for _ in range(2)
    )
    assert "alembic" in first  # the tables are made
    assert HEAVY.isdisjoint(second)
    assert {"telegram", "jieba", "PIL"} <= set(second)
