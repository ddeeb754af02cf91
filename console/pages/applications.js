// The applications, their policies and their keys.

import { h } from "../dom.js";
import { t, word, number, percent, duration } from "../i18n.js";
import { api, at, actionKey, request, segment } from "../api.js";
import { resume } from "../session.js";
import { go, href } from "../router.js";
import { badge, button, card, choices, code, confirm, copyButton, dialog, empty, facts, field, form, head, notice, pending, secret, state, table, tabs, toast, when } from "../ui.js";
import { policyForm } from "../policies.js";

const SCOPES = ["identify", "enroll", "read", "delete"];
const DAY = 86400;

export default function page({ signal }) {
  const list = table({
    caption: t("nav.applications"),
    columns: [
      { title: t("name"), cell: (app) => app.name },
      { title: t("state"), cell: (app) => state(app.state) },
      { title: t("nav.people"), cell: (app) => number(app.templates), end: true },
      { title: t("samples"), cell: (app) => number(app.samples), end: true },
      { title: t("applications.threshold"), cell: (app) => number(app.threshold.value, 3), end: true },
      { title: t("applications.expectedFpir"), cell: (app) => fpir(app.expectedFpir), end: true },
    ],
    load: async ({ cursor }) => {
      const found = await api.get("applications", { cursor }, { signal });
      return { items: found.applications, nextCursor: found.nextCursor };
    },
    href: (app) => href(`applications/${segment(app.appId)}`),
    empty: empty(t("noApplication.title"), t("noApplication.own")),
  });
  const add = h("a", { class: "button primary", href: href("applications/new") }, t("applications.new"));
  return h("div", { class: "page" }, head(t("nav.applications"), { lead: t("applications.lead"), action: add }), list);
}

/** How often a person who is not enrolled is matched. */
const fpir = (value) => (value === null || value === undefined ? "–" : value > 0 && value < 0.5 ? t("applications.oneIn", { n: number(Math.round(1 / value)) }) : percent(value, 1));

/** A first key is shown once, with the id that goes with it. */
const showKey = (title, appId, appKey) =>
  dialog(title, (close) => [
    h("p", null, t("keys.showText")),
    facts([[t("keys.appId"), code(appId)]]),
    h("div", { class: "secret" }, h("code", { tabindex: "0" }, appKey), copyButton(appKey)),
    h("p", { class: "hint" }, t("secretOnce")),
    h("div", { class: "actions" }, button(t("secretKept"), () => close(true), { kind: "primary" })),
  ]);

export function create() {
  const key = actionKey();
  const name = field({ name: "name", label: t("name"), hint: t("applications.nameHint"), required: true, attributes: { maxlength: 100, autocomplete: "off" } });
  const save = async (values) => {
    const made = await api.post("applications", values, { idempotencyKey: key });
    await resume();
    await showKey(t("applications.made", { name: values.name }), made.application.appId, made.appKey);
    await go(href(`applications/${segment(made.application.appId)}`));
  };
  return h(
    "div",
    { class: "page" },
    head(t("applications.new"), { back: { href: href("applications"), text: t("nav.applications") }, lead: t("noApplication.own") }),
    card(t("details"), null, form({ fields: [name], verb: t("applications.create"), save })),
  );
}

export function one({ params, query, signal }) {
  const path = at`applications/${params.appId}`;
  const part = query.get("part") ?? "keys";
  const view = pending(
    () => request("GET", path, { signal }),
    ({ result, etag }) => {
      const app = result.application;
      const self = href(`applications/${segment(app.appId)}`);
      const link = (name) => ({ text: t(`applications.part.${name}`), href: name === "keys" ? self : `${self}?part=${name}`, current: part === name });
      const suspended = app.state === "suspended";
      return h(
        "div",
        { class: "page" },
        head(app.name, {
          back: { href: href("applications"), text: t("nav.applications") },
          action: part === "keys" && button(t("keys.add"), () => addKey(app, () => view.refresh()), { kind: "primary", symbol: "key" }),
        }),
        suspended && notice("bad", h("p", null, t("applications.isSuspended")), button(t("applications.resume"), () => suspend(app, etag, view))),
        card(
          t("details"),
          state(app.state),
          facts([
            [t("keys.appId"), code(app.appId)],
            [t("nav.people"), number(app.templates)],
            [t("samples"), number(app.samples)],
            [t("applications.threshold"), number(app.threshold.value, 3)],
            [t("applications.expectedFpir"), fpir(app.expectedFpir)],
            [t("created"), when(app.createdAt)],
          ]),
        ),
        tabs(app.name, ["keys", "policies", "danger"].map(link)),
        part === "policies" ? policyForm(app, { etag, path, changed: () => view.refresh() }) : part === "danger" ? danger(app, etag, view) : keyTable(app, { signal }),
      );
    },
  );
  return view;
}

async function suspend(app, etag, view) {
  const active = app.state !== "suspended";
  const done = await confirm({
    title: t(active ? "applications.suspendTitle" : "applications.resumeTitle", { name: app.name }),
    text: t(active ? "applications.suspendText" : "applications.resumeText"),
    verb: t(active ? "applications.suspend" : "applications.resume"),
    danger: active,
    act: () => api.patch(at`applications/${app.appId}`, { state: active ? "suspended" : "active" }, { etag }),
  });
  if (done) (toast(t(active ? "applications.suspended" : "applications.resumed", { name: app.name }), "good"), view.refresh());
}

function danger(app, etag, view) {
  const rename = () =>
    dialog(t("applications.rename"), (close) =>
      form({
        fields: [field({ name: "name", label: t("name"), value: app.name, required: true, attributes: { maxlength: 100 } })],
        verb: t("save"),
        save: async (values) => {
          await api.patch(at`applications/${app.appId}`, values, { etag });
          close(true);
          toast(t("saved"), "good");
          await resume();
          view.refresh();
        },
      }),
    );
  const remove = async () => {
    const done = await confirm({
      title: t("applications.deleteTitle", { name: app.name }),
      text: [h("p", null, t("applications.deleteText", { people: app.templates ?? 0, samples: app.samples ?? 0 })), h("p", null, t("applications.deleteReceipts"))],
      verb: t("applications.delete"),
      typed: app.name,
      act: () => api.delete(at`applications/${app.appId}`, { confirmName: app.name }),
    });
    if (!done) return;
    toast(t(done.complete ? "applications.gone" : "applications.deleted", { name: app.name }), "good");
    await resume();
    go(href("applications"));
  };
  const row = (title, text, action) => h("div", { class: "card-head" }, h("div", null, h("strong", null, title), h("p", { class: "quiet" }, text)), action);
  const active = app.state !== "suspended";
  return card(
    t("applications.part.danger"),
    null,
    row(t("applications.rename"), t("applications.renameText"), button(t("applications.rename"), rename)),
    row(t(active ? "applications.suspend" : "applications.resume"), t(active ? "applications.suspendText" : "applications.resumeText"), button(t(active ? "applications.suspend" : "applications.resume"), () => suspend(app, etag, view), { kind: active ? "danger" : undefined })),
    row(t("applications.delete"), t("applications.deleteLead"), button(t("applications.delete"), remove, { kind: "danger", symbol: "trash" })),
  );
}

const scopeChoices = (value) => choices({ name: "scopes", label: t("keys.scopes"), hint: t("keys.scopesHint"), value, options: SCOPES.map((scope) => [scope, word("scope", scope), t(`scope.about.${scope}`)]) });

async function addKey(app, changed) {
  const key = actionKey();
  const made = await dialog(t("keys.add"), (close) =>
    form({
      fields: [
        field({ name: "name", label: t("name"), hint: t("keys.nameHint"), required: true, attributes: { maxlength: 100, autocomplete: "off" } }),
        scopeChoices(["identify"]),
        field({ name: "expiresAt", label: t("tokens.expires"), hint: t("tokens.expiresHint"), kind: "datetime-local" }),
      ],
      verb: t("keys.add"),
      save: async ({ name, scopes, expiresAt }) => {
        if (!scopes.length) return toast(t("keys.noScope"), "bad");
        const body = { name, scopes, expiresAt: expiresAt && new Date(expiresAt).toISOString() };
        close(await api.post(at`applications/${app.appId}/keys`, body, { idempotencyKey: key }));
      },
    }),
  );
  if (!made) return;
  changed();
  await showKey(t("keys.made", { name: made.key.name }), app.appId, made.appKey);
}

function keyTable(app, { signal }) {
  const path = at`applications/${app.appId}/keys`;
  const list = table({
    caption: t("keys.title"),
    columns: [
      { title: t("name"), cell: (key) => h("div", null, key.name, h("div", { class: "hint" }, key.hint ? t("keys.hint", { hint: key.hint }) : key.keyId)) },
      { title: t("keys.scopes"), cell: (key) => h("div", { class: "badges" }, key.scopes.length === SCOPES.length ? badge(t("keys.allScopes")) : key.scopes.map((scope) => badge(word("scope", scope)))) },
      { title: t("state"), cell: (key) => h("div", null, state(key.state), key.endsAt && key.state === "ending" && h("div", { class: "hint" }, t("keys.ends"), " ", when(key.endsAt))) },
      { title: t("created"), cell: (key) => when(key.createdAt) },
      { title: t("lastUsed"), cell: (key) => when(key.lastUsedAt, t("never")) },
      { title: t("expires"), cell: (key) => when(key.expiresAt, t("never")) },
      { title: "", cell: (key) => actions(key), end: true },
    ],
    load: async () => ({ items: (await api.get(path, undefined, { signal })).keys }),
    empty: empty(t("keys.none"), t("keys.noneText")),
  });
  function actions(key) {
    if (key.state === "ended") return null;
    const suspended = key.state === "suspended";
    return h(
      "div",
      { class: "actions" },
      button(t("keys.rotate"), () => rotate(app, key, list.refresh), { small: true, label: t("keys.rotateLabel", { name: key.name }) }),
      button(t(suspended ? "applications.resume" : "applications.suspend"), () => setState(key, suspended ? "active" : "suspended"), { small: true, label: t(suspended ? "keys.resumeLabel" : "keys.suspendLabel", { name: key.name }) }),
      button(t("tokens.end"), () => end(key), { small: true, kind: "danger", label: t("keys.endLabel", { name: key.name }) }),
    );
  }
  async function setState(key, state) {
    // A leaked key is suspended with one click; it can be resumed, so nothing asks first.
    await api.patch(`${path}/${segment(key.keyId)}`, { state });
    toast(t(state === "suspended" ? "keys.suspended" : "keys.resumed", { name: key.name }), "good");
    list.refresh();
  }
  async function end(key) {
    const done = await confirm({ title: t("keys.endTitle", { name: key.name }), text: t("keys.endText"), verb: t("keys.endVerb"), act: () => api.delete(`${path}/${segment(key.keyId)}`) });
    if (done) (toast(t("keys.ended", { name: key.name }), "good"), list.refresh());
  }
  return card(t("keys.title"), null, list);
}

/** A new key with the same name and scopes; the old one ends after an overlap, or at once. */
async function rotate(app, key, changed) {
  const action = actionKey();
  const overlaps = [[0, t("keys.overlapNone")], ...[3600, DAY, 7 * DAY, 30 * DAY].map((seconds) => [seconds, duration(seconds)])];
  const made = await dialog(t("keys.rotateTitle", { name: key.name }), (close) => [
    h("p", null, t("keys.rotateText")),
    form({
      fields: [field({ name: "overlap", label: t("keys.overlap"), kind: "select", value: DAY, options: overlaps, hint: t("keys.overlapHint") })],
      verb: t("keys.rotate"),
      save: async ({ overlap }) => close(await api.post(at`applications/${app.appId}/keys/${key.keyId}/rotate`, { overlapSeconds: Number(overlap) }, { idempotencyKey: action })),
    }),
  ]);
  if (!made) return;
  changed();
  const { endsAt } = made.replaced;
  await showKey(t("keys.made", { name: made.key.name }), app.appId, made.appKey);
  toast(endsAt && new Date(endsAt) > Date.now() ? t("keys.oldEnds", { span: duration((new Date(endsAt) - Date.now()) / 1000) }) : t("keys.oldEnded"), "good");
}
