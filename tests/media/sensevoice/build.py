"""Makes model.onnx and tokens.txt beside it: a network of SenseVoice's shape for tests of the real sherpa-onnx.

It is no recogniser. One matrix is fitted so that the features of two clips of tests/media/speech give the characters
said in them; the test thus sees whether the sound goes the right way through the library: cutting, features, network,
CTC, joining. As in SenseVoice itself, the language and "with punctuation" are inputs: another language gives no text
here, and without inverse text normalisation there is no punctuation.

    python -m tests.media.sensevoice.build      # needs onnx and kaldi-native-fbank, which nothing else here needs
"""

import json
import sys
from pathlib import Path

import kaldi_native_fbank as knf
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from nlp.audio import Samples, decode
from nlp.sound_limits import RATE
from nlp.transcribe import speech_spans

HERE = Path(__file__).parent
CLIPS = HERE.parent / "speech" / "clips"
# What is said in each stretch that the voice detector cuts out of a clip.
SAID = {
    "note00.ogg": ["赵经理说了算，他嫌价格太贵。"],
    "note02.ogg": [
        "答应下周日下午一点给答复，明天上午十点半再约，",
        "上午去了大发干货行，答应下周三下午三点给答复，把过期的货换了。",
    ],
}
PUNCTUATION = "，。"
# Before the text SenseVoice tells language, mood, event, and whether there is punctuation: four tokens.
BLANK, PREFIX = "<blank>", ["<|zh|>", "<|NEUTRAL|>", "<|Speech|>", "<|withitn|>"]
WINDOW, SHIFT, BINS = 7, 6, 80  # frames stacked, frames moved on, mel bins
ZH, WITH_ITN, WITHOUT_ITN = 3, 14, 15  # the numbers SenseVoice uses
RIDGE = 1e-3
Matrix = NDArray[np.float32]


def features(samples: Samples) -> Matrix:
    """Shape (frames, 560): log mel energies of 16-bit samples, every sixth frame with three on either side."""
    options = knf.FbankOptions()
    options.frame_opts.samp_freq = RATE
    options.frame_opts.dither = 0.0
    options.frame_opts.snip_edges = True
    options.frame_opts.window_type = "hamming"
    options.mel_opts.num_bins = BINS
    options.mel_opts.high_freq = 0
    bank = knf.OnlineFbank(options)
    bank.accept_waveform(RATE, (samples * 32768).tolist())
    bank.input_finished()
    frames = np.stack([bank.get_frame(number) for number in range(bank.num_frames_ready)])
    starts = range(0, len(frames), SHIFT)
    around = np.pad(frames, ((WINDOW // 2, WINDOW), (0, 0)), mode="edge")
    return np.stack([around[start : start + WINDOW].reshape(-1) for start in starts]).astype(np.float32)


def main() -> None:
    texts = {entry["file"]: entry["text"] for entry in json.loads((CLIPS / "manifest.json").read_text("utf-8"))}
    tokens = [BLANK, *PREFIX, *sorted(set("".join(text for parts in SAID.values() for text in parts)))]
    inputs, targets = [], []
    for name, parts in SAID.items():
        assert "".join(parts) == texts[name]
        samples = decode((CLIPS / name).read_bytes()).samples
        for (start, end), text in zip(speech_spans(samples), parts, strict=True):
            heard = features(samples[start:end])
            wanted = np.zeros((len(heard), len(tokens)), np.float32)
            wanted[:, 0] = 1
            for number, char in enumerate(text):
                at = int((number + 0.5) * len(heard) / len(text))
                wanted[at] = 0
                wanted[at, tokens.index(char)] = 1
            inputs.append(heard)
            targets.append(wanted)
    x, y = np.concatenate(inputs).astype(np.float64), np.concatenate(targets)
    mean, deviation = x.mean(0), x.std(0)
    x = (x - mean) / deviation
    weights = x.T @ np.linalg.solve(x @ x.T + RIDGE * len(x) * np.eye(len(x)), y - y.mean(0))
    rounded = weights.astype(np.float16)
    likely = np.sort(x @ rounded.astype(np.float64) + y.mean(0), axis=1)
    right = np.mean((x @ rounded.astype(np.float64) + y.mean(0)).argmax(1) == y.argmax(1))
    margin = np.min(likely[:, -1] - likely[:, -2])
    sys.stdout.write(f"right frames: {right:.3f} of {len(x)}, least margin {margin:.3f}\n")
    model = network(rounded, y.mean(0).astype(np.float32), tokens)
    describe(model, tokens, mean, deviation)
    onnx.checker.check_model(model)
    onnx.save(model, HERE / "model.onnx")
    lines = [f"{token} {number}\n" for number, token in enumerate(tokens)]
    (HERE / "tokens.txt").write_text("".join(lines), encoding="utf-8")


def network(weights: NDArray[np.float16], bias: Matrix, tokens: list[str]) -> onnx.ModelProto:
    size = len(tokens)
    prefix = np.zeros((1, len(PREFIX), size), np.float32)
    prefix[0, range(len(PREFIX)), [tokens.index(token) for token in PREFIX]] = 9
    silent = np.zeros(size, np.float32)
    silent[0] = 9
    unmarked = np.array([-9.0 if token in PUNCTUATION else 0.0 for token in tokens], np.float32)
    constants = {
        "weights": weights,
        "bias": bias,
        "prefix": prefix,
        "silent": silent,
        "unmarked": unmarked,
        "zh": np.array([ZH], np.int32),
        "without": np.array([WITHOUT_ITN], np.int32),
    }
    nodes = [
        helper.make_node("Cast", ["weights"], ["matrix"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["x", "matrix"], ["heard"]),
        helper.make_node("Add", ["heard", "bias"], ["likely"]),
        helper.make_node("Equal", ["language", "zh"], ["is_zh"]),
        helper.make_node("Not", ["is_zh"], ["foreign"]),
        helper.make_node("Cast", ["foreign"], ["foreign_1"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["foreign_1", "silent"], ["hush"]),
        helper.make_node("Equal", ["text_norm", "without"], ["plain"]),
        helper.make_node("Cast", ["plain"], ["plain_1"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["plain_1", "unmarked"], ["no_marks"]),
        helper.make_node("Add", ["likely", "hush"], ["likely_1"]),
        helper.make_node("Add", ["likely_1", "no_marks"], ["likely_2"]),
        helper.make_node("Concat", ["prefix", "likely_2"], ["logits"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "shape_of_sensevoice",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, "T", WINDOW * BINS]),
            helper.make_tensor_value_info("x_length", TensorProto.INT32, [1]),
            helper.make_tensor_value_info("language", TensorProto.INT32, [1]),
            helper.make_tensor_value_info("text_norm", TensorProto.INT32, [1]),
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, "T4", size])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    return model


def describe(model: onnx.ModelProto, tokens: list[str], mean: NDArray[np.float64], dev: NDArray[np.float64]) -> None:
    """What the library reads out of the file before it uses it."""
    facts = {
        "comment": "a test model, no recogniser",
        "vocab_size": len(tokens),
        "lfr_window_size": WINDOW,
        "lfr_window_shift": SHIFT,
        "normalize_samples": 0,
        "with_itn": WITH_ITN,
        "without_itn": WITHOUT_ITN,
        **{"lang_auto": 0, "lang_zh": ZH, "lang_en": 4, "lang_yue": 7, "lang_ja": 11, "lang_ko": 12},
        "neg_mean": ",".join(f"{-value:.6g}" for value in mean),
        "inv_stddev": ",".join(f"{1 / value:.6g}" for value in dev),
    }
    for name, value in facts.items():
        model.metadata_props.add(key=name, value=str(value))


if __name__ == "__main__":
    main()
