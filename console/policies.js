// The rules and limits of one application, as a form. Only what the server knows is shown; only what changed is sent.

import { h } from "./dom.js";
import { t, word, known } from "./i18n.js";
import { api } from "./api.js";
import { card, confirm, field, form, toast } from "./ui.js";

const DAY = 86400;

// `of`: the member that holds it. `scale`: what one unit of the form is on the wire.
const GROUPS = {
  recognition: [
    { name: "threshold", kind: "number", attributes: { min: 0, max: 1, step: "any" } },
    { name: "minQuality", kind: "number", attributes: { min: 0, max: 1, step: "any" } },
    { name: "guard", kind: "select", options: ["off", "warn", "refuse"] },
    { name: "attributes", kind: "checkbox" },
  ],
  limits: [
    { of: "limits", name: "perSecond", kind: "number", attributes: { min: 0, step: "any" } },
    { of: "limits", name: "burst", kind: "number", attributes: { min: 1, step: 1 } },
    { of: "limits", name: "share", kind: "number", attributes: { min: 0, max: 1, step: "any" } },
    { of: "quotas", name: "templates", kind: "number", attributes: { min: 0, step: 1 } },
    { of: "quotas", name: "samples", kind: "number", attributes: { min: 0, step: 1 } },
  ],
  privacy: [
    { name: "retentionSeconds", kind: "number", scale: DAY, attributes: { min: 0, step: "any" } },
    { name: "requireConsent", kind: "checkbox" },
    { name: "nameSearch", kind: "checkbox" },
    { name: "keepCrops", kind: "checkbox" },
    { name: "keepProbesSeconds", kind: "number", scale: DAY, attributes: { min: 0, max: 90, step: "any" } },
  ],
};

/** A policy as the API gives it: `{value, source}`; undefined where the server has none. */
const read = (app, { of, name }) => (of ? app[of] : app)[name];

function entry(app, spec) {
  const found = read(app, spec);
  if (!found) return null;
  const own = found.source === "application";
  const scaled = (value) => (spec.scale && value !== null ? value / spec.scale : value);
  const text = t(`policy.${spec.name}`);
  const hints = [known(`policy.about.${spec.name}`) && t(`policy.about.${spec.name}`), !own && spec.kind === "number" && found.value !== null && t("policy.ofServer", { value: String(scaled(found.value)) })];
  const node = field({
    name: `${spec.of ?? ""}.${spec.name}`,
    label: text,
    kind: spec.kind,
    value: spec.kind === "number" && !own ? null : scaled(found.value),
    hint: hints.filter(Boolean).join(" "),
    options: spec.options?.map((option) => [option, word("choice", option)]),
    attributes: spec.attributes,
  });
  const before = JSON.stringify(node.read());
  return { spec, node, changed: () => JSON.stringify(node.read()) !== before };
}

/** The form. `changed()` loads the application again. */
export function policyForm(app, { etag, path, changed }) {
  const groups = Object.entries(GROUPS).map(([name, specs]) => [name, specs.map((spec) => entry(app, spec)).filter(Boolean)]);
  const entries = groups.flatMap(([, entries]) => entries);
  const body = () => {
    const found = {};
    for (const { spec, node } of entries.filter((entry) => entry.changed())) {
      const value = node.read();
      const target = spec.of ? (found[spec.of] ??= {}) : found;
      target[spec.name] = spec.scale && value !== null ? Math.round(value * spec.scale) : value;
    }
    return found;
  };
  const send = async (more) => {
    await api.patch(path, { ...body(), ...more }, { etag });
    toast(t("saved"), "good");
    changed();
  };
  const save = async () => {
    if (!Object.keys(body()).length) return toast(t("policy.unchanged"));
    try {
      await send();
    } catch (error) {
      if (error.reason !== "wouldErase") throw error;
      const { count } = error.details;
      await confirm({ title: t("policy.eraseTitle"), text: t("policy.eraseText", { count }), verb: t("policy.eraseVerb"), act: () => send({ confirmErases: count }) });
    }
  };
  const sets = groups
    .filter(([, entries]) => entries.length)
    .map(([name, entries]) => h("fieldset", null, h("legend", null, t(`policy.group.${name}`)), h("div", { class: "fields" }, entries.map(({ node }) => node))));
  const node = form({ fields: sets, verb: t("save"), save });
  return card(t("applications.part.policies"), null, h("p", { class: "hint" }, t("policy.lead")), node);
}
