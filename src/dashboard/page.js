"use strict";
// The operator's page. It asks the API of the server that it came from, and nobody else.
//
// Whatever the server tells is put in as text, never as markup: addresses, events and mappings are written by strangers.
// Rows are kept and changed, never built anew, so that focus, selection and scroll stay where they are.

const EVERY = 2000; // ms between two looks, if the server is quick
const PATIENCE = 10_000; // ms for one answer
const LIVE = 150; // looks that are drawn: five minutes
const SHOWN = 200; // visitors and events
const AWAY = "The server does not answer: it is not known whether this was done.";
const NO_TOKEN = "The server does not take this token. The right one stands in admin.token in its state directory.";
// What a license may, by its name in licenses.toml: what it is called here, what holds where nothing is said, an example.
const SETTINGS = [
  ["ports", "Ports", "1024-65535", "80,443,8000-8099"],
  ["hosts", "Hosts", "none", "*.a.example"], ["visit", "May visit", "none", "box/ssh"],
  ["visitors", "Visitors from", "any", "10.0.0.0/8"], ["connects", "Connects", "none", "30/10s"],
  ["max_visitors", "Max visitors", "none", "100"], ["max_mappings", "Max mappings", "none", "10"],
  ["clients", "Clients at once", "1", "3"], ["expires", "Expires", "none", "30d"],
  ["rate", "Rate, down/up", "none", "10M/2M"], ["quota", "Quota a month", "none", "100G"],
  ["quota_day", "Quota day", "1", "5"], ["over_quota", "Over quota", "stop", "64K"],
];
const RANGES = [["5 min", 300], ["1 h", 3600], ["6 h", 21600], ["24 h", 86400]];

const $ = (id) => document.getElementById(id);
let token = sessionStorage.getItem("nt-token");
let seen = null; // what the last look saw
let before = null; // counters of the look before, and when
let live = []; // rates of the last looks
let past = null; // what passed in each minute, as the server told it, and when
let range = RANGES[1];
let timer = 0, looking = false, again = false;
let lastEvent = 0, gone = null;
let managed = "", agreed = null; // the license that is managed, and what is done if the operator is sure

// ── Small things ──

function dress(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}
const el = (tag, attributes = {}, ...children) => dress(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) => dress(document.createElementNS($("chart").namespaceURI, tag), attributes, children);

// What is there already is left alone: to write it again would drop a selection, and have it read out again.
function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function paint(node, name) {
  if (node.className !== name) node.className = name;
}

// What it is about stands in its row: whoever hears it alone is told.
function button(label, about, act) {
  const node = el("button", { type: "button", "aria-label": `${label} ${about}` }, label);
  node.addEventListener("click", act);
  return node;
}

function bytes(n) {
  const [unit, size] = [["TB", 1e12], ["GB", 1e9], ["MB", 1e6], ["kB", 1e3]].find(([, size]) => n >= size) || ["B", 1];
  return `${(n / size).toLocaleString("en", { maximumSignificantDigits: 3 })} ${unit}`;
}
const pace = (n) => (n === null ? "–" : bytes(Math.round(n)) + "/s");

function span(secs) {
  const [d, h, m] = [Math.floor(secs / 86400), Math.floor(secs / 3600) % 24, Math.floor(secs / 60) % 60];
  return d ? `${d} d ${h} h` : h ? `${h} h ${m} min` : m ? `${m} min` : `${Math.floor(secs)} s`;
}

const two = (n) => String(n).padStart(2, "0");
function clock(secs, whole) {
  const date = new Date(secs * 1000);
  const time = `${two(date.getHours())}:${two(date.getMinutes())}` + (whole ? `:${two(date.getSeconds())}` : "");
  const today = !whole || date.toDateString() === new Date().toDateString();
  return today ? time : `${two(date.getMonth() + 1)}-${two(date.getDate())} ${time}`;
}

function say(text) {
  put($("said"), text);
  clearTimeout(say.timer);
  say.timer = setTimeout(() => put($("said"), ""), 5000);
}

// The children of `parent` come to be one for each item. Those that stay keep their place; where one goes that has the
// focus, its neighbour gets it.
function patch(parent, items, build, update) {
  const wanted = new Set(items.map((item) => item.key));
  const kept = new Map();
  let heir = null;
  for (const row of [...parent.children].filter((row) => row.key !== undefined)) {
    kept.set(row.key, row);
    if (wanted.has(row.key)) continue;
    if (row.contains(document.activeElement)) heir = row.nextElementSibling || parent;
    row.remove();
  }
  let here = [...parent.children].find((row) => row.key !== undefined) || null;
  for (const item of items) {
    const row = kept.get(item.key) || build(item);
    if (row === here) here = here.nextElementSibling;
    else parent.insertBefore(row, here);
    row.key = item.key;
    row.item = item;
    update(row, item);
  }
  if (!heir) return;
  const next = (heir.isConnected ? heir : parent).querySelector("button");
  (next || parent.closest("section").querySelector("h2")).focus();
}

// ── The server ──

const refusal = (status, what) => Object.assign(new Error(status === 401 ? NO_TOKEN : what), { status });

async function ask(method, path, body) {
  if (!/^[\x21-\x7e]+$/.test(token || "")) throw refusal(401);
  const answer = await fetch("/api/v1/" + path, {
    method,
    body: body && JSON.stringify(body),
    headers: { Authorization: "Bearer " + token },
    cache: "no-store", credentials: "omit", redirect: "error",
    signal: AbortSignal.timeout(PATIENCE),
  });
  const value = await answer.json();
  if (!answer.ok) throw refusal(answer.status, value.error);
  return value;
}

// One look at everything, one question after the other: a busy server is asked less often.
async function look() {
  if (looking) again = true;
  if (looking || !token || document.hidden) return;
  clearTimeout(timer);
  looking = true;
  const [asked, began] = [token, performance.now()];
  try {
    const now = { status: await ask("GET", "status") };
    if (seen && now.status.uptime < seen.status.uptime) forgetEvents();
    for (const what of ["counters", "licenses", "sessions", "mappings", "visitors"]) now[what] = await ask("GET", what);
    const events = await ask("GET", "events?after=" + lastEvent);
    if (!past || performance.now() - past.at > 20_000) past = { at: performance.now(), ...(await ask("GET", "history")) };
    if (token === asked) {
      gone = null;
      show(now, events.events);
    }
  } catch (error) {
    if (token !== asked) return;
    if (error.status === 401) return leave(error.message);
    gone ||= Date.now() / 1000;
    before = null;
  } finally {
    looking = false;
    if (again) setTimeout(look);
    else timer = setTimeout(look, Math.max(EVERY, 10 * (performance.now() - began)));
    again = false;
  }
  $("gone").hidden = !gone;
  if (gone) put($("gone"), `The server has not answered since ${clock(gone, true)}. This page goes on asking.`);
}

// Between two looks; a function of what is asked of the counters.
function rates(now, then) {
  const secs = then && (now.at - then.at) / 1000;
  return (of) => {
    // After a pause it would be a mean of long ago.
    if (!then || secs > 15) return { down: null, up: null };
    const [a, b] = [of(now.licenses), of(then.licenses)];
    const way = (way) => Math.max(0, ((a?.[way] || 0) - (b?.[way] || 0)) / secs);
    return { down: way("down"), up: way("up") };
  };
}

function sum(licenses) {
  const way = (way) => Object.values(licenses).reduce((sum, one) => sum + one[way], 0);
  return { down: way("down"), up: way("up") };
}

// ── What is shown ──

function show(now, events) {
  const counters = { at: performance.now(), ...now.counters };
  const rate = rates(counters, before);
  const all = rate(sum);
  [before, seen] = [counters, now];
  if (all.down !== null) live = [...live, { t: Date.now() / 1000, ...all }].slice(-LIVE);
  const { status } = now;
  const [version, up, state] = $("facts").children;
  put(version, `${status.version}, `);
  put(up, `up ${span(status.uptime)}, `);
  put(state, status.stopping ? "stopping" : status.ready ? "ready" : "not ready: clients cannot come in");
  paint(state, status.ready ? "good" : "bad");
  const online = now.licenses.licenses.filter((license) => license.online).length;
  figure("down", pace(all.down));
  figure("up", pace(all.up));
  figure("visits", `${status.visitors} of ${status.visitors_max}`);
  figure("online", `${online} of ${status.licenses}`);
  showClients(now, rate);
  showVisitors(now.visitors.visitors);
  showEvents(events);
  draw();
}

function figure(name, text) {
  put($("figures").querySelector(`[data-figure=${name}]`), text);
}

// The clients of a license as one: what they have together, and how many are there where there may be several.
function together(license, sessions) {
  const clients = sessions.filter((session) => session.state !== "guest");
  if (!clients.length) return null;
  const first = clients.find((session) => session.state === "online") || clients[0];
  const several = license.clients > 1 ? ` ${license.clients_online} of ${license.clients}` : "";
  return {
    state: first.state, said: first.state + several,
    address: clients.map((session) => session.address).join(", "),
    visitors: clients.reduce((sum, session) => sum + session.visitors, 0),
  };
}

function stateOf(license, session) {
  const { quota, trouble } = license;
  const spent = quota?.used >= quota?.bytes ? ", over quota" : "";
  if (trouble) return [/expired|revoked/.exec(trouble)?.[0] || "refused", "bad"];
  if (!session) return ["offline" + spent, spent ? "warn" : "off"];
  return [session.said + spent, session.state === "online" && !spent ? "good" : "warn"];
}

const MAPPING = { live: "good", sick: "bad", binding: "warn", offered: "warn", down: "bad", declined: "bad" };

function rowsOf(license, session, mappings, rate) {
  const { name } = license;
  const rows = [{
    key: "license", name: name + (license.rotated ? " (rotated)" : ""), state: stateOf(license, session), license,
    ...rate((counters) => counters[name]),
    place: session?.address || "", visitors: session ? String(session.visitors) : "",
    ever: [license.down, license.up], quota: license.quota,
  }];
  if (license.trouble) rows.push({ key: "why", why: license.trouble });
  const there = new Set();
  for (const one of mappings) {
    const what = `${one.declared_by} ${one.index} ${one.mapping}`;
    const key = rows.some((row) => row.key === what) ? `${what} ${rows.length}` : what;
    const byServer = one.declared_by === "server";
    if (byServer) there.add(one.mapping);
    const some = one.places > 1 ? ` ${one.places_live} of ${one.places}` : "";
    const stands = byServer && license.map.includes(one.mapping);
    rows.push({
      key, name: one.public, state: [one.state + some, MAPPING[one.state]], place: one.target, ever: [one.down, one.up],
      ...rate((counters) => counters[name]?.mappings[one.mapping]), license, mapping: stands && one.mapping,
      said: byServer && !stands ? "on demand" : "by the " + one.declared_by,
    });
    if (one.reason) rows.push({ key: key + " why", why: one.reason });
  }
  for (const mapping of license.map.filter((mapping) => !there.has(mapping))) {
    rows.push({ key: "license " + mapping, name: mapping, state: ["offline", "off"], place: "", license, mapping, said: "by the server" });
  }
  return rows;
}

function showClients(now, rate) {
  const add = (map, one) => map.set(one.license, [...(map.get(one.license) || []), one]);
  const byLicense = (all) => all.reduce(add, new Map());
  const [sessions, mappings] = [byLicense(now.sessions.sessions), byLicense(now.mappings.mappings)];
  const items = now.licenses.licenses.map((license) => ({ key: license.name, license }));
  patch($("clients"), items, () => el("tbody"), (body, { license }) => {
    const session = together(license, sessions.get(license.name) || []);
    const rows = rowsOf(license, session, mappings.get(license.name) || [], rate);
    patch(body, rows, buildRow, updateRow);
  });
  none("clients", items);
}

function none(table, { length }) {
  $(table).hidden = !length;
  $(table).nextElementSibling.hidden = length;
}

function buildRow(item) {
  if (item.why) return el("tr", { class: "why" }, el("td", { colspan: "9" }));
  const row = el("tr", { class: item.quota !== undefined ? "license" : "mapping" });
  const labels = ["", "", "", "visitors", "down", "up", "ever", "", ""];
  row.append(...labels.map((label) => el("td", label && { "data-label": label })));
  row.children[3].className = "n";
  row.children[0].className = "first";
  row.children[1].append(el("span"));
  row.children[8].className = "does";
  const { name } = item.license;
  if (item.quota !== undefined) row.children[8].append(button("Manage", name, () => raiseLicense(row.item.license)));
  else if (item.mapping) row.children[8].append(button("Remove", `${item.mapping} of ${name}`, () => removeMapping(row.item)));
  return row;
}

function updateRow(row, item) {
  const cells = row.children;
  if (item.why) {
    put(cells[0], item.why);
    return paint(row, "why");
  }
  put(cells[0], item.name);
  put(cells[1].firstChild, item.state[0]);
  paint(cells[1].firstChild, "state " + item.state[1]);
  put(cells[2], item.place);
  put(cells[3], item.visitors || "");
  ["down", "up"].forEach((way, at) => {
    put(cells[4 + at], item[way] === undefined ? "" : pace(item[way]));
    paint(cells[4 + at], item[way] ? "n" : "n off");
  });
  put(cells[6], item.ever ? item.ever.map(bytes).join(" / ") : "");
  paint(cells[6], item.ever?.some(Boolean) ? "n" : "n off");
  if (item.quota) showQuota(cells[7], item.quota);
  else put(cells[7], item.said || "");
  paint(cells[7], item.said ? "said" : "");
}

function showQuota(cell, { bytes: most, used, beyond }) {
  if (!cell.firstElementChild) cell.replaceChildren(el("span"), el("progress", { "aria-label": "of the quota is used" }));
  const [text, bar] = cell.children;
  put(text, `${bytes(used)} of ${bytes(most)}` + (beyond === "stop" ? "" : `, then ${beyond}`));
  [bar.max, bar.value] = [most, Math.min(used, most)];
  paint(bar, used >= most ? "bad" : "");
}

function showVisitors(visitors) {
  const build = ({ id, address }) => {
    const cut = button("Cut", address, () => act(() => ask("DELETE", "visitors/" + id)));
    return el("tr", {}, el("td", { class: "first" }), el("td"), el("td"), el("td"), el("td", { class: "does" }, cut));
  };
  const items = visitors.slice(0, SHOWN).map((visitor) => ({ key: visitor.id, ...visitor }));
  patch($("visitors").tBodies[0], items, build, (row, one) => {
    const texts = [one.address, one.license, one.mapping || "", one.carries + (one.waits ? ", waits for its client" : "")];
    texts.forEach((text, at) => put(row.children[at], text));
  });
  none("visitors", items);
  $("more").hidden = visitors.length <= SHOWN;
  put($("more"), `and ${visitors.length - SHOWN} more`);
}

function showEvents(events) {
  const list = $("events");
  events.forEach((event, at) => {
    lastEvent = Math.max(lastEvent, event.number);
    // What happens again has another number, and is the last one still.
    let row = list.firstElementChild;
    if (!row || at > 0 || event.times === 1 || row.event !== event.text) {
      row = el("li", {}, el("time"), el("span"), el("span", { class: "text" }));
      list.prepend(row);
    }
    row.event = event.text;
    const [time, level, text] = row.children;
    put(time, clock(event.time, true));
    put(level, event.level);
    paint(level, { error: "bad", warn: "warn" }[event.level] || "off");
    put(text, event.text + (event.times > 1 ? ` (${event.times} times)` : ""));
  });
  while (list.children.length > SHOWN) list.lastElementChild.remove();
}

function forgetEvents() {
  lastEvent = 0;
  past = null;
  $("events").replaceChildren();
}

// ── The chart ──

// Points of the range that is chosen: a time and two rates each, and so many at most that each has its pixels.
function points() {
  if (range === RANGES[0]) return { to: Date.now() / 1000, list: live };
  if (!past) return { to: Date.now() / 1000, list: [] };
  const { time, step, down, up } = past;
  const [count, group] = [Math.min(down.length, range[1] / step), Math.max(1, range[1] / step / 240)];
  const list = [];
  for (let at = down.length - count; at < down.length; at += group) {
    const mean = (way) => way.slice(at, at + group).reduce((sum, n) => sum + n, 0) / step / Math.min(group, down.length - at);
    list.push({ t: time - (down.length - at - group / 2) * step, down: mean(down), up: mean(up) });
  }
  return { to: time, list };
}

function draw() {
  const chart = $("chart"), { to, list } = points();
  const [width, height] = [chart.clientWidth || 600, chart.clientHeight || 190];
  const [left, right, top, bottom] = [68, width - 6, 8, height - 20];
  const most = Math.max(1000, ...list.map((point) => Math.max(point.down, point.up)));
  // Lines at round numbers, of which three or so fit.
  const ten = 10 ** Math.floor(Math.log10(most / 3));
  const line = [1, 2, 5, 10].map((n) => n * ten).find((size) => most / size <= 4);
  const scale = Math.ceil(most / line) * line;
  const x = (t) => (right - ((to - t) / range[1]) * (right - left)).toFixed(1);
  const y = (rate) => (bottom - (rate / scale) * (bottom - top)).toFixed(1);
  const parts = [];
  for (let at = 0; at <= scale + line / 2; at += line) {
    parts.push(svg("path", { class: "grid", d: `M${left} ${y(at)}H${right}` }));
    parts.push(svg("text", { x: left - 8, y: +y(at) + 4, "text-anchor": "end" }, pace(at)));
  }
  for (let n = 0; n <= 4; n += width < 420 ? 2 : 1) {
    const at = to - range[1] + (range[1] / 4) * n;
    const anchor = n === 0 ? "start" : n === 4 ? "end" : "middle";
    parts.push(svg("text", { x: x(at), y: height - 4, "text-anchor": anchor }, clock(at)));
  }
  const visible = list.filter((point) => point.t >= to - range[1]);
  if (visible.length) {
    const path = (way) => "M" + visible.map((point) => `${x(point.t)} ${y(point[way])}`).join("L");
    const [first, last] = [x(visible[0].t), x(visible.at(-1).t)];
    parts.push(svg("path", { class: "under", d: `${path("down")}L${last} ${bottom}L${first} ${bottom}Z` }));
    parts.push(svg("path", { class: "down", d: path("down") }), svg("path", { class: "up", d: path("up") }));
  }
  chart.setAttribute("viewBox", `0 0 ${width} ${height}`);
  chart.replaceChildren(...parts);
  const words = (way, where) => {
    const all = visible.map((point) => point[way]);
    const mean = all.reduce((sum, n) => sum + n, 0) / all.length;
    return all.length ? `${where} ${pace(Math.max(...all))} at most, ${pace(mean)} on average` : "";
  };
  const [name, down, up] = $("legend").children;
  put(name, `Of the last ${range[0]}: ` + (visible.length ? "" : "nothing yet; a minute is drawn when it is over."));
  put(down, words("down", "down to clients"));
  put(up, words("up", "; up from clients"));
}

// ── What is done ──

// Does something, says what the server says of it, and looks. What it has against it is said by `refuse`.
async function act(work, refuse = say) {
  try {
    const answer = await work();
    document.querySelector("dialog[open]")?.close();
    if (answer.text) showLine(answer);
    else say(answer.message);
    look();
  } catch (error) {
    if (error.status === 401) leave(error.message);
    else refuse(error.status ? error.message : AWAY);
  }
}

function raise(dialog) {
  const form = dialog.querySelector("form");
  form.reset();
  wrong(form, "");
  dialog.showModal();
}

// What the server has against it stands beside the form, in its own words; the field that it names is marked, or the only one.
function wrong(form, text) {
  put(form.querySelector(".error"), text);
  const named = /^`(\w+)`/.exec(text)?.[1] || (/^(the name|there is a license) /.test(text) ? "name" : "");
  const fields = [...form.elements].filter((field) => field.name);
  for (const field of fields) {
    field.removeAttribute("aria-invalid");
    if (text && (field.name === named || fields.length === 1)) {
      field.setAttribute("aria-invalid", "true");
      field.focus();
    }
  }
}

function onSubmit(dialog, work) {
  const form = dialog.querySelector("form");
  let busy = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (busy) return;
    busy = true;
    await act(() => work(form), (what) => wrong(form, what));
    busy = false;
  });
}

const path = (...parts) => ["licenses", ...parts].map(encodeURIComponent).join("/");

// As `nt license add` and the first start say it: with the name that the server was told, or the address it listens at.
function showLine({ text, message, license }) {
  const { doors, public_host: told } = seen.status;
  const door = ["tls", "https", "plain"].map((kind) => doors.find((door) => door.kind === kind)).find(Boolean);
  const [, ip, port] = /^(.*):(\d+)$/.exec(door ? door.address : "[::]:9002");
  const known = told ? (told.includes(":") ? `[${told}]` : told) : /^(\[::\]|0\.0\.0\.0)$/.test(ip) ? "" : ip;
  const [plain, some] = [door?.kind === "plain" ? " --plain" : "", license.map.length ? "" : " 8080"];
  $("line").value = `nt -c ${text}@${known || "HOST"}${port === "9002" ? "" : ":" + port}${plain}${some}`;
  put($("about"), message);
  put($("hint"), (known ? "" : "Put this server's public name or address for HOST. ")
    + (some ? "8080 stands for what that machine is to publish, such as 2222:22." : ""));
  put($("copy"), "Copy");
  $("paste").showModal();
}

async function copy() {
  $("line").select();
  try {
    await navigator.clipboard.writeText($("line").value);
    put($("copy"), "Copied");
  } catch {
    // Where a browser does not let it, the line is selected, and the keys do it.
    put($("copy"), "Selected: press Ctrl+C");
  }
}

// One form for two: a license that is new, and one that is there, with what it may as it stands.
function raiseLicense(license) {
  managed = license?.name || "";
  put($("t-license"), managed || "New license");
  put($("public"), license?.id || "");
  put($("save"), license ? "Save" : "Make it");
  $("fresh").hidden = Boolean(license);
  $("deeds").hidden = !license;
  const { text: quota, day: quota_day, beyond: over_quota } = license?.quota || {};
  // No list of networks permits anybody, an empty one nobody.
  const visitors = license?.visitors && (String(license.visitors) || "none");
  const now = { ...license, visitors, quota, quota_day, over_quota };
  for (const [name] of SETTINGS) $("f-" + name).defaultValue = now[name] ?? "";
  raise($("license"));
}

// What is other than it was when the form was raised. A setting that is blank now is to be what it usually is.
function changed(form) {
  const wish = {};
  for (const { name, value, defaultValue, placeholder } of form.elements) {
    if (name && value.trim() !== defaultValue) wish[name] = value.trim() || placeholder;
  }
  // What is said of a quota goes with it.
  if (wish.quota === "none") delete wish.quota_day, delete wish.over_quota;
  return wish;
}

function saveLicense(form) {
  const wish = changed(form);
  if (!managed) return ask("POST", "licenses", { name: "", ...wish, map: wish.map?.split(/\s*\n\s*/) });
  if (!Object.keys(wish).length) return { message: "Nothing was changed." };
  return ask("PATCH", path(managed), wish);
}

// Asks whether it is to be done, and with `more`, the id of a label, that too.
function sure(title, what, yes, work, more) {
  agreed = work;
  put($("t-ask"), title);
  put($("what"), what);
  put($("yes"), yes);
  for (const id of ["one", "leaked"]) $(id).hidden = id !== more;
  raise($("ask"));
}

function removeMapping({ license, mapping }) {
  sure(`Remove ${mapping} of ${license.name}?`, "Its public place is closed, and its visitors are cut.", "Remove",
    () => ask("DELETE", path(license.name, "mappings", mapping)));
}

const DEEDS = {
  add: (name) => sure(`Add a mapping to ${name}`, "The client takes it where its --allow covers the target.", "Add it",
    ({ mapping }) => ask("POST", path(name, "mappings"), { mapping: mapping.value.trim() }), "one"),
  rotate: (name) => sure(`Rotate ${name}?`, "Its new text is shown once. The old one is good until the new one is used.",
    "Rotate", ({ now }) => ask("POST", path(name, "rotate"), { now: now.checked }), "leaked"),
  revoke: (name) => sure(`Revoke ${name}?`, "Its client is refused, and its visitors are cut, at once. It is good again when it is rotated.",
    "Revoke", () => ask("POST", path(name, "revoke"))),
  remove: (name) => sure(`Remove ${name}?`, "The license is forgotten, with what it may and what has passed. Its client is refused.",
    "Remove", () => ask("DELETE", path(name))),
};

// ── In and out ──

function leave(why = "") {
  token = seen = before = null;
  live = [];
  sessionStorage.removeItem("nt-token");
  clearTimeout(timer);
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  for (const body of document.querySelectorAll("tbody")) body.closest("#clients") ? body.remove() : body.replaceChildren();
  forgetEvents();
  $("gone").hidden = true;
  board(false);
  put($("refused"), why);
  $("token").value = "";
  $("token").focus();
}

function on(selector, act) {
  for (const node of document.querySelectorAll(selector)) node.addEventListener("click", () => act(node));
}

function board(there) {
  $("board").hidden = $("leave").hidden = $("facts").hidden = !there;
  $("door").hidden = there;
}

async function enter(event) {
  event.preventDefault();
  token = $("token").value.trim();
  put($("refused"), "");
  try {
    await ask("GET", "status");
    sessionStorage.setItem("nt-token", token);
    $("token").value = "";
    board(true);
    $("h-clients").focus({ preventScroll: true });
    look();
  } catch (error) {
    token = null;
    put($("refused"), error.status ? error.message : "The server does not answer.");
    $("token").select();
  }
}

function begin() {
  for (const [name, label] of [["down", "Down now"], ["up", "Up now"], ["visits", "Visitors"], ["online", "Clients online"]]) {
    $("figures").append(el("div", {}, el("dt", {}, label), el("dd", { "data-figure": name, class: name }, "–")));
  }
  $("ranges").append(...RANGES.map((one) => {
    const node = button(one[0], "", () => {
      range = one;
      for (const other of $("ranges").children) other.setAttribute("aria-pressed", other === node);
      draw();
    });
    node.setAttribute("aria-pressed", one === range);
    return node;
  }));
  $("settings").append(...SETTINGS.map(([name, label, usual, example]) => {
    const id = "f-" + name;
    const words = el("label", { for: id }, label + " ", el("small", {}, "e.g. " + example));
    return el("div", {}, words, el("input", { id, name, placeholder: usual }));
  }));
  $("enter").addEventListener("submit", enter);
  on("#leave", () => leave());
  on("#new", () => raiseLicense(null));
  on("#copy", copy);
  on("[data-close]", (node) => node.closest("dialog").close());
  on("[data-do]", (node) => {
    $("license").close();
    DEEDS[node.dataset.do](managed);
  });
  $("paste").addEventListener("close", () => { $("line").value = ""; });
  onSubmit($("license"), saveLicense);
  onSubmit($("ask"), (form) => agreed(form.elements));
  document.addEventListener("visibilitychange", look);
  new ResizeObserver(() => seen && draw()).observe($("chart"));
  board(Boolean(token));
  if (token) look();
  else $("token").focus();
}

begin();
