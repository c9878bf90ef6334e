/*
 * <sync-button> sends what a press means, once, and says what came of it as the server says it; <sync-queue> shows what waits.
 *
 * What may wait is kept in IndexedDB, with its key, before it is first sent; it stays there until the server has said yes or
 * no. It is kept sealed under a key that the server gives to pages of its owner alone. docs/elements.md tells the attributes.
 */
const DATABASE = "keepwell-sync", ENTRIES = "entries", CHANNEL = "keepwell-sync", OPERATIONS = "/api/v1/operations/";
const SECOND = 1000, HOUR = 3600 * SECOND, DAY = 24 * HOUR;
// The server keeps keys for ten days: whatever is older than eight is not sent, for it might be done twice.
const SENT_FOR = 8 * DAY, KEPT_FOR = 30 * DAY, MOST_ENTRIES = 100;
// No spinner lives longer than this, whatever happens behind it.
const MOST_SECONDS = 10, USUAL_SECONDS = 8, ASK_SECONDS = 4;
const STUCK_TRIES = 5, STUCK_FOR = HOUR, MOST_PAUSE = 300 * SECOND;

const header = document.querySelector("sync-queue[person]");
const person = header?.getAttribute("person") ?? "";
const queuePage = header?.getAttribute("href") ?? "";
const channel = "BroadcastChannel" in globalThis ? new BroadcastChannel(CHANNEL) : null;
const buttons = new Set();
let sealKey = null, opening = null, trouble = "", isShut = false, timer = 0;

const TROUBLES = {
  insecure: "This page did not come over a secure connection (https), so nothing can be kept here safely. What you press is sent at once, or not at all.",
  storage: "This browser lets us keep nothing: perhaps the window is private, or storing data is switched off. What you press is sent at once, or not at all.",
  full: "This browser has no room left, so nothing more can wait here. Delete what you do not need, or wait until what is here is sent.",
  many: `${MOST_ENTRIES} changes wait here already, and no more are taken. Send or delete some first.`,
};
const SAYS = {
  loading: "Saving…", saved: "Saved.", following: "Saved. Some places follow.", refused: "This was not accepted. Nothing was changed.",
  queued: "Not sent yet. It is kept in this browser and sent by itself as soon as that is possible.",
  unknown: "No answer came, so we cannot tell yet whether it is done. We keep asking; pressed again, it is still done only once.",
  strict: "There is no connection. This must be exact, so it is never kept for later: nothing was changed. Press again when you are connected.",
  offline: "There is no connection. Try again when there is one.",
  again: "No answer came. It is kept in this browser and sent again by itself; it is done only once.",
  undone: "Nothing was changed: it did not reach us. Press again.",
  clash: "Not saved yet: somebody changed this since you opened the page. Save again to have it as you typed it.",
  later: "This cannot be done right now. Press again in a moment; it is done only once.",
  gone: "You are signed out. Sign in again, then look whether it was done.",
  nothing: "Nothing was changed, so there was nothing to save.",
  out: "You are signed out. It is kept in this browser, sealed, and sent when you sign in here again.",
  other: "Somebody else is signed in now. Nothing was sent.",
};

// Said of single places, by their own names: the sentence above them says it for people.
const OF_PLACES = /^\w+: (?:not up to date|waits until|cannot be brought)/;

/* ---- Who hears it ---- */

function region(role) {
  const one = document.createElement("div");
  one.className = "heard";
  one.setAttribute("role", role);
  document.body.append(one);
  return one;
}
const heard = { status: region("status"), alert: region("alert") };
function announce(text, role = "status") {
  heard[role].textContent = "";
  // A text that is the same as before is heard again only if it was gone in between.
  setTimeout(() => { heard[role].textContent = text; }, 50);
}
function element(name, words = {}, ...inside) {
  const one = document.createElement(name);
  for (const [key, value] of Object.entries(words)) key in one ? (one[key] = value) : one.setAttribute(key, value);
  one.append(...inside);
  return one;
}

/* Ask before what cannot be taken back; gives whether they mean it. */
function sure({ title, text, yes, no = "Leave it" }) {
  const dialog = element("dialog", { className: "sync-sure" });
  const agree = element("button", { type: "button", className: "risky", textContent: yes });
  const leave = element("button", { type: "button", textContent: no });
  dialog.append(element("h2", { textContent: title, id: "sync-sure" }), ...(text ? [element("p", { textContent: text })] : []));
  dialog.append(element("div", { className: "buttons" }, agree, leave));
  dialog.setAttribute("aria-labelledby", "sync-sure");
  const before = document.activeElement;
  document.body.append(dialog);
  return new Promise((resolve) => {
    agree.addEventListener("click", () => dialog.close("yes"));
    leave.addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => {
      dialog.remove();
      before?.focus();
      resolve(dialog.returnValue === "yes");
    });
    dialog.showModal();
    leave.focus();
  });
}

/* ---- What is kept ---- */

const isOurs = (entry) => entry.person === person;
const isOld = (entry) => Date.now() - entry.at > SENT_FOR;
const isWaiting = (entry) => entry.state === "waiting" && !isOld(entry);
const isStuck = (entry) => isWaiting(entry) && entry.tries > 0 && (entry.tries >= STUCK_TRIES || Date.now() - entry.at > STUCK_FOR);

async function unlocked() {
  if (sealKey || !header || isShut) return sealKey;
  const text = header.getAttribute("seal") ?? "";
  header.removeAttribute("seal");
  if (!globalThis.crypto?.subtle || !navigator.locks) { trouble = "insecure"; return null; }
  const bytes = Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
  sealKey = await crypto.subtle.importKey("raw", bytes, "AES-GCM", false, ["encrypt", "decrypt"]);
  return sealKey;
}
async function database() {
  if (!(await ready) || !globalThis.idb) { trouble ||= "storage"; return null; }
  try {
    opening ??= idb.openDB(DATABASE, 1, {
      upgrade(made) { made.createObjectStore(ENTRIES, { keyPath: "number", autoIncrement: true }).createIndex("person", "person"); },
      blocking() { opening?.then((one) => one.close()); opening = null; },
      terminated() { opening = null; },
    });
    return await opening;
  } catch {
    opening = null;
    trouble = "storage";
    return null;
  }
}
const owner = () => ({ additionalData: new TextEncoder().encode(`person ${person}`) });
async function sealed(bytes) {
  const iv = crypto.getRandomValues(new Uint8Array(12));
  return { iv, bytes: await crypto.subtle.encrypt({ name: "AES-GCM", iv, ...owner() }, sealKey, bytes) };
}
const unsealed = ({ iv, bytes }) => crypto.subtle.decrypt({ name: "AES-GCM", iv, ...owner() }, sealKey, bytes);
const boxed = (content) => sealed(new TextEncoder().encode(JSON.stringify(content)));

/* Gives what an entry holds, its file only where it is asked for; null where it cannot be read any more. */
async function opened(entry, { isWhole = false } = {}) {
  try {
    const content = JSON.parse(new TextDecoder().decode(await unsealed(entry.box)));
    if (entry.file && isWhole) content.upload = new Blob([await unsealed(entry.file)], { type: content.file.type });
    return content;
  } catch {
    return null;
  }
}
async function mine() {
  const db = await database();
  return db ? (await db.getAllFromIndex(ENTRIES, "person", person)).sort((a, b) => a.number - b.number) : [];
}
/* Keep what was pressed; gives the entry, or null where it cannot be kept. */
async function kept(content, upload) {
  const db = await database();
  if (!db) return null;
  try {
    if ((await db.countFromIndex(ENTRIES, "person", person)) >= MOST_ENTRIES) { trouble = "many"; return null; }
    const entry = { key: crypto.randomUUID(), person, at: Date.now(), tries: 0, triedAt: 0, nextAt: 0, state: "waiting", box: await boxed(content) };
    if (upload) entry.file = await sealed(await upload.arrayBuffer());
    // On the disk before it is sent: the browser may be killed the moment after.
    const writing = db.transaction(ENTRIES, "readwrite", { durability: "strict" });
    entry.number = await writing.store.add(entry);
    await writing.done;
    navigator.storage?.persist?.().catch(() => {});
    return entry;
  } catch (error) {
    trouble = error?.name === "QuotaExceededError" ? "full" : "storage";
    return null;
  }
}
async function changed(entry) {
  const db = await database();
  if (!db) return;
  const writing = db.transaction(ENTRIES, "readwrite");
  // Whatever was deleted meanwhile stays deleted.
  if (await writing.store.get(entry.number)) await writing.store.put(entry);
  await writing.done;
}
async function dropped(number) {
  await (await database())?.delete(ENTRIES, number);
}
/* Whoever never comes back leaves nothing for ever. */
async function prune() {
  const db = await database();
  for (const entry of db ? await db.getAll(ENTRIES) : []) if (Date.now() - entry.at > KEPT_FOR) await dropped(entry.number);
}

/* ---- What is sent ---- */

const token = () => document.cookie.match(/(?:^|; )csrftoken=([^;]+)/)?.[1] ?? document.querySelector("[name=csrfmiddlewaretoken]")?.value ?? "";

function bodyOf(content) {
  if (content.upload) {
    const form = new FormData();
    form.append(content.file.field, content.upload, content.file.name);
    return { body: form };
  }
  return content.body === undefined ? {} : { body: JSON.stringify(content.body), type: "application/json" };
}
/* Send one request; gives status, headers and JSON. Rejects where no answer came: whether it was done is not known then. */
function request(content, { key = "", isQueued = false, onProgress = null } = {}) {
  const { body, type } = bodyOf(content), most = Math.min(content.timeout ?? USUAL_SECONDS, MOST_SECONDS) * SECOND;
  return new Promise((resolve, reject) => {
    const asked = new XMLHttpRequest();
    asked.open(content.method, content.endpoint);
    asked.setRequestHeader("Accept", "application/json");
    asked.setRequestHeader("X-CSRFToken", token());
    // Another tab may have signed somebody else in: then the server refuses.
    asked.setRequestHeader("X-Person", person);
    if (key) asked.setRequestHeader("Idempotency-Key", key);
    if (isQueued) asked.setRequestHeader("X-Queued", "1");
    if (content.seen) asked.setRequestHeader("If-Match", content.seen);
    if (type) asked.setRequestHeader("Content-Type", type);
    // It is silence that ends the waiting: a large file may take its time as long as it moves.
    let silence = setTimeout(() => asked.abort(), most);
    const moved = () => { clearTimeout(silence); silence = setTimeout(() => asked.abort(), most); };
    asked.upload.addEventListener("progress", (event) => {
      moved();
      if (event.lengthComputable) onProgress?.(event.loaded / event.total);
    });
    asked.addEventListener("loadend", () => {
      clearTimeout(silence);
      if (!asked.status) return reject(new TypeError("No answer came."));
      let told = null;
      try { told = JSON.parse(asked.responseText); } catch { /* Not one of our answers: the status says enough. */ }
      return resolve({ status: asked.status, told, tag: asked.getResponseHeader("ETag"), wait: Number(asked.getResponseHeader("Retry-After")) || 0 });
    });
    asked.send(body);
  });
}
const saved = (answer) => ({ kind: answer?.told?.degraded ? "following" : "saved", told: answer?.told ?? null, tag: answer?.tag ?? null });

/* Give what an answer means. `later`: nothing is known to be wrong with it; `unclear`: it may have been done. */
function meant(answer) {
  const { status, told, wait } = answer, code = told?.code ?? "";
  if (status < 300) return saved(answer);
  if (code === "other_person") return { kind: "other" };
  if (status === 401 || code === "second_factor_required") return { kind: "out" };
  if (code === "csrf_failed") return { kind: "later", wait: 1, isFresh: true };
  if (code === "in_flight" || status === 429) return { kind: "later", wait };
  if (status >= 500 || status < 400 || !told) return { kind: status === 503 && told ? "later" : "unclear", wait };
  return { kind: "refused", problem: told };
}
async function tried(content, options) {
  try {
    return meant(await request(content, options));
  } catch {
    return { kind: "lost", wait: 0 };
  }
}
/* After doubt: ask what came of the key. 404 says that nothing came of it, and that nothing is under way. */
async function askedAfter(key) {
  const found = await tried({ endpoint: `${OPERATIONS}${key}/`, method: "GET", timeout: ASK_SECONDS }, {});
  if (found.kind === "saved") return "done";
  return found.problem?.status === 404 ? "undone" : found.kind === "out" || found.kind === "other" ? found.kind : "unknown";
}
/* Send, and where no answer came find out what happened: the answer that was lost is given again for the same key. */
async function settled(content, options, onDoubt = () => {}) {
  let found = await tried(content, options);
  if (found.isFresh) found = await tried(content, options);
  if (found.kind !== "lost" && found.kind !== "unclear") return found;
  onDoubt();
  const came = options.key ? await askedAfter(options.key) : "unknown";
  if (came === "out" || came === "other") return { kind: came };
  if (came === "unknown") return { ...found, kind: found.kind === "unclear" ? "unclear" : "lost" };
  const again = came === "done" || content.mayRepeat ? await tried(content, options) : { kind: "undone" };
  if (came === "done" && ["lost", "unclear", "later"].includes(again.kind)) return saved(null);
  return again;
}

/* ---- What waits is sent, in order, by one tab at a time ---- */

const pause = (tries) => Math.random() * Math.min(MOST_PAUSE, SECOND * 2 ** tries) + SECOND;

/* Send what waits. `since`: whatever was tried before then is tried again although it is not its time yet. */
async function flush(since = 0) {
  if (!person || isShut || !(await database())) return;
  if (!navigator.onLine) { await told(); return; }
  await navigator.locks.request(`${DATABASE}-${person}`, async () => {
    // What waits for one address keeps its order: whatever comes after one that must wait, waits too.
    const held = new Set(), seen = new Set();
    for (;;) {
      const entry = (await mine()).find((one) => isWaiting(one) && !seen.has(one.number));
      if (!entry || isShut) break;
      seen.add(entry.number);
      const content = await opened(entry, { isWhole: true });
      if (!content || held.has(content.endpoint)) continue;
      if (entry.nextAt > Date.now() && entry.triedAt >= since) held.add(content.endpoint);
      else if (!(await carried(entry, content, held))) break;
    }
  });
  await told();
  const next = (await mine()).filter(isWaiting).map((entry) => entry.nextAt);
  clearTimeout(timer);
  if (next.length && !isShut) timer = setTimeout(() => flush(), Math.max(SECOND, Math.min(...next) - Date.now()));
}
/* Try one entry; gives whether it makes sense to go on with the next one. */
async function carried(entry, content, held) {
  const button = [...buttons].find((one) => one.waitsFor === entry.key);
  entry.tries += 1;
  entry.triedAt = Date.now();
  entry.nextAt = Date.now() + pause(entry.tries);
  await changed(entry);
  const found = await settled(
    { ...content, mayRepeat: true }, { key: entry.key, isQueued: true, onProgress: (part) => button?.moved(part) },
    () => button?.turned("unknown", button.says("unknown"), { isQuiet: true }),
  );
  if (found.kind === "saved" || found.kind === "following") {
    await followed(entry, content, found);
    await dropped(entry.number);
  } else if (found.kind === "refused") {
    if (button) await dropped(entry.number);
    else await changed({ ...entry, state: "refused", box: await boxed({ ...content, upload: undefined, problem: found.problem }) });
  } else {
    held.add(content.endpoint);
    if (found.wait) await changed({ ...entry, nextAt: Date.now() + found.wait * SECOND });
  }
  if (found.kind === "other") { shut("Somebody else signed in. Nothing was sent."); return false; }
  button?.answered({ ...found, wasTried: true });
  channel?.postMessage({ what: "answered", person, key: entry.key, kind: found.kind, message: found.told?.message ?? "" });
  if (!button && ["saved", "following"].includes(found.kind)) refreshed();
  return !["lost", "out", "other"].includes(found.kind);
}
/*
 * Later edits of the same page saw what stood before this one. Against the new version they are the person's own going on,
 * unless somebody else changed one of their fields: then they keep what they saw, and the server tells both values.
 */
async function followed(entry, content, { told, tag }) {
  if (!tag || !told?.data || !content.seen) return;
  const own = new Set([...(content.own ?? []), ...Object.keys(content.body)]);
  for (const later of await mine()) {
    if (later.number <= entry.number || !isWaiting(later)) continue;
    const next = await opened(later);
    if (next?.endpoint !== content.endpoint || next.seen !== content.seen) continue;
    const isAsSeen = Object.keys(next.body).every((name) => own.has(name) || (told.data[name] ?? null) === (next.base?.[name] ?? null));
    if (isAsSeen) await changed({ ...later, box: await boxed({ ...next, seen: tag, own: [...own] }) });
  }
}
async function told() {
  await Promise.all([...document.querySelectorAll("sync-queue")].map((one) => one.shown?.()));
}

/* ---- The page is the database ---- */

let refreshes = 0, latest = null, isSeen = false;
/* Take over what the server shows now; whatever is being typed stays. */
function refreshed({ isLook = false, isShown = false } = {}) {
  // Both values were shown: whichever look is the last one takes over the version that they were read with.
  isSeen ||= isShown;
  latest = renewal(isLook);
  return latest;
}
/* Gives false where the page could not be read. */
async function renewal(isLook) {
  if (isShut || !document.querySelector("[data-fresh]")) return true;
  const number = ++refreshes;
  let page;
  try {
    const answer = await fetch(location.href, { headers: isLook ? { "X-Look": "1" } : {}, signal: AbortSignal.timeout(MOST_SECONDS * SECOND) });
    if (!answer.ok || answer.redirected) return answer.redirected;
    page = new DOMParser().parseFromString(await answer.text(), "text/html");
  } catch {
    return false;
  }
  // A later look has begun: it knows more than this one.
  if (number !== refreshes) return latest;
  if (page.querySelector("sync-queue[person]")?.getAttribute("person") !== person) return true;
  for (const now of document.querySelectorAll("[data-fresh]")) {
    const fresh = page.getElementById(now.id);
    // A press that is not answered yet keeps its place, and shows the page anew itself.
    if ("held" in now.dataset || (!(now instanceof HTMLFormElement) && now.querySelector("[data-state=loading], [data-state=unknown], .hoped"))) continue;
    if (now instanceof HTMLFormElement) refilled(now, fresh);
    else if (!now.contains(document.activeElement) || !document.activeElement.matches("input, textarea, select")) {
      const hadFocus = now.contains(document.activeElement);
      now.replaceChildren(...(fresh ? fresh.childNodes : []));
      if (hadFocus) (now.matches("[tabindex]") ? now : document.getElementById("main"))?.focus();
    }
  }
  isSeen = false;
  document.dispatchEvent(new CustomEvent("sync:shown"));
  return true;
}
/* Whoever is in a field stays where they are in it: at its end, in its middle, or with all of it selected. */
function put(field, text) {
  const { selectionStart: from, selectionEnd: to, value: before } = field;
  const where = (at) => (at === before.length ? text.length : at);
  field.value = field.defaultValue = text;
  if (field === document.activeElement && typeof from === "number") field.setSelectionRange(where(from), where(to));
}
function refilled(form, fresh) {
  if (!fresh) return;
  let isAsSeen = true;
  for (const one of form.elements) {
    const given = one.name && fresh.elements.namedItem(one.name);
    if (!given || one.type === "hidden" || one.type === "file") continue;
    const base = one.dataset.base ?? one.defaultValue;
    if (one.value === base && one.dataset.base === undefined) put(one, given.defaultValue);
    else if (given.defaultValue !== one.defaultValue && given.defaultValue !== one.value) isAsSeen = false;
  }
  // A version that was not seen covers no change of somebody else's.
  if (!isAsSeen && !isSeen) return;
  for (const one of form.elements) {
    const given = one.type === "hidden" && one.name !== "csrfmiddlewaretoken" && fresh.elements.namedItem(one.name);
    if (given) one.value = given.value;
  }
}

/* What the stream of events tells, and other tabs: it was written, so look. Nothing is taken from the event itself. */
const ABOUT_ME = /^(?:avatar|profile|copies|credits)\.updated$/, HINT_MS = 30, CROWD_MS = 1000, AGAIN_MS = 3000;
let looking = 0, isStale = false;
function look(wait) {
  // What comes while a look is under way may be too late for it: then there is another one.
  isStale ||= document.hidden || looking > 0;
  if (document.hidden || looking) return;
  looking = setTimeout(async () => {
    isStale = false;
    const isRead = await refreshed({ isLook: true });
    looking = 0;
    if (isStale) look(HINT_MS);
    // Without a stream there is a look when it comes back.
    else if (!isRead && document.documentElement.dataset.stream === "live") look(AGAIN_MS);
  }, wait);
}
function hinted({ topic, id }) {
  // Where many are meant, or the stream was away for many, they do not all ask at one moment.
  if (topic === "resync" || (ABOUT_ME.test(topic) && id === null)) look(Math.random() * CROWD_MS);
  else if (topic === "booking.updated" || (ABOUT_ME.test(topic) && id === person)) look(HINT_MS);
}

/* ---- <sync-button> ---- */

class SyncButton extends HTMLElement {
  connectedCallback() {
    this.button = this.querySelector("button");
    if (!this.button || this.isSet) return;
    this.isSet = true;
    buttons.add(this);
    this.line = this.querySelector(".sync-said") ?? this.appendChild(element("p", { className: "sync-said", hidden: true }));
    this.bar = this.hasAttribute("progress") ? this.insertBefore(element("progress", { max: 1, value: 0, hidden: true, "aria-label": "Sent so far" }), this.line) : null;
    this.button.addEventListener("click", (event) => { event.preventDefault(); this.pressed(); });
    for (const one of this.fields) one.addEventListener("input", () => this.unmarked(one));
    if (this.hasAttribute("follows")) document.addEventListener("sync:shown", () => this.arrived());
    this.resumed();
  }
  disconnectedCallback() { buttons.delete(this); }

  get form() { return this.closest("form"); }
  get method() { return this.getAttribute("method") ?? "POST"; }
  get endpoint() { return this.getAttribute("endpoint"); }
  get mayWait() { return !this.hasAttribute("strict") && this.getAttribute("queue") !== "never"; }
  get fields() {
    const names = (this.getAttribute("fields") ?? "").split(/\s+/).filter(Boolean);
    return names.map((name) => this.form?.elements.namedItem(name)).filter(Boolean);
  }
  says(state) { return this.getAttribute(`${state}-message`) ?? SAYS[state]; }
  static base(one) { return one.dataset.base ?? one.defaultValue; }
  /* What was typed, as the API reads it: what is emptied is not known any more. */
  static value(one, text) {
    if (!text.trim() && !one.required) return null;
    return one.type === "number" && Number.isInteger(Number(text)) ? Number(text) : text;
  }

  /* Gives what to send; null: nothing. */
  composed() {
    const content = { endpoint: this.endpoint, method: this.method, what: this.getAttribute("what") ?? this.button.textContent.trim() };
    content.timeout = Number(this.getAttribute("timeout")) || USUAL_SECONDS;
    if (this.hasAttribute("file")) {
      const [file] = this.form.elements.namedItem(this.getAttribute("file")).files;
      if (!file) return null;
      return { ...content, file: { field: this.getAttribute("file"), name: file.name, type: file.type }, upload: file };
    }
    if (!this.hasAttribute("fields")) return { ...content, body: this.hasAttribute("body") ? JSON.parse(this.getAttribute("body")) : undefined };
    const changes = this.fields.filter((one) => one.value !== SyncButton.base(one));
    if (!changes.length) return null;
    const given = (texts) => Object.fromEntries(changes.map((one) => [one.name, SyncButton.value(one, texts(one))]));
    const labels = Object.fromEntries(changes.map((one) => [one.name, one.labels?.[0]?.textContent.trim() ?? one.name]));
    const seen = this.form.elements.namedItem(this.getAttribute("seen"))?.value;
    return { ...content, body: given((one) => one.value), base: given((one) => one.defaultValue), typed: Object.fromEntries(changes.map((one) => [one.name, one.value])), labels, seen };
  }

  async pressed() {
    // One press, one request; what was typed meanwhile is sent when this one is answered.
    if (this.isBusy) { this.isWanted = true; return; }
    if (isShut) return;
    this.isBusy = true;
    try {
      await this.caughtUp();
      await this.begun();
    } finally {
      this.isBusy = false;
    }
    if (this.isWanted && this.hasAttribute("fields") && this.composed() && this.dataset.state !== "refused") {
      this.isWanted = false;
      await this.pressed();
    }
    this.isWanted = false;
  }
  /* Both values were shown: what is pressed now is meant against the version they were read with, though that is still on its way. */
  async caughtUp() {
    if (!isSeen) return;
    this.turned("loading", this.says("loading"));
    await latest;
  }
  async begun() {
    const content = this.composed();
    if (!content) {
      if (this.waitsFor) return this.sent(() => flush(Date.now()));
      return this.hasAttribute("file") ? this.turned("refused", this.getAttribute("empty-message") ?? SAYS.nothing) : this.turned("idle", SAYS.nothing);
    }
    if (this.hasAttribute("confirm") && !(await sure({ title: this.getAttribute("confirm"), text: this.getAttribute("confirm-text"), yes: this.getAttribute("confirm-yes") ?? this.button.textContent.trim() }))) return undefined;
    this.fields.forEach((one) => this.unmarked(one));
    if (!this.mayWait) return this.sent(() => this.exact(content));
    if (this.waitsFor && !this.hasAttribute("fields")) return this.sent(() => flush(Date.now()));
    return this.sent(() => this.queued(content));
  }
  /* Show that it is under way, for as long as a spinner may live. */
  async sent(work) {
    this.hoped();
    this.turned("loading", this.says("loading"));
    const patience = setTimeout(() => {
      if (this.dataset.state === "loading" && !this.isMoving) this.turned(this.mayWait ? "queued" : "unknown", this.says(this.mayWait ? "queued" : "unknown"));
    }, MOST_SECONDS * SECOND - 500);
    const isOver = new Promise((resolve) => { this.over = resolve; });
    await Promise.race([isOver, work().then(() => this.concluded())]);
    clearTimeout(patience);
  }
  /* Where nobody has told us: it still waits behind another one, or another tab has sent it. */
  async concluded() {
    if (this.dataset.state !== "loading" || !this.waitsFor) return;
    const entry = (await mine()).find((one) => one.key === this.waitsFor);
    if (this.dataset.state === "loading") this.answered({ kind: entry ? "lost" : "saved" });
  }
  async queued({ upload, ...content }) {
    const entry = await kept(content, upload);
    if (!entry) return this.exact({ ...content, upload });
    // What was pressed before and still waits is this button's too.
    const before = this.waitsFor ? this.content : null;
    this.waitsFor = entry.key;
    for (const one of this.fields) if (one.name in content.body) one.dataset.base = one.value;
    this.content = content;
    this.content.body = { ...before?.body, ...content.body };
    this.content.typed = { ...before?.typed, ...content.typed };
    await this.superseded(entry);
    channel?.postMessage({ what: "kept", person });
    await told();
    if (!navigator.onLine) this.answered({ kind: "lost" });
    await flush(entry.at);
    return undefined;
  }
  /* What was refused before is replaced by what is sent instead. */
  async superseded(entry) {
    for (const one of await mine()) {
      if (one.state !== "refused" || one.number >= entry.number) continue;
      const content = await opened(one);
      if (content?.endpoint === this.endpoint && content.method === this.method) await dropped(one.number);
    }
  }
  /* Never kept for later: it is done now, or not at all, or asked after until that is known. */
  async exact(content) {
    this.content = content;
    if (!navigator.onLine) return this.answered({ kind: "offline" });
    // The same key until it is known what came of it: pressed again, it is still one.
    this.exactKey ??= globalThis.crypto?.randomUUID?.() ?? [...crypto.getRandomValues(new Uint8Array(16))].map((one) => one.toString(16).padStart(2, "0")).join("");
    const options = { key: this.exactKey, onProgress: (part) => this.moved(part) };
    const found = await settled(content, options, () => this.turned("unknown", this.says("unknown"), { isQuiet: true }));
    if (!["lost", "unclear", "later"].includes(found.kind)) this.exactKey = null;
    if (found.kind === "lost" || found.kind === "unclear") this.asking(SECOND);
    return this.answered(found);
  }
  /* Ask until it is known, less and less often. */
  asking(wait) {
    clearTimeout(this.askTimer);
    this.askTimer = setTimeout(async () => {
      if (!this.exactKey || this.isBusy || isShut) return;
      const came = await askedAfter(this.exactKey);
      if (came === "unknown") return this.asking(Math.min(2 * wait, 30 * SECOND));
      if (came === "done") return this.sent(() => this.exact(this.content));
      this.exactKey = null;
      return this.answered({ kind: came });
    }, wait);
  }

  answered(found) {
    this.over?.();
    this.isMoving = false;
    if (this.bar) this.bar.hidden = true;
    const { kind } = found;
    if (kind === "saved" || kind === "following") return this.well(found);
    if (kind === "refused" || kind === "undone" || kind === "offline") return this.refused(found);
    if (!this.mayWait || !this.waitsFor) return this.turned("unknown", { out: SAYS.gone, other: SAYS.other, later: SAYS.later }[kind] ?? this.says("unknown"));
    return this.turned("queued", kind === "out" ? SAYS.out : found.wasTried ? SAYS.again : this.says("queued"));
  }
  well({ kind, told: answer, tag }) {
    for (const one of this.fields) {
      if (!(one.name in (this.content?.body ?? {}))) continue;
      const sentText = this.content.typed[one.name], stored = answer?.data?.[one.name];
      const now = stored === undefined ? sentText : stored === null ? "" : String(stored);
      // What was typed while it was sent is another change.
      if (one.value === sentText) put(one, now);
      else one.defaultValue = now;
      delete one.dataset.base;
    }
    const seen = this.form?.elements.namedItem(this.getAttribute("seen") ?? "");
    if (seen && tag) seen.value = tag;
    if (this.hasAttribute("file")) this.form.reset();
    this.waitsFor = this.content = null;
    this.given(answer);
    this.turned(kind, this.getAttribute(`${kind}-message`) ?? answer?.message ?? SAYS[kind], { warnings: answer?.warnings });
    this.dispatchEvent(new CustomEvent("sync:saved", { bubbles: true, detail: { kind, answer } }));
    if (this.hasAttribute("refresh")) this.renewed();
  }
  /* Where the page shows that no place is behind any more, none follows any more. */
  arrived() {
    const shown = document.getElementById(this.getAttribute("follows"));
    if (this.dataset.state === "following" && shown && !shown.querySelector("[data-behind]")) this.turned("saved", this.says("saved"), { isQuiet: true });
  }
  /* Give the change back: it stays in the form, and what is wrong with it stands beside it. */
  refused({ kind, problem }) {
    this.waitsFor = null;
    this.takenBack();
    for (const one of this.fields) delete one.dataset.base;
    const faults = (problem?.errors ?? []).filter((one) => one.field);
    const first = faults.map((fault) => this.marked(fault)).find(Boolean);
    this.turned("refused", this.why(kind, problem, first && faults));
    first?.focus();
    if (problem?.status === 412) refreshed({ isShown: true });
    // What is not there any more, or stands otherwise, is shown as it is.
    else if (this.hasAttribute("refresh") && [404, 409].includes(problem?.status)) this.renewed();
  }
  /* Show the page as it is now; where this button is gone with it, its word stays at the head of the page. */
  async renewed() {
    const text = this.line.textContent, look = { saved: "success", following: "warning", refused: "error" }[this.dataset.state];
    await refreshed();
    if (!this.isConnected && text) document.querySelector(".said")?.replaceChildren(element("p", { className: `note ${look}`, textContent: text }));
  }
  why(kind, problem, faults) {
    if (kind === "offline") return SAYS[this.hasAttribute("strict") ? "strict" : "offline"];
    if (kind === "undone") return SAYS.undone;
    if (problem?.status === 412) return SAYS.clash;
    if (faults) return `Not saved. ${faults.length === 1 ? faults[0].detail : "What is wrong stands beside each field."}`;
    return this.getAttribute("refused-message") ?? problem?.detail ?? SAYS.refused;
  }
  marked(fault) {
    const one = this.form?.elements.namedItem(fault.field);
    if (!one) return null;
    this.unmarked(one);
    const id = `${one.id}-refused`, isClash = "stored" in fault;
    const text = isClash ? `Stored now: ${fault.stored ?? "(empty)"}` : fault.detail;
    (one.closest(".field") ?? one.parentElement).append(element("p", { className: isClash ? "theirs" : "wrong", id, textContent: text }));
    one.setAttribute("aria-invalid", "true");
    one.setAttribute("aria-describedby", `${one.getAttribute("aria-describedby") ?? ""} ${id}`.trim());
    return one;
  }
  unmarked(one) {
    const id = `${one.id}-refused`, line = document.getElementById(id);
    if (!line) return;
    line.remove();
    one.removeAttribute("aria-invalid");
    one.setAttribute("aria-describedby", (one.getAttribute("aria-describedby") ?? "").replace(id, "").trim());
  }

  /* What is hoped for is shown as hoped for, and taken back only when the server has said no. */
  hoped() {
    const shown = document.getElementById(this.getAttribute("optimistic") ?? "");
    const field = this.form?.elements.namedItem(this.getAttribute("optimistic-field") ?? "");
    const text = field ? field.value : this.getAttribute("optimistic-text");
    if (!shown || !text || shown.textContent === text) return;
    this.wasShown ??= shown.textContent;
    shown.textContent = text;
    shown.classList.add("hoped");
  }
  takenBack() {
    const shown = document.getElementById(this.getAttribute("optimistic") ?? "");
    if (shown && this.wasShown !== undefined) shown.textContent = this.wasShown;
    this.given();
  }
  given(answer) {
    document.getElementById(this.getAttribute("optimistic") ?? "")?.classList.remove("hoped");
    this.wasShown = undefined;
    const into = document.getElementById(this.getAttribute("into") ?? "");
    if (!into || !answer) return;
    into.querySelector("[data-result]").textContent = answer[this.getAttribute("result")] ?? "";
    into.hidden = false;
  }
  moved(part) {
    if (!this.bar) return;
    this.isMoving = part < 1;
    this.bar.hidden = false;
    this.bar.value = part;
  }
  turned(state, text, { isQuiet = false, warnings = [] } = {}) {
    this.dataset.state = state;
    const isLoading = state === "loading";
    this.button.setAttribute("aria-busy", String(isLoading));
    this.button.classList.toggle("busy", isLoading);
    this.line.hidden = !text || isLoading;
    this.line.replaceChildren(text ?? "", ...(warnings ?? []).filter((one) => !OF_PLACES.test(one)).map((one) => element("span", { className: "sync-more", textContent: one })));
    if (state === "queued" && queuePage) this.line.append(" ", element("a", { href: queuePage, textContent: "What waits here" }));
    if (text && !isQuiet) announce(isLoading ? text : `${this.line.textContent}`, state === "refused" ? "alert" : "status");
  }

  /* After the page was loaded anew, or another tab heard the answer: what waits, or came back, stands in the form as it was typed. */
  async resumed(only = null) {
    for (const entry of await mine()) {
      const content = await opened(entry);
      if (isOld(entry) || !this.isOf(content) || (only && entry.key !== only)) continue;
      const isRefused = entry.state === "refused";
      this.content = { ...content, body: { ...this.content?.body, ...content.body }, typed: { ...this.content?.typed, ...content.typed } };
      for (const one of this.fields) {
        if (!(one.name in (content.typed ?? {}))) continue;
        one.value = content.typed[one.name];
        if (!isRefused) one.dataset.base = one.value;
      }
      if (isRefused) this.refused({ kind: "refused", problem: content.problem });
      else this.waitsFor = entry.key;
      if (!isRefused) this.turned("queued", this.says("queued"), { isQuiet: true });
    }
  }
  isOf(content) {
    if (content?.endpoint !== this.endpoint || content.method !== this.method) return false;
    const body = this.hasAttribute("body") ? JSON.parse(this.getAttribute("body")) : undefined;
    return this.hasAttribute("fields") || JSON.stringify(content.body) === JSON.stringify(body);
  }
}

/* ---- <sync-queue>: the number in the head of each page, and the list on its own page ---- */

const ago = (at) => {
  const minutes = Math.round((Date.now() - at) / 60_000);
  if (minutes < 1) return "just now";
  if (minutes < 60) return `${minutes} min ago`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `${hours} h ago` : `${Math.round(hours / 24)} days ago`;
};
const many = (number, one, more) => `${number} ${number === 1 ? one : more}`;

/* What the server said, in the words of the page and not of its own fields. */
function objection({ problem, labels }) {
  if (problem?.status === 412) return "Somebody changed this since you opened its page. Open it again: what you typed stands there, and is saved if you save it again.";
  const faults = (problem?.errors ?? []).filter((one) => one.field && one.detail);
  const said = faults.length > 1 ? faults.map((one) => `${labels?.[one.field] ?? one.field}: ${one.detail}`) : faults.map((one) => one.detail);
  return `${said.join(" ") || (problem?.detail ?? SAYS.refused)} Nothing was changed.`;
}
function stood(entry, content) {
  if (!content) return ["staff", "Cannot be read", "It was sealed with a key that the server has no more. It can only be deleted."];
  if (entry.state === "refused") return ["staff", "Not accepted", objection(content)];
  if (isOld(entry)) return ["staff", "Too old", "It is older than eight days and is not sent any more: look whether it is done already, then do it anew."];
  if (isStuck(entry)) return ["later", "Stuck", `Tried ${many(entry.tries, "time", "times")}, and it does not go through. Nothing is lost: it is tried again and again. If others are sent and this one is not, tell our staff.`];
  if (!navigator.onLine) return ["soon", "Waiting", "There is no connection now. It is sent when there is one."];
  return ["soon", "Waiting", entry.tries ? "It did not go through at first. It is tried again by itself." : "It is sent in a moment."];
}

class SyncQueue extends HTMLElement {
  connectedCallback() { this.shown(); }

  async shown() {
    if (isShut) return undefined;
    const entries = await mine(), waiting = entries.filter(isWaiting).length, others = entries.length - waiting;
    this.dataset.waiting = waiting;
    return this.hasAttribute("list") ? this.listed(entries) : this.counted(waiting, others, entries.some(isStuck));
  }
  counted(waiting, others, isAnyStuck) {
    if (!waiting && !others) { this.replaceChildren(); return; }
    const words = [waiting && `${many(waiting, "change waits", "changes wait")}`, others && `${many(others, "change was", "changes were")} not saved`].filter(Boolean).join(", ");
    const look = others || isAnyStuck ? "later" : "soon";
    if (this.textContent === words && this.firstChild.className === `mark ${look}`) return;
    this.replaceChildren(element("a", { className: `mark ${look}`, href: queuePage, textContent: words }));
  }
  async listed(entries) {
    const rows = await Promise.all(entries.map(async (entry) => this.row(entry, await opened(entry))));
    const focused = this.contains(document.activeElement) ? document.activeElement.dataset.does : null;
    const head = this.querySelector("[data-part=trouble]"), list = this.querySelector("[data-part=list]");
    const said = trouble ? TROUBLES[trouble] : "";
    if (head.textContent !== said) head.textContent = said;
    head.hidden = !said;
    const wereOpen = new Set([...list.querySelectorAll("details[open]")].map((one) => one.dataset.of));
    for (const one of rows.map((row) => row.querySelector("details"))) if (one && wereOpen.has(one.dataset.of)) one.open = true;
    list.replaceChildren(...rows);
    this.querySelector("[data-part=none]").hidden = Boolean(rows.length);
    const all = this.querySelector("[data-part=all]");
    all.hidden = !entries.some(isWaiting);
    if (!this.isSet) {
      this.isSet = true;
      all.querySelector("button").addEventListener("click", (event) => this.retried(event.currentTarget));
    }
    if (focused) (this.querySelector(`[data-does="${focused}"]`) ?? document.getElementById("main"))?.focus();
  }
  row(entry, content) {
    const [look, word, text] = stood(entry, content);
    const what = content?.what ?? "A change", names = Object.values(content?.labels ?? {}).join(", ");
    const row = element("li", { className: "card" });
    row.append(element("div", {}, element("h2", { textContent: names ? `${what}: ${names}` : what }), element("p", { className: "hint" },
      element("time", { dateTime: new Date(entry.at).toISOString(), title: new Date(entry.at).toLocaleString(), textContent: `Pressed ${ago(entry.at)}` }),
      `, ${entry.tries ? `tried ${many(entry.tries, "time", "times")}` : "not tried yet"}`)));
    row.append(element("p", {}, element("span", { className: `mark ${look}`, textContent: word })), element("p", { className: "told", textContent: text }));
    const typed = Object.entries(content?.typed ?? {});
    if (typed.length) {
      const told = typed.flatMap(([name, value]) => [element("dt", { textContent: content.labels[name] }), element("dd", { textContent: value || "(empty)" })]);
      const summary = element("summary", { textContent: "What you typed", "data-does": `typed-${entry.number}` });
      row.append(element("details", { "data-of": entry.number }, summary, element("dl", {}, ...told)));
    }
    const gone = element("button", { type: "button", className: "link", textContent: "Delete", "aria-label": `Delete: ${names || what}` });
    gone.dataset.does = `delete-${entry.number}`;
    gone.addEventListener("click", async () => {
      if (!(await sure({ title: "Delete this change?", text: entry.tries && isWaiting(entry) ? "It is not tried any more. Whether one of the tries was heard we cannot say: look at your pages." : "It is not sent. What you typed is gone.", yes: "Delete it", no: "Keep it" }))) return;
      await dropped(entry.number);
      announce("Deleted.");
      channel?.postMessage({ what: "kept", person });
      await told();
    });
    row.append(element("div", { className: "buttons" }, gone));
    return row;
  }
  async retried(button) {
    button.classList.add("busy");
    const free = setTimeout(() => button.classList.remove("busy"), (MOST_SECONDS - 1) * SECOND), before = (await mine()).filter(isWaiting).length;
    await Promise.race([flush(Date.now()), new Promise((resolve) => { setTimeout(resolve, (MOST_SECONDS - 1) * SECOND); })]);
    clearTimeout(free);
    button.classList.remove("busy");
    const left = (await mine()).filter(isWaiting).length;
    announce(left ? `${before - left} of ${before} sent. ${many(left, "change waits", "changes wait")}.` : "Everything is sent.");
  }
}

/* ---- The other tabs ---- */

/* Nothing of whoever was signed in stays readable, and nothing is sent for them from here. */
function shut(text) {
  isShut = true;
  sealKey = null;
  clearTimeout(timer);
  const main = document.getElementById("main");
  main?.replaceChildren(element("p", { className: "note warning", textContent: text }), element("p", { className: "buttons" }, element("a", { className: "button main", href: location.pathname, textContent: "Load the page anew" })));
  document.querySelectorAll(".top .inner > :not(.brand), nav").forEach((one) => one.remove());
  announce(text, "alert");
}
channel?.addEventListener("message", async ({ data }) => {
  if (!person || isShut) return;
  if (data.what === "bye" && data.person === person) { shut("You signed out in another tab. What waits here is sealed until you sign in again."); return; }
  if (data.what === "here" && data.person !== person) { shut("Somebody else signed in, from another tab."); return; }
  if (data.person !== person) return;
  if (data.what === "answered") {
    const button = [...buttons].find((one) => one.waitsFor === data.key);
    if (button && data.kind === "refused") await button.resumed(data.key);
    else if (button) button.answered({ kind: data.kind, told: { message: data.message } });
    else if (["saved", "following"].includes(data.kind)) await refreshed();
  }
  await told();
});

const ready = unlocked().catch(() => { trouble = "insecure"; return null; });
document.documentElement.classList.add("scripted");
customElements.define("sync-button", SyncButton);
customElements.define("sync-queue", SyncQueue);
if (person) {
  channel?.postMessage({ what: "here", person });
  document.querySelector("form.out")?.addEventListener("submit", () => channel?.postMessage({ what: "bye", person }));
  // A page that was put aside shows what was true then, perhaps somebody else's.
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  addEventListener("online", () => { told(); flush(Date.now()); });
  addEventListener("offline", () => told());
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return;
    flush();
    if (isStale) look(0);
  });
  document.addEventListener("keepwell:event", ({ detail }) => hinted(detail));
  document.addEventListener("keepwell:stream", ({ detail }) => { if (detail === "ended") shut("Somebody else signed in with this browser."); });
  ready.then(prune).then(() => flush());
}
document.addEventListener("click", (event) => {
  const put = event.target.closest?.("[data-put]");
  const field = put && document.getElementById(put.dataset.put), from = put?.closest("[data-suggested]");
  if (!field) return;
  field.value = from.querySelector("[data-result]").textContent;
  from.hidden = true;
  field.dispatchEvent(new Event("input", { bubbles: true }));
  field.focus();
});
