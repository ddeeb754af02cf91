// The journal: what was done, by whom, with which outcome. Filters stand in the address.

import { h } from "../dom.js";
import { t, known, word, dateTime } from "../i18n.js";
import { api, request, segment } from "../api.js";
import { may } from "../session.js";
import { href, setQuery } from "../router.js";
import { applications, applicationName } from "../shell.js";
import { badge, button, code, copyButton, dialog, empty, facts, field, head, notice, pending, save, table, toast } from "../ui.js";
import { run } from "../jobs.js";

const FILTERS = ["from", "to", "operation", "outcome", "appId", "templateId", "actor"];
const OPERATIONS = ["identify", "verify", "add", "delete", "erasure", "templates", "app", "key", "session", "admin", "retention", "backup"];
const OUTCOMES = ["failed", "found", "nobody", "enrolled", "removed"];

/** A time of the address (UTC) as the field shows it: in the person's zone. */
function toField(time) {
  if (!time) return "";
  const moment = new Date(time);
  return Number.isNaN(+moment) ? "" : new Date(moment - moment.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
}

export default function page({ query, signal }) {
  const filter = Object.fromEntries(FILTERS.map((name) => [name, query.get(name)]));
  const about = h("p", { class: "quiet", role: "status" });
  const select = (name, list, group) =>
    field({ name, label: t(`journal.${name}`), kind: "select", value: filter[name] ?? "", options: [["", t("journal.any")], ...list.map((value) => [value, group ? word(group, value) : value])] });
  const fields = [
    field({ name: "from", label: t("journal.from"), kind: "datetime-local", value: toField(filter.from) }),
    field({ name: "to", label: t("journal.to"), kind: "datetime-local", value: toField(filter.to) }),
    select("operation", OPERATIONS, "operation"),
    select("outcome", OUTCOMES, "outcome"),
    field({ name: "appId", label: t("application"), kind: "select", value: filter.appId ?? "", options: [["", t("journal.any")], ...applications().map((app) => [app.appId, app.name])] }),
    field({ name: "templateId", label: t("journal.templateId"), kind: "search", value: filter.templateId, attributes: { autocomplete: "off" } }),
    field({ name: "actor", label: t("journal.actor"), kind: "search", value: filter.actor, attributes: { autocomplete: "off", placeholder: t("journal.actorHint") } }),
  ];
  const body = () => Object.fromEntries(Object.entries(filter).filter(([, value]) => value));
  const lines = table({
    caption: t("nav.journal"),
    columns: [
      { title: t("journal.time"), cell: (line) => h("span", { class: "nowrap" }, dateTime(line.time, undefined, true)) },
      { title: t("journal.operation"), cell: (line) => operation(line.operation) },
      { title: t("journal.outcome"), cell: (line) => outcome(line) },
      { title: t("application"), cell: (line) => line.appId && applicationName(line.appId) },
      { title: t("journal.templateId"), cell: (line) => line.templateId },
      { title: t("journal.actor"), cell: (line) => actor(line) },
    ],
    load: async ({ cursor }) => {
      const found = await api.post("journal/search", { ...body(), cursor, limit: 50 }, { signal });
      about.textContent = found.complete === false && found.scannedTo ? t("journal.scannedTo", { time: dateTime(found.scannedTo) }) : "";
      return { items: found.lines, nextCursor: found.nextCursor };
    },
    open: details,
    empty: empty(t("journal.none"), t("journal.noneText")),
  });
  const form = h("form", { class: "filters", role: "search", "aria-label": t("journal.filter"), novalidate: true }, fields, h("div", { class: "actions" }, button(t("journal.filter"), null, { type: "submit", kind: "primary" }), button(t("journal.clear"), () => apply({}))));
  const apply = (values) => {
    for (const one of fields) filter[one.name] = values[one.name] ?? null;
    for (const one of fields) one.input.value = one.name === "from" || one.name === "to" ? toField(filter[one.name]) : (filter[one.name] ?? "");
    setQuery(filter);
    lines.refresh();
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const values = Object.fromEntries(fields.map((one) => [one.name, one.read()]));
    for (const name of ["from", "to"]) if (values[name]) values[name] = new Date(values[name]).toISOString();
    apply(values);
  });
  const download = async (format) => {
    const response = await request("POST", "journal/export", { body: { ...body(), format }, signal, raw: true });
    save(await response.blob(), `journal.${format}`);
  };
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  return h(
    "div",
    { class: "page" },
    head(t("nav.journal"), {
      lead: t("journal.lead", { zone }),
      action: [button(t("journal.exportLines"), () => download("ndjson")), button(t("journal.exportCsv"), () => download("csv"))],
    }),
    may.audit() && status(signal),
    h("div", { class: "card" }, form),
    about,
    lines,
  );
}

const operation = (name) => (known(`operation.${name}`) ? t(`operation.${name}`) : name.replace(/^(\w+) \/api\/(?:admin\/)?v1(?:\.0)?\//, "$1 "));

function outcome(line) {
  if (line.outcome) return known(`outcome.${line.outcome}`) ? t(`outcome.${line.outcome}`) : line.outcome;
  if (!line.status) return null;
  return badge(`${line.status}${line.code && line.code !== line.status ? ` / ${line.code}` : ""}`, line.status >= 500 ? "bad" : line.status >= 400 ? "warn" : "good");
}

const actor = ({ actor, keyId, client }) => (actor ? [word("actor", actor.kind), " ", actor.id ?? keyId] : client);

/** One line with all its members, as they stand in the file. */
function details(line) {
  const show = (value) => (value !== null && typeof value === "object" ? h("code", null, JSON.stringify(value)) : typeof value === "number" ? String(value) : value);
  const both = `${dateTime(line.time, undefined, true)} · ${dateTime(line.time, "UTC", true)} UTC`;
  return dialog(
    t("journal.line", { n: line.n ?? "" }),
    () => [
      facts([
        [t("journal.time"), both],
        [t("journal.operation"), operation(line.operation)],
        line.transactionId && [t("error.transaction"), code(line.transactionId)],
        line.templateId && line.appId && may.operate() && [t("journal.templateId"), h("a", { href: href(`people/${segment(line.templateId)}`, line.appId) }, line.templateId)],
      ]),
      h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": t("journal.members") }, h("table", null, h("caption", { class: "outside" }, t("journal.members")), h("tbody", null, Object.entries(line).map(([name, value]) => h("tr", null, h("th", { scope: "row" }, name), h("td", null, show(value))))))),
      h("div", { class: "actions" }, copyButton(JSON.stringify(line))),
    ],
    { wide: true },
  );
}

/** How far the chain of lines was verified, with a button that verifies it now. */
function status(signal) {
  const view = pending(
    () => api.get("journal/status", undefined, { signal }),
    (found) => {
      const verify = async () => {
        const { result, failure } = await run(() => api.post("journal/verify"), { signal });
        toast(result?.ok ? t("journal.verified") : (result?.fault ?? failure), result?.ok ? "good" : "bad");
        view.refresh();
      };
      const { verification } = found;
      return h(
        "div",
        { class: "page" },
        !found.enabled && notice("warn", h("p", null, t("journal.off"))),
        verification?.fault && notice("bad", h("p", null, verification.fault)),
        h(
          "div",
          { class: "card-head" },
          h("p", null, found.verifiedAt ? t("journal.verifiedTo", { n: found.verifiedTo, time: dateTime(found.verifiedAt) }) : t("journal.notVerified"), " ", found.last && t("journal.last", { n: found.last.n })),
          button(t("journal.verify"), verify),
        ),
      );
    },
    { rows: 1 },
  );
  return view;
}
