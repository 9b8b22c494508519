// The page for the exact position: the platform's JS-SDK measures, else the browser does; what was measured is posted.
//
// The same measurement keeps its key however often it is sent, so that a lost answer or a second tap does no harm.

const COARSE_M = 150;
const SCRIPT_MS = 8_000;
const SDK_MS = 20_000;
const BROWSER_MS = 20_000;

const shown = document.body.dataset;
const words = JSON.parse(shown.words);
const said = document.getElementById("said");
const send = document.getElementById("send");
const back = document.getElementById("back");
let measured = null; // what was measured and not stored yet
let busy = false;

function say(key, values = {}) {
  const all = { product: shown.product, ...values };
  return words[`web.here.${key}`].replace(/\{(\w+)\}/g, (whole, name) => all[name] ?? whole);
}

function tell(text, mood = "") {
  said.hidden = false;
  said.className = mood;
  said.textContent = text;
}

// A failure that has a sentence of its own: denied, unavailable, or no_way with the reason.
class Failed extends Error {
  constructor(key, values = {}) {
    super(say(key, values));
    this.key = key;
  }
}

function within(milliseconds, begin) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("too slow")), milliseconds);
    begin(
      (value) => (clearTimeout(timer), resolve(value)),
      (problem) => (clearTimeout(timer), reject(problem)),
    );
  });
}

// --- the JS-SDK

async function prepare() {
  try {
    await within(SCRIPT_MS, (resolve, reject) => {
      const script = document.createElement("script");
      script.src = shown.script;
      script.addEventListener("load", resolve);
      script.addEventListener("error", () => reject(new Error("no script")));
      document.head.append(script);
    });
    if (!window.wx?.config) throw new Error("no wx");
  } catch {
    return { why: "why_script" };
  }
  try {
    const url = location.href.split("#")[0];
    const answer = await fetch(`${location.pathname}/api/config?url=${encodeURIComponent(url)}`);
    if (!answer.ok) throw new Error("no signature");
    const signed = await answer.json();
    await within(SCRIPT_MS, (resolve, reject) => {
      window.wx.error(reject);
      window.wx.ready(resolve);
      window.wx.config({
        beta: true,
        debug: false,
        ...signed,
        jsApiList: ["getLocation", "closeWindow"],
        openTagList: shown.boxes ? ["wx-open-subscribe"] : [],
      });
    });
  } catch {
    return { why: "why_ticket" };
  }
  back.addEventListener("click", () => window.wx.closeWindow());
  return { why: "" };
}

function bySdk() {
  return within(SDK_MS, (resolve, reject) => {
    window.wx.getLocation({
      type: "wgs84",
      success: (at) => resolve(taken(at.latitude, at.longitude, at.accuracy, "sdk")),
      cancel: () => reject(new Failed("denied")),
      fail: (problem) => {
        const told = String(problem?.errMsg ?? "");
        // "the permission value is offline verifying" is about the page's rights, not about the person's.
        const refused = /den(y|ied)|auth|system permission/i.test(told) && !/offline verifying/i.test(told);
        reject(refused ? new Failed("denied") : new Error(told));
      },
    });
  });
}

// --- the browser

function byBrowser(why) {
  if (!window.isSecureContext) throw new Failed("no_way", { why: say(why || "why_insecure") });
  if (!navigator.geolocation) throw new Failed("no_way", { why: say(why || "why_missing") });
  return new Promise((resolve, reject) => {
    navigator.geolocation.getCurrentPosition(
      ({ coords, timestamp }) =>
        resolve(
          taken(coords.latitude, coords.longitude, coords.accuracy, "browser", (Date.now() - timestamp) / 1000),
        ),
      (problem) => {
        if (problem.code !== problem.PERMISSION_DENIED) return reject(new Failed("unavailable"));
        // Inside the apps a browser's position is often simply not there: then what was wrong before is the reason.
        reject(why ? new Failed("no_way", { why: say(why) }) : new Failed("denied"));
      },
      { enableHighAccuracy: true, timeout: BROWSER_MS, maximumAge: 0 },
    );
  });
}

function taken(lat, lon, accuracy, source, age = 0) {
  const place = { lat: Number(lat), lon: Number(lon), accuracy: Number(accuracy) };
  return { ...place, source, fix_age_s: Math.max(0, age), key: newKey(), measuredAt: Date.now() };
}

// --- the button

const sdk = prepare();

async function measure() {
  const { why } = await sdk;
  if (why) return byBrowser(why);
  try {
    return await bySdk();
  } catch (problem) {
    if (problem instanceof Failed) throw problem;
    return byBrowser("");
  }
}

async function store() {
  const { measuredAt, ...fields } = measured;
  fields.fix_age_s += (Date.now() - measuredAt) / 1000;
  let answer;
  try {
    answer = await fetch(`${location.pathname}/api/place`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Zoudian-Token": shown.token },
      body: JSON.stringify(fields),
    });
  } catch {
    throw new Error(words["web.problem.network"]);
  }
  if (answer.ok) return;
  const told = await answer.json().catch(() => ({}));
  if (answer.status < 500) measured = null; // the same again would be refused again
  if (told.problem === "login_over") {
    location.reload();
    await new Promise(() => {});
  }
  throw new Error(told.text ?? words["web.problem.network"]);
}

async function act() {
  if (busy) return;
  busy = send.disabled = true;
  try {
    if (!measured) {
      tell(say("preparing"));
      await sdk;
      tell(say("measuring"));
      measured = await measure();
    }
    tell(say("sending"));
    await store();
    const metres = Math.max(1, Math.round(measured.accuracy));
    const lines = [say("done", { metres }), say(shown.channel === "mp" ? "done_mp" : "done_wecom")];
    if (metres > COARSE_M) lines.splice(1, 0, say("coarse"));
    tell(lines.join("\n"), metres > COARSE_M ? "warn" : "done");
    measured = null;
    send.textContent = say("again");
    back.hidden = (await sdk).why !== "";
  } catch (problem) {
    tell(problem.message, "bad");
    send.textContent = say(measured ? "resend" : "button");
  } finally {
    busy = send.disabled = false;
  }
}

send.addEventListener("click", act);

// --- the box of 订阅通知, which the platform draws

async function offerBox() {
  if (!shown.boxes) return;
  const section = document.getElementById("remind");
  const result = document.getElementById("remind-said");
  const tellBox = (text) => {
    result.hidden = false;
    result.textContent = text;
  };
  section.hidden = false;
  const { why } = await sdk;
  if (why) return tellBox(say("remind_failed", { why: say(why) }));
  const box = document.createElement("wx-open-subscribe");
  box.setAttribute("template", shown.boxes);
  const look = document.createElement("script");
  look.type = "text/wxtag-template";
  look.setAttribute("slot", "style");
  look.textContent = "<style>.b{width:100%;min-height:48px;border:0;border-radius:10px;font-size:16px}</style>";
  const face = document.createElement("script");
  face.type = "text/wxtag-template";
  const button = document.createElement("button");
  button.className = "b";
  button.textContent = say("remind_button");
  face.textContent = button.outerHTML;
  box.append(look, face);
  box.addEventListener("success", ({ detail }) => {
    const accepted = /accept/.test(JSON.stringify(detail?.subscribeDetails ?? ""));
    tellBox(say(accepted ? "remind_done" : "remind_refused"));
  });
  box.addEventListener("error", ({ detail }) =>
    tellBox(say("remind_failed", { why: String(detail?.errMsg ?? "?").slice(0, 120) })),
  );
  document.getElementById("box").append(box);
}

offerBox();

function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
