// Messages as elements. Whatever a person or the bot said is set as text, never as markup.

import { button, el, svg } from "./page.js";

const PLAY = "M8 5v14l11-7z";
const PAUSE = "M7 5h3.5v14H7zM13.5 5H17v14h-3.5z";
const PIN = "M12 21s-7-6.2-7-11a7 7 0 0 1 14 0c0 4.8-7 11-7 11zM12 12.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5z";

let playing = null;

// A message of the bot: its texts, its picture, and its buttons below. `tap(choice)` is called with {data, label}.
export function botRow(message, page, { tap, view }) {
  const row = el("div", "row bot");
  row.append(...message.texts.filter(Boolean).map((text) => el("div", "bubble", text)));
  if (message.image) row.append(picture(message.image, page, view));
  if (message.buttons.length) {
    const choices = el("div", "choices");
    for (const line of message.buttons) {
      const made = line.map((choice) => {
        const one = button("", choice.label, () => tap(message, choice));
        one.dataset.tap = choice.data;
        return one;
      });
      choices.append(el("div", "line", ...made));
    }
    row.append(choices);
  }
  return row;
}

// Grey the buttons of an answered question, and mark those that were pressed.
export function settle(row, answered, pressed) {
  for (const one of row.querySelectorAll(".choices button")) {
    one.disabled = answered;
    one.classList.toggle("chosen", pressed.has(one.dataset.tap));
    one.setAttribute("aria-pressed", String(pressed.has(one.dataset.tap)));
  }
}

// A message of the person; null for one that has nothing to show.
export function ownRow(message, page, { view, label }) {
  const content = ownContent(message, page, view, label);
  return content && el("div", "row me", content, el("div", "note"));
}

function ownContent(message, page, view, label) {
  if (message.kind === "place") {
    const accuracy = message.place?.accuracy;
    const about = accuracy ? el("div", "small", page.say("chat.place_accuracy", { metres: Math.round(accuracy) })) : "";
    const title = message.place?.title || page.say("chat.place_sent");
    return el("div", "bubble", el("div", "pin", svg(PIN), el("div", "", title, about)));
  }
  if (message.kind === "photo") return message.file ? picture(message.file, page, view) : bubble(page.say("chat.photo_sent"));
  if (message.kind === "voice") return voice(message, page);
  if (message.kind === "tap") return label ? bubble(label) : null;
  return message.text ? bubble(message.text) : null;
}

function bubble(text) {
  return el("div", "bubble", text);
}

function picture(source, page, view) {
  const image = el("img");
  image.src = source;
  image.alt = page.say("chat.photo_sent");
  image.loading = "lazy";
  const open = button("", image, () => view(source));
  open.setAttribute("aria-label", page.say("chat.open_photo"));
  return el("div", "bubble picture", open);
}

function voice(message, page) {
  const seconds = message.seconds && Math.max(1, Math.floor(message.seconds));
  const length = seconds ? page.say("chat.seconds", { seconds }) : page.say("chat.voice_sent");
  if (!message.file) return bubble(length);
  const control = button("", svg(PLAY), () => (playing?.control === control ? stop() : start()));
  control.setAttribute("aria-label", page.say("chat.play"));

  function start() {
    playing?.stop();
    const sound = new Audio(message.file);
    sound.addEventListener("ended", stop);
    control.replaceChildren(svg(PAUSE));
    control.setAttribute("aria-label", page.say("chat.pause"));
    playing = { control, stop, sound };
    sound.play().catch(stop);
  }

  function stop() {
    if (playing?.control !== control) return;
    playing.sound.pause();
    playing = null;
    control.replaceChildren(svg(PLAY));
    control.setAttribute("aria-label", page.say("chat.play"));
  }

  return el("div", "bubble", el("div", "voice", control, el("span", "", length)));
}

// Under a message that is on its way: where it stands, and what can be done about it.
export function showProgress(row, item, page, { retry, discard }) {
  const note = row.querySelector(".note");
  row.classList.toggle("failed", item.state === "failed");
  note.replaceChildren();
  if (item.state === "sending" && item.file) {
    note.append(`${page.say("chat.sending")} ${Math.round((item.progress ?? 0) * 100)}%`);
  } else if (item.state === "failed" || (item.state === "queued" && item.waits)) {
    const why = item.state === "failed" ? item.problem : page.say("chat.queued");
    note.append(el("span", "", why), button("", page.say("chat.retry"), retry));
    if (item.state === "failed") note.append(button("", page.say("chat.discard"), discard));
  }
}
