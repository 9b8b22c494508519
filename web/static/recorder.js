// A voice note by the browser's MediaRecorder: WebM/Opus where it can, else MP4 (Safari).

const KINDS = ["audio/webm;codecs=opus", "audio/ogg;codecs=opus", "audio/mp4"];
export const LONGEST_S = 180;

export class Recorder {
  // The reason a note cannot be recorded here (a key under `hint.`), or null.
  static obstacle() {
    if (!window.isSecureContext) return "voice_insecure";
    return navigator.mediaDevices?.getUserMedia && window.MediaRecorder ? null : "voice_missing";
  }

  // Starts at once; `ticked(seconds)` is called about four times a second. Rejects when the microphone is refused.
  static async start(ticked) {
    const sound = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
    return new Recorder(sound, ticked);
  }

  constructor(sound, ticked) {
    this.sound = sound;
    this.parts = [];
    const kind = KINDS.find((one) => MediaRecorder.isTypeSupported(one));
    this.machine = new MediaRecorder(sound, kind ? { mimeType: kind, audioBitsPerSecond: 32_000 } : {});
    this.machine.ondataavailable = (event) => event.data.size && this.parts.push(event.data);
    this.stopped = new Promise((resolve) => (this.machine.onstop = resolve));
    this.began = performance.now();
    this.machine.start(1000);
    this.timer = setInterval(() => {
      ticked(this.seconds());
      if (this.seconds() >= LONGEST_S) this.#halt();
    }, 250);
  }

  seconds() {
    return this.ended ?? (performance.now() - this.began) / 1000;
  }

  // The note as {blob, seconds}.
  async finish() {
    this.#halt();
    await this.stopped;
    return { blob: new Blob(this.parts, { type: this.machine.mimeType }), seconds: this.seconds() };
  }

  cancel() {
    this.#halt();
  }

  #halt() {
    if (this.machine.state === "inactive") return;
    this.ended = this.seconds();
    clearInterval(this.timer);
    this.machine.stop();
    for (const track of this.sound.getTracks()) track.stop();
  }
}
