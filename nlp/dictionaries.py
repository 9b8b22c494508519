"""jieba's words and pypinyin's readings as tables in files, looked up where they lie instead of built up in memory.

As dictionaries of Python they took 150 MB and a second at every start; mapped into memory they take a few and none.
The tables are made once from the installed libraries, in a process of its own, and say the same as they do, word for
word (tests/test_dictionaries.py). See docs/decisions/0019-compact-dictionaries.md.
"""

import json
import logging
import mmap
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from array import array
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from marisa_trie import Trie

log = logging.getLogger(__name__)

_FORM = 1  # of the files; raised when they change
_MOST_CHARS = 0x32400  # code points; pypinyin knows none behind
_WORDS, _COUNTS, _PHRASES, _SOUNDS, _REST = "words.trie", "counts.u32", "phrases.trie", "sounds.u16", "rest.json"


@dataclass(slots=True)
class Counts:
    """How often jieba saw each of its words (0: only the beginning of one), as the mapping its tokenizer works with.

    Words added to it are kept beside the table, which is shared by all tokenizers of the process.
    """

    _words: Trie
    _counts: memoryview
    _added: dict[str, int] = field(default_factory=dict)

    def get(self, word: str, otherwise: Any = None) -> Any:
        if word in self._added:
            return self._added[word]
        try:
            number = self._words.get(word)
        except UnicodeEncodeError:  # half of a surrogate pair
            return otherwise
        return otherwise if number is None else self._counts[number]

    def __contains__(self, word: str) -> bool:
        return self.get(word) is not None

    def __getitem__(self, word: str) -> int:
        found: int | None = self.get(word)
        if found is None:
            raise KeyError(word)
        return found

    def __setitem__(self, word: str, count: int) -> None:
        self._added[word] = count


@dataclass(frozen=True, slots=True)
class Dictionaries:
    """`total` is the sum of all counts."""

    total: int
    _words: Trie
    _counts: memoryview
    _phrases: Trie
    _sounds: memoryview
    _names: list[str]
    _otherwise: dict[str, str]

    def counts(self) -> Counts:
        """jieba's counts, to which words may be added."""
        return Counts(self._words, self._counts)

    def sound(self, char: str) -> str:
        """A character's usual reading without tone, or the character itself."""
        place = ord(char)
        number = self._sounds[place] if place < _MOST_CHARS else 0
        return self._names[number] if number else char

    def sounds(self, text: str) -> list[str]:
        """One entry a character. Longest words first: in 银行 the second one is hang, alone it is xing."""
        found: list[str] = []
        legible = text.encode("utf-8", "replace").decode()  # as long as the text, with "?" for half a surrogate pair
        place = 0
        while place < len(text):
            words = self._phrases.prefixes(legible[place : place + 16]) if text[place] >= "\u2e80" else ()
            word = words[-1] if words else text[place]
            read = self._otherwise.get(word)
            found += read.split(" ") if read else map(self.sound, word)
            place += len(word)
        return found


@cache
def dictionaries() -> Dictionaries:
    """The tables, made first where they are not there yet (about three seconds)."""
    folders = [root / _folder_name() for root in _roots()]
    for folder in folders:
        with suppress(OSError, ValueError, RuntimeError, KeyError):
            if _is_ours(folder):
                return _opened(folder)
    for folder in folders:
        try:
            _have_made(folder)
            return _opened(folder)
        except (OSError, ValueError, RuntimeError, KeyError, subprocess.SubprocessError) as trouble:
            log.info("the dictionaries cannot be kept in %s: %s", folder.parent, type(trouble).__name__)
    with tempfile.TemporaryDirectory() as folder_name:  # nowhere to keep them: they stay mapped until the end
        make(Path(folder_name))
        return _opened(Path(folder_name))


def quiet_jieba() -> ModuleType:
    """jieba without its model for unknown words, which is never asked here and takes 60 MB."""
    sys.modules.setdefault("jieba.finalseg", ModuleType("jieba.finalseg"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # jieba 0.42.1 has invalid escapes and asks for pkg_resources
        import jieba  # noqa: PLC0415 - loaded here so that only its own warnings are silenced
    jieba.setLogLevel(logging.WARNING)
    module: ModuleType = jieba
    return module


def make(folder: Path) -> None:
    """Write the tables of the installed libraries into a folder that is there."""
    jieba = quiet_jieba()
    counts, total = jieba.Tokenizer.gen_pfdict(jieba.Tokenizer().get_dict_file())
    words = Trie(counts)
    table = array("I", bytes(4 * len(words)))
    for word, count in counts.items():
        table[words[word]] = count
    words.save(str(folder / _WORDS))
    (folder / _COUNTS).write_bytes(table.tobytes())
    names, sounds, otherwise, phrases = _readings()
    Trie(phrases).save(str(folder / _PHRASES))
    (folder / _SOUNDS).write_bytes(sounds.tobytes())
    rest = {"total": total, "words": len(words), "names": names, "otherwise": otherwise}
    (folder / _REST).write_text(json.dumps(rest, ensure_ascii=False), encoding="utf-8")
    for path in folder.iterdir():
        with path.open("rb+") as file:
            os.fsync(file.fileno())


def bring_along() -> None:
    """Make the tables beside this file, for a package or image that is not written to once it runs."""
    folder = Path(__file__).parent / _folder_name()
    folder.mkdir()
    make(folder)


def _readings() -> tuple[list[str], "array[int]", dict[str, str], list[str]]:
    """(names of sounds, the sound of each code point, words read otherwise than by character, all words)."""
    from pypinyin import lazy_pinyin  # noqa: PLC0415 - 55 MB, needed to make the tables only
    from pypinyin.constants import PHRASES_DICT, PINYIN_DICT  # noqa: PLC0415

    names = [""]
    numbers: dict[str, int] = {}
    sounds = array("H", bytes(2 * _MOST_CHARS))
    for char in map(chr, PINYIN_DICT):
        sound = lazy_pinyin(char)[0]
        if sound != char:
            if sound not in numbers:
                numbers[sound] = len(names)
                names.append(sound)
            sounds[ord(char)] = numbers[sound]
    otherwise = {}
    for word in PHRASES_DICT:
        read = lazy_pinyin(word)
        if read != [names[sounds[ord(char)]] or char for char in word]:
            otherwise[word] = " ".join(read)
    return names, sounds, otherwise, list(PHRASES_DICT)


def _folder_name() -> str:
    return f"dictionaries-{_FORM}-jieba-{version('jieba')}-pypinyin-{version('pypinyin')}-{sys.byteorder}"


def _roots() -> list[Path]:
    """Where the tables may lie: beside this file, where a package or image brings them along, else one's own cache."""
    own = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return [Path(__file__).parent, Path(own) / "zoudian", Path(tempfile.gettempdir()) / f"zoudian-{os.getuid()}"]


def _is_ours(folder: Path) -> bool:
    """What others could have put there is not read: a folder for temporary files belongs to everybody."""
    owner = folder.parent.stat()
    return owner.st_uid in (0, os.getuid()) and not owner.st_mode & 0o002


def _have_made(folder: Path) -> None:
    """Have the tables made by another process, which takes the memory that needs with it, and put there whole."""
    if folder.parent == Path(__file__).parent:
        raise OSError("only filled on demand")
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _is_ours(folder):
        raise OSError("belongs to somebody else")
    made = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-m", "nlp.dictionaries", str(made)]
        subprocess.run(command, env=environment, check=True, timeout=300, stdin=subprocess.DEVNULL)  # noqa: S603
        shutil.rmtree(folder, ignore_errors=True)  # broken, or it would have been opened
        with suppress(FileExistsError, OSError):  # somebody else was faster
            made.rename(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _opened(folder: Path) -> Dictionaries:
    rest = json.loads((folder / _REST).read_text(encoding="utf-8"))
    words, phrases = Trie(), Trie()
    words.mmap(str(folder / _WORDS))
    phrases.mmap(str(folder / _PHRASES))
    counts, sounds = _mapped(folder / _COUNTS, "I"), _mapped(folder / _SOUNDS, "H")
    if not len(words) == len(counts) == rest["words"] or len(sounds) != _MOST_CHARS:
        raise ValueError("the tables do not belong together")
    return Dictionaries(rest["total"], words, counts, phrases, sounds, rest["names"], rest["otherwise"])


def _mapped(path: Path, kind: Literal["I", "H"]) -> memoryview:
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)).cast(kind)


def main(arguments: list[str]) -> None:
    """Make the tables in a folder that is there, or beside this file, where an image brings them along."""
    beside = Path(__file__).parent / _folder_name()
    if not arguments:
        beside.mkdir(exist_ok=True)
    make(Path(arguments[0]) if arguments else beside)


if __name__ == "__main__":
    main(sys.argv[1:])
