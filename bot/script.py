"""A transcript as a sales manager would write it, read into lines that can be replayed. See docs/transcripts.md.

# a comment
at: 2026-11-23 10:00            the clock is moved there and the ticks run; also 10:26, +26m, +1d
rep: 我到了                      the rep types; `rep 李敏:` or `as 吴经理:` for somebody else
rep: [place 30.08215 120.49383 live accuracy=12]
rep: [photo front.jpg]   rep: [voice note.ogg 12s]   rep: [tap 确认]   rep: [edit 新内容]   rep: [sticker]
invite 周洋: 邀请一              an invite is made, to be used in [join 邀请一]
stranger 老六: 你好              somebody who is not tied to the firm
heard: 老板要了八箱鸡翅           what a stand-in recogniser makes of the voice note above (or of the next one)
given: 老板要了八箱鸡翅           what the channel itself recognised in the voice note above, and sends along
model: ready                    the recogniser's model is there now
again:                          the last message is delivered a second time
bot: …                          what is said to whoever spoke last; indented lines below it go on
manager: …    to 钱总: …         what is pushed to the rep's area manager, or to anybody
saved: outcome = won            what is stored in the end
"""

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

_SPEAKER = re.compile(
    r"^(rep|as|stranger|bot|manager|to|at|heard|given|again|invite|model|saved)(?:\s+([^:：]+?))?\s*[:：]\s?(.*)$"
)
_BRACKET = re.compile(r"^\[(\w+)\s*([^\]]*)\]\s*(.*)$")
_STEP = re.compile(r"(\d+)\s*([dhms])")


class BadScript(Exception):
    """A line that cannot be read: file, line number, reason."""

    def __init__(self, where: str, line: int, reason: str) -> None:
        super().__init__(f"{where}:{line}: {reason}")


@dataclass(slots=True)
class Line:
    """One line: `word` is what it begins with, `who` a name where one was given."""

    number: int
    word: str
    who: str
    text: str
    heard: str | None = None  # for a voice note: what the stand-in recogniser makes of it
    given: str = ""  # for a voice note: what the channel itself recognised

    @property
    def acts(self) -> bool:
        """Whether something comes of it; other lines state what must come out."""
        return self.speaks or self.word in ("at", "invite", "model")

    @property
    def speaks(self) -> bool:
        return self.word in ("rep", "as", "stranger", "again")


@dataclass(slots=True)
class Script:
    path: Path | None
    lines: list[Line] = field(default_factory=list)

    @property
    def said(self) -> list[Line]:
        """The lines that state what must come out."""
        return [line for line in self.lines if line.word in ("bot", "manager", "to", "saved")]


def read_script(text: str, path: Path | None = None) -> Script:
    """Raises BadScript."""
    where = path.name if path else "-"
    script = Script(path)
    pending_heard: str | None = None
    for number, raw in enumerate(text.splitlines(), 1):
        if not raw.strip() or raw.lstrip().startswith("#"):
            continue
        if raw[0].isspace() and script.lines and script.lines[-1].word in ("bot", "manager", "to"):
            script.lines[-1].text += "\n" + raw.strip()
            continue
        match = _SPEAKER.match(raw.strip())
        if match is None:
            raise BadScript(where, number, f"不认识这一行：{raw.strip()[:40]}")
        word, who, rest = match.group(1), (match.group(2) or "").strip(), match.group(3).strip()
        if word == "given":
            if not script.lines or not is_voice(script.lines[-1]):
                raise BadScript(where, number, "given: 要写在 [voice …] 下面")
            script.lines[-1].given = rest
            continue
        if word == "heard":
            voice = script.lines[-1] if script.lines and is_voice(script.lines[-1]) else None
            if voice is not None and voice.heard is None:
                voice.heard = rest
            else:
                pending_heard = rest
            continue
        line = Line(number, word, who, rest)
        if pending_heard is not None and is_voice(line):
            line.heard, pending_heard = pending_heard, None
        script.lines.append(line)
    return script


def is_voice(line: Line) -> bool:
    return line.word in ("rep", "as", "stranger") and line.text.startswith("[voice")


def bracket(text: str) -> tuple[str, list[str], str] | None:
    """([what], its words, what stands behind) of `[place 30 120 live] …`, or None for plain text."""
    match = _BRACKET.match(text)
    return None if match is None else (match.group(1), match.group(2).split(), match.group(3))


def moved(now: datetime, text: str, zone: ZoneInfo) -> datetime | None:
    """The moment an `at:` line means: a date and time, a time of the same day, or a step such as +1d 2h."""
    text = text.strip().replace("：", ":").replace("T", " ")
    if text.startswith("+"):
        steps = _STEP.findall(text)
        units = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
        return (
            now + sum((timedelta(**{units[unit]: int(count)}) for count, unit in steps), timedelta()) if steps else None
        )
    local = now.astimezone(zone)
    for pattern in ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d"):
        try:
            return datetime.strptime(text, pattern).replace(tzinfo=zone)
        except ValueError:
            continue
    for pattern in ("%H:%M:%S", "%H:%M"):
        try:
            clock = datetime.strptime(text, pattern).replace(tzinfo=zone)
        except ValueError:
            continue
        return local.replace(hour=clock.hour, minute=clock.minute, second=clock.second, microsecond=0)
    return None
