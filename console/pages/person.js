// One person: details, samples, and everything that can be done with them.

import { h, put, icon } from "../dom.js";
import { t, known, word, number } from "../i18n.js";
import { api, at, request, segment } from "../api.js";
import { may } from "../session.js";
import { go, href } from "../router.js";
import { badge, button, buttonLink, card, code, dialog, facts, field, form, head, notice, report, toast, when } from "../ui.js";
import { detailFields, detailValues, healthBadge, personHref, personTitle, qualityOf } from "../people.js";
import { silhouette } from "../face.js";
import { addresses } from "../photos.js";
import * as actions from "../person-actions.js";

export default async function page(context) {
  const { appId, params, signal, onLeave } = context;
  const path = at`applications/${appId}/people/${params.templateId}`;
  const urls = addresses(onLeave);
  const place = h("div", { class: "page" });
  const load = async () => {
    const [found, health] = await Promise.all([request("GET", path, { signal }), may.operate() ? api.get(`${path}/health`, undefined, { signal }).catch(absent) : null]);
    found.result.health ??= health;
    draw(found);
  };
  const reload = () => load().catch(report);
  const ctx = { appId, path, reload, signal };

  function draw({ result: person, etag }) {
    const back = may.operate() && { href: href("people", appId), text: t("nav.people") };
    const add = may.change() && buttonLink(t("person.addPhotos"), `${personHref(person.templateId, appId)}/photos`, { kind: "primary", symbol: "plus" });
    put(
      place,
      head(personTitle(person), { back, action: add }),
      person.unreadable && notice("bad", h("p", null, t("person.unreadableText"))),
      healthNotice(person),
      details(person, etag, ctx),
      samples(person, ctx, urls),
      manage(person, etag, ctx),
    );
  }
  await load();
  return place;
}

/** The page shows a person whose samples cannot be compared, too. */
function absent(error) {
  if (error.name === "AbortError" || error.status !== 404) throw error;
  return null;
}

function healthNotice({ health, samples = [] }) {
  if (!health || health.state === "good" || !health.findings?.length) return null;
  const number_ = (id) => samples.findIndex((sample) => sample.sampleId === id) + 1;
  return notice(
    "warn",
    h("p", null, h("strong", null, t(health.state === "mixed" ? "health.mixedText" : "health.weakText"))),
    h("ul", { class: "findings" }, health.findings.map((finding) => h("li", null, findingText(finding), finding.sampleId && ` ${t("sample.numbered", { n: number_(finding.sampleId) })}`))),
  );
}

const findingText = ({ kind, similarity, score }) => (known(`finding.${kind}`) ? t(`finding.${kind}`, { n: number(similarity ?? score, 2) }) : kind);

function details(person, etag, { path, reload }) {
  const edit = () =>
    dialog(t("person.editTitle"), (close) => {
      const metadata = field({ name: "metadata", label: t("person.metadata"), kind: "textarea", value: person.metadata ? JSON.stringify(person.metadata, null, 2) : "", hint: t("person.metadataHint"), attributes: { spellcheck: "false", class: "mono" } });
      return form({
        fields: [...detailFields(person), metadata],
        verb: t("save"),
        save: async (values) => {
          const patch = difference(person, detailValues(values));
          const parsed = parseObject(values.metadata);
          if (parsed === undefined) return metadata.fail(t("person.metadataWrong"));
          const change = mergePatch(person.metadata ?? {}, parsed ?? {});
          if (change) patch.metadata = parsed === null ? null : change;
          if (Object.keys(patch).length) await request("PATCH", path, { body: patch, etag });
          close(true);
          toast(t("saved"), "good");
          reload();
        },
      });
    });
  const shown = [
    [t("person.id"), code(person.templateId)],
    person.name && [t("person.name"), person.name],
    [t("person.externalId"), person.externalId],
    [t("person.groups"), person.groups?.length ? h("span", { class: "badges" }, person.groups.map((group) => badge(group))) : null],
    [t("person.consentReference"), person.consentReference],
    [t("person.expiresAt"), person.expiresAt ? when(person.expiresAt) : t("never")],
    [t("created"), when(person.createdAt)],
    [t("person.updated"), when(person.updatedAt)],
    person.lastSeenAt && [t("person.lastSeen"), when(person.lastSeenAt)],
  ];
  const metadata = person.metadata && Object.keys(person.metadata).length > 0 && h("details", null, h("summary", null, t("person.metadata")), h("pre", { tabindex: "0" }, JSON.stringify(person.metadata, null, 2)));
  return card(t("details"), may.change() && button(t("edit"), edit, { small: true }), facts(shown), metadata);
}

/** What differs. Dates are compared as times: the field has no seconds. */
function difference(person, values) {
  const patch = {};
  for (const [name, value] of Object.entries(values)) {
    const before = person[name] ?? null;
    const same = name === "expiresAt" ? Math.floor(new Date(before ?? 0) / 60000) === Math.floor(new Date(value ?? 0) / 60000) : JSON.stringify(name === "groups" ? (before ?? []) : before) === JSON.stringify(value);
    if (!same) patch[name] = value;
  }
  return patch;
}

/** An object; null where empty; undefined where it is none. */
function parseObject(text) {
  if (!text) return null;
  try {
    const value = JSON.parse(text);
    return value && typeof value === "object" && !Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** The merge patch that makes one object of another; null where they are equal. */
function mergePatch(before, after) {
  const patch = {};
  for (const name of Object.keys(before)) if (!(name in after)) patch[name] = null;
  for (const [name, value] of Object.entries(after)) {
    const old = before[name];
    const inside = [old, value].every((side) => side && typeof side === "object" && !Array.isArray(side));
    const change = inside ? mergePatch(old, value) : JSON.stringify(old) === JSON.stringify(value) ? null : value;
    if (change !== null) patch[name] = change;
  }
  return Object.keys(patch).length ? patch : null;
}

function samples(person, ctx, urls) {
  const { health, samples: all = [] } = person;
  const worst = new Map((health?.findings ?? []).map((finding) => [finding.sampleId, finding]));
  const one = (sample, i) => {
    const n = i + 1;
    const finding = worst.get(sample.sampleId);
    const quality = qualityOf(sample);
    const fine = sample.quality?.crfiqa?.fine ?? sample.quality?.fine;
    return h(
      "li",
      { class: finding ? "sample amber" : "sample" },
      picture(sample, n, ctx, urls),
      h(
        "div",
        { class: "sample-text" },
        h("h3", null, t("sample.numbered", { n })),
        finding && h("p", { class: "finding" }, icon("warn"), findingText(finding)),
        typeof quality === "number" && h("p", null, t("sample.quality", { n: number(quality, 2) }), " ", fine !== undefined && badge(t(fine ? "measure.fine" : "measure.poor"), fine ? "good" : "warn")),
        h("p", { class: "hint" }, sample.enrolledBy ? [when(sample.createdAt), ` · ${by(sample.enrolledBy)}`] : when(sample.createdAt)),
        h("p", { class: "hint" }, t("sample.model", { model: sample.model })),
      ),
      may.change() &&
        h(
          "div",
          { class: "actions" },
          button(t("sample.move"), () => actions.move(person, sample, n, ctx), { small: true, label: t("sample.moveLabel", { n }) }),
          button(t("sample.delete"), () => actions.removeSample(person, sample, n, ctx), { small: true, kind: "danger", label: t("sample.deleteLabel", { n }), disabled: all.length < 2 }),
        ),
    );
  };
  const lowest = typeof health?.lowestPair === "number" && h("p", { class: "quiet" }, t("health.lowestPair", { n: number(health.lowestPair, 2) }), typeof health.samePerson === "number" && ` ${t("health.limit", { n: number(health.samePerson, 2) })}`);
  return card(`${t("samples")} (${number(all.length)})`, healthBadge(health), lowest, h("ul", { class: "samples" }, all.map(one)));
}

/** Who enrolled a sample: what kind of actor, and the beginning of its id. */
function by(actor) {
  const [kind, id = ""] = actor.split(":");
  return `${word("actor", kind === "administrator" ? "admin" : kind)} ${id.slice(0, 8)}`.trim();
}

function picture(sample, n, { path, signal }, urls) {
  const place = h("div", { class: "crop" }, silhouette());
  if (!sample.hasCrop || !may.operate()) return place;
  const load = async () => {
    const response = await request("GET", `${path}/samples/${segment(sample.sampleId)}/crop`, { raw: true, signal, headers: { Accept: "image/jpeg" } });
    put(place, h("img", { src: urls.of(await response.blob()), alt: t("sample.pictureOf", { n }), width: 224, height: 224 }));
  };
  load().catch(() => null); // the drawn face stays
  return place;
}

function manage(person, etag, ctx) {
  const rows = [
    may.operate() && ["verify", () => go(`${href("identify", ctx.appId)}?mode=verify`, { state: { templateId: person.templateId } })],
    may.audit() && ["history", () => go(`${href("journal")}?${new URLSearchParams({ appId: ctx.appId, templateId: person.templateId })}`)],
    may.change() && ["rename", () => actions.rename(person, ctx)],
    may.change() && ["merge", () => actions.merge(person, ctx)],
    ["export", () => actions.exportAll(person, ctx)],
    may.change() && ["delete", () => actions.erase(person, etag, ctx).then((gone) => gone && go(href("people", ctx.appId))), "danger"],
  ].filter(Boolean);
  return card(
    t("person.manage"),
    null,
    h("ul", { class: "choices-list" }, rows.map(([name, act, kind]) => h("li", null, h("div", null, h("strong", null, t(`person.${name}`)), h("p", { class: "hint" }, t(`person.${name}Text`))), button(t(`person.${name}Verb`), act, { kind })))),
  );
}
