// The chat page: what was said so far, what is on its way, and the bar at the bottom.

import { botRow, ownRow, settle, showProgress } from "./bubbles.js";
import { Demo, samplePhoto } from "./demo.js";
import { Page, button, el } from "./page.js";
import { Queue } from "./queue.js";
import { Recorder } from "./recorder.js";

const $ = (id) => document.getElementById(id);
const MB = 1024 * 1024;
const GAP_MS = 5 * 60_000; // a time stands between two messages farther apart than this

const page = await Page.open("");
const chat = $("chat");
const parts = new Map(); // what is shown, by "bot:<row>" or "me:<key>": {message, row}
const pressed = new Set(); // the data of every button pressed
const answered = new Set(); // the numbers of questions that are settled
let newest = 0; // the time of the message shown last
let demo = null;
let events = null;
let standingAt = page.say("product"); // the shop a demonstration stands at

const queue = new Queue(page, progress);

// --- showing ---------------------------------------------------------------------------------------------------------

function handlers(message) {
  return { tap: press, view, label: message.kind === "tap" ? labelOf(message.tapped) : "" };
}

function rowOf(message) {
  return message.from === "bot" ? botRow(message, page, handlers(message)) : ownRow(message, page, handlers(message));
}

function nameOf(message) {
  return message.from === "bot" ? `bot:${message.id}` : `me:${message.key}`;
}

// Add a message at the end, unless it is shown already.
function show(message, follow = true) {
  if (parts.has(nameOf(message))) return;
  if (message.kind === "tap") pressed.add(message.tapped);
  const row = rowOf(message);
  parts.set(nameOf(message), { message, row });
  if (!row) return;
  const nearEnd = chat.scrollHeight - chat.scrollTop - chat.clientHeight < 160;
  const at = Date.parse(message.at);
  if (at - newest > GAP_MS) chat.append(el("div", "stamp", clock(at)));
  newest = Math.max(newest, at);
  chat.append(row);
  if (message.from === "bot") $("place").classList.toggle("wanted", message.wants_place);
  if (follow && (nearEnd || message.from === "me")) toEnd();
}

// Put an older page of messages above what is shown.
function showEarlier(messages, before) {
  const first = chat.querySelector(".earlier");
  const height = chat.scrollHeight;
  first?.remove();
  const rows = [];
  let last = 0;
  for (const message of messages) {
    if (parts.has(nameOf(message))) continue;
    if (message.kind === "tap") pressed.add(message.tapped);
    const row = rowOf(message);
    parts.set(nameOf(message), { message, row });
    const at = Date.parse(message.at);
    if (row && at - last > GAP_MS) rows.push(el("div", "stamp", clock(at)));
    last = at;
    if (row) rows.push(row);
  }
  chat.prepend(...rows);
  if (before) chat.prepend(button("quiet earlier", page.say("chat.earlier"), () => earlier(before)));
  chat.scrollTop += chat.scrollHeight - height;
  newest = Math.max(newest, last);
  const lastSaid = messages.findLast((message) => message.from === "bot");
  if (first === null) $("place").classList.toggle("wanted", Boolean(lastSaid?.wants_place));
  settleAll();
}

function settleAll() {
  for (const { message, row } of parts.values()) {
    if (message.from === "bot" && message.question) settle(row, answered.has(message.question), pressed);
  }
}

// The label of a button by its data, from the message that offered it.
function labelOf(data) {
  for (const { message } of parts.values()) {
    const found = message.from === "bot" && message.buttons.flat().find((choice) => choice.data === data);
    if (found) return found.label;
  }
  return "";
}

function clock(at) {
  const format = (options) => new Intl.DateTimeFormat(page.me.language, { timeZone: page.me.time_zone, ...options });
  const day = format({ year: "numeric", month: "numeric", day: "numeric" });
  const time = format({ hour: "2-digit", minute: "2-digit", hourCycle: "h23" }).format(at);
  if (day.format(at) === day.format(Date.now())) return time;
  if (day.format(at) === day.format(Date.now() - 86_400_000)) return `${page.say("chat.yesterday")} ${time}`;
  return `${format({ month: "numeric", day: "numeric" }).format(at)} ${time}`;
}

function toEnd() {
  chat.scrollTop = chat.scrollHeight;
}

function toast(text) {
  $("toast").textContent = text;
  $("toast").hidden = false;
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => ($("toast").hidden = true), 5000);
}

function view(source) {
  $("viewer-image").src = source;
  $("viewer").showModal();
}

function sheet(title, ...children) {
  $("sheet-title").textContent = title;
  $("sheet-body").replaceChildren(...children.filter(Boolean));
  if (!$("sheet").open) $("sheet").showModal();
  $("sheet").scrollTop = 0;
}

// --- sending ---------------------------------------------------------------------------------------------------------

// The message an item in the queue will become, to be shown at once.
function asMessage(item) {
  const { kind, text, tapped, seconds, accuracy, title } = item.fields;
  item.source ??= item.file ? URL.createObjectURL(item.file) : null;
  const place = kind === "place" ? { title, accuracy } : null;
  const at = new Date(item.saidAt).toISOString();
  return { from: "me", key: item.key, at, kind, text, tapped, seconds, place, file: item.source };
}

function progress(item) {
  show(asMessage(item));
  const row = parts.get(`me:${item.key}`).row;
  if (!row) return;
  showProgress(row, item, page, {
    retry: () => queue.retry(item.key),
    discard: async () => {
      await queue.discard(item.key);
      row.remove();
    },
  });
}

function press(message, choice) {
  pressed.add(choice.data);
  settle(parts.get(nameOf(message)).row, !message.multi, pressed);
  queue.add({ kind: "tap", tapped: choice.data });
}

function sendText(text) {
  if (text.trim()) queue.add({ kind: "text", text: text.trim() });
}

function sendFile(kind, file, seconds = null) {
  if (file.size > page.me.upload_mb * MB) return toast(page.say("chat.too_big", { mb: page.me.upload_mb }));
  return queue.add(seconds === null ? { kind } : { kind, seconds }, file);
}

// --- position --------------------------------------------------------------------------------------------------------

function sendPlace() {
  if (!window.isSecureContext) return noPlace("hint.place_insecure");
  if (!navigator.geolocation) return noPlace("hint.place_missing");
  strip(page.say("chat.locating"));
  navigator.geolocation.getCurrentPosition(located, notLocated, {
    enableHighAccuracy: true,
    timeout: 20_000,
    maximumAge: 0,
  });
}

function located({ coords, timestamp }) {
  strip("");
  queue.add({
    kind: "place",
    lat: coords.latitude,
    lon: coords.longitude,
    accuracy: coords.accuracy,
    fix_age_s: Math.max(0, (Date.now() - timestamp) / 1000),
  });
}

function notLocated(problem) {
  strip("");
  noPlace(problem.code === problem.PERMISSION_DENIED ? "hint.place_denied" : "hint.place_unavailable");
}

function noPlace(hint) {
  if (demo) chooseOutlet(page.say(hint));
  else toast(page.say(hint));
}

function chooseOutlet(hint = page.say("demo.stand_hint")) {
  const stand = (outlet) => {
    $("sheet").close();
    standingAt = outlet.name;
    const title = page.say("demo.mark", { name: outlet.name });
    queue.add({ kind: "place", demo_outlet: outlet.code, title });
  };
  sheet(page.say("demo.stand"), el("p", "", hint), ...demo.outlets(stand));
}

// --- voice -----------------------------------------------------------------------------------------------------------

let recorder = null;

async function record() {
  const obstacle = Recorder.obstacle();
  if (obstacle) return noVoice(obstacle);
  try {
    recorder = await Recorder.start(showTime);
  } catch {
    return noVoice("voice_denied");
  }
  showTime(0);
  showRecorder(true);
}

function showTime(seconds) {
  $("record-time").textContent = `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
}

function showRecorder(on) {
  $("recorder").hidden = !on;
  $("tools").hidden = on;
}

async function sendRecording() {
  const { blob, seconds } = await recorder.finish();
  showRecorder(false);
  if (seconds < 1) return toast(page.say("chat.too_short"));
  const ending = blob.type.includes("mp4") ? "m4a" : blob.type.includes("ogg") ? "ogg" : "webm";
  sendFile("voice", new File([blob], `note.${ending}`, { type: blob.type }), Math.round(seconds * 10) / 10);
}

function noVoice(hint) {
  if (demo) chooseClip(page.say(`hint.${hint}`));
  else toast(page.say(`hint.${hint}`));
}

function chooseClip(hint = "") {
  const send = (file, seconds) => {
    $("sheet").close();
    sendFile("voice", file, seconds);
  };
  sheet(page.say("demo.voice"), el("p", "", hint), el("p", "", page.say("demo.voice_hint")), ...demo.clips(send));
}

// --- menu ------------------------------------------------------------------------------------------------------------

function menu() {
  const names = page.me.person?.manages ? ["start", "alerts", "help"] : ["start", "visits", "todos", "end", "undo", "help"];
  const commands = el("div", "commands");
  for (const name of names) {
    commands.append(
      button("", page.say(`menu.${name}`), () => {
        $("sheet").close();
        sendText(page.say(`menu.${name}`));
      }),
    );
  }
  const items = [commands];
  const item = (label, act) => items.push(button("item", label, act));
  item(page.say("chat.album"), () => {
    $("sheet").close();
    $("album").click();
  });
  if (demo || page.me.person?.manages) item(page.say("chat.manager_page"), () => (location.href = "/manager"));
  if (demo) items.push(el("h3", "", page.say("demo.who_hint")), ...demo.people());
  else item(page.say("chat.logout"), logOut);
  sheet(page.say("chat.menu"), ...items);
}

async function logOut() {
  await page.post("/api/leave", {});
  location.reload();
}

function showDemo() {
  const send = async () => sendFile("photo", await samplePhoto(standingAt));
  $("name").append(" ", el("span", "badge", page.say("demo.badge")));
  $("tools").prepend(
    el(
      "div",
      "chips",
      button("chip", page.say("demo.stand_short"), () => chooseOutlet()),
      button("chip", page.say("demo.photo"), send),
      button("chip", page.say("demo.voice"), () => chooseClip()),
    ),
  );
}

// --- the connection --------------------------------------------------------------------------------------------------

function strip(text) {
  $("strip").textContent = text;
  $("strip").hidden = !text;
}

function connected(on) {
  $("state").classList.toggle("on", on);
  $("state").textContent = on ? `${page.me.person?.name ?? ""} · ${page.say("chat.online")}` : page.say("chat.connecting");
  strip(navigator.onLine ? "" : page.say("chat.offline"));
}

// Listen for what the bot says after row `last`. A reconnecting browser tells the server the last row by itself.
function listen(last) {
  events = new EventSource(`/api/events?after=${last}`);
  events.onopen = () => {
    connected(true);
    queue.run();
  };
  events.onerror = () => {
    connected(false);
    if (events.readyState !== EventSource.CLOSED) return;
    setTimeout(() => listen(lastRow()), 5000);
  };
  events.addEventListener("said", (event) => {
    show(JSON.parse(event.data));
    settleAll();
    if (!page.me.person) recognise();
  });
  events.addEventListener("answered", (event) => {
    for (const question of JSON.parse(event.data)) answered.add(question);
    settleAll();
  });
}

function lastRow() {
  const rows = [...parts.values()].filter(({ message }) => message.from === "bot").map(({ message }) => message.id);
  return Math.max(0, ...rows);
}

async function earlier(before) {
  const past = await page.get(`/api/history?before=${encodeURIComponent(before)}`);
  showEarlier(past.messages, past.before);
}

// Somebody who just handed in an invite: the bot's answer says whether it was good.
async function recognise() {
  await page.reload();
  if (page.me.person) {
    chat.querySelector(".stranger")?.remove();
    $("bar").hidden = false;
    connected(true);
  }
}

// --- beginning -------------------------------------------------------------------------------------------------------

$("write").addEventListener("submit", (event) => {
  event.preventDefault();
  sendText($("text").value);
  $("text").value = "";
  $("send").hidden = true;
});
$("text").addEventListener("input", () => ($("send").hidden = !$("text").value.trim()));
$("place").addEventListener("click", sendPlace);
$("photo").addEventListener("click", () => $("camera").click());
$("voice").addEventListener("click", record);
$("record-send").addEventListener("click", sendRecording);
$("record-cancel").addEventListener("click", () => {
  recorder.cancel();
  showRecorder(false);
});
for (const input of [$("camera"), $("album")]) {
  input.addEventListener("change", () => {
    for (const file of input.files) sendFile("photo", file);
    input.value = "";
  });
}
$("open-menu").addEventListener("click", menu);
$("sheet-close").addEventListener("click", () => $("sheet").close());
$("viewer-close").addEventListener("click", () => $("viewer").close());
window.addEventListener("offline", () => connected(false));
window.addEventListener("online", () => strip(""));

if (page.me.demo) {
  demo = await Demo.open(page);
  if (!page.me.person) await demo.become(demo.offered.people.find((person) => !person.manages).code);
}
if (!page.me.demo || page.me.person) {
  const past = await page.get("/api/history");
  for (const message of past.messages) if (message.answered) answered.add(message.question);
  showEarlier(past.messages, past.before);
  for (const item of await queue.load()) progress(item);
  toEnd();
  $("bar").hidden = !page.me.person;
  if (!page.me.person) {
    const says = past.messages.length ? page.say("chat.waiting") : page.say("problem.stranger");
    chat.append(el("div", "stranger", el("h2", "", page.say("chat.stranger_title")), el("p", "", says)));
  }
  if (demo) showDemo();
  listen(past.last);
  queue.run();
}
