// What the person did and the server has not confirmed yet. It outlives the page (IndexedDB) and goes out in order.
//
// Every item has a key of its own that the server stores once, so sending again after a lost answer does no harm.

import { Problem } from "./page.js";

const FIRST_PAUSE_MS = 2_000;
const LONGEST_PAUSE_MS = 30_000;

export class Queue {
  // `changed(item)` is called with item.state: "queued", "sending" (with item.progress), "sent", "failed" (item.problem).
  constructor(page, changed) {
    this.page = page;
    this.changed = changed;
    this.items = [];
    this.pause = FIRST_PAUSE_MS;
    this.running = false;
    window.addEventListener("online", () => this.run());
  }

  // The items an earlier page of the same account left behind, oldest first.
  async load() {
    this.store = await openStore();
    const kept = await this.store.all();
    this.items = kept.filter((item) => item.owner === this.page.me.account).sort((a, b) => a.order - b.order);
    for (const item of this.items) {
      item.state = item.state === "failed" ? "failed" : "queued";
      item.source = null; // an object URL dies with its page
    }
    return this.items;
  }

  async add(fields, file = null) {
    const item = {
      key: newKey(),
      owner: this.page.me.account,
      order: Date.now() + this.items.length / 1000,
      saidAt: Date.now(),
      fields,
      file,
      state: "queued",
    };
    this.items.push(item);
    this.changed(item);
    await this.store.put(item);
    this.run();
    return item;
  }

  retry(key) {
    const item = this.items.find((one) => one.key === key);
    if (item) item.state = "queued";
    this.pause = FIRST_PAUSE_MS;
    this.run();
  }

  async discard(key) {
    this.items = this.items.filter((item) => item.key !== key);
    await this.store.remove(key);
  }

  async run() {
    if (this.running) return;
    this.running = true;
    clearTimeout(this.timer);
    try {
      for (let item = this.#next(); item; item = this.#next()) {
        if (!(await this.#send(item))) break;
      }
    } finally {
      this.running = false;
    }
  }

  #next() {
    return this.items.find((item) => item.state === "queued");
  }

  // False when the network failed: the rest has to wait behind this item.
  async #send(item) {
    item.state = "sending";
    item.progress = 0;
    this.changed(item);
    try {
      await upload(this.page, item, (progress) => {
        item.progress = progress;
        this.changed(item);
      });
    } catch (problem) {
      if (problem.code === "session") await this.page.reload().catch(() => {});
      item.state = problem.final ? "failed" : "queued";
      item.problem = problem.message;
      item.waits = true;
      this.changed(item);
      await this.store.put(item);
      if (!problem.final) this.#later();
      return problem.final;
    }
    this.pause = FIRST_PAUSE_MS;
    item.state = "sent";
    await this.discard(item.key);
    this.changed(item);
    return true;
  }

  #later() {
    this.timer = setTimeout(() => this.run(), this.pause);
    this.pause = Math.min(this.pause * 2, LONGEST_PAUSE_MS);
  }
}

function upload(page, item, progressed) {
  const fields = { ...item.fields, key: item.key, age_s: Math.max(0, (Date.now() - item.saidAt) / 1000) };
  return new Promise((resolve, reject) => {
    const call = new XMLHttpRequest();
    call.open("POST", "/api/messages");
    call.setRequestHeader("X-Zoudian-Token", page.me.token);
    call.timeout = item.file ? 180_000 : 30_000;
    call.onerror = call.ontimeout = () => reject(new Problem(page.say("problem.network")));
    call.onload = () => {
      if (call.status === 200) return resolve();
      const answer = parsed(call.responseText);
      reject(new Problem(answer.text ?? page.say("problem.network"), call.status, answer.problem));
    };
    if (!item.file) {
      call.setRequestHeader("Content-Type", "application/json");
      call.send(JSON.stringify(fields));
      return;
    }
    call.upload.onprogress = (event) => progressed(event.lengthComputable ? event.loaded / event.total : 0);
    const form = new FormData();
    for (const [name, value] of Object.entries(fields)) form.append(name, String(value));
    form.append("file", item.file, item.file.name ?? fields.kind);
    call.send(form);
  });
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}

function newKey() {
  if (crypto.randomUUID) return crypto.randomUUID();
  // Plain http on a phone has no randomUUID.
  const hex = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

// A small table of items in IndexedDB; where the browser has none (private windows of some), in memory.
async function openStore() {
  try {
    const base = await done(indexedDB.open("zoudian", 1), (base) => base.createObjectStore("waiting", { keyPath: "key" }));
    const table = (mode) => base.transaction("waiting", mode).objectStore("waiting");
    return {
      all: () => done(table("readonly").getAll()),
      put: (item) => done(table("readwrite").put(item)),
      remove: (key) => done(table("readwrite").delete(key)),
    };
  } catch {
    return { all: async () => [], put: async () => {}, remove: async () => {} };
  }
}

function done(request, upgrade) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
    if (upgrade) request.onupgradeneeded = () => upgrade(request.result);
  });
}
