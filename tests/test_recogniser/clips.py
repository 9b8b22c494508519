"""Record the clips: twenty notes that the model hears to the letter.

    python clips.py MODEL OUT

A recording is kept only if greedy and beam search, with and without voice detection, without and with a prompt and
three lists of hot words, all give its text, punctuation and all; otherwise another voice says it. The first eight notes
are AMR-NB too, every other one of these with silence suppression. manifest.json lists what was kept.
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
from evaluate import INITIAL_PROMPT, PLAIN, aloud, names_said
from faster_whisper import WhisperModel, decode_audio
from synth import RATE, speaker

# What reps of the sample firm come back with: orders, refusals, payments, samples, closed doors.
NOTES = (
    "刚跑完城南烧烤，老板要了鸡翅六箱薯条十包，说我们价格有优势，下周五上午十点送到。",
    "安昌腊味馆说要考虑考虑，主要嫌没有活动力度，月底前给答复。",
    "今天拜访了绍兴饭店，收款一万二，六十天账期的那笔，回单已上传。",
    "鉴湖渔家样品试用很满意，直接订了黑鱼片十二箱，明天下午三点要货。",
    "我在次坞打面，送了两包藤椒鸡块给厨师长试，下礼拜二问结果。",
    "刚从胜利路火锅城出来，跟老味道签了独家，今年没戏了。",
    "皋埠老街酒楼，订了八箱酸菜鱼，老板娘认可新品才订的。",
    "钱清便利店，老客户补货，要了生抽两箱，现结。",
    "兰亭农家乐老板娘嫌价格太贵，客人吃不惯，暂时没要，下周再约。",
    "阿福面馆老板嫌账期短，想要六十天账期，我们只能给三十天，没谈成，三天后再来。",
    "上虞海鲜大排档，味农缺货临时找我们，补了小酥肉二十箱，现结五千三百六。",
    "新昌炒年糕，店员说老板不在，没聊上。",
    "马山食堂这家，说库存还有很多，冰柜满了放不下，下个月初再来。",
    "上午去了柯岩食堂，采购拍不了板，要总部批，后天上午九点半跟他们总部开会。",
    "嵊州小笼包总店嫌我们送货慢，上次送货晚了两天，说再这样就换别家。",
    "越城小厨，聊了半小时，没弄明白他们到底想要什么，重阳节后再来。",
    "下午去了沈园茶餐厅，李经理很感兴趣，留了三包蛋挞皮的样品，后天再约。",
    "东浦黄酒饭店老板嫌我们比别家贵，现在用海之味的蚝油，海之味每箱便宜六块，下周三下午再去拜访。",
    "刚跑完老灶台，见到了老板，先拿五箱火锅底料，当面拍板定了，明天送货。",
    "轻纺城北市场快餐，百川断货了，订了薯条三十箱，谈好三十天账期，下周一上午八点送到。",
)
AMR = 8
VOICES_TRIED = 10
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


def to_the_letter(model: WhisperModel, path: Path, text: str, hot_words: list[str]) -> bool:
    sound = heard(path)
    for beam in BEAMS:
        for hints in ({}, *({"hotwords": names, "initial_prompt": INITIAL_PROMPT} for names in hot_words)):
            for voice_detection in (None, VOICE_DETECTION):
                segments, _ = model.transcribe(
                    sound,
                    beam_size=beam,
                    vad_filter=voice_detection is not None,
                    vad_parameters=voice_detection,
                    **hints,
                    **PLAIN,
                )
                if "".join(segment.text for segment in segments) != text:
                    return False
    return True


def main(folder: str, out: Path) -> None:
    model = WhisperModel(folder, device="cpu", compute_type="int8", cpu_threads=2)
    out.mkdir(parents=True, exist_ok=True)
    random = Random(8)
    kept: list[dict[str, object]] = []
    tried = 0
    for number, text in enumerate(NOTES):
        paths = [out / f"note{number:02d}{ending}" for ending in ((".ogg", ".amr") if number < AMR else (".ogg",))]
        for _ in range(VOICES_TRIED):
            tried += 1
            told = aloud(text.removesuffix("。").split("，"), speaker(random), random)
            hot_words = [names_said(random) for _ in range(3)]
            for path in paths:
                recorded(told.sound, path, suppressed=number % 2 == 1)
            if all(to_the_letter(model, path, text, hot_words) for path in paths):
                seconds = round(len(told.sound) / RATE, 2)
                kept += [{"file": path.name, "text": text, "seconds": seconds} for path in paths]
                break
        else:
            logging.info("not heard to the letter in any of %d voices: %s", VOICES_TRIED, text)
            for path in paths:
                path.unlink()
    (out / "manifest.json").write_text(json.dumps(kept, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    logging.info("%d of %d notes, %d voices tried", len({entry["text"] for entry in kept}), len(NOTES), tried)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("faster_whisper").setLevel(logging.WARNING)
    main(sys.argv[1], Path(sys.argv[2]))
