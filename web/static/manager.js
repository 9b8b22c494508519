// The manager's page: a day's figures, alerts and visits; a drawer with one visit or one alert behind a click.

import { Page, button, el } from "./page.js";

const $ = (id) => document.getElementById(id);
const page = await Page.open("/manager");
const trail = []; // what the drawer shows, the way back first

const FIRST_PART = 300; // visits that the server tells at once

let shown = null; // the day as the server told it

async function showDay(day, kept = $("district").value) {
  shown = await page.get(address(day, kept));
  if (kept && !shown.districts.includes(kept)) return showDay(day, "");
  $("day").value = shown.day;
  $("next").disabled = shown.day >= shown.today;
  $("who").textContent = `${shown.name} · ${shown.scope}`;
  showFigures(shown.counts);
  $("alerts").replaceChildren(...orSay("manager.no_alerts", shown.alerts.map(alertRow)));
  $("undelivered").hidden = !shown.undelivered.length;
  $("undelivered-list").replaceChildren(...shown.undelivered.map((line) => el("li", "", line)));
  showDistricts(kept);
  showVisits();
  $("loading").hidden = true;
  $("content").hidden = false;
}

function address(day, district, skip = 0) {
  const wanted = Object.entries({ day, district, skip }).filter(([, value]) => value);
  return wanted.length ? `/api/day?${new URLSearchParams(wanted)}` : "/api/day";
}

// The visits behind those that are shown.
async function showMore() {
  const next = await page.get(address(shown.day, $("district").value, shown.visits.length));
  shown.visits.push(...next.visits);
  shown.more = next.more;
  showVisits();
}

function move(days) {
  const day = new Date(`${shown.day}T00:00:00Z`);
  day.setUTCDate(day.getUTCDate() + days);
  showDay(day.toISOString().slice(0, 10));
}

function orSay(key, rows) {
  return rows.length ? rows : [el("p", "empty", page.say(key))];
}

function showFigures(counts) {
  const figure = (name) => {
    const classes = name === "doubtful" && counts[name] ? "figure bad" : "figure";
    return el("div", classes, el("b", "", String(counts[name])), el("span", "", page.say(`manager.${name}`)));
  };
  $("figures").replaceChildren(...["visits", "reps", "won", "verified", "doubtful"].map(figure));
}

function alertRow(alert) {
  const open = () => openDrawer(() => findingView(alert));
  return button("alert", el("span", "", alert.text, " ", el("small", "", alert.names.join("、"))), open);
}

function showDistricts(kept) {
  const option = (value, label) => Object.assign(el("option", "", label), { value });
  const names = shown.districts;
  $("district").replaceChildren(option("", page.say("manager.all_districts")), ...names.map((name) => option(name, name)));
  $("district").value = kept;
  $("district").hidden = names.length < 2;
}

function showVisits() {
  if (!shown.visits.length) return $("visits").replaceChildren(...orSay("manager.no_visits", []));
  const heads = ["time", "rep", "outlet", "district", "outcome", "grade", "lasted", "summary"];
  const head = el("tr", "", ...heads.map((name) => el("th", "", page.say(`manager.${name}`))));
  const table = el("table", "", el("thead", "", head), el("tbody", "", ...shown.visits.map(visitRow)));
  const more = shown.more ? [button("more", page.say("manager.more", { count: shown.more }), showMore)] : [];
  $("visits").replaceChildren(table, ...more);
}

function visitRow(visit) {
  const late = visit.late_entry ? el("span", "tag", page.say("manager.late_entry")) : "";
  const row = el(
    "tr",
    "",
    el("td", "tight", visit.at),
    el("td", "tight", visit.rep),
    el("td", "outlet", button("", visit.outlet, (event) => event.stopPropagation() || openVisit(visit.id)), " ", late),
    el("td", "tight", visit.district),
    el("td", "", outcome(visit)),
    el("td", "", ...grade(visit.grade)),
    el("td", "tight", lasted(visit)),
    el("td", "summary", visit.summary),
  );
  row.addEventListener("click", () => openVisit(visit.id));
  return row;
}

function outcome(visit) {
  return visit.outcome ? el("span", `tag ${visit.outcome.code}`, visit.outcome.text) : "";
}

function grade(graded) {
  if (!graded) return [""];
  return [el("span", `tag ${graded.code}`, graded.text), el("span", "why", graded.reasons.join("；"))];
}

function lasted(visit) {
  return visit.lasted === null ? page.say("manager.still_open") : page.say("manager.minutes", { minutes: visit.lasted });
}

// --- the drawer ------------------------------------------------------------------------------------------------------

function openVisit(id) {
  openDrawer(() => visitView(id));
}

// `view` makes [title, ...elements]; going back makes the one before anew.
async function openDrawer(view) {
  trail.push(view);
  await showLast();
}

async function showLast() {
  const [title, ...children] = await trail.at(-1)();
  $("drawer-title").textContent = title;
  $("drawer-body").replaceChildren(...children.filter(Boolean));
  $("drawer-back").hidden = trail.length < 2;
  if (!$("drawer").open) $("drawer").showModal();
  $("drawer").scrollTop = 0;
}

function back() {
  trail.pop();
  showLast();
}

async function findingView(alert) {
  const found = await page.get(`/api/alerts/${alert.alert}/${alert.number}`);
  const rows = found.reps.flatMap((rep) => [
    el("p", "rep", rep.name),
    ...orSay("manager.nothing_seen", rep.visits.map(pastRow)),
  ]);
  return [found.text, el("h3", "", page.say("manager.last_visits")), ...rows];
}

function pastRow(visit) {
  const when = [`${visit.on} ${visit.at}`, visit.outlet, lasted(visit)].join(" · ");
  const level = visit.grade ? el("span", `tag ${visit.grade.code}`, visit.grade.text) : "";
  const facts = el("span", "facts", when, outcome(visit), level);
  return button("past", el("span", "", facts, el("span", "", visit.summary)), () => openVisit(visit.id));
}

async function visitView(id) {
  const visit = await page.get(`/api/visits/${id}`);
  const part = (name, rows, otherwise) =>
    rows.length || otherwise ? [el("h3", "", page.say(`manager.${name}`)), ...orSay(otherwise, rows)] : [];
  const when = `${visit.on} ${visit.at}${visit.left ? `–${visit.left}` : ""}`;
  const facts = el("p", "facts", [when, lasted(visit), visit.rep, visit.district].join(" · "), outcome(visit));
  return [
    visit.outlet,
    facts,
    visit.address ? el("p", "small", visit.address) : "",
    ...part("where", [el("p", "", visit.place)]),
    ...part("reasons", visit.grade ? [gradeBlock(visit.grade)] : [], "manager.no_grade"),
    ...part("photos", visit.photos.length ? [el("div", "shots", ...visit.photos.map(shot))] : [], "manager.no_photos"),
    ...part("notes", visit.notes.map(noteBlock), "manager.no_notes"),
    ...part("answers", visit.answers.length ? [answerList(visit.answers)] : [], "manager.no_answers"),
    ...part("follow_ups", visit.follow_ups.map(followUp)),
    ...part("appeals", visit.appeals.map(appealBlock)),
  ];
}

function gradeBlock(graded) {
  const reasons = el("ul", "reasons", ...graded.reasons.map((reason) => el("li", "", reason)));
  return el("div", "", el("span", `tag ${graded.code}`, graded.text), reasons);
}

function shot(photo) {
  const image = Object.assign(el("img"), { src: photo.src, alt: photo.text, loading: "lazy" });
  const link = Object.assign(el("a", "", image), { href: photo.src, target: "_blank", rel: "noopener" });
  return el("figure", photo.used ? "used" : "", link, el("figcaption", "", photo.text));
}

function noteBlock(note) {
  const length = note.seconds ? page.say("chat.seconds", { seconds: Math.round(note.seconds) }) : "";
  const about = [note.at, note.state, length].filter(Boolean).join(" · ");
  const block = el("div", "notebook", el("div", "", note.text), el("div", "small", about));
  if (note.src) block.append(Object.assign(el("audio"), { src: note.src, controls: true, preload: "none" }));
  return block;
}

function answerList(answers) {
  const list = el("dl");
  for (const answer of answers) {
    const about = [answer.source];
    if (!answer.sure) about.push(page.say("manager.unsure"));
    if (answer.quote) about.push(page.say("manager.quote", { quote: answer.quote }));
    if (answer.before) about.push(page.say("manager.before", { value: answer.before }));
    list.append(el("dt", "", answer.name), el("dd", "", answer.value, el("span", "small", about.join(" · "))));
  }
  return list;
}

function followUp(todo) {
  const about = [todo.state, todo.by_itself ? page.say("manager.by_itself") : ""].filter(Boolean).join(" · ");
  return el("p", "", [todo.when, todo.what].filter(Boolean).join(" "), " ", el("span", "small", about));
}

function appealBlock(appeal) {
  const state = appeal.by ? page.say("manager.decided_by", { state: appeal.state, name: appeal.by }) : appeal.state;
  return el("div", "notebook", appeal.words, el("div", "small", `${appeal.at} · ${state}`));
}

// --- beginning -------------------------------------------------------------------------------------------------------

async function showPeople() {
  const { people } = await page.get("/api/demo");
  const managers = people.filter((person) => person.manages);
  const become = async (code) => {
    await page.post("/api/demo/person", { code });
    location.reload();
  };
  // An area manager shows best what a scope is.
  if (!page.me.person) return become((managers.find((one) => one.role_code === "area_manager") ?? managers[0]).code);
  for (const { code, name, role, chosen } of managers) {
    const label = `${name} · ${role}`;
    $("person").append(Object.assign(el("option", "", label), { value: code, selected: chosen }));
  }
  $("person").hidden = false;
  $("person").addEventListener("change", () => become($("person").value));
}

// A day that is still going on is looked at again every minute, unless somebody is reading in the drawer.
function lookAgain() {
  const early = shown && shown.visits.length <= FIRST_PART; // who asked for more reads on undisturbed
  if (early && shown.day === shown.today && !document.hidden && !$("drawer").open) showDay(shown.day).catch(() => {});
}

async function leave() {
  await page.post("/api/leave", {});
  location.href = "/chat";
}

$("previous").addEventListener("click", () => move(-1));
$("next").addEventListener("click", () => move(1));
$("today").addEventListener("click", () => showDay());
$("day").addEventListener("change", () => $("day").value && showDay($("day").value));
$("district").addEventListener("change", () => showDay(shown.day));
$("drawer-close").addEventListener("click", () => $("drawer").close());
$("drawer-back").addEventListener("click", back);
$("drawer").addEventListener("close", () => (trail.length = 0));
$("leave").addEventListener("click", leave);
$("leave").hidden = page.me.demo;
document.addEventListener("visibilitychange", lookAgain);
setInterval(lookAgain, 60_000);

if (page.me.demo) await showPeople();
try {
  if (page.me.person || !page.me.demo) await showDay();
} catch (problem) {
  $("loading").textContent = problem.message;
}
