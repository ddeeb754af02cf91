// The people of an application: search, groups, pages.

import { h, put } from "../dom.js";
import { t, number } from "../i18n.js";
import { api, at } from "../api.js";
import { may } from "../session.js";
import { go, href } from "../router.js";
import { badge, buttonLink, empty, field, form, head, notice, table, when } from "../ui.js";
import { healthBadge, personHref, personTitle } from "../people.js";

const PAGE = 50;
const SEARCH_MS = 250;

export default async function page(context) {
  if (!may.operate()) return byId(context);
  const { appId, state, signal } = context;
  // What is searched for can be a name: it stays out of the address, but a reload and "back" keep it.
  const filter = { q: state.q ?? "", group: state.group ?? "" };
  const keep = () => history.replaceState({ ...history.state, ...filter }, "");
  const counts = h("p", { class: "quiet counts", role: "status" });
  const about = h("div");
  const enroll = may.change() && buttonLink(t("people.enroll"), href("enroll", appId), { kind: "primary", symbol: "plus" });

  const none = () =>
    filter.q || filter.group
      ? empty(t("people.noMatch"), t("people.noMatchText"))
      : empty(t("people.none"), t("people.noneText"), may.change() && h("div", { class: "actions" }, buttonLink(t("people.enroll"), href("enroll", appId), { kind: "primary", symbol: "plus" }), buttonLink(t("nav.import"), href("import", appId), { symbol: "import" })));
  const emptyPlace = h("div");
  const people = table({
    caption: t("nav.people"),
    sort: "templateId",
    columns: [
      { title: t("person.name"), sort: "name", cell: (person) => h("span", { class: "who" }, personTitle(person), person.unreadable && badge(t("person.unreadable"), "bad")) },
      { title: t("person.id"), sort: "templateId", cell: (person) => h("code", null, person.templateId) },
      { title: t("person.externalId"), cell: (person) => person.externalId },
      { title: t("person.groups"), cell: (person) => person.groups?.length > 0 && h("span", { class: "badges" }, person.groups.map((group) => badge(group))) },
      { title: t("samples"), end: true, cell: (person) => [number(person.sampleCount), " ", healthBadge(person.health)] },
      { title: t("person.updated"), sort: "updatedAt", cell: (person) => when(person.updatedAt) },
    ],
    load: async ({ cursor, sort, order }) => {
      const body = { q: filter.q || undefined, groups: filter.group ? [filter.group] : undefined, sort, order, cursor: cursor ?? undefined, limit: PAGE, total: true };
      const found = await api.post(at`applications/${appId}/people/search`, body, { signal });
      counted(found);
      put(emptyPlace, none());
      return { items: found.people, nextCursor: found.nextCursor };
    },
    href: (person) => personHref(person.templateId, appId),
    empty: emptyPlace,
  });
  function counted({ total, matched, matchedExact, searched = [] }) {
    const filtered = filter.q || filter.group;
    const most = matchedExact === false ? `${number(matched)}+` : number(matched);
    counts.textContent = filtered && matched !== undefined ? t("people.matched", { matched: most, total: number(total) }) : t("people.count", { count: total ?? 0 });
    put(about, filter.q && searched.length > 0 && !searched.includes("name") && h("p", { class: "hint" }, t("people.namesNotSearched")));
  }

  const q = field({ name: "q", label: t("people.search"), kind: "search", value: filter.q, attributes: { autocomplete: "off", spellcheck: "false" } });
  const group = field({ name: "group", label: t("person.group"), kind: "select", value: filter.group, options: [["", t("people.anyGroup")]] });
  group.hidden = true;
  let timer;
  const apply = () => {
    clearTimeout(timer);
    filter.q = q.input.value.trim();
    filter.group = group.input.value;
    keep();
    people.refresh();
  };
  q.input.addEventListener("input", () => (clearTimeout(timer), (timer = setTimeout(apply, SEARCH_MS))));
  group.input.addEventListener("change", apply);
  signal.addEventListener("abort", () => clearTimeout(timer));
  api.get(at`applications/${appId}/groups`, undefined, { signal }).then(
    ({ groups }) => {
      if (!groups.length) return;
      put(group.input, h("option", { value: "" }, t("people.anyGroup")), groups.map(({ name, people }) => h("option", { value: name }, t("people.groupOption", { name, people }))));
      group.input.value = filter.group;
      group.hidden = false;
    },
    () => null, // without an index of names there are no groups to choose from
  );
  const search = h("form", { class: "filters", role: "search", "aria-label": t("people.search"), on: { submit: (event) => (event.preventDefault(), apply()) } }, q, group, counts);
  return h("div", { class: "page wide" }, head(t("nav.people"), { action: enroll }), h("div", { class: "card" }, search, about), people);
}

/** An auditor reads one person by exact id: no list, no search. */
function byId({ appId }) {
  const ask = form({
    fields: [field({ name: "id", label: t("person.id"), required: true, attributes: { autocomplete: "off" } })],
    verb: t("people.open"),
    save: ({ id }) => go(personHref(id.trim(), appId)),
  });
  return h("div", { class: "page" }, head(t("nav.people")), notice("quiet", h("p", null, t("people.auditor"))), h("div", { class: "card" }, ask));
}
