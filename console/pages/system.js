// The server itself: health, models, store, backups, settings in force, checks.

import { h } from "../dom.js";
import { t, word, number, bytes, duration } from "../i18n.js";
import { api, at, actionKey } from "../api.js";
import { may } from "../session.js";
import { href } from "../router.js";
import { applicationName } from "../shell.js";
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

function server(signal) {
  const load = async () => {
    const [system, nodes] = await Promise.all([api.get("system", undefined, { signal }), api.get("nodes", undefined, { signal })]);
    return { system, nodes: nodes.nodes };
  };
  const reload = async () => {
    await api.post("system/reload");
    toast(t("system.reloaded"), "good");
  };
  const resume = async () => {
    const done = await confirm({ title: t("system.resumeTitle"), text: t("system.resumeText"), verb: t("system.resume"), danger: false, act: () => api.post("system/expiry/resume") });
    if (done) (toast(t("saved"), "good"), view.refresh());
  };
  const view = pending(load, ({ system, nodes }) => [
    system.expiryPaused && notice("warn", h("p", null, t("problem.clockInDoubt")), button(t("system.resume"), resume)),
    card(
      t("system.part.server"),
      button(t("system.reload"), reload),
      facts([
        [t("system.version"), system.version],
        [t("system.uptime"), duration(system.uptimeSeconds)],
        [t("system.node"), code(system.nodeId)],
        [t("system.pack"), system.modelPack],
        [t("system.processor"), t("system.cores", { count: system.cores, processor: system.processor })],
        system.disk && [t("system.disk"), t("system.free", { free: bytes(system.disk.freeBytes), total: bytes(system.disk.totalBytes) })],
        [t("system.certificate"), system.certificateEndsAt ? when(system.certificateEndsAt) : t("system.noTls")],
        [t("system.clock"), t("ms", { n: system.clockOffsetMs })],
      ]),
    ),
    card(
      t("system.nodes"),
      null,
      table({
        caption: t("system.nodes"),
        columns: [
          { title: t("system.node"), cell: (node) => h("code", null, node.nodeId) },
          { title: t("system.version"), cell: (node) => [node.version ?? "–", node.here && [" ", badge(t("system.here"))]] },
          { title: t("sessions.lastSeen"), cell: (node) => when(node.lastSeenAt) },
          { title: t("state"), cell: (node) => node.ready !== null && state(node.ready ? "ready" : "down") },
          { title: t("system.writable"), cell: (node) => node.writable !== null && t(node.writable ? "yes" : "no") },
          { title: t("system.clock"), cell: (node) => node.clockOffsetMs !== null && t("ms", { n: node.clockOffsetMs }), end: true },
        ],
        load: async () => ({ items: nodes }),
      }),
    ),
  ], { page: true });
  return view;
}

function models(signal) {
  const check = async () => {
    const { result, failure } = await run(() => api.post("models/check"), { signal });
    if (result?.ok) return toast(t("system.modelsGood"), "good");
    toast(result?.fault ?? failure ?? t("job.failed"), "bad");
  };
  return pending(
    () => api.get("models", undefined, { signal }),
    (found) => [
      h(
        "div",
        { class: "card-head" },
        h("p", { class: "lead" }, t("system.modelsLead", { pack: found.pack })),
        h("div", { class: "actions" }, state(found.goldenState), may.own() && button(t("system.modelsCheck"), check)),
      ),
      h("div", { class: "grid" }, found.models.map(model)),
      found.runtime && h("p", { class: "hint" }, t("system.runtime", { name: found.runtime.title, license: found.runtime.licence })),
    ],
    { page: true },
  );
}

const model = (one) =>
  card(
    one.title ?? one.name ?? one.id,
    one.role && badge([one.role].flat().join(", ")),
    facts([
      [t("system.license"), one.licence],
      [t("system.source"), one.source],
      one.copyright && [t("system.copyright"), one.copyright],
      one.sha256 && [t("system.digest"), h("code", { title: one.sha256 }, `${one.sha256.slice(0, 16)}…`)],
      ...Object.entries(one.measured ?? {}).map(([name, value]) => [name, typeof value === "number" ? number(value, value % 1 ? 4 : 0) : String(value)]),
    ]),
  );

function store(signal) {
  const keys = async () => ({ items: (await api.get("store", { sealingKeys: true }, { signal })).sealingKeys });
  return pending(
    () => api.get("store", undefined, { signal }),
    (found) => [
      !found.reachable && notice("bad", h("p", null, t("system.unreachable"))),
      found.writeFault && notice("bad", h("p", null, found.writeFault)),
      found.unreadable.map((one) => notice("warn", h("p", null, t("system.unreadable", { count: one.people, name: applicationName(one.appId) })))),
      card(
        t("system.part.store"),
        state(found.reachable && found.writable ? "ready" : "degraded"),
        facts([
          [t("system.kind"), found.kind],
          found.bytes !== null && [t("system.size"), bytes(found.bytes)],
          [t("system.pool"), t("system.poolUse", { used: found.pool.inUse, all: found.pool.capacity })],
          [t("system.staleness"), t("system.seconds", { n: number(found.stalenessSeconds, 1) })],
        ]),
      ),
      card(
        t("system.keys"),
        null,
        table({
          caption: t("system.keys"),
          columns: [
            { title: t("name"), cell: (key) => h("code", null, key.keyName) },
            { title: t("state"), cell: (key) => (key.inForce ? badge(t("system.inForce"), "good") : badge(t("system.retired"))) },
            { title: t("system.given"), cell: (key) => (key.given ? t("yes") : badge(t("system.keyMissing"), "bad")) },
            { title: t("system.sealed"), cell: (key) => number(key.sealed), end: true },
          ],
          load: keys,
        }),
      ),
    ],
    { page: true },
  );
}

function backups(signal) {
  const finish = (job, text) => {
    toast(job.failure ?? text, job.failure ? "bad" : "good");
    list.refresh();
  };
  const make = async () => finish(await run(() => api.post("backups", {}, { idempotencyKey: actionKey() }), { signal }), t("system.backupMade"));
  const test = async (backup) => finish(await run(() => api.post(at`backups/${backup.backupId}/test`), { signal }), t("system.backupGood"));
  const remove = async (backup) => {
    const done = await confirm({ title: t("system.backupDeleteTitle"), text: t("system.backupDeleteText"), verb: t("remove"), act: () => api.delete(at`backups/${backup.backupId}`) });
    if (done) (toast(t("system.backupDeleted"), "good"), list.refresh());
  };
  const list = table({
    caption: t("system.part.backups"),
    columns: [
      { title: t("created"), cell: (backup) => when(backup.createdAt) },
      { title: t("system.size"), cell: (backup) => bytes(backup.bytes), end: true },
      { title: t("system.needs"), cell: (backup) => backup.keyNames.map((key) => h("code", null, key, " ")) },
      { title: t("system.tested"), cell: (backup) => when(backup.testedAt, t("never")) },
      { title: "", cell: (backup) => h("div", { class: "actions" }, button(t("system.backupTest"), () => test(backup), { small: true }), button(t("remove"), () => remove(backup), { small: true, kind: "danger" })), end: true },
    ],
    load: async () => {
      const { isConfigured, backups } = await api.get("backups", undefined, { signal });
      start.hidden = !isConfigured;
      return { items: backups };
    },
    empty: empty(t("system.noBackup"), t("system.noBackupText")),
  });
  const start = button(t("system.backupMake"), make, { kind: "primary" });
  return card(t("system.part.backups"), start, h("p", { class: "hint" }, t("system.backupHint")), list);
}

function settings(signal) {
  return pending(
    () => api.get("settings", undefined, { signal }),
    ({ settings }) => {
      const search = field({ name: "search", label: t("system.settingSearch"), kind: "search" });
      const own = field({ name: "own", label: t("system.settingsOwn"), kind: "checkbox" });
      const value = (one) => (one.value === null ? (one.isSet ? badge(t("system.secret")) : "–") : [h("code", null, typeof one.value === "string" ? one.value || "\"\"" : JSON.stringify(one.value)), one.inForce !== undefined && h("div", { class: "hint" }, t("system.chosen", { value: String(one.inForce) }))]);
      const source = (one) => [word("source", one.source), one.file && [" ", h("code", null, one.file)], one.fileLine && ` · ${t("system.line", { line: String(one.fileLine) })}`, one.variable && [" ", h("code", null, one.variable)]];
      const list = table({
        caption: t("system.part.settings"),
        columns: [
          { title: t("system.setting"), cell: (one) => h("code", null, one.key) },
          { title: t("system.value"), cell: value },
          { title: t("system.from"), cell: source },
          { title: t("system.reloadable"), cell: (one) => t(one.reloadable ? "reload.setting" : one.fileReloadable ? "reload.content" : "reload.nothing") },
        ],
        load: async () => ({ items: settings.filter((one) => one.key.includes(search.read() ?? "") && (!own.read() || one.source !== "default")) }),
      });
      search.input.addEventListener("input", () => list.refresh());
      own.input.addEventListener("change", () => list.refresh());
      return card(t("system.part.settings"), null, h("p", { class: "hint" }, t("system.settingsLead")), h("div", { class: "filters" }, search, own), list);
    },
  );
}

function doctor(signal) {
  return pending(
    () => api.post("system/doctor", {}, { signal }),
    ({ checks }) => {
      const bad = checks.filter((check) => !check.ok).length;
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

const outcome = (check) => (!check.ok ? badge(t("check.failed"), "bad") : check.warning ? badge(t("check.warning"), "warn") : badge(t("check.good"), "good"));
