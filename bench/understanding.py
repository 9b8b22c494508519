"""How long understanding a note takes, and hearing one beyond the library alone: `python -m bench.understanding`.

Understanding: every blind note, again and again, after a warm-up. Voice: the same clip in turn through the library
alone and through our whole way (child process, decoding, guards, then understanding), in one run and with the same
options; a round's figure is the median of the differences on the same clip, and the rounds are told by median, least
and most. Documented in docs/understanding.md.
"""

import argparse
import gc
import io
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

from faster_whisper import WhisperModel

from bot.wiring import SAMPLE_FIRM, TEST_MODEL
from nlp.firm_words import FirmWords, OutletWords, ProductWords
from nlp.models import TranscribeSettings
from nlp.speech_process import SpeechProcess
from nlp.transcribe import _TEMPERATURES, _VAD, Hints, physical_cores
from nlp.understand import Understander, warm
from reports.firm_import import read_firm
from rules.limits import Limits

NOTES = Path(__file__).parents[1] / "tests" / "understanding" / "blind.jsonl"
AT = datetime.fromisoformat("2026-10-13T10:05:00+08:00")
Times = list[float]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.understanding", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", help="a folder with a faster-whisper model; without it the small test model")
    given = parser.parse_args()
    understander = sample_understander()
    print("| | notes | median ms | 95 % ms | longest ms |\n| --- | --- | --- | --- | --- |")
    per_note = understanding(understander, given.rounds)
    print(f"| understanding a note | {len(per_note)} | {spread(per_note)} |")
    settings = replace(TEST_MODEL, model=given.model) if given.model else TEST_MODEL
    bare, ours = voice(understander, settings, given.rounds)
    print("\n| | clips | median ms | 95 % ms | longest ms |\n| --- | --- | --- | --- | --- |")
    print(f"| `model.transcribe` alone | {len(bare)} | {spread(bare)} |")
    print(f"| the whole way, understood | {len(ours)} | {spread(ours)} |")
    more = [
        statistics.median(our - alone for our, alone in zip(ours[one], bare[one], strict=True))
        for one in rounds_of(len(bare), given.rounds)
    ]
    share = [
        100 * ms / statistics.median(bare[one])
        for ms, one in zip(more, rounds_of(len(bare), given.rounds), strict=True)
    ]
    print(f"\nDifference on the same clip, {given.rounds} rounds: {between(more)} ms, {between(share)} %.")


def sample_understander() -> Understander:
    data = read_firm(SAMPLE_FIRM)
    limits = Limits()
    understander = Understander(
        FirmWords(
            outlets=tuple(OutletWords(outlet.code, outlet.name, outlet.aliases) for outlet in data.outlets),
            products=tuple(ProductWords(item.code, item.name, item.aliases, item.units) for item in data.products),
            competitors=tuple(item.name for item in data.competitors),
            close_factors=limits.close_factors,
            root_causes=limits.root_causes,
        )
    )
    warm()
    return understander


def understanding(understander: Understander, rounds: int) -> Times:
    """Milliseconds of each note of each round; the first round warms up and is not counted."""
    notes = [json.loads(line) for line in NOTES.read_text(encoding="utf-8").splitlines()]
    times: Times = []
    for number in range(rounds + 1):
        for note in notes:
            at = datetime.fromisoformat(note["at"])
            taken = timed(partial(understander.understand, note["text"], at))
            if number:
                times.append(taken)
    return times


def voice(understander: Understander, settings: TranscribeSettings, rounds: int) -> tuple[Times, Times]:
    """Milliseconds a clip by the library alone and by the whole way, in turn, the first of a pair changing."""
    model = WhisperModel(
        settings.model,
        device="cpu",
        compute_type=settings.compute_type,
        cpu_threads=settings.cpu_threads or physical_cores(),
        local_files_only=True,
    )

    def alone(clip: bytes) -> None:
        heard, _ = model.transcribe(
            io.BytesIO(clip),
            language="zh",
            beam_size=settings.beam_size,
            temperature=_TEMPERATURES,
            condition_on_previous_text=False,
            initial_prompt=settings.prompt or None,
            vad_filter=True,
            vad_parameters=_VAD,
        )
        list(heard)

    def whole(clip: bytes) -> None:
        understander.understand(process.transcribe(clip, Hints()).text, AT)

    clips = [path.read_bytes() for path in sorted((SAMPLE_FIRM / "clips").glob("*.ogg"))]
    bare: Times = []
    ours: Times = []
    # The library collects garbage after decoding, here through a dictionary of ours that a bare use would not hold.
    gc.freeze()
    with SpeechProcess(settings) as process:
        process.warm()
        for number in range(rounds + 1):
            for clip in clips:
                ways = ((alone, bare), (whole, ours))
                for way, times in ways if number % 2 else reversed(ways):
                    taken = timed(partial(way, clip))
                    if number:
                        times.append(taken)
            print(f"round {number} of {rounds}", file=sys.stderr)
    return bare, ours


def rounds_of(count: int, rounds: int) -> list[slice]:
    """Where each round lies in a list of times."""
    size = count // rounds
    return [slice(size * number, size * (number + 1)) for number in range(rounds)]


def between(figures: list[float]) -> str:
    return f"{statistics.median(figures):.1f} ({min(figures):.1f} to {max(figures):.1f})"


def timed(work: Callable[[], object]) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began)


def spread(times: Times) -> str:
    ordered = sorted(times)
    return f"{statistics.median(ordered):.1f} | {ordered[int(0.95 * len(ordered))]:.1f} | {ordered[-1]:.1f}"


if __name__ == "__main__":
    main()
