// What is wrong now, if anything, and what happened today.

import { h } from "../dom.js";
import { t, word, known, number, bytes, percent, dateTime } from "../i18n.js";
import { api, segment } from "../api.js";
import { may } from "../session.js";
import { href } from "../router.js";
import { applicationName } from "../shell.js";
import { badge, bars, card, empty, head, notice, pending, sparkline, table, when } from "../ui.js";

const HOUR = 3600;
const REFUSALS = ["code1", "code2", "code3", "code4", "code5", "code6", "code9", "code429", "code503", "failed"];
const REFRESH_SECONDS = 30;

export default function page({ signal, onLeave }) {
  const view = pending(
    async () => {
      const from = new Date(Date.now() - HOUR * 1000).toISOString();
      const [overview, figures] = await Promise.all([
        api.get("overview", undefined, { signal }),
        api.get("figures", { series: "requests,p50Ms,p95Ms", step: 60, from }, { signal }).catch(() => null),
      ]);
      return { overview, figures };
    },
    ({ overview, figures }) => [
      overview.problems.length ? problems(overview.problems) : notice("good", h("p", null, sentence(overview.today))),
      h("div", { class: "grid" }, h("div", { class: "page" }, traffic(figures), latency(figures)), outcomes(overview.today)),
      galleries(overview.galleries),
      expiries(overview.expiries),
    ],
    { page: true },
  );
  const timer = setInterval(() => document.hidden || view.contains(document.activeElement) || view.refresh(), REFRESH_SECONDS * 1000);
  onLeave(() => clearInterval(timer));
  return h("div", { class: "page" }, head(t("nav.overview")), view);
}

const refused = (counts) => REFUSALS.filter((name) => name.startsWith("code") && name.length === 5).reduce((sum, name) => sum + (counts[name] ?? 0), 0);

function sentence({ counts }) {
  const all = counts.identifications ?? 0;
  if (!all) return t("overview.quiet");
  const decided = (counts.found ?? 0) + (counts["nobody"] ?? 0);
  return t("overview.works", { count: all, found: percent(decided ? (counts.found ?? 0) / decided : 0), refused: refused(counts) });
}

const problems = (list) =>
  list.map((problem) =>
    notice(
      problem.severity === "critical" ? "bad" : "warn",
      known(`problem.${problem.kind}`) && h("p", null, h("strong", null, t(`problem.${problem.kind}`))),
      h("p", null, problem.info),
      problem.remedy && h("p", null, problem.remedy),
      problem.since && h("p", { class: "quiet" }, t("overview.since"), " ", when(problem.since)),
    ),
  );

const last = (values) => values?.findLast((value) => value !== null);
const sum = (values) => values?.reduce((total, value) => total + (value ?? 0), 0) ?? 0;

function traffic(figures) {
  const values = figures?.series.requests ?? [];
  return card(t("overview.requests"), null, h("p", { class: "number" }, number(sum(values))), h("p", { class: "hint" }, t("overview.lastHour")), values.length > 1 && sparkline(values, t("overview.requestsChart", { n: sum(values) })));
}

function latency(figures) {
  const [p50, p95] = [figures?.series.p50Ms, figures?.series.p95Ms];
  const ms = (value) => (value === undefined || value === null ? "–" : t("ms", { n: number(value, value < 10 ? 1 : 0) }));
  return card(
    t("overview.latency"),
    null,
    h("p", { class: "number" }, ms(last(p95))),
    h("p", { class: "hint" }, t(last(p95) === undefined ? "overview.noTimes" : "overview.p95", { p50: ms(last(p50)) })),
    (p95?.length ?? 0) > 1 && sparkline(p95, t("overview.latencyChart", { p95: ms(last(p95)) })),
  );
}

function outcomes(today) {
  const { counts } = today;
  const link = (outcome) => (may.audit() ? `${href("journal")}?outcome=${outcome}` : undefined);
  const rows = [
    ["found", counts.found, "good", link("found")],
    ["nobody", counts["nobody"], "", link("nobody")],
    ["enrolled", counts.enrolled, "", link("enrolled")],
    ["removed", counts.removed, "", link("removed")],
    ...REFUSALS.map((name) => [name, counts[name], "warn", link("failed")]),
  ]
    .filter(([, value]) => value > 0)
    .map(([name, value, tone, href]) => ({ name: word("count", name), value, tone, href }));
  return card(t("overview.outcomes"), null, h("p", { class: "hint" }, t("overview.countedSince", { time: dateTime(today.since) })), rows.length ? bars(rows) : h("p", { class: "quiet" }, t("overview.noOutcomes")));
}

function galleries(list) {
  const rows = table({
    caption: t("overview.galleries"),
    columns: [
      { title: t("application"), cell: (gallery) => applicationName(gallery.appId) },
      { title: t("nav.people"), cell: (gallery) => number(gallery.people), end: true },
      { title: t("samples"), cell: (gallery) => number(gallery.samples), end: true },
      { title: t("overview.index"), cell: (gallery) => bytes(gallery.searchIndexBytes), end: true },
      { title: t("overview.held"), cell: (gallery) => (gallery.held ? badge(number(gallery.held), "warn") : "0"), end: true },
    ],
    load: async () => ({ items: list }),
    href: may.own() ? (gallery) => href(`applications/${segment(gallery.appId)}`) : undefined,
    empty: empty(t("noApplication.title"), t("noApplication.own")),
  });
  return card(t("overview.galleries"), null, rows);
}

function expiries(list) {
  if (!list.length) return null;
  return card(
    t("overview.expiries"),
    null,
    h("ul", { class: "bars" }, list.map((one) => h("li", null, h("div", null, h("span", null, word("expiry", one.kind)), when(one.at))))),
  );
}
