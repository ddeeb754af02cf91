// Review: faces that matched no one, and what a person decides about them.

import { h, put } from "../dom.js";
import { t, number } from "../i18n.js";
import { api, at, request, segment } from "../api.js";
import { may } from "../session.js";
import { href } from "../router.js";
import { button, buttonLink, card, confirm, dialog, empty, field, form, head, notice, pending, report, table, toast, when } from "../ui.js";
import { detailFields, detailValues, guardFindings, personField, personHref } from "../people.js";
import { scale, silhouette } from "../face.js";
import { addresses } from "../photos.js";

const PAGE = 50;
/** How far back the journal is searched for near matches. */
const DAYS = 7;

export default function page(context) {
  const { appId, query, signal, onLeave } = context;
  const urls = addresses(onLeave);
  const path = at`applications/${appId}/review`;
  const kind = query.get("kind");
  const view = pending(
    () => api.get(path, { kind, limit: PAGE }, { signal }),
    (list) => [list.keepProbesSeconds === null ? off(appId) : held(list), may.audit() && near(appId, signal)],
    { page: true },
  );

  function held(list) {
    if (!list.items.length) return card(t("review.held"), null, empty(t("review.none"), t("review.noneText")));
    const cards = h("ul", { class: "samples review" });
    const more = h("div", { class: "actions" });
    const count = h("p", { class: "hint", role: "status" });
    let total = list.total;
    const decided = (node) => {
      const next = node.nextElementSibling ?? node.previousElementSibling;
      node.remove();
      total -= 1;
      put(count, t("review.count", { count: total }));
      // An open dialog keeps the focus until it is closed, which follows.
      next ? setTimeout(() => next.focus()) : view.refresh();
    };
    const show = ({ items, nextCursor }) => {
      cards.append(...items.map((item) => itemCard(item, { appId, path, urls, signal, decided })));
      const load = async () => show(await api.get(path, { kind, limit: PAGE, cursor: nextCursor }, { signal }));
      put(more, nextCursor && button(t("review.more"), load));
    };
    show(list);
    put(count, t("review.count", { count: total }));
    return card(t("review.held"), null, count, may.change() && h("p", { class: "hint keys" }, t("review.keys")), cards, more);
  }

  return h("div", { class: "page wide" }, head(t("nav.review"), { lead: t("review.lead") }), view);
}

/** What to do where no probe is held. */
const off = (appId) =>
  notice(
    "quiet",
    h("p", null, h("strong", null, t("review.off"))),
    h("p", null, t("review.offText")),
    may.own() && h("p", null, h("a", { href: `${href(`applications/${segment(appId)}`)}?part=policies` }, t("review.turnOn"))),
  );

/** What came near, as the journal has it: without the face. */
function near(appId, signal) {
  const from = new Date(Date.now() - DAYS * 86400000).toISOString();
  const load = async ({ cursor }) => {
    const found = await api.post("journal/search", { appId, outcome: "near", from, cursor: cursor ?? undefined, limit: PAGE }, { signal });
    return { items: found.lines, nextCursor: found.nextCursor };
  };
  const columns = [
    { title: t("review.when"), cell: (line) => when(line.time) },
    { title: t("review.candidate"), cell: (line) => h("a", { href: personHref(line.near.templateId, appId) }, line.near.templateId) },
    { title: t("review.similarity"), cell: (line) => number(line.near.similarity, 2), end: true },
    { title: t("policy.threshold"), cell: (line) => number(line.threshold, 2), end: true },
  ];
  const refused = `${href("journal")}?${new URLSearchParams({ appId, operation: "identify", outcome: "failed" })}`;
  return card(
    t("review.near"),
    buttonLink(t("review.refused"), refused),
    h("p", { class: "hint" }, t("review.nearText", { days: DAYS })),
    table({ caption: t("review.near"), columns, load, empty: empty(t("review.nearNone")) }),
  );
}

function itemCard(item, ctx) {
  const { appId, decided } = ctx;
  const { candidate } = item;
  const name = candidate && (candidate.name || candidate.templateId);
  const title = candidate ? t("review.maybe", { name }) : t(item.times > 1 ? "review.unknownAgain" : "review.unknown");
  const send = async (body) => {
    const found = await api.post(`${ctx.path}/${segment(item.itemId)}/decision`, body);
    toast(t(`review.done.${body.action}`, { id: found.templateId }), "good");
    decided(node);
    if (found.findings.length) dialog(t("review.findings"), () => [guardFindings(found.findings, appId)]);
  };
  const acts = may.change() && {
    c: candidate && (() => send({ action: "confirmAs", templateId: candidate.templateId })),
    o: () => other(item, { appId, send }),
    e: () => enroll(item, send),
    x: () => confirm({ title: t("review.dismissTitle"), text: t("review.dismissText"), verb: t("review.dismiss"), act: () => send({ action: "dismiss" }) }),
  };
  const node = h(
    "li",
    { class: candidate ? "sample amber" : "sample", tabindex: "0", "aria-label": title },
    picture(item, ctx),
    h(
      "div",
      { class: "sample-text" },
      h("h3", null, candidate ? h("a", { href: personHref(candidate.templateId, appId) }, title) : title),
      candidate && scale(candidate.similarity, item.threshold),
      h("p", null, t("review.seen", { count: item.times })),
      h("p", { class: "hint" }, t("review.last"), " ", when(item.lastSeenAt)),
      h("p", { class: "hint" }, t("review.ends"), " ", when(item.endsAt)),
    ),
    acts &&
      h(
        "div",
        { class: "actions" },
        acts.c && button(t("review.confirm", { name }), acts.c, { kind: "primary", small: true }),
        button(t("review.other"), acts.o, { small: true }),
        button(t("review.enroll"), acts.e, { small: true }),
        button(t("review.dismiss"), acts.x, { small: true }),
      ),
  );
  node.addEventListener("keydown", (event) => {
    if (event.target !== node || event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.key.toLowerCase();
    const to = { j: node.nextElementSibling, k: node.previousElementSibling }[key];
    if (to) to.focus();
    else if (acts && acts[key]) Promise.resolve(acts[key]()).catch(report);
    else return;
    event.preventDefault();
  });
  return node;
}

function picture(item, { path, urls, signal }) {
  const place = h("div", { class: "crop" }, silhouette());
  if (!item.hasCrop) return place;
  const load = async () => {
    const response = await request("GET", `${path}/${segment(item.itemId)}/crop`, { raw: true, signal, headers: { Accept: "image/jpeg" } });
    put(place, h("img", { src: urls.of(await response.blob()), alt: t("review.picture"), width: 224, height: 224 }));
  };
  load().catch(() => null); // the drawn face stays
  return place;
}

/** It is a person who is enrolled, but not the candidate. */
const other = (item, { appId, send }) =>
  dialog(t("review.otherTitle"), (close) =>
    form({
      fields: [personField({ appId, name: "templateId", label: t("review.person") })],
      verb: t("review.confirmVerb"),
      save: async ({ templateId }) => {
        await send({ action: "confirmAs", templateId });
        close(true);
      },
      extra: button(t("cancel"), () => close(false)),
    }),
  );

const enroll = (item, send) =>
  dialog(t("review.enrollTitle"), (close) =>
    form({
      fields: [field({ name: "templateId", label: t("person.id"), hint: t("review.idHint"), attributes: { autocomplete: "off", maxlength: 128 } }), ...detailFields()],
      verb: t("review.enrollVerb"),
      save: async ({ templateId, ...values }) => {
        const details = Object.fromEntries(Object.entries(detailValues(values)).filter(([, value]) => value && value.length));
        await send({ action: "enrollAs", templateId: templateId || undefined, details });
        close(true);
      },
      extra: button(t("cancel"), () => close(false)),
    }),
  );
