// What only a demonstration has: being anybody, standing at any shop, sample photos and sample voice notes.

import { button, el } from "./page.js";

export class Demo {
  static async open(page) {
    return new Demo(page, await page.get("/api/demo"));
  }

  constructor(page, offered) {
    this.page = page;
    this.offered = offered;
  }

  // Go on as somebody, by code.
  async become(code) {
    await this.page.post("/api/demo/person", { code });
    location.reload();
  }

  people() {
    return this.offered.people.map((person) =>
      item(person.name, [person.role, person.districts.join("、")].filter(Boolean).join(" · "), () => this.become(person.code), person.chosen),
    );
  }

  outlets(chosen) {
    const listed = (own) =>
      this.offered.outlets
        .filter((outlet) => outlet.own === own)
        .map((outlet) => item(outlet.name, outlet.address, () => chosen(outlet)));
    const [mine, others] = [listed(true), listed(false)];
    return [
      mine.length ? el("h3", "", this.page.say("demo.own")) : "",
      ...mine,
      others.length && mine.length ? el("h3", "", this.page.say("demo.others")) : "",
      ...others,
    ];
  }

  clips(chosen) {
    return this.offered.clips.map((clip) =>
      item(clip.text, this.page.say("chat.seconds", { seconds: Math.round(clip.seconds) }), async () => {
        const answer = await fetch(`/api/demo/clips/${encodeURIComponent(clip.file)}`);
        chosen(new File([await answer.blob()], clip.file, { type: "audio/ogg" }), clip.seconds);
      }),
    );
  }
}

function item(title, about, act, isChosen = false) {
  return button(`item${isChosen ? " chosen" : ""}`, el("span", "", title, el("small", "", about)), act);
}

// A made-up shop front with this name on its sign, another one each time, so that no two visits use the same picture.
export function samplePhoto(name) {
  const canvas = el("canvas");
  [canvas.width, canvas.height] = [1200, 900];
  const draw = canvas.getContext("2d");
  const any = (from, to) => from + Math.random() * (to - from);
  const box = (colour, x, y, width, height) => {
    draw.fillStyle = colour;
    draw.fillRect(x, y, width, height);
  };
  const hue = any(0, 360);
  box(`hsl(${any(190, 225)} 45% ${any(68, 85)}%)`, 0, 0, 1200, 740);
  box(`hsl(${any(20, 60)} 8% ${any(45, 62)}%)`, 0, 740, 1200, 160);
  const [left, top, width] = [any(60, 320), any(110, 220), any(700, 820)];
  box(`hsl(${hue} 22% ${any(62, 80)}%)`, left, top, width, 760 - top);
  for (let y = top; y < 740; y += 26) {
    for (let x = left; x < left + width; x += 64) {
      const start = x + (Math.floor(y / 26) % 2) * 20;
      box(`hsl(${hue} 20% ${any(50, 82)}% / 45%)`, start, y, Math.min(56, left + width - start), 20);
    }
  }
  box(`hsl(${hue + any(120, 240)} 65% 36%)`, left + 20, top + 40, width - 40, 120);
  draw.fillStyle = "#fff7df";
  draw.font = "bold 72px sans-serif";
  draw.textAlign = "center";
  draw.fillText(name, left + width / 2, top + 126, width - 80);
  const door = left + any(40, width - 240);
  box(`hsl(${any(15, 35)} 40% 24%)`, door, 460, 190, 300);
  for (let x = left + 30; x + 150 < left + width; x += 180) {
    if (Math.abs(x - door) > 200) box(`hsl(200 ${any(20, 50)}% ${any(25, 60)}%)`, x, any(420, 470), 140, any(130, 200));
  }
  for (let n = 0; n < 9; n += 1) {
    box(`hsl(${any(0, 360)} 50% ${any(30, 60)}%)`, any(0, 1120), any(700, 800), any(40, 120), any(40, 90));
  }
  return new Promise((resolve) => {
    canvas.toBlob((blob) => resolve(new File([blob], "sample.jpg", { type: "image/jpeg" })), "image/jpeg", 0.88);
  });
}
