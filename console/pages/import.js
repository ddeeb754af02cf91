// Import many people: a folder, files or a list; who gets which photos is shown before anything is sent.

import { h, put } from "../dom.js";
import { t, number, duration } from "../i18n.js";
import { href } from "../router.js";
import { applicationName } from "../shell.js";
import { badge, button, buttonLink, card, confirm, explain, field, head, notice, save } from "../ui.js";
import { addresses, photoPlace, thumbnail } from "../photos.js";
import { list, personHref, refusal } from "../people.js";
import { format } from "../csv.js";
import * as imports from "../imports.js";

/** People and refusals that are shown at first, and with each "Show more". */
const SHOWN = 50;
const DRAW_MS = 250;

export default function page(context) {
  const place = h("div", { class: "page" });
  const urls = addresses(context.onLeave);
  const ctx = { ...context, urls, show: (node) => put(place, node), begin: () => begin(ctx) };
  const running = imports.current;
  if (running) follow(ctx, running);
  else begin(ctx);
  return h("div", { class: "page" }, head(t("nav.import"), { lead: t("import.lead") }), place);
}

function begin(ctx) {
  imports.forget();
  const take = async (found) => {
    const sorted = imports.sort(found);
    if (!sorted.photos.length) return put(trouble, notice("warn", h("p", null, t("import.noPhotos"))));
    await mapping(ctx, sorted);
  };
  const trouble = h("div", { role: "status" });
  const place = photoPlace({ title: t("import.bring"), text: t("import.bringText"), multiple: true, folder: true, accept: "image/*,.csv,.tsv", take, onLeave: ctx.onLeave });
  const ways = ["folder", "fileName", "csv"].map((name) => h("li", null, h("strong", null, t(`import.by.${name}`)), h("p", { class: "hint" }, t(`import.about.${name}`))));
  ctx.show([h("div", { class: "card" }, place), trouble, card(t("import.ways"), null, h("ul", { class: "grid" }, ways))]);
}

/** Shows who gets which photos, and asks what happens with people that exist. */
async function mapping(ctx, sorted) {
  const way = field({ name: "mapping", label: t("import.mapping"), kind: "select", value: imports.likelyMapping(sorted), options: ["folder", "fileName", ...(sorted.lists.length ? ["csv"] : [])].map((name) => [name, t(`import.by.${name}`)]) });
  const numbered = field({ name: "numbered", label: t("import.numbered"), kind: "checkbox", hint: t("import.numberedHint") });
  const conflict = field({ name: "onConflict", label: t("import.onConflict"), kind: "select", options: ["skip", "addSamples"].map((name) => [name, t(`import.conflict.${name}`)]) });
  const groups = field({ name: "groups", label: t("import.groups"), hint: t("person.groupsHint"), attributes: { autocomplete: "off" } });
  const consent = field({ name: "consentReference", label: t("person.consentReference"), attributes: { autocomplete: "off" } });
  const largest = field({ name: "largest", label: t("import.largest"), kind: "checkbox" });
  const preview = h("div", { class: "page" });
  let people = [];
  const start = button(t("import.startPlain"), () => {
    const options = { onConflict: conflict.read(), groups: list(groups.read()), consentReference: consent.read(), faces: largest.read() ? "largest" : undefined };
    follow(ctx, imports.begin(ctx.appId, people, options));
  }, { kind: "primary", symbol: "import" });
  async function draw() {
    numbered.hidden = way.read() !== "fileName";
    const found = await imports.map(sorted, way.read(), { numbered: numbered.read() });
    people = found.people;
    const count = people.reduce((sum, person) => sum + person.photos.length, 0);
    start.querySelector("span").textContent = t("import.start", { count: people.length });
    start.disabled = !people.length;
    put(preview, remarks(found, sorted), card(t("import.preview", { people: people.length, photos: count }), null, previewed(ctx, people)));
  }
  for (const one of [way, numbered]) one.input.addEventListener("change", draw);
  await draw();
  ctx.show([
    card(t("import.how"), button(t("import.other"), ctx.begin, { small: true }), h("div", { class: "stack" }, h("div", { class: "fields" }, way, conflict, groups, consent), h("div", { class: "options-row" }, numbered, largest), h("div", { class: "actions" }, start, h("span", { class: "hint" }, t("import.nothingSent"))))),
    preview,
  ]);
}

function remarks({ unmapped, absent, missing, people }, { others }) {
  const { heic, many, double } = imports.warnings(people);
  const lines = [
    missing && t("import.warn.noFileColumn"),
    unmapped.length && t("import.warn.unmapped", { count: unmapped.length }),
    absent.length && t("import.warn.absent", { count: absent.length, names: absent.slice(0, 5).join(", ") }),
    heic && t("import.warn.heic", { count: heic }),
    double && t("import.warn.double", { count: double }),
    many && t("import.warn.many", { count: many }),
    others.length && t("import.warn.others", { count: others.length }),
  ].filter(Boolean);
  return lines.length > 0 && notice("warn", h("ul", { class: "findings" }, lines.map((line) => h("li", null, line))));
}

/** A list that grows on demand: thousands of rows at once would make the page slow. */
function growing(items, row, properties) {
  const rows = h("ul", properties);
  const more = button(t("import.more"), () => grow(), { small: true });
  let shown = 0;
  function grow() {
    for (const item of items.slice(shown, shown + SHOWN)) rows.append(row(item));
    shown = Math.min(shown + SHOWN, items.length);
    more.hidden = shown >= items.length;
    more.querySelector("span").textContent = t("import.more", { left: items.length - shown });
  }
  grow();
  return [rows, more];
}

const previewed = ({ urls }, people) =>
  growing(
    people,
    (person) =>
      h(
        "li",
        null,
        h("span", { class: "thumbs" }, person.photos.slice(0, 4).map(({ file }) => thumbnail(file, urls, { label: "" }))),
        h("span", { class: "who" }, h("strong", null, person.details.name || person.id), person.details.name && h("code", null, person.id)),
        h("span", { class: "quiet" }, t("import.photosOf", { count: person.photos.length })),
      ),
    { class: "mapped", tabindex: "0", "aria-label": t("import.mapping") },
  );

/** Progress while it runs, the result at its end. The import goes on while other pages are open. */
function follow(ctx, run) {
  const { signal, appId } = ctx;
  const bar = h("progress", { max: run.total, "aria-label": t("import.progress") });
  const line = h("p", { class: "quiet", role: "status" });
  const counts = h("div", { class: "counts-row" });
  const trouble = h("div");
  const controls = h("div", { class: "actions" });
  const result = h("div", { class: "page" });
  const title = h("h2");
  const cancel = () => confirm({ title: t("import.cancelTitle"), text: t("import.cancelText"), verb: t("import.cancelVerb"), act: () => run.cancel() });
  let drawn = null;
  function draw() {
    if (signal.aborted) return;
    bar.value = run.done;
    bar.max = run.total;
    const left = run.rate > 0 ? (run.total - run.done) / run.rate : 0;
    const parts = [t("import.of", { done: run.done, total: run.total })];
    if (run.state === "running" && run.rate > 0) parts.push(t("import.rate", { n: number(run.rate, run.rate < 10 ? 1 : 0) }), t("import.left", { span: duration(Math.max(1, Math.round(left))) }));
    if (run.waits) parts.push(t("import.waits"));
    line.textContent = parts.join(" · ");
    put(counts, [["in", "good"], ["exists", "quiet"], ["refused", "warn"]].map(([name, tone]) => badge(t(`import.count.${name}`, { count: run.count(name) }), run.count(name) ? tone : "quiet")));
    if (drawn === `${run.state} ${run.failure}`) return;
    drawn = `${run.state} ${run.failure}`;
    title.textContent = t(`import.state.${run.state}`);
    put(trouble, run.failure && notice("bad", h("p", null, explain(run.failure)), h("p", null, t("import.goesOn"))));
    const active = run.state === "running" || run.state === "paused";
    put(
      controls,
      run.state === "running" && button(t("import.pause"), () => run.pause()),
      run.state === "paused" && button(t("import.resume"), () => run.resume(), { kind: "primary" }),
      active && button(t("cancel"), cancel, { kind: "danger" }),
      !active && run.several.length > 0 && run.options.faces !== "largest" && button(t("import.retry", { count: run.several.length }), () => run.retryLargest(), { kind: "primary" }),
      !active && button(t("import.csv"), () => save(format(report(run)), "import.csv", "text/csv"), { symbol: "import" }),
      !active && buttonLink(t("nav.people"), href("people", run.appId)),
      !active && button(t("import.another"), ctx.begin),
    );
    put(result, active ? null : refusals(ctx, run));
  }
  let timer = null;
  const later = () => (timer ??= setTimeout(() => ((timer = null), draw()), DRAW_MS));
  run.addEventListener("change", later, { signal });
  signal.addEventListener("abort", () => clearTimeout(timer));
  draw();
  const elsewhere = run.appId !== appId && notice("quiet", h("p", null, t("import.elsewhere", { name: applicationName(run.appId) })));
  ctx.show([elsewhere, h("section", { class: "card progress-card" }, title, bar, line, counts, trouble, controls, h("p", { class: "hint" }, t("import.honest"))), result]);
}

/** Refused photos by reason, and warnings of the guard. Pictures stay in the page. */
function refusals({ urls }, run) {
  const groups = new Map();
  for (const one of run.outcomes) {
    if (one.outcome !== "refused") continue;
    const key = refusedWords(one).why;
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(one);
  }
  const warned = run.outcomes.filter((one) => one.warned);
  const row = (one) => h("li", null, thumbnail(one.photo.file, urls, { label: "" }), h("span", { class: "who" }, h("strong", null, one.person.details?.name || one.person.id), h("span", { class: "hint" }, one.photo.path)), one.findings?.[0]?.templateId && h("a", { href: personHref(one.findings[0].templateId, run.appId) }, one.findings[0].templateId));
  const parts = [...groups.values()]
    .sort((a, b) => b.length - a.length)
    .map((group) => {
      const words = refusedWords(group[0]);
      return card(words.why, badge(number(group.length), "warn"), words.remedy && h("p", { class: "quiet" }, words.remedy), growing(group, row, { class: "mapped", tabindex: "0", "aria-label": words.why }));
    });
  return [
    !groups.size && run.done > 0 && notice("good", h("p", null, t("import.allIn"))),
    warned.length > 0 && card(t("import.warned"), badge(number(warned.length), "warn"), h("p", { class: "quiet" }, t("import.warnedText")), growing(warned, (one) => row({ ...one, findings: one.warned }), { class: "mapped", tabindex: "0", "aria-label": t("import.warned") })),
    parts,
  ];
}

/** Why a photo is not in, and what to do. */
function refusedWords({ photo, reason, info, remedy, code }) {
  return refusal({ code, info, remedy, reason }, photo.file);
}

/** Every photo with its outcome, as rows of a table. */
const report = (run) => [
  [t("import.column.file"), t("person.id"), t("import.column.outcome"), t("import.column.reason"), t("import.column.remedy")],
  ...run.outcomes.map((one) => {
    const words = one.outcome === "refused" ? refusedWords(one) : {};
    return [one.photo.path, one.person.id, t(`import.outcome.${one.outcome}`), words.why, words.remedy];
  }),
];
