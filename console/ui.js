// The building blocks of pages. README.md beside this file tells how to use them.

import { h, s, put, icon } from "./dom.js";
import { t, known, word, number, relative, dateTime } from "./i18n.js";
import { ApiError, LostConnection } from "./api.js";

let counter = 0;
export const uniqueId = (name) => `${name}-${++counter}`;

/** A button. `kind`: "primary", "danger", "plain", or absent. `press` may be async: the button waits for it. */
export function button(text, press, { kind, symbol, type = "button", label, disabled, small } = {}) {
  const node = h(
    "button",
    { type, class: ["button", kind, small && "small"].filter(Boolean).join(" "), "aria-label": label, disabled },
    symbol && icon(symbol),
    text && h("span", null, text),
  );
  if (press)
    node.addEventListener("click", async (event) => {
      if (isBusy(node)) return;
      const work = press(event);
      if (!(work instanceof Promise)) return;
      await busy(node, work).catch(report);
    });
  return node;
}

/** A link that looks like a button. */
export const buttonLink = (text, href, { kind, symbol, download } = {}) =>
  h("a", { href, class: `button ${kind ?? ""}`, download }, symbol && icon(symbol), h("span", null, text));

/** A button does nothing while its work goes on. It keeps the focus, so it is not disabled. */
export async function busy(node, work) {
  node.setAttribute("aria-disabled", "true");
  try {
    return await work;
  } finally {
    node.removeAttribute("aria-disabled");
  }
}

const isBusy = (node) => node.getAttribute("aria-disabled") === "true";

/** Title of a page with one primary action at its right. Sets the title of the document, too. */
export function head(title, { action, lead, back } = {}) {
  document.title = `${title} · Semblance`;
  return h(
    "header",
    { class: "head" },
    h(
      "div",
      null,
      back && h("a", { class: "back", href: back.href }, back.text),
      h("h1", { tabindex: "-1" }, title),
      lead && h("p", { class: "lead" }, lead),
    ),
    action && h("div", { class: "actions" }, action),
  );
}

/** A part of a page with a heading. */
export const section = (title, ...content) => card(title, null, ...content);

export function card(title, action, ...content) {
  const id = uniqueId("card");
  return h(
    "section",
    { class: "card", "aria-labelledby": id },
    h("div", { class: "card-head" }, h("h2", { id }, title), action),
    ...content,
  );
}

/** A word with a colour: "good", "warn", "bad", or "quiet". The word says it; the colour helps. */
export const badge = (text, tone = "quiet") => h("span", { class: `badge ${tone}` }, text);

/** A time in words, with the exact one in the person's zone and in UTC as a hint. */
export function when(time, absent = "–") {
  if (!time) return h("span", { class: "quiet" }, absent);
  const exact = `${dateTime(time, undefined, true)} · ${dateTime(time, "UTC", true)} UTC`;
  return h("time", { datetime: time, title: exact }, relative(time));
}

/** Pairs of name and value. */
export const facts = (pairs) =>
  h("dl", { class: "facts" }, pairs.filter(Boolean).map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value ?? "–"))));

/** An id or another text of machines, with a button that copies it. */
export const code = (text) => h("span", { class: "code" }, h("code", null, text), copyButton(text, { small: true }));

export function copyButton(text, { small } = {}) {
  const node = button(small ? null : t("copy"), null, { symbol: "copy", label: t("copy"), kind: small ? "plain" : undefined, small });
  node.addEventListener("click", async () => {
    const copied = await copy(text);
    toast(t(copied ? "copied" : "copyFailed"), copied ? "good" : "bad");
  });
  return node;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Without a secure context there is no clipboard: the older way.
    const area = h("textarea", { class: "outside", value: text });
    (document.querySelector("dialog[open]") ?? document.body).append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    return copied;
  }
}

/** A short message that goes away, read out by screen readers. `tone`: "good", "bad", or absent. */
export function toast(text, tone) {
  const stack = document.querySelector(".toasts") ?? document.body.appendChild(h("div", { class: "toasts", role: "status" }));
  const top = [...document.querySelectorAll("dialog[open]")].at(-1) ?? document.body;
  if (stack.parentNode !== top) top.append(stack);
  const node = h("p", { class: `toast ${tone ?? ""}` }, tone && icon(tone === "bad" ? "warn" : "check"), text);
  stack.append(node);
  setTimeout(() => {
    node.remove();
    if (!document.querySelector("dialog[open]") && stack.parentNode !== document.body) document.body.append(stack);
  }, tone === "bad" ? 10000 : 5000);
}

/** What to tell a person of a failure. */
export function explain(error) {
  if (error instanceof LostConnection) return t("error.lost");
  if (!(error instanceof ApiError)) return t("error.page");
  if (error.reason && known(`reason.${error.reason}`)) return t(`reason.${error.reason}`, error.details);
  if (error.status === 404) return t("error.404");
  if (error.status === 412) return t("error.412");
  if (error.status === 429) return t("error.429");
  return error.info || t("error.status", { status: String(error.status) });
}

/** Shows a failure as a message. */
export function report(error) {
  if (error?.name === "AbortError") return;
  if (!(error instanceof ApiError || error instanceof LostConnection)) console.error(error);
  if (error.status !== 401) toast(explain(error), "bad");
}

/** A failure in place of what it kept from showing, with its transaction id and a way to try again. */
export function errorView(error, retry) {
  if (!(error instanceof ApiError || error instanceof LostConnection)) console.error(error);
  return h(
    "div",
    { class: "notice bad", role: "alert" },
    icon("warn"),
    h(
      "div",
      null,
      h("p", null, explain(error)),
      error.transactionId && h("p", { class: "quiet" }, t("error.transaction"), " ", code(error.transactionId)),
      retry && button(t("tryAgain"), retry),
    ),
  );
}

/** Something to know, with a tone of `badge`. */
export const notice = (tone, ...content) =>
  h("div", { class: `notice ${tone}` }, icon(tone === "good" ? "check" : "warn"), h("div", null, ...content));

/** What an empty place is for, with its action. */
export const empty = (title, text, action) => h("div", { class: "empty" }, h("h3", null, title), text && h("p", null, text), action);

/** The grey form of what is still loading. */
export const skeleton = (rows = 4) =>
  h("div", { class: "skeleton", role: "status", "aria-label": t("loading") }, Array.from({ length: rows }, () => h("span")));

/** Shows what `load` brings: a skeleton after 150 ms, an error with a way to try again. Returns the place. `page` spaces several parts. */
export function pending(load, draw, { rows, page } = {}) {
  const place = h("div", { class: page ? "place page" : "place" });
  const run = async () => {
    const timer = setTimeout(() => place.firstChild || put(place, skeleton(rows)), 150);
    try {
      const found = await load();
      clearTimeout(timer);
      put(place, draw(found));
    } catch (error) {
      clearTimeout(timer);
      if (error.name !== "AbortError") put(place, errorView(error, run));
    }
  };
  place.refresh = run;
  run();
  return place;
}

/**
 * A table with pages by cursor. `columns`: `[{title, cell(item), sort, end}]`; `load({cursor, sort, order})` answers
 * `{items, nextCursor}`; `href(item)` makes rows links, `open(item)` buttons; `sort` is the first order; `empty` is shown without rows.
 * The first column names the row.
 */
export function table({ caption, columns, load, href, open, sort, order = "asc", empty: none }) {
  const place = h("div", { class: "place" });
  const cursors = [null];
  let token = 0;
  async function run() {
    const turn = ++token;
    const timer = setTimeout(() => place.firstChild || put(place, skeleton(6)), 150);
    place.setAttribute("aria-busy", "true");
    try {
      const found = await load({ cursor: cursors.at(-1), sort, order });
      if (turn === token) draw(found);
    } catch (error) {
      if (turn === token && error.name !== "AbortError") put(place, errorView(error, run));
    } finally {
      clearTimeout(timer);
      if (turn === token) place.removeAttribute("aria-busy");
    }
  }
  function reorder(column) {
    order = sort === column.sort && order === "asc" ? "desc" : "asc";
    sort = column.sort;
    cursors.length = 1;
    run();
  }
  function heading(column) {
    const sorted = column.sort && column.sort === sort ? (order === "asc" ? "ascending" : "descending") : undefined;
    const title = column.sort
      ? h("button", { type: "button", class: "sort", on: { click: () => reorder(column) } }, column.title, icon("down"))
      : column.title;
    return h("th", { scope: "col", "aria-sort": sorted, class: column.end ? "end" : undefined }, title || h("span", { class: "outside" }, t("actions")));
  }
  function row(item) {
    const cells = columns.map((column, i) => {
      const content = column.cell(item);
      const linked = i || !(href || open) ? content : href ? h("a", { href: href(item), class: "row-link" }, content) : h("button", { type: "button", class: "row-link", on: { click: () => open(item) } }, content);
      const properties = { class: column.end ? "end" : undefined, "data-title": column.title };
      return i === 0 ? h("th", { scope: "row" }, linked) : h("td", properties, linked);
    });
    return h("tr", { class: href || open ? "linked" : undefined }, cells);
  }
  function draw({ items, nextCursor }) {
    if (!items.length && cursors.length === 1) return put(place, none ?? empty(t("nothingHere")));
    const step = (move) => () => (move(), run());
    put(
      place,
      h(
        "div",
        { class: "table", tabindex: "0", role: "region", "aria-label": caption },
        h("table", null, h("caption", { class: "outside" }, caption), h("thead", null, h("tr", null, columns.map(heading))), h("tbody", null, items.map(row))),
      ),
      (nextCursor || cursors.length > 1) &&
        h(
          "nav",
          { class: "pager", "aria-label": t("pages") },
          button(t("previous"), step(() => cursors.pop()), { disabled: cursors.length === 1 }),
          h("span", { class: "quiet" }, t("page", { page: cursors.length })),
          button(t("next"), step(() => cursors.push(nextCursor)), { disabled: !nextCursor }),
        ),
    );
  }
  /** Loads again from the first page. */
  place.refresh = () => ((cursors.length = 1), run());
  /** Loads the page that is shown again. */
  place.reload = run;
  run();
  return place;
}

/**
 * A field with its label, hint and place for an error. `kind`: "text", "password", "number", "textarea", "select",
 * "checkbox", "datetime-local", "search". `field.read()` answers its value: a string, number, boolean, or null where empty.
 */
export function field({ name, label, kind = "text", value, hint, options, required, attributes }) {
  const id = uniqueId(name);
  const described = { "aria-describedby": `${id}-hint` };
  const common = { id, name, required, ...described, ...attributes };
  let input;
  if (kind === "textarea") input = h("textarea", { rows: 3, ...common, value: value ?? "" });
  else if (kind === "select") {
    input = h("select", common, options.map(([key, text]) => h("option", { value: key }, text)));
    if (value !== undefined && value !== null) input.value = value;
  } else if (kind === "checkbox") input = h("input", { type: "checkbox", ...common, checked: value });
  else input = h("input", { type: kind, ...common, value: value ?? "" });
  const trouble = h("p", { class: "trouble", id: `${id}-trouble`, hidden: true });
  const help = h("p", { class: "hint", id: `${id}-hint` }, hint);
  const text = h("label", { for: id }, label);
  const node = h("div", { class: kind === "checkbox" ? "field check" : "field" }, kind === "checkbox" ? [input, text] : [text, input], help, trouble);
  return Object.assign(node, {
    input,
    name,
    read: () => (kind === "checkbox" ? input.checked : input.value.trim() === "" ? null : kind === "number" ? Number(input.value) : kind === "password" ? input.value.trim() : input.value),
    fail(info) {
      trouble.hidden = !info;
      trouble.textContent = info ?? "";
      info ? input.setAttribute("aria-invalid", "true") : input.removeAttribute("aria-invalid");
      input.setAttribute("aria-describedby", info ? `${id}-trouble ${id}-hint` : `${id}-hint`);
    },
  });
}

/** A group of checkboxes. `read()` answers the chosen values. */
export function choices({ name, label, options, value = [], hint }) {
  const boxes = options.map(([key, text, about]) => {
    const id = uniqueId(name);
    const input = h("input", { type: "checkbox", id, value: key, checked: value.includes(key) });
    return { input, node: h("div", { class: "check" }, input, h("label", { for: id }, text, about && h("span", { class: "hint" }, about))) };
  });
  const node = h("fieldset", { class: "field choices" }, h("legend", null, label), hint && h("p", { class: "hint" }, hint), boxes.map((box) => box.node));
  return Object.assign(node, {
    name,
    input: boxes[0]?.input,
    read: () => boxes.filter((box) => box.input.checked).map((box) => box.input.value),
    fail: (info) => info && toast(info, "bad"),
  });
}

/** A form. `save(values)` may be async; its failures are shown at their fields, or above the button. */
export function form({ fields, verb, save, kind = "primary", extra }) {
  const trouble = h("div");
  const submit = button(verb, null, { type: "submit", kind });
  const node = h("form", { novalidate: true }, fields, trouble, h("div", { class: "actions" }, extra, submit));
  const named = fields.filter((field) => field.read);
  node.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (isBusy(submit)) return;
    put(trouble);
    for (const field of named) field.fail(field.input?.required && field.read() === null ? t("required") : null);
    const wrong = named.find((field) => field.input?.getAttribute("aria-invalid"));
    if (wrong) return wrong.input.focus();
    try {
      await busy(submit, Promise.resolve(save(Object.fromEntries(named.map((field) => [field.name, field.read()])))));
    } catch (error) {
      let shown = 0;
      for (const { field: name, info } of error.fields ?? []) {
        const field = named.find((field) => field.name === name);
        if (field && ++shown) field.fail(info);
      }
      if (!shown) put(trouble, errorView(error));
      else named.find((field) => field.input?.getAttribute("aria-invalid"))?.input.focus();
    }
  });
  return node;
}

/** A dialog. `content(close)` answers its nodes; `close(answer)` ends it. Escape answers undefined. */
export function dialog(title, content, { wide } = {}) {
  const before = document.activeElement;
  const id = uniqueId("dialog");
  return new Promise((resolve) => {
    let answer;
    const close = (value) => ((answer = value), node.close());
    const shut = button(null, () => close(undefined), { kind: "plain", symbol: "close", label: t("close") });
    const node = h("dialog", { "aria-labelledby": id, class: wide ? "wide" : undefined }, h("div", { class: "dialog-head" }, h("h2", { id }, title), shut), h("div", { class: "dialog-body" }));
    put(node.lastChild, content(close));
    node.addEventListener("close", () => {
      const stack = node.querySelector(".toasts");
      if (stack) document.body.append(stack);
      node.remove();
      if (before?.isConnected) before.focus();
      resolve(answer);
    });
    document.body.append(node);
    node.showModal();
    node.querySelector(".dialog-body :is(input, select, textarea, button)")?.focus();
  });
}

/**
 * Asks before something that cannot be undone. `typed`: a text that must be typed first. `act` may be async; its failure is
 * shown in the dialog. Answers true once it is done.
 */
export function confirm({ title, text, verb, typed, act, danger = true }) {
  return dialog(title, (close) => {
    const check = typed && field({ name: "typed", label: t("typeToConfirm", { text: typed }), attributes: { autocomplete: "off" }, required: true });
    const save = async () => {
      if (check && check.read() !== typed) return check.fail(t("typedDiffers"));
      const answer = await act?.();
      close(answer ?? true);
    };
    const cancel = button(t("cancel"), () => close(false));
    return [text && h("div", { class: "text" }, text), form({ fields: [check].filter(Boolean), verb, save, kind: danger ? "danger" : "primary", extra: cancel })];
  });
}

/** Shows a secret once. It is not stored, and gone from the page when the dialog closes. */
export const secret = (title, text, value) =>
  dialog(title, (close) => [
    h("p", null, text),
    h("div", { class: "secret" }, h("code", { tabindex: "0" }, value), copyButton(value)),
    h("p", { class: "hint" }, t("secretOnce")),
    h("div", { class: "actions" }, button(t("secretKept"), () => close(true), { kind: "primary" })),
  ]);

/** Values over time as a line with the area below it. `null` is a gap. `label` says to screen readers what it shows. */
export function sparkline(values, label) {
  const present = values.filter((value) => value !== null);
  const top = Math.max(...present, 1e-9);
  const step = 100 / Math.max(values.length - 1, 1);
  const y = (value) => (38 - (value / top) * 34).toFixed(1);
  const parts = [];
  let open = [];
  values.forEach((value, i) => {
    if (value !== null) open.push([(i * step).toFixed(1), y(value)]);
    if ((value === null || i === values.length - 1) && open.length) (parts.push(open), (open = []));
  });
  const line = (points) => points.map(([x, y], i) => `${i ? "L" : "M"}${x} ${y}`).join("");
  return s(
    "svg",
    { class: "spark", viewBox: "0 0 100 40", preserveAspectRatio: "none", role: "img", "aria-label": label },
    parts.map((points) => s("path", { class: "area", d: `${line(points)}L${points.at(-1)[0]} 40L${points[0][0]} 40Z` })),
    parts.map((points) => s("path", { class: "line", d: points.length === 1 ? `M${points[0].join(" ")}h.6` : line(points) })),
  );
}

/** Bars with names and numbers: `[{name, value, href, tone}]`. */
export function bars(rows) {
  const top = Math.max(...rows.map((row) => row.value), 1);
  return h(
    "ul",
    { class: "bars" },
    rows.map(({ name, value, href, tone }) => {
      const bar = h("meter", { class: tone, min: 0, max: top, value, "aria-label": name });
      const text = [h("span", { class: "bar-name" }, name), h("span", { class: "bar-value" }, number(value))];
      return h("li", null, href ? h("a", { href }, text) : h("div", null, text), bar);
    }),
  );
}

/** Links between the parts of a page. */
export const tabs = (label, links) =>
  h("nav", { class: "tabs", "aria-label": label }, links.map(({ text, href, current }) => h("a", { href, "aria-current": current ? "page" : undefined }, text)));

/** A word of the API as a badge, with the tone of its meaning. */
const TONES = { active: "good", ok: "good", ready: "good", good: "good", signed: "good", match: "good", ending: "warn", degraded: "warn", weak: "warn", pending: "warn", suspended: "bad", ended: "quiet", down: "bad", failed: "bad", disabled: "bad", refused: "warn", running: "warn", passed: "good", loading: "warn" };
export const state = (value) => badge(word("state", value), TONES[value] ?? "quiet");

/** Saves a text or a blob as a file. */
export function save(content, name, type = "text/plain") {
  const address = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  const link = h("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}
