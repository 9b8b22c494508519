"""Record the clips: fresh notes as Opus, some of them as AMR-NB too, all of which the model hears to the letter.

    python clips.py MODEL OUT

A note is kept only if greedy and beam search, with and without voice detection, with and without hot words, all give
its text, punctuation and all. Half of the AMR files have silence suppression (sox), half have none. manifest.json lists
what was kept.
"""

import json
import logging
import subprocess
import sys
import tempfile
from pathlib import Path
from random import Random

import av
import numpy as np
import soundfile
from evaluate import PLAIN, aloud, names_said
from faster_whisper import WhisperModel, decode_audio
from grammar import note
from synth import RATE, speaker

OPUS, AMR = 20, 8
MOST_SECONDS = 12
BEAMS = (1, 5)
VOICE_DETECTION = {"min_silence_duration_ms": 500, "max_speech_duration_s": 20.0}


def heard(path: Path) -> np.ndarray:
    """The sound of a file as float32 at 16 kHz."""
    if path.suffix != ".amr":
        return decode_audio(str(path))
    with av.open(str(path)) as container:
        # FFmpeg's own AMR decoder refuses silence suppression.
        decoder = av.CodecContext.create("libopencore_amrnb", "r")
        decoder.sample_rate, decoder.layout = 8000, "mono"
        resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
        frames = [frame for packet in container.demux() for frame in decoder.decode(packet)]
        pieces = []
        for frame in frames:
            frame.pts = None
            pieces += [piece.to_ndarray()[0] for piece in resampler.resample(frame)]
        pieces += [piece.to_ndarray()[0] for piece in resampler.resample(None)]
    return np.concatenate(pieces).astype(np.float32) / 32768


def recorded(sound: np.ndarray, path: Path, suppressed: bool = False) -> None:
    """Write the sound as Opus at 16 kbit/s or as AMR-NB at 12.2 kbit/s, by the ending of the path."""
    with tempfile.NamedTemporaryFile(suffix=".wav") as wave:
        soundfile.write(wave.name, sound, RATE)
        if path.suffix != ".amr":
            opus = ("-c:a", "libopus", "-b:a", "16k")
            subprocess.run(["ffmpeg", "-y", "-loglevel", "error", "-i", wave.name, *opus, str(path)], check=True)
        elif suppressed:
            amr = ("-r", "8000", "-c", "1", "-t", "amr-nb", "-C", "7")
            subprocess.run(["sox", wave.name, *amr, str(path)], check=True)
        else:
            unsuppressed_amr(sound, path)


def unsuppressed_amr(sound: np.ndarray, path: Path) -> None:
    with av.open(str(path), "w", format="amr") as container:
        stream = container.add_stream("libopencore_amrnb", rate=8000, layout="mono")
        stream.bit_rate = 12_200
        resampler = av.AudioResampler(format="s16", layout="mono", rate=8000, frame_size=160)
        whole = av.AudioFrame.from_ndarray(
            (np.clip(sound, -1, 1) * 32767).astype(np.int16)[None], format="s16", layout="mono"
        )
        whole.sample_rate = RATE
        for frame in (*resampler.resample(whole), *resampler.resample(None)):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def to_the_letter(model: WhisperModel, path: Path, text: str, hot_words: str) -> bool:
    sound = heard(path)
    for beam in BEAMS:
        for names in (None, hot_words):
            for voice_detection in (None, VOICE_DETECTION):
                segments, _ = model.transcribe(
                    sound,
                    beam_size=beam,
                    hotwords=names,
                    vad_filter=voice_detection is not None,
                    vad_parameters=voice_detection,
                    **PLAIN,
                )
                if "".join(segment.text for segment in segments) != text:
                    return False
    return True


def main(folder: str, out: Path) -> None:
    model = WhisperModel(folder, device="cpu", compute_type="int8", cpu_threads=2)
    out.mkdir(parents=True, exist_ok=True)
    random = Random(7)
    kept: list[dict[str, object]] = []
    opus = amr = tried = 0
    while opus < OPUS or amr < AMR:
        told = aloud(note(random), speaker(random), random)
        seconds = round(len(told.sound) / RATE, 2)
        if seconds > MOST_SECONDS:
            continue
        tried += 1
        hot_words = names_said(random)
        path = out / f"note{opus:02d}.ogg"
        recorded(told.sound, path)
        if not to_the_letter(model, path, told.text, hot_words):
            path.unlink()
            continue
        narrow = path.with_suffix(".amr")
        if amr < AMR:
            recorded(told.sound, narrow, suppressed=amr % 2 == 1)
            if not to_the_letter(model, narrow, told.text, hot_words):
                narrow.unlink()
        both = narrow.exists()
        if not both and opus - amr >= OPUS - AMR:
            path.unlink()  # what is left of the twenty must have an AMR twin
            continue
        for file in (path, narrow) if both else (path,):
            kept.append({"file": file.name, "text": told.text, "seconds": seconds})
        opus, amr = opus + 1, amr + both
    (out / "manifest.json").write_text(json.dumps(kept, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    logging.info("%d notes tried for %d Opus and %d AMR clips", tried, opus, amr)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    main(sys.argv[1], Path(sys.argv[2]))
