// Tokens and sessions of one administrator: for the owner, and for each person's own.

import { h } from "./dom.js";
import { t } from "./i18n.js";
import { api, at, actionKey } from "./api.js";
import { badge, button, card, confirm, dialog, empty, field, form, secret, table, toast, when } from "./ui.js";

/** The tokens, with a button that adds one. `changed()` loads them again. */
export function tokenTable(one, { changed }) {
  const add = async () => {
    const made = await dialog(t("tokens.add"), (close) =>
      form({
        fields: [
          field({ name: "name", label: t("name"), hint: t("tokens.nameHint"), required: true, attributes: { maxlength: 100, autocomplete: "off" } }),
          field({ name: "expiresAt", label: t("tokens.expires"), hint: t("tokens.expiresHint"), kind: "datetime-local" }),
        ],
        verb: t("tokens.add"),
        save: async ({ name, expiresAt }) => {
          const body = { name, expiresAt: expiresAt && new Date(expiresAt).toISOString() };
          close(await api.post(at`administrators/${one.adminId}/tokens`, body, { idempotencyKey: actionKey() }));
        },
      }),
    );
    if (!made) return;
    await secret(t("tokens.madeTitle"), t("tokens.madeText"), made.token);
    changed();
  };
  const end = async (token) => {
    const done = await confirm({ title: t("tokens.endTitle", { name: token.name }), text: t("tokens.endText"), verb: t("tokens.end"), act: () => api.delete(at`tokens/${token.tokenId}`) });
    if (done) (toast(t("tokens.ended", { name: token.name }), "good"), changed());
  };
  const list = one.tokens && table({
    caption: t("tokens.title"),
    columns: [
      { title: t("name"), cell: (token) => token.name },
      { title: t("created"), cell: (token) => when(token.createdAt) },
      { title: t("lastUsed"), cell: (token) => when(token.lastUsedAt, t("never")) },
      { title: t("expires"), cell: (token) => when(token.expiresAt, t("never")) },
      { title: "", cell: (token) => button(t("tokens.end"), () => end(token), { kind: "danger", small: true }), end: true },
    ],
    load: async () => ({ items: one.tokens }),
    empty: empty(t("tokens.none"), t("tokens.noneText")),
  });
  // Only owners are given the list.
  return card(t("tokens.title"), button(t("tokens.add"), add, { symbol: "plus" }), one.tokens ? list : h("p", { class: "quiet" }, t("tokens.own")));
}

/** The sessions, with a button that ends all of them. */
export function sessionTable(one, { signal }) {
  const end = async (session) => {
    const done = await confirm({ title: t("sessions.endTitle"), text: t("sessions.endText"), verb: t("sessions.end"), act: () => api.delete(at`sessions/${session.sessionId}`) });
    if (done) (toast(t("sessions.ended"), "good"), list.refresh());
  };
  const endAll = async () => {
    const done = await confirm({ title: t("sessions.endAllTitle", { name: one.name }), text: t("sessions.endAllText"), verb: t("sessions.endAll"), act: () => api.post("sessions/end", { adminId: one.adminId, keepCurrent: true }) });
    if (done) (toast(t("sessions.ended"), "good"), list.refresh());
  };
  const list = table({
    caption: t("sessions.title"),
    columns: [
      { title: t("sessions.client"), cell: (session) => [client(session.client), session.current && [" ", badge(t("sessions.current"), "good")]] },
      { title: t("sessions.address"), cell: (session) => h("code", null, session.address ?? "–") },
      { title: t("sessions.since"), cell: (session) => when(session.createdAt) },
      { title: t("sessions.lastSeen"), cell: (session) => when(session.lastSeenAt) },
      { title: "", cell: (session) => !session.current && button(t("sessions.end"), () => end(session), { kind: "danger", small: true }), end: true },
    ],
    load: async () => ({ items: (await api.get("sessions", undefined, { signal })).sessions.filter((session) => session.adminId === one.adminId) }),
    empty: empty(t("sessions.none")),
  });
  return card(t("sessions.title"), button(t("sessions.endAll"), endAll), list);
}

/** Browser and system in a few words, of the text that the browser sends. */
function client(text) {
  if (!text) return "–";
  const browser = /(Firefox|Edg|OPR|Chrome|Safari)\/(\d+)/.exec(text);
  const system = /(Windows|Mac OS X|Android|iPhone|iPad|Linux)/.exec(text);
  if (!browser) return text.slice(0, 60);
  const names = { Edg: "Edge", OPR: "Opera" };
  return `${names[browser[1]] ?? browser[1]} ${browser[2]}${system ? ` · ${system[1]}` : ""}`;
}
