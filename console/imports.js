// An import: who gets which photos, and sending them, one person at a time. It goes on while other pages are open.

import { actionKey, api, ApiError, at, LostConnection } from "./api.js";
import { MANY_FACES, MAX_PHOTOS, list, warningsOf } from "./people.js";
import { isPhoto, photoForm } from "./photos.js";
import { parse } from "./csv.js";

/** People that are sent at the same time. */
const PARALLEL = 3;
/** Wait after the server had no room and named no time. */
const BUSY_MS = 2000;
/** Time over which the rate is taken. */
const RATE_MS = 30000;

/** Columns of a list, by the names that people give them. */
const COLUMNS = {
  file: /^(file|filename|photo|image|archivo|fichero)s?$/i,
  templateId: /^(template ?id|person ?id|id)$/i,
  name: /^(name|full ?name|nombre)$/i,
  externalId: /^(external ?id|personnel ?(no|number)|employee ?id|id externo)$/i,
  groups: /^(groups?|grupos?)$/i,
  consentReference: /^(consent|consent ?reference|consentimiento)$/i,
  expiresAt: /^(expires|expires ?at|end|caduca)$/i,
};

const extension = (name) => /\.([^.]+)$/.exec(name)?.[1].toLowerCase() ?? "";
const stem = (name) => name.replace(/\.[^.]+$/, "");

/** What was dropped: photos, lists, and the rest. */
export function sort(found) {
  const sorted = { photos: [], lists: [], others: [] };
  for (const one of found) {
    const name = one.path.split("/").at(-1);
    if (name.startsWith(".") || name === "Thumbs.db") continue;
    const kind = isPhoto(one.file) ? "photos" : ["csv", "tsv", "txt"].includes(extension(name)) ? "lists" : "others";
    sorted[kind].push(one);
  }
  return sorted;
}

/** The mapping that fits: a list where there is one, folders where most photos lie in one, else names of files. */
export function likelyMapping({ photos, lists }) {
  if (lists.length) return "csv";
  const tops = new Set(photos.map(({ path }) => path.split("/")[0]));
  const inFolders = photos.filter(({ path }) => path.split("/").length > (tops.size === 1 ? 2 : 1)).length;
  return inFolders * 2 > photos.length ? "folder" : "fileName";
}

/** People with their photos: `[{id, details, photos, warnings}]`, and photos that belong to no person. */
export async function map({ photos, lists }, mapping, { numbered = false } = {}) {
  const people = new Map();
  const unmapped = [];
  const give = (id, photo, details = {}) => {
    const clean = id.normalize("NFC").trim();
    if (!clean) return unmapped.push(photo);
    if (!people.has(clean)) people.set(clean, { id: clean, details, photos: [] });
    people.get(clean).photos.push(photo);
  };
  if (mapping === "csv") {
    const { rows, missing } = await readList(lists[0]?.file);
    if (missing) return { people: [], unmapped: photos, missing, absent: [] };
    const byName = new Map();
    for (const photo of photos) for (const key of [photo.path, photo.path.split("/").at(-1), stem(photo.path.split("/").at(-1))]) byName.set(key.toLowerCase(), byName.get(key.toLowerCase()) ?? photo);
    const used = new Set();
    const absent = [];
    for (const { file, templateId, ...details } of rows) {
      const photo = byName.get(file.replaceAll("\\", "/").toLowerCase());
      if (!photo) absent.push(file);
      else used.add(photo), give(templateId || stem(file.split("/").at(-1)), photo, details);
    }
    unmapped.push(...photos.filter((photo) => !used.has(photo)));
    return { people: inOrder(people), unmapped, absent };
  }
  for (const photo of photos) {
    const parts = photo.path.split("/");
    const name = stem(parts.at(-1));
    if (mapping === "folder") give(parts.length > 1 ? parts.at(-2) : "", photo);
    else give(numbered ? name.replace(/[ _-]*\(?\d{1,3}\)?$/, "") || name : name, photo);
  }
  return { people: inOrder(people), unmapped, absent: [] };
}

/** By id, as a person counts: p-9 before p-10. */
const inOrder = (people) => [...people.values()].sort((a, b) => a.id.localeCompare(b.id, undefined, { numeric: true }));

async function readList(file) {
  const [head = [], ...rows] = parse(await file.text());
  const columns = Object.fromEntries(Object.entries(COLUMNS).map(([name, pattern]) => [name, head.findIndex((title) => pattern.test(title))]));
  if (columns.file < 0) return { missing: "file" };
  const read = (row, name) => (columns[name] < 0 ? "" : (row[columns[name]] ?? ""));
  return {
    rows: rows
      .filter((row) => read(row, "file"))
      .map((row) => ({
        file: read(row, "file"),
        templateId: read(row, "templateId"),
        name: read(row, "name"),
        externalId: read(row, "externalId"),
        groups: list(read(row, "groups")),
        consentReference: read(row, "consentReference"),
        expiresAt: moment(read(row, "expiresAt")),
      })),
  };
}

function moment(text) {
  const time = new Date(text);
  return text && !Number.isNaN(+time) ? time.toISOString() : text;
}

/** What to look at before anything is sent. */
export function warnings(people) {
  const sizes = new Map();
  const found = { heic: 0, many: 0, double: 0 };
  for (const person of people) {
    if (person.photos.length > MAX_PHOTOS) found.many++;
    for (const { file } of person.photos) {
      if (/hei[cf]$/i.test(file.name) || /hei[cf]/.test(file.type)) found.heic++;
      const key = `${file.size} ${file.name}`;
      sizes.set(key, (sizes.get(key) ?? 0) + 1);
    }
  }
  for (const count of sizes.values()) found.double += count - 1;
  return found;
}

/** The import that runs, or ran last; it is not bound to a page. */
export let current = null;
export const forget = () => (current = null);

/** Starts an import. `options`: `onConflict` ("skip", "addSamples"), `groups`, `consentReference`, `faces`. */
export function begin(appId, people, options) {
  current = new Import(appId, people, options);
  current.run();
  return current;
}

class Import extends EventTarget {
  state = "running";
  /** One outcome a photo: `{person, photo, outcome: "in" | "exists" | "refused", code, info, remedy, reason}`. */
  outcomes = [];
  failure = null;
  #waiting;
  #pausedUntil = 0;
  #ending = new AbortController();
  #steps = [];
  #resume = null;
  #resumed = null;
  /** Photos with an outcome. */
  #seen = new Set();

  constructor(appId, people, options) {
    super();
    this.appId = appId;
    this.people = people;
    this.options = options;
    this.total = people.reduce((sum, person) => sum + person.photos.length, 0);
    this.#waiting = [...people];
  }

  get done() {
    return this.outcomes.length;
  }

  count(outcome) {
    return this.outcomes.reduce((sum, one) => sum + (one.outcome === outcome), 0);
  }

  /** Photos a second, over the last half minute. */
  get rate() {
    const now = performance.now();
    this.#steps = this.#steps.filter((step) => now - step.at < RATE_MS);
    const first = this.#steps[0];
    return first && now > first.at ? this.#steps.reduce((sum, step) => sum + step.count, 0) / ((now - first.began) / 1000) : 0;
  }

  pause() {
    this.#to("paused", "running");
  }

  resume() {
    this.#to("running", "paused");
    this.#resume?.();
  }

  cancel() {
    this.#to("cancelled", "running", "paused");
    this.#ending.abort();
    this.#resume?.();
  }

  #to(state, ...from) {
    if (!from.includes(this.state)) return;
    this.state = state;
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }

  async run() {
    const warn = (event) => event.preventDefault();
    addEventListener("beforeunload", warn);
    await Promise.all(Array.from({ length: PARALLEL }, () => this.#work()));
    removeEventListener("beforeunload", warn);
    this.#to("done", "running");
  }

  async #work() {
    for (;;) {
      if (this.state === "paused") await this.#whenResumed();
      if (this.state !== "running") return;
      const person = this.#waiting.shift();
      if (!person) return;
      const began = performance.now();
      const before = this.outcomes.length;
      try {
        await this.#person(person);
      } catch (error) {
        if (this.#ending.signal.aborted) return;
        this.#waiting.unshift(person);
        this.failure = error;
        // What would fail for every person alike pauses the import. What is in, is in; it goes on where it stopped.
        this.#to("paused", "running");
        continue;
      }
      this.#steps.push({ began, at: performance.now(), count: this.outcomes.length - before });
      this.#changed();
    }
  }

  #whenResumed() {
    this.#resumed ??= new Promise((resolve) => (this.#resume = resolve)).then(() => ((this.#resumed = null), (this.failure = null)));
    return this.#resumed;
  }

  #add(outcome) {
    this.#seen.add(outcome.photo);
    this.outcomes.push(outcome);
  }

  /** Whether the import waits because the server has no room. */
  get waits() {
    return this.state === "running" && performance.now() < this.#pausedUntil;
  }

  async #person(person) {
    const { onConflict, faces } = this.options;
    // After a lost connection a person is sent again from where it stopped.
    const rest = person.photos.filter((photo) => !this.#seen.has(photo));
    if (!person.isIn) {
      const first = rest.splice(0, MAX_PHOTOS);
      const details = { ...person.details, groups: [...new Set([...(person.details.groups ?? []), ...(this.options.groups ?? [])])] };
      details.consentReference ||= this.options.consentReference;
      try {
        const made = await this.#send(at`applications/${this.appId}/people`, first, { templateId: person.id, ...details }, faces);
        this.#record(person, first, made);
        person.isIn ||= (made.accepted ?? []).length > 0;
      } catch (error) {
        if (error.reason === "templateExists" && onConflict === "addSamples") {
          rest.unshift(...first);
          person.isIn = true;
        } else if (error.reason === "templateExists") {
          for (const photo of [...first, ...rest]) this.#add({ person, photo, outcome: "exists" });
          return;
        } else {
          this.#refuse(person, first, error);
          if (!isPhotos(error)) return rest.forEach((photo) => this.#refuseOne(person, photo, error));
        }
      }
    }
    while (rest.length) {
      // A person takes several photos in one call; more are added one by one.
      const part = rest.splice(0, person.isIn ? 1 : MAX_PHOTOS);
      const path = person.isIn ? at`applications/${this.appId}/people/${person.id}/samples` : at`applications/${this.appId}/people`;
      try {
        const made = await this.#send(path, part, person.isIn ? {} : { templateId: person.id, ...person.details }, faces);
        this.#record(person, part, made);
        person.isIn ||= made.accepted.length > 0;
      } catch (error) {
        this.#refuse(person, part, error);
      }
    }
  }

  /** One call; waits and tries again while the server has no room. Throws what the photos are not to blame for. */
  async #send(path, photos, values, faces) {
    const body = photoForm(photos.map(({ file }) => file), values);
    // The same key when the same photos are sent again: what was done without an answer is not done twice.
    const keys = (photos[0].keys ??= {});
    const idempotencyKey = (keys[`${path} ${faces}`] ??= actionKey());
    for (;;) {
      const wait = this.#pausedUntil - performance.now();
      if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
      this.#ending.signal.throwIfAborted();
      try {
        return await api.post(path, body, { query: { faces }, signal: this.#ending.signal, idempotencyKey });
      } catch (error) {
        if (![429, 503].includes(error.status) && !(error.status === 409 && !error.reason)) throw error;
        this.#pausedUntil = Math.max(this.#pausedUntil, performance.now() + ((error.retryAfter ?? 0) * 1000 || BUSY_MS));
      }
    }
  }

  #record(person, photos, made) {
    const { refused = [] } = made;
    const findings = warningsOf(made);
    photos.forEach((photo, i) => {
      const no = refused.find((one) => one.index === i);
      const warned = findings.length ? findings : undefined;
      this.#add(no ? { person, photo, outcome: "refused", ...no } : { person, photo, outcome: "in", warned });
    });
  }

  #refuse(person, photos, error) {
    if (error instanceof LostConnection || !(error instanceof ApiError) || [401, 403].includes(error.status)) throw error;
    photos.forEach((photo, i) => {
      const own = error.details.refused?.find((one) => one.index === i);
      this.#refuseOne(person, photo, own ? { code: own.code, info: own.info, remedy: own.remedy } : error);
    });
  }

  #refuseOne(person, photo, { code, info, remedy, reason, status, details }) {
    this.#add({ person, photo, outcome: "refused", code: reason && status !== 400 ? undefined : code, info, remedy, reason: status ? reason : undefined, findings: details?.guard?.findings });
  }

  /** Photos with several faces, to be tried again with the largest one. */
  get several() {
    return this.outcomes.filter((one) => one.outcome === "refused" && one.code === MANY_FACES);
  }

  /** Sends photos with several faces again. */
  retryLargest() {
    const again = new Map();
    for (const { person, photo } of this.several) {
      if (!again.has(person.id)) again.set(person.id, { ...person, photos: [] });
      again.get(person.id).photos.push(photo);
    }
    const kept = this.outcomes.filter((one) => !(one.outcome === "refused" && one.code === MANY_FACES));
    this.options = { ...this.options, faces: "largest", onConflict: "addSamples" };
    this.outcomes = kept;
    this.#seen = new Set(kept.map(({ photo }) => photo));
    this.#waiting = [...again.values()];
    this.state = "running";
    this.#changed();
    return this.run();
  }
}

/** Whether a refusal is about these photos alone, so others of the person may pass. */
const isPhotos = (error) => error.reason === "noPhotoAccepted" || error.reason === "guardRefused" || (error.code >= 1 && error.code <= 9) || error.status === 413;
