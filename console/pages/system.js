// The server itself: health, models, store, backups, settings in force, checks.

import { h } from "../dom.js";
import { t, word, known, number, bytes, duration } from "../i18n.js";
import { api, at, actionKey } from "../api.js";
import { may } from "../session.js";
import { href } from "../router.js";
import { badge, button, card, code, confirm, empty, facts, field, head, notice, pending, state, table, tabs, toast, when } from "../ui.js";
import { run } from "../jobs.js";

const PARTS = ["server", "models", "store", "backups", "settings", "doctor"];

export default function page({ query, signal }) {
  const parts = may.own() ? PARTS : ["models"];
  const part = parts.includes(query.get("part")) ? query.get("part") : parts[0];
  const link = (name) => ({ text: t(`system.part.${name}`), href: name === parts[0] ? href("system") : `${href("system")}?part=${name}`, current: name === part });
  const content = { server, models, store, backups, settings, doctor }[part];
  return h("div", { class: "page" }, head(t("nav.system")), parts.length > 1 && tabs(t("nav.system"), parts.map(link)), content(signal));
}

const text = (value) => (value === null || value === undefined ? "–" : typeof value === "boolean" ? t(value ? "yes" : "no") : typeof value === "number" ? number(value) : typeof value === "object" ? JSON.stringify(value) : String(value));

function server(signal) {
  const load = async () => {
    const [system, nodes] = await Promise.all([api.get("system", undefined, { signal }), api.get("nodes", undefined, { signal })]);
    return { system, nodes: nodes.nodes };
  };
  const reload = async () => {
    await api.post("system/reload");
    toast(t("system.reloaded"), "good");
  };
  return pending(load, ({ system, nodes }) => [
    card(
      t("system.part.server"),
      button(t("system.reload"), reload),
      facts([
        [t("system.version"), system.version],
        [t("system.uptime"), system.uptimeSeconds === undefined ? null : duration(system.uptimeSeconds)],
        [t("system.node"), system.nodeId && code(system.nodeId)],
        [t("system.certificate"), system.certificateEndsAt ? when(system.certificateEndsAt) : t("system.noTls")],
      ]),
    ),
    card(
      t("system.nodes"),
      null,
      table({
        caption: t("system.nodes"),
        columns: [
          { title: t("system.node"), cell: (node) => h("code", null, node.nodeId) },
          { title: t("system.version"), cell: (node) => node.version },
          { title: t("sessions.lastSeen"), cell: (node) => when(node.lastSeenAt) },
          { title: t("state"), cell: (node) => node.ready !== undefined && node.ready !== null && state(node.ready ? "ready" : "down") },
          { title: t("system.writable"), cell: (node) => node.writable !== undefined && node.writable !== null && t(node.writable ? "yes" : "no") },
          { title: t("system.behindBy"), cell: (node) => number(node.behindBy), end: true },
        ],
        load: async () => ({ items: nodes }),
      }),
    ),
  ]);
}

function models(signal) {
  const check = async () => {
    const job = await run(() => api.post("models/check"), { signal });
    toast(t(job.state === "failed" ? "system.modelsFail" : "system.modelsGood"), job.state === "failed" ? "bad" : "good");
    view.refresh();
  };
  const view = pending(
    () => api.get("models", undefined, { signal }),
    ({ models }) => [
      h("div", { class: "card-head" }, h("p", { class: "lead" }, t("system.modelsLead")), may.own() && button(t("system.modelsCheck"), check)),
      h(
        "div",
        { class: "grid" },
        models.map((model) =>
          card(
            model.title ?? model.name ?? model.role,
            model.golden && (typeof model.golden === "string" ? state(model.golden) : state(model.golden.state)),
            facts([
              [t("system.role"), Array.isArray(model.role) ? model.role.join(", ") : (model.role ?? (model.roles ?? []).join(", "))],
              [t("system.license"), model.licence ?? model.license],
              model.source && [t("system.source"), model.source],
              model.sha256 && [t("system.digest"), h("span", null, h("code", { title: model.sha256 }, `${model.sha256.slice(0, 16)}…`))],
              ...Object.entries(model.figures ?? {}).map(([name, value]) => [name, text(value)]),
            ]),
          ),
        ),
      ),
    ],
  );
  view.classList.add("page");
  return view;
}

function store(signal) {
  return pending(
    () => api.get("store", undefined, { signal }),
    (found) => [
      found.reachable === false && notice("bad", h("p", null, t("system.unreachable"))),
      found.unreadableSamples > 0 && notice("warn", h("p", null, t("system.unreadable", { count: found.unreadableSamples }))),
      card(
        t("system.part.store"),
        null,
        facts([
          [t("system.kind"), found.kind],
          [t("system.size"), bytes(found.sizeBytes ?? found.size)],
          [t("system.schema"), text(found.schema)],
          found.pool && [t("system.pool"), t("system.poolUse", { used: found.pool.inUse ?? found.pool.used ?? 0, all: found.pool.size ?? found.pool.max ?? 0 })],
        ]),
      ),
      card(
        t("system.keys"),
        null,
        table({
          caption: t("system.keys"),
          columns: [
            { title: t("name"), cell: (key) => h("code", null, key.name) },
            { title: t("state"), cell: (key) => (key.inForce ? badge(t("system.inForce"), "good") : badge(t("system.retired"))) },
            { title: t("system.given"), cell: (key) => (key.given === false ? badge(t("system.keyMissing"), "bad") : t("yes")) },
            { title: t("system.sealed"), cell: (key) => text(key.sealed), end: true },
          ],
          load: async () => ({ items: found.sealingKeys ?? [] }),
        }),
      ),
    ],
  );
}

function backups(signal) {
  const make = async () => {
    const job = await run(() => api.post("backups", {}, { idempotencyKey: actionKey() }), { signal });
    toast(job.state === "failed" ? (job.failure?.info ?? job.failure ?? t("job.failed")) : t("system.backupMade"), job.state === "failed" ? "bad" : "good");
    list.refresh();
  };
  const test = async (backup) => {
    const job = await run(() => api.post(at`backups/${backup.id ?? backup.backupId}/test`), { signal });
    toast(job.state === "failed" ? (job.failure?.info ?? job.failure ?? t("job.failed")) : t("system.backupGood"), job.state === "failed" ? "bad" : "good");
    list.refresh();
  };
  const remove = async (backup) => {
    const done = await confirm({ title: t("system.backupDeleteTitle"), text: t("system.backupDeleteText"), verb: t("remove"), act: () => api.delete(at`backups/${backup.id ?? backup.backupId}`) });
    if (done) (toast(t("system.backupDeleted"), "good"), list.refresh());
  };
  const list = table({
    caption: t("system.part.backups"),
    columns: [
      { title: t("created"), cell: (backup) => when(backup.createdAt) },
      { title: t("system.size"), cell: (backup) => bytes(backup.sizeBytes ?? backup.size), end: true },
      { title: t("system.needs"), cell: (backup) => (backup.keys ?? []).map((key) => h("code", null, key, " ")) },
      { title: t("system.tested"), cell: (backup) => when(backup.testedAt, t("never")) },
      { title: "", cell: (backup) => h("div", { class: "actions" }, button(t("system.backupTest"), () => test(backup), { small: true }), button(t("remove"), () => remove(backup), { small: true, kind: "danger" })), end: true },
    ],
    load: async () => ({ items: (await api.get("backups", undefined, { signal })).backups }),
    empty: empty(t("system.noBackup"), t("system.noBackupText")),
  });
  return card(t("system.part.backups"), button(t("system.backupMake"), make, { kind: "primary" }), h("p", { class: "hint" }, t("system.backupHint")), list);
}

function settings(signal) {
  return pending(
    () => api.get("settings", undefined, { signal }),
    ({ settings }) => {
      const search = field({ name: "search", label: t("system.settingSearch"), kind: "search" });
      const own = field({ name: "own", label: t("system.settingsOwn"), kind: "checkbox" });
      const value = (one) => (one.value === null ? (one.isSet ? badge(t("system.secret")) : "–") : h("code", null, typeof one.value === "string" ? one.value || "\"\"" : JSON.stringify(one.value)));
      const source = (one) => [word("source", one.source), one.fileLine && ` · ${t("system.line", { line: String(one.fileLine) })}`, one.variable && [" · ", h("code", null, one.variable)]];
      const list = table({
        caption: t("system.part.settings"),
        columns: [
          { title: t("system.setting"), cell: (one) => h("code", null, one.key) },
          { title: t("system.value"), cell: value },
          { title: t("system.from"), cell: source },
          { title: t("system.reloadable"), cell: (one) => reloads(one.reloadable) },
        ],
        load: async () => ({ items: settings.filter((one) => one.key.includes(search.read() ?? "") && (!own.read() || one.source !== "default")) }),
      });
      search.input.addEventListener("input", () => list.refresh());
      own.input.addEventListener("change", () => list.refresh());
      return card(t("system.part.settings"), null, h("p", { class: "hint" }, t("system.settingsLead")), h("div", { class: "filters" }, search, own), list);
    },
  );
}

const reloads = (value) => (typeof value === "string" ? (known(`reload.${value}`) ? t(`reload.${value}`) : value) : t(value ? "reload.setting" : "reload.nothing"));

function doctor(signal) {
  return pending(
    () => api.post("system/doctor", {}, { signal }),
    ({ checks }) => {
      const bad = checks.filter((check) => check.ok === false).length;
      return card(
        t("system.part.doctor"),
        null,
        notice(bad ? "bad" : "good", h("p", null, bad ? t("system.doctorBad", { count: bad }) : t("system.doctorGood"))),
        table({
          caption: t("system.part.doctor"),
          columns: [
            { title: t("system.check"), cell: (check) => check.name },
            { title: t("state"), cell: (check) => outcome(check) },
            { title: t("system.found"), cell: (check) => [check.text, check.remedy && h("div", { class: "hint" }, check.remedy)] },
          ],
          load: async () => ({ items: checks }),
        }),
      );
    },
    { rows: 8 },
  );
}

const outcome = (check) => (check.ok === false ? badge(t("check.failed"), "bad") : check.outcome === "warning" || check.warning ? badge(t("check.warning"), "warn") : badge(t("check.good"), "good"));
