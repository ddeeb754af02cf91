// What the pages of people share.

import { h, put } from "./dom.js";
import { t, known, word, number } from "./i18n.js";
import { actionKey, api, ApiError, at, segment } from "./api.js";
import { photoForm } from "./photos.js";
import { href } from "./router.js";
import { badge, field, uniqueId } from "./ui.js";

/** Most photos of one call. */
export const MAX_PHOTOS = 16;

/** Codes of refusals that another choice of face may mend. */
export const MANY_FACES = 6;

export const personHref = (templateId, appId) => href(`people/${segment(templateId)}`, appId);

/** Name and id, or the id alone. */
export const personTitle = (person) => person.name || person.templateId;

/** Texts separated by commas, without doubles. */
export const list = (text) => [...new Set((text ?? "").split(/[,;]/).map((part) => part.trim()).filter(Boolean))];

/** Why a photo is refused, and what to do, in the person's language where it is known. */
export function refusal({ code, info, remedy, reason }, file) {
  if (reason && known(`reason.${reason}`)) return { why: t(`reason.${reason}`), remedy };
  const key = code === 4 && file && /hei[cf]$/i.test(`${file.type} ${file.name}`) ? "heic" : code;
  return { why: known(`fault.${key}`) ? t(`fault.${key}`) : info, remedy: known(`remedy.${key}`) ? t(`remedy.${key}`) : remedy };
}

/** What the guard found, with links to the people. */
export function guardFindings(findings, appId) {
  return h(
    "ul",
    { class: "findings" },
    findings.map((finding) =>
      h(
        "li",
        null,
        known(`guard.${finding.kind}`) ? t(`guard.${finding.kind}`, { n: number(finding.similarity, 2) }) : finding.kind,
        finding.templateId && [" ", h("a", { href: personHref(finding.templateId, appId) }, finding.templateId)],
      ),
    ),
  );
}

/** The state of a person's samples as a badge. */
export const healthBadge = (health) => health?.state && badge(word("health", health.state), { good: "good", weak: "warn", mixed: "bad" }[health.state] ?? "quiet");

/** The fields of a person's details. */
export function detailFields(person = {}) {
  const expires = person.expiresAt ? new Date(new Date(person.expiresAt) - new Date().getTimezoneOffset() * 60000).toISOString().slice(0, 16) : "";
  const plain = { autocomplete: "off" };
  return [
    field({ name: "name", label: t("person.name"), value: person.name, attributes: { ...plain, maxlength: 200 } }),
    field({ name: "externalId", label: t("person.externalId"), value: person.externalId, hint: t("person.externalIdHint"), attributes: { ...plain, maxlength: 128 } }),
    field({ name: "groups", label: t("person.groups"), value: person.groups?.join(", "), hint: t("person.groupsHint"), attributes: plain }),
    field({ name: "consentReference", label: t("person.consentReference"), value: person.consentReference, attributes: plain }),
    field({ name: "expiresAt", label: t("person.expiresAt"), kind: "datetime-local", value: expires, hint: t("person.expiresAtHint") }),
  ];
}

/** The values of those fields as the API takes them; null where empty. */
export const detailValues = (values) => ({
  name: values.name,
  externalId: values.externalId,
  groups: list(values.groups),
  consentReference: values.consentReference,
  expiresAt: values.expiresAt ? new Date(values.expiresAt).toISOString() : null,
});

/** A field that finds a person by name or id. `read()` answers the id. */
export function personField({ appId, name, label, except, value }) {
  const node = field({ name, label, kind: "search", value, hint: t("person.findHint"), required: true, attributes: { autocomplete: "off", role: "combobox", "aria-expanded": "false", "aria-autocomplete": "list" } });
  const found = h("ul", { class: "options", role: "listbox", id: uniqueId("options"), "aria-label": label, hidden: true });
  node.input.setAttribute("aria-controls", found.id);
  node.append(found);
  let chosen = null;
  let turn = 0;
  let timer;
  const open = (shown) => {
    found.hidden = !shown;
    node.input.setAttribute("aria-expanded", String(shown));
    node.input.removeAttribute("aria-activedescendant");
  };
  const choose = (person) => {
    chosen = person.templateId;
    node.input.value = person.name ? `${person.name} (${person.templateId})` : person.templateId;
    open(false);
  };
  const search = async () => {
    const own = ++turn;
    const q = node.input.value.trim();
    if (!q) return open(false);
    const answer = await api.post(at`applications/${appId}/people/search`, { q, limit: 8 }).catch(() => ({ people: [] }));
    if (own !== turn) return;
    const people = answer.people.filter((person) => person.templateId !== except);
    put(
      found,
      people.map((person) => {
        const option = h("li", { role: "option", id: uniqueId("option"), "aria-selected": "false", on: { mousedown: (event) => (event.preventDefault(), choose(person)) } }, h("span", null, personTitle(person)), person.name && h("code", null, person.templateId));
        return Object.assign(option, { person });
      }),
    );
    open(people.length > 0);
  };
  node.input.addEventListener("input", () => {
    chosen = null;
    clearTimeout(timer);
    timer = setTimeout(search, 200);
  });
  node.input.addEventListener("blur", () => open(false));
  node.input.addEventListener("keydown", (event) => {
    const options = [...found.children];
    if (found.hidden || !options.length) return;
    const now = options.findIndex((option) => option.getAttribute("aria-selected") === "true");
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      const next = options.at((now + (event.key === "ArrowDown" ? 1 : now < 0 ? 0 : -1)) % options.length);
      for (const option of options) option.setAttribute("aria-selected", String(option === next));
      node.input.setAttribute("aria-activedescendant", next.id);
    } else if (event.key === "Enter" && now >= 0) {
      event.preventDefault();
      choose(options[now].person);
    } else if (event.key === "Escape") {
      event.preventDefault();
      event.stopPropagation();
      open(false);
    }
  });
  return Object.assign(node, { read: () => chosen ?? (node.input.value.trim() || null) });
}

/** The names of people by id, where they have one and it can be read. The ids travel in bodies. */
export async function namesOf(appId, ids, signal) {
  const find = async (id) => {
    const { people } = await api.post(at`applications/${appId}/people/search`, { q: id, limit: 10 }, { signal });
    return [id, people.find((person) => person.templateId === id)?.name];
  };
  return Object.fromEntries(await Promise.all([...new Set(ids)].map((id) => find(id).catch(() => [id, null]))));
}

/** What became of each photo: `rows` are `{file, accepted, refused}`. */
export function outcomes(rows, picture) {
  return h(
    "ul",
    { class: "outcomes" },
    rows.map(({ file, accepted, refused }) => {
      const words = refused && refusal(refused, file);
      return h(
        "li",
        null,
        picture(file),
        h(
          "div",
          null,
          accepted ? badge(t("enroll.accepted"), "good") : badge(t("enroll.refused"), "warn"),
          accepted && typeof qualityOf(accepted) === "number" && h("span", { class: "hint" }, ` ${t("enroll.quality", { n: number(qualityOf(accepted), 2) })}`),
          words && h("p", null, h("strong", null, words.why), " ", words.remedy),
        ),
      );
    }),
  );
}

/** Whether a call was refused for its photo, so that others may pass. */
export const isPhotoFault = (error) => error instanceof ApiError && ((error.code >= 1 && error.code <= 9) || [400, 409, 413].includes(error.status));

/** The findings of the guard in a reply to one photo. */
const KINDS = { enrolled_elsewhere: "alreadyEnrolled", unlike_samples: "unlikeOwnSamples" };
export const warningsOf = ({ warnings = [], guard }) => guard?.findings ?? warnings.map(({ code, templateId, similarity }) => ({ kind: KINDS[code] ?? code, templateId, similarity }));

/** Adds photos to a person, one call for each. Answers what became of each, as an enrollment does. */
export async function addSamples(appId, templateId, photos, { query, signal } = {}) {
  const done = { templateId, accepted: [], refused: [], guard: { findings: [] } };
  for (const [index, photo] of photos.entries()) {
    try {
      const added = await api.post(at`applications/${appId}/people/${templateId}/samples`, photoForm([photo]), { query, signal, idempotencyKey: actionKey() });
      done.accepted.push({ index, ...added });
      done.guard.findings.push(...warningsOf(added));
    } catch (error) {
      if (!isPhotoFault(error)) throw error;
      const { code, info, reason } = error;
      done.refused.push({ index, code, info, reason });
    }
  }
  return done;
}

/** The usefulness of a photo for recognition, from 0 to 1. */
export const qualityOf = ({ quality }) => (typeof quality === "number" ? quality : (quality?.crfiqa?.score ?? quality?.score));

