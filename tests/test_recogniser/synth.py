"""Speak clauses with espeak-ng, once clean and once through the AMR telephone codec, and keep their mel spectra.

    python synth.py CLAUSES SEED OUT.npz

A sound is float32 at 16 kHz in -1..1. A spectrum is log10 of mel power, 80 bands by one frame every 10 ms: what
faster-whisper computes before it normalises.
"""

import logging
import subprocess
import sys
from dataclasses import dataclass
from multiprocessing import Pool
from pathlib import Path
from random import Random

import av
import numpy as np
from faster_whisper.feature_extractor import FeatureExtractor
from grammar import body, opening
from scipy.signal import resample_poly

RATE = 16_000
NARROW_RATE = 8_000
HOP = 160
WINDOW = 400
MEL = FeatureExtractor(feature_size=80).mel_filters
# The plain Mandarin voice of Debian's espeak-ng reads its own pinyin as English; this one does not.
VOICE = "cmn-latn-pinyin"
VARIANTS = ("", "+m1", "+m3", "+m7", "+f2", "+f4")
AMR_BIT_RATES = (12_200, 12_200, 12_200, 10_200, 7_400)


@dataclass(frozen=True, slots=True)
class Speaker:
    variant: str
    words_per_minute: int
    pitch: int  # 0 to 99, espeak-ng's own scale


def speaker(random: Random) -> Speaker:
    return Speaker(random.choice(VARIANTS), random.randint(180, 240), random.randint(35, 65))


def say(text: str, who: Speaker) -> np.ndarray:
    """The sound of ``text`` with 30 ms of silence left on either side."""
    voice = ("-v", VOICE + who.variant, "-s", str(who.words_per_minute), "-p", str(who.pitch))
    wave = subprocess.run(["espeak-ng", *voice, "--stdout", text], capture_output=True, check=True).stdout
    header = 44
    samples = np.frombuffer(wave[header : len(wave) - len(wave) % 2], dtype="<i2").astype(np.float32) / 32768
    sound = resample_poly(samples, 320, 441).astype(np.float32)  # espeak-ng speaks at 22050 Hz
    loud = np.flatnonzero(np.abs(sound) > 1e-3)
    margin = RATE * 30 // 1000
    return sound[max(0, loud[0] - margin) : loud[-1] + margin]


def through_amr(sound: np.ndarray, bit_rate: int) -> np.ndarray:
    """What is left of a sound after AMR-NB at ``bit_rate`` bit/s; as long as the sound went in, delay taken off."""
    narrow = resample_poly(sound, 1, 2)
    frames = -(-len(narrow) // 160) + 1
    pcm = np.zeros(frames * 160, np.int16)
    pcm[: len(narrow)] = np.clip(narrow * 32767, -32768, 32767)
    encoder = av.CodecContext.create("libopencore_amrnb", "w")
    encoder.sample_rate, encoder.layout, encoder.format, encoder.bit_rate = NARROW_RATE, "mono", "s16", bit_rate
    decoder = av.CodecContext.create("libopencore_amrnb", "r")
    decoder.sample_rate, decoder.layout = NARROW_RATE, "mono"
    packets = []
    for start in range(0, len(pcm), 160):
        frame = av.AudioFrame.from_ndarray(pcm[None, start : start + 160], format="s16", layout="mono")
        frame.sample_rate, frame.pts = NARROW_RATE, start
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    heard = [frame.to_ndarray()[0] for packet in packets for frame in decoder.decode(packet)]
    delay = 40  # 5 ms of look-ahead
    back = np.concatenate(heard).astype(np.float32)[delay:] / 32768
    return resample_poly(back, 2, 1)[: len(sound)].astype(np.float32)


def spectrum(sound: np.ndarray) -> np.ndarray:
    """log10 mel power, shape (80, len(sound) // 160), framed as Whisper frames it."""
    padded = np.pad(sound, WINDOW // 2, mode="reflect")
    hann = np.hanning(WINDOW + 1)[:-1].astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][: len(sound) // HOP]
    power = np.abs(np.fft.rfft(frames * hann)) ** 2
    return np.log10(np.maximum(MEL @ power.T, 1e-10)).astype(np.float32)


def spoken(job: tuple[str, int]) -> tuple[str, np.ndarray, np.ndarray]:
    """The variant that speaks a text, its spectrum, and its spectrum after AMR."""
    text, seed = job
    random = Random(seed)
    who = speaker(random)
    sound = say(text, who)
    hiss = np.random.default_rng(seed).standard_normal(len(sound)).astype(np.float32) * 10 ** random.uniform(-4.5, -2.5)
    telephone = through_amr(sound * random.uniform(0.4, 1.0) + hiss, random.choice(AMR_BIT_RATES))
    return who.variant, spectrum(sound).astype(np.float16), spectrum(telephone).astype(np.float16)


def main(clauses: int, seed: int, out: Path) -> None:
    random = Random(seed)
    texts = [opening(random) if number % 4 == 0 else body(random) for number in range(clauses)]
    with Pool(2) as pool:
        said = pool.map(spoken, [(text, seed + number) for number, text in enumerate(texts)], chunksize=50)
    variants, wide, narrow = zip(*said, strict=True)
    lengths = np.array([part.shape[1] for part in wide])
    np.savez(
        out,
        texts=np.array(texts),
        opens=np.arange(clauses) % 4 == 0,
        variants=np.array(variants),
        ends=np.cumsum(lengths),
        wide=np.concatenate(wide, axis=1),
        narrow=np.concatenate([part[:, :length] for part, length in zip(narrow, lengths, strict=True)], axis=1),
    )
    characters = sum(map(len, texts))
    logging.info(
        "%d clauses, %d different, %.1f frames each, %.2f characters a second",
        clauses,
        len(set(texts)),
        lengths.mean(),
        characters / (lengths.sum() / 100),
    )


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
