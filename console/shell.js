// What stands around every page: rail, top bar, state of the server, lost connection.

import { h, put, icon } from "./dom.js";
import { t, language, LANGUAGES, word } from "./i18n.js";
import { api, connect } from "./api.js";
import { session, may, forget, signOut } from "./session.js";
import { go, href, render } from "./router.js";
import { button, dialog, empty, errorView, field, form, notice, report, skeleton, toast } from "./ui.js";
import { NAV } from "./pages.js";

const POLL_SECONDS = 15;
const RETRY_SECONDS = 3;

/** Applies the theme that the person chose: "light", "dark", or that of the system. */
export function applyTheme() {
  const theme = localStorage.getItem("theme");
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}

export const applications = () => session?.applications ?? [];

/** The application that the person works with: that of the address, else the last one, else the first one. */
export function chosenApplication(appId) {
  const remembered = localStorage.getItem("application");
  const found = [appId, remembered].find((id) => applications().some((app) => app.appId === id)) ?? applications()[0]?.appId;
  if (found) localStorage.setItem("application", found);
  return found;
}

export const applicationName = (appId) => applications().find((app) => app.appId === appId)?.name ?? appId;

const main = h("main", { id: "content", tabindex: "-1" });
const dot = h("span", { class: "dot", role: "status" });
const lost = h("div", { class: "lost", role: "alert", hidden: true });
let frame;
let drawnFor;
let timer;

/** Draws the page of an address. */
export async function display(context) {
  if (!session) return signInPage();
  const { route, params } = context;
  const seen = route && (!route.may || route.may());
  if (seen && route.of === "application") {
    const appId = chosenApplication(context.appId);
    if (context.appId && context.appId !== appId) return draw(context, notFound());
    if (!context.appId && appId) {
      const path = route.path.replace(/:(\w+)/g, (_, name) => encodeURIComponent(params[name]));
      return go(href(path, appId) + location.search, { replace: true, state: history.state });
    }
    if (!appId) return draw(context, noApplication());
    context.appId = appId;
  }
  return draw(context, seen ? null : notFound());
}

async function draw(context, instead) {
  surround(context);
  const moved = main.dataset.address && main.dataset.address !== location.pathname;
  main.dataset.address = location.pathname;
  const waiting = setTimeout(() => put(main, skeleton(6)), 150);
  main.setAttribute("aria-busy", "true");
  let node = instead;
  try {
    node ??= await (await context.route.load()).default(context);
  } catch (error) {
    if (error.name !== "AbortError") node = errorView(error, render);
  }
  clearTimeout(waiting);
  if (context.signal.aborted) return;
  main.removeAttribute("aria-busy");
  put(main, session?.bootstrap && may.own() && bootstrapBanner(), node);
  if (moved) {
    scrollTo(0, 0);
    main.querySelector("h1")?.focus({ preventScroll: true });
  }
}

const bootstrapBanner = () =>
  notice("warn", h("p", null, t("bootstrap.text"), " ", h("a", { href: href("access") }, t("bootstrap.action"))));

function notFound() {
  document.title = `${t("notFound.title")} · Semblance`;
  return empty(t("notFound.title"), t("notFound.text"), h("a", { class: "button", href: href("") }, t("nav.overview")));
}

const noApplication = () =>
  empty(t("noApplication.title"), t(may.own() ? "noApplication.own" : "noApplication.ask"), may.own() && h("a", { class: "button primary", href: href("applications/new") }, t("applications.new")));

function surround(context) {
  if (!frame || drawnFor !== session) build();
  for (const link of frame.querySelectorAll(".rail a")) {
    const current = link.dataset.nav === (context.route?.nav ?? context.route?.path);
    current ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
  }
  const chooser = frame.querySelector(".application select");
  if (chooser) {
    const chosen = chosenApplication(context.appId);
    put(chooser, applications().map((app) => h("option", { value: app.appId }, app.name)));
    if (chosen) chooser.value = chosen;
    chooser.disabled = applications().length < 2;
  }
}

function build() {
  clearInterval(timer);
  drawnFor = session;
  const links = NAV.filter((entry) => !entry.may || entry.may()).map((entry) =>
    h("a", { href: href(entry.path), "data-nav": entry.nav, title: t(`nav.${entry.nav}`) }, icon(entry.nav), h("span", null, t(`nav.${entry.nav}`))),
  );
  frame = h(
    "div",
    { class: "frame" },
    h("a", { class: "skip", href: "#content", on: { click: (event) => (event.preventDefault(), main.focus()) } }, t("skip")),
    h("div", { class: "rail" }, h("a", { class: "brand", href: href("") }, h("img", { src: "/console/assets/icon.svg", alt: "", width: 28, height: 28 }), h("span", null, "Semblance")), h("nav", { "aria-label": t("nav.label") }, links)),
    h("header", { class: "top" }, chooser(), search(), h("span", { class: "grow" }), dot, account()),
    h("div", { class: "column" }, lost, main),
  );
  put(document.body, frame, document.querySelector(".toasts"));
  watch();
  timer = setInterval(watch, POLL_SECONDS * 1000);
}

function chooser() {
  if (!applications().length) return null;
  const select = h("select", {
    "aria-label": t("application"),
    on: { change: () => (localStorage.setItem("application", select.value), go(inApplication(select.value))) },
  });
  return h("div", { class: "application" }, icon("applications"), select);
}

/** The address of the same page in another application; of the list where the page is one object. */
function inApplication(appId) {
  const inside = /^\/console\/a\/[^/]+\/([^/]+)/.exec(location.pathname);
  return inside ? href(inside[1], appId) : location.pathname + location.search;
}

function search() {
  if (!may.operate() || !NAV.some((entry) => entry.nav === "people")) return null;
  const input = h("input", { type: "search", name: "q", placeholder: t("search.placeholder"), "aria-label": t("search.label"), "aria-keyshortcuts": "/", autocomplete: "off", spellcheck: "false" });
  const find = (event) => {
    event.preventDefault();
    // What is searched for can be a name: it stays out of the address.
    go(href("people", chosenApplication()), { state: { q: input.value.trim() } });
    input.value = "";
  };
  return h("form", { class: "search", role: "search", on: { submit: find } }, icon("search"), input, h("kbd", { "aria-hidden": "true" }, "/"));
}

function account() {
  const themes = [["", t("theme.system")], ["light", t("theme.light")], ["dark", t("theme.dark")]];
  const theme = h("select", { on: { change: () => (theme.value ? localStorage.setItem("theme", theme.value) : localStorage.removeItem("theme"), applyTheme()) } }, themes.map(([key, text]) => h("option", { value: key }, text)));
  theme.value = localStorage.getItem("theme") ?? "";
  const tongue = h("select", { on: { change: () => (localStorage.setItem("language", tongue.value), location.reload()) } }, Object.entries(LANGUAGES).map(([key, text]) => h("option", { value: key, lang: key }, text)));
  tongue.value = language;
  const leave = async () => {
    await signOut();
    end();
  };
  const { name, role } = session.administrator;
  const menu = h(
    "details",
    { class: "menu" },
    h("summary", { "aria-label": t("account.label", { name }) }, icon("user"), h("span", { class: "name" }, name), icon("down")),
    h(
      "div",
      { class: "menu-body" },
      h("p", null, h("strong", null, name), h("br"), h("span", { class: "quiet" }, word("role", role))),
      h("label", null, t("theme.label"), theme),
      h("label", null, t("language"), tongue),
      h("a", { href: href("account") }, t("account.sessions")),
      button(t("signOut"), leave),
    ),
  );
  menu.addEventListener("click", (event) => event.target.closest("a") && menu.removeAttribute("open"));
  menu.addEventListener("focusout", (event) => event.relatedTarget && !menu.contains(event.relatedTarget) && menu.removeAttribute("open"));
  return menu;
}

async function watch() {
  if (document.hidden) return;
  let tone = "bad";
  let text = t("state.down");
  try {
    const response = await fetch("/readyz", { cache: "no-store" });
    const found = await response.json();
    const reasons = [...(found.reasons ?? []), ...(found.notes ?? []), found.writeFault].filter(Boolean);
    if (found.ready) [tone, text] = reasons.length ? ["warn", t("state.degraded")] : ["good", t("state.ready")];
    dot.title = reasons.join("; ");
    if (reasons.length) text = `${text}: ${reasons[0]}`;
    connection(true);
  } catch {
    return connection(false);
  }
  show(tone, text);
}

function show(tone, text) {
  if (dot.dataset.text === text) return;
  dot.dataset.text = text;
  put(dot, h("span", { class: `mark ${tone}` }), h("span", { class: "dot-text" }, text));
}

let retry;
function connection(works) {
  if (works === lost.hidden) return;
  lost.hidden = works;
  clearTimeout(retry);
  if (works) {
    put(lost);
    return toast(t("connectionBack"), "good");
  }
  put(lost, icon("warn"), h("span", null, t("connectionLost")));
  show("bad", t("state.away"));
  const again = () => watch().then(() => lost.hidden || (retry = setTimeout(again, RETRY_SECONDS * 1000)));
  retry = setTimeout(again, RETRY_SECONDS * 1000);
}

/** Leaves the pages: what they show is not for the next person. */
function end() {
  clearInterval(timer);
  for (const open of document.querySelectorAll("dialog[open]")) open.close();
  forget();
  frame = null;
  put(main);
  delete main.dataset.address;
  render();
}

async function signInPage() {
  const { default: page } = await import("./pages/signin.js");
  put(document.body, page(), document.querySelector(".toasts"));
  document.querySelector("input")?.focus();
}

/** A sign-in that is minutes old is needed for what is dangerous: asks for the token again. */
async function askAgain() {
  const done = await dialog(t("fresh.title"), (close) => [
    h("p", null, t("fresh.text")),
    form({
      fields: [field({ name: "token", label: t("signIn.token"), kind: "password", required: true, attributes: { autocomplete: "current-password" } })],
      verb: t("fresh.verb"),
      save: async (values) => {
        await api.post("session/confirm", values, { anonymous: true });
        close(true);
      },
    }),
  ]);
  return done === true;
}

/** Connects the shell with the calls and the keyboard. */
export function prepare() {
  connect({
    connection,
    confirm: askAgain,
    ended: () => session && (end(), toast(t("sessionEnded"), "bad")),
  });
  addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input, textarea, select, [contenteditable]");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !document.querySelector("dialog[open]")) {
      const input = document.querySelector(".search input");
      if (input) (event.preventDefault(), input.focus());
    }
    if (event.key === "Escape") {
      const open = document.querySelector(".menu[open]");
      if (open) (open.removeAttribute("open"), open.querySelector("summary").focus());
      else if (event.target.matches?.(".search input")) event.target.blur();
    }
  });
  document.addEventListener("click", (event) => {
    for (const open of document.querySelectorAll(".menu[open]")) if (!open.contains(event.target)) open.removeAttribute("open");
  });
  addEventListener("unhandledrejection", (event) => report(event.reason));
}
