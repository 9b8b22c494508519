"""The tables say what jieba and pypinyin say."""

import json
import os
import random
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pypinyin
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pypinyin.constants import PHRASES_DICT, PINYIN_DICT

from bot.wiring import SAMPLE_FIRM
from nlp import dictionaries as made
from nlp.cutting import load_tokenizer
from nlp.dictionaries import dictionaries, quiet_jieba
from nlp.pinyin import syllables
from reports.firm_import import read_firm

FIRM = read_firm(SAMPLE_FIRM)
NAMES = [name for outlet in FIRM.outlets for name in (outlet.name, *outlet.aliases)]
NAMES += [name for product in FIRM.products for name in (product.name, *product.aliases)]
NAMES += [rival.name for rival in FIRM.competitors]
UNDERSTANDING = Path(__file__).parent / "understanding"
NOTES = [
    json.loads(line)["text"]
    for path in sorted(UNDERSTANDING.glob("*.jsonl"))
    for line in path.read_text(encoding="utf-8").splitlines()
    if line.strip()
]
TRANSCRIPTS = [
    line
    for path in sorted((Path(__file__).parent / "transcripts").glob("*.txt"))
    for line in path.read_text(encoding="utf-8").splitlines()
]
TEXTS = [*NAMES, *NOTES, *TRANSCRIPTS]
HAN = st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF), max_size=30)


@pytest.fixture(scope="module")
def plain() -> Any:
    """jieba as it comes, with the firm's words."""
    tokenizer = quiet_jieba().Tokenizer()
    counts, total = tokenizer.gen_pfdict(tokenizer.get_dict_file())
    tokenizer.FREQ, tokenizer.total, tokenizer.initialized = counts, total, True
    for name in NAMES:
        tokenizer.add_word(name, 10_000_000)
    return tokenizer


@pytest.fixture(scope="module")
def ours() -> Any:
    return load_tokenizer(NAMES)


@pytest.fixture(scope="module")
def tables() -> Path:
    """Where those of this machine lie."""
    dictionaries()
    return next(folder for root in made._roots() if (folder := root / made._folder_name()).exists())


@pytest.fixture
def no_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Nothing is made yet."""
    monkeypatch.setattr(made, "_roots", lambda: [tmp_path / "a", tmp_path / "b"])
    made.dictionaries.cache_clear()
    yield tmp_path
    made.dictionaries.cache_clear()


def as_pypinyin(text: str) -> list[str]:
    return list(pypinyin.lazy_pinyin(text, errors=list))  # type: ignore[arg-type]  # keeps unknown characters apart


def test_every_word_of_jieba_counts_the_same(plain: Any, ours: Any) -> None:
    assert ours.total == plain.total
    assert {word: ours.FREQ.get(word) for word in plain.FREQ} == plain.FREQ


def test_what_is_no_word_stays_none(ours: Any) -> None:
    for text in ("", "走店走店", "\ud800", "小\ud800"):
        assert text not in ours.FREQ
        assert ours.FREQ.get(text, 7) == 7
        with pytest.raises(KeyError):
            ours.FREQ[text]


def test_words_added_to_one_tokenizer_are_not_in_the_next() -> None:
    load_tokenizer(["走店走店"])
    assert "走店走店" not in load_tokenizer([]).FREQ


def test_every_note_name_and_transcript_is_cut_the_same(plain: Any, ours: Any) -> None:
    assert len(NOTES) > 300
    for text in TEXTS:
        assert list(ours.tokenize(text, HMM=False)) == list(plain.tokenize(text, HMM=False)), text


@given(HAN | st.text(max_size=30))
def test_any_text_is_cut_the_same(plain: Any, ours: Any, text: str) -> None:
    assert list(ours.tokenize(text, HMM=False)) == list(plain.tokenize(text, HMM=False))


def test_every_phrase_and_character_of_pypinyin_reads_the_same() -> None:
    for text in (*PHRASES_DICT, *map(chr, PINYIN_DICT)):
        assert syllables(text) == as_pypinyin(text), text


def test_every_note_name_and_transcript_reads_the_same() -> None:
    for text in TEXTS:
        assert syllables(text) == as_pypinyin(text), text


def test_phrases_that_run_into_each_other_read_the_same() -> None:
    rng = random.Random(7)
    phrases = list(PHRASES_DICT)
    for _ in range(5000):
        text = "".join(word[rng.randrange(2) :] for word in rng.sample(phrases, 4))
        assert syllables(text) == as_pypinyin(text), text


@given(HAN | st.text(max_size=30))
def test_any_text_reads_the_same(text: str) -> None:
    assert syllables(text) == as_pypinyin(text)


def test_half_a_surrogate_pair_reads_as_itself() -> None:
    assert syllables("银行\ud800行") == ["yin", "hang", "\ud800", "xing"]


def test_tables_are_made_once_then_opened_and_made_again_when_broken(no_folders: Path) -> None:
    assert dictionaries().sound("店") == "dian"
    (folder,) = (no_folders / "a").iterdir()
    written = (folder / "words.trie").stat().st_mtime_ns
    made.dictionaries.cache_clear()
    assert dictionaries().counts().get("银行")
    assert (folder / "words.trie").stat().st_mtime_ns == written
    (folder / "counts.u32").write_bytes(b"\0" * 8)
    made.dictionaries.cache_clear()
    assert dictionaries().counts().get("银行")
    assert [path.name for path in (no_folders / "a").iterdir()] == [folder.name]


def test_tables_that_anybody_could_have_put_there_are_not_read(tables: Path, no_folders: Path) -> None:
    for name in ("a", "b"):
        shutil.copytree(tables, no_folders / name / tables.name)
    rest = no_folders / "a" / tables.name / "rest.json"
    rest.write_text(rest.read_text().replace("dian", "dong"))
    assert dictionaries().sound("店") == "dong"
    os.chmod(no_folders / "a", stat.S_IRWXU | stat.S_IRWXO)  # noqa: S103 - what must not be trusted
    made.dictionaries.cache_clear()
    assert dictionaries().sound("店") == "dian"


def test_without_any_folder_they_work_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(made, "_roots", lambda: [tmp_path / "file"])
    made.dictionaries.cache_clear()
    assert dictionaries().sounds("银行") == ["yin", "hang"]
    made.dictionaries.cache_clear()
