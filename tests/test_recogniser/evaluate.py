"""Character error rate of the exported model, through unmodified faster-whisper.

    python evaluate.py MODEL CLAUSES.npz NOTES [SPOKEN.jsonl]

Every set has NOTES notes, spoken anew. CLAUSES.npz says which clauses the model was trained on. SPOKEN.jsonl holds
notes of one's own, one JSON object with a ``text`` a line. Punctuation counts for ``exact``, not for the error rate.
"""

import json
import logging
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from faster_whisper import WhisperModel
from grammar import COMPETITORS, OUTLETS, PRODUCTS, body, note, opening
from rapidfuzz.distance import Levenshtein
from synth import RATE, Speaker, say, speaker, through_amr

INITIAL_PROMPT = "以下是普通话的句子。"
NEW_VOICES = ("+m8", "+f5", "+steph")
PUNCTUATION = re.compile(r"[，。、？！\s]")
PLAIN = {"language": "zh", "temperature": 0, "condition_on_previous_text": False}
WAYS = {
    "greedy, no timestamps": {"beam_size": 1, "without_timestamps": True},
    "greedy": {"beam_size": 1},
    "beam 5, VAD": {"beam_size": 5, "vad_filter": True, "vad_parameters": {"min_silence_duration_ms": 500}},
}


@dataclass(frozen=True, slots=True)
class Spoken:
    text: str
    sound: np.ndarray  # float32, 16 kHz


def aloud(clauses: list[str], who: Speaker, random: Random) -> Spoken:
    """The clauses one after the other, with pauses of 0.1 to 0.45 s and a little hiss."""
    parts = [quiet(random, 0.05, 0.5)]
    for clause in clauses:
        parts += [say(clause, who), quiet(random, 0.1, 0.45)]
    sound = np.concatenate(parts)
    hiss = np.random.default_rng(random.randrange(10_000)).standard_normal(len(sound), dtype=np.float32)
    return Spoken("，".join(clauses) + "。", 0.9 * sound + hiss * 10 ** random.uniform(-4, -2.7))


def quiet(random: Random, least: float, most: float) -> np.ndarray:
    return np.zeros(int(RATE * random.uniform(least, most)), np.float32)


def unseen(random: Random, known: set[str]) -> list[str]:
    """A note of which no clause was in training."""
    clauses: list[str] = []
    wanted = random.randint(2, 5)
    while len(clauses) < wanted:
        clause = body(random) if clauses else opening(random)
        if clause not in known:
            clauses.append(clause)
    return clauses


def plain(text: str) -> str:
    return PUNCTUATION.sub("", text)


def names_said(random: Random) -> str:
    """Twelve hot words, as a program would give those of the day's route."""
    names = [*(names.split()[0] for names in OUTLETS), *(names.split()[0] for names, _ in PRODUCTS), *COMPETITORS]
    return "，".join(random.sample(names, 12))


def report(name: str, model: WhisperModel, notes: list[Spoken], way: dict[str, object]) -> None:
    wrong = letters = exact = 0
    sure = 0.0
    worst: tuple[int, str, str] = (0, "", "")
    for told in notes:
        segments = list(model.transcribe(told.sound, **PLAIN, **way)[0])
        heard = "".join(segment.text for segment in segments)
        errors = Levenshtein.distance(plain(heard), plain(told.text))
        wrong, letters, exact = wrong + errors, letters + len(plain(told.text)), exact + (heard == told.text)
        sure += sum(segment.avg_logprob for segment in segments) / max(1, len(segments))
        worst = max(worst, (errors, told.text, heard))
    seconds = sum(len(told.sound) for told in notes) / RATE / len(notes)
    figures = f"CER {wrong / letters:5.1%}  exact {exact} of {len(notes)}  log prob {sure / len(notes):.2f}"
    logging.info("%-62s %s  (%.1f s a note)", name, figures, seconds)
    if worst[0]:
        logging.info("    worst: %s\n           %s", worst[1], worst[2])


def main(folder: str, clauses: Path, notes: int, spoken: Path | None) -> None:
    model = WhisperModel(folder, device="cpu", compute_type="int8", cpu_threads=2)
    with np.load(clauses) as stored:
        known = set(stored["texts"].tolist())

    def made(seed: int, tell: Callable[[Random], list[str]], voices: tuple[str, ...] = ()) -> list[Spoken]:
        random = Random(seed)
        told = []
        for _ in range(notes):
            who = speaker(random)
            if voices:
                who = Speaker(random.choice(voices), who.words_per_minute, who.pitch)
            told.append(aloud(tell(random), who, random))
        return told

    usual = made(101, note)
    sets = {
        "2 to 5 clauses": usual,
        "2 to 5 clauses, none of them in training": made(102, lambda random: unseen(random, known)),
        "2 to 5 clauses, AMR-NB 12.2 kbit/s": [Spoken(told.text, through_amr(told.sound, 12_200)) for told in usual],
        "2 to 5 clauses, AMR-NB 5.9 kbit/s": [Spoken(told.text, through_amr(told.sound, 5_900)) for told in usual],
        "2 to 5 clauses, voices never heard": made(103, note, NEW_VOICES),
    }
    if spoken:
        random = Random(104)
        texts = [json.loads(line)["text"] for line in spoken.read_text(encoding="utf-8").splitlines()]
        sets["the given notes"] = [aloud(text.strip("。").split("，"), speaker(random), random) for text in texts]
    for name, told in sets.items():
        for how, way in WAYS.items():
            report(f"{name} | {how}", model, told, way)
    hinted = {"beam_size": 5, "hotwords": names_said(Random(105)), "initial_prompt": INITIAL_PROMPT}
    report("2 to 5 clauses | beam 5, prompt, hot words", model, usual, hinted)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("faster_whisper").setLevel(logging.WARNING)
    model_folder, trained_on, count, *own = sys.argv[1:]
    main(model_folder, Path(trained_on), int(count), Path(own[0]) if own else None)
