// Pages by address. `/console/people` is a page of the chosen application, kept as `/console/a/<appId>/people`.

import { segment } from "./api.js";

const BASE = "/console";
const routes = [];
let leave = () => {};
let show = async () => {};

/**
 * Adds a page: `path` such as `people/:templateId`; `options.of` is `"application"` where it belongs to one, `options.may`
 * tells whether the person may see it, `options.nav` names the entry of the rail that it belongs to, `load` imports it.
 */
export function page(path, options, load) {
  const names = [];
  const pattern = path.replace(/:(\w+)/g, (_, name) => (names.push(name), "([^/]+)"));
  routes.push({ path, names, pattern: new RegExp(`^${pattern}$`), load, ...options });
}

/** The address of a page. With an application, that of a page that belongs to it. */
export const href = (path, appId) => (appId ? `${BASE}/a/${segment(appId)}/${path}` : `${BASE}/${path}`).replace(/\/$/, "");

function decode(text) {
  try {
    if (!text.startsWith("~")) return decodeURIComponent(text);
    const binary = atob(text.slice(1).replaceAll("-", "+").replaceAll("_", "/"));
    return new TextDecoder().decode(Uint8Array.from(binary, (c) => c.charCodeAt(0)));
  } catch {
    return null;
  }
}

/** The page of an address: `{route, params, appId}`; `route` is absent where there is none. */
export function find(url) {
  let rest = url.pathname.slice(BASE.length).replace(/^\/+|\/+$/g, "");
  const inside = /^a\/([^/]+)\/?(.*)$/.exec(rest);
  const appId = inside ? decode(inside[1]) : null;
  if (inside) rest = inside[2];
  for (const route of routes) {
    const match = route.pattern.exec(rest);
    if (!match || (inside && route.of !== "application")) continue;
    const values = match.slice(1).map(decode);
    if (values.includes(null)) break;
    return { route, appId, params: Object.fromEntries(route.names.map((name, i) => [name, values[i]])) };
  }
  return { params: {} };
}

/** Goes to an address. `state` is kept with the entry of the history, not in the address: names belong there. */
export function go(address, { state = null, replace = false } = {}) {
  history[replace ? "replaceState" : "pushState"](state, "", address);
  return render();
}

/** Changes the query of the address without leaving the page: filters. */
export function setQuery(values) {
  const url = new URL(location.href);
  for (const [name, value] of Object.entries(values))
    value === undefined || value === null || value === "" ? url.searchParams.delete(name) : url.searchParams.set(name, value);
  history.replaceState(history.state, "", url);
}

export async function render() {
  leave();
  const ending = new AbortController();
  const endings = [];
  leave = () => {
    ending.abort();
    for (const end of endings) end();
    leave = () => {};
  };
  const url = new URL(location.href);
  const context = {
    ...find(url),
    query: url.searchParams,
    state: history.state ?? {},
    signal: ending.signal,
    onLeave: (end) => endings.push(end),
  };
  await show(context);
}

/** Starts: `display(context)` draws a page. Links of the console change the page without loading the document again. */
export function start(display) {
  show = display;
  addEventListener("popstate", render);
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[href]");
    if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    if (link.target || link.hasAttribute("download") || link.origin !== location.origin) return;
    if (!link.pathname.startsWith(BASE) || link.pathname.startsWith(`${BASE}/assets/`) || link.hash) return;
    event.preventDefault();
    if (link.href !== location.href) go(link.href);
    else render();
  });
}
