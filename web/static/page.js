// What every page needs: who is looking, the words, calls to the server, and elements made of text alone.

export class Problem extends Error {
  // `final` is true where the server refused; trying the same again would not help. `code` names the refusal.
  constructor(text, status = 0, code = "") {
    super(text);
    this.code = code;
    this.final = status >= 400 && status < 500 && code !== "session";
  }
}

export class Page {
  // `base` is "" for the chat and "/manager" for the manager's page: in a demonstration each has a login of its own.
  static async open(base) {
    const page = new Page(base);
    await page.reload();
    return page;
  }

  constructor(base) {
    this.base = base;
    this.me = null;
  }

  async reload() {
    this.me = await this.get("/api/me");
    document.documentElement.lang = this.me.language;
    return this.me;
  }

  say(key, values = {}) {
    const template = this.me?.words[`web.${key}`] ?? key;
    return template.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
  }

  async get(path) {
    return this.#answer(() => fetch(this.base + path, { cache: "no-store" }));
  }

  async post(path, body) {
    const headers = { "Content-Type": "application/json", "X-Zoudian-Token": this.me.token };
    return this.#answer(() => fetch(this.base + path, { method: "POST", headers, body: JSON.stringify(body) }));
  }

  async #answer(call) {
    let response;
    try {
      response = await call();
    } catch {
      throw new Problem(this.say("problem.network"));
    }
    const body = await response.json().catch(() => ({}));
    if (!response.ok) throw new Problem(body.text ?? this.say("problem.network"), response.status, body.problem);
    return body;
  }
}

// An element with classes and children; text is only ever set as text.
export function el(name, classes = "", ...children) {
  const made = document.createElement(name);
  if (classes) made.className = classes;
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

export function button(classes, label, act) {
  const made = el("button", classes, label);
  made.type = "button";
  made.addEventListener("click", act);
  return made;
}

export function svg(path) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  made.setAttribute("viewBox", "0 0 24 24");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  line.setAttribute("d", path);
  made.append(line);
  return made;
}
