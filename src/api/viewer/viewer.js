// Shows an OpenAPI 3.1 document of this server. Nothing of it is parsed as markup, and nothing is sent.

const address = new URL(document.querySelector("meta[name=document]").content, location.href);
const METHODS = ["get", "post", "put", "patch", "delete"];
const MAX_EXAMPLE_DEPTH = 5;
let api;

function h(name, properties, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(properties ?? {})) {
    if (typeof value === "function") node.addEventListener(key, value);
    else if (value !== undefined && value !== false) node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== undefined && child !== null && child !== false));
  return node;
}

/** A text with `code` between backticks. */
const text = (words) => String(words ?? "").split("`").map((part, at) => (at % 2 ? h("code", {}, part) : part));

/** What a reference leads to, with the members beside it. */
function resolve(value) {
  if (!value?.$ref) return value ?? {};
  const { $ref, ...beside } = value;
  const found = $ref.slice(2).split("/").reduce((at, key) => at?.[key.replaceAll("~1", "/").replaceAll("~0", "~")], api);
  return { ...resolve(found), ...beside };
}

const nameOf = (schema) => schema?.$ref?.split("/").at(-1);
const choices = (schema) => schema.oneOf ?? schema.anyOf ?? [];
const isNull = (schema) => resolve(schema).type === "null";

/** The type of a schema in a few words. */
function typeOf(given) {
  const schema = resolve(given);
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (choices(schema).length) return [...new Set(choices(schema).map(typeOf))].join(" or ");
  const kinds = [schema.type ?? (schema.properties ? "object" : schema.enum ? "" : "any")].flat();
  const words = kinds.map((kind) => {
    if (kind === "array") return `list of ${typeOf(schema.items ?? {})}`;
    if (kind === "object") return nameOf(given) ?? "object";
    return schema.format && kind === "string" ? `string (${schema.format})` : kind;
  });
  return words.filter(Boolean).join(" or ") || "one of";
}

/** The limits of a schema in a few words. */
function limitsOf(schema) {
  const words = [];
  const range = (least, most, unit) => {
    if (least !== undefined && most !== undefined) words.push(`${least} to ${most}${unit}`);
    else if (least !== undefined && least !== 0) words.push(`at least ${least}${unit}`);
    else if (most !== undefined) words.push(`at most ${most}${unit}`);
  };
  if (schema.enum) words.push(schema.enum.map((one) => JSON.stringify(one)).join(", "));
  range(schema.minimum, schema.maximum, "");
  if (schema.exclusiveMinimum !== undefined) words.push(`above ${schema.exclusiveMinimum}`);
  range(schema.minLength, schema.maxLength, " characters");
  range(schema.minItems, schema.maxItems, " entries");
  if (schema.pattern) words.push(`matches ${schema.pattern}`);
  if (schema.default !== undefined) words.push(`default ${JSON.stringify(schema.default)}`);
  return words.join("; ");
}

/** The schemas with members inside a schema: itself, its items, its choices. */
function inner(given) {
  const schema = resolve(given);
  if (schema.items) return inner(schema.items);
  const parts = [...choices(schema), ...(schema.allOf ?? [])].filter((part) => !isNull(part)).flatMap(inner);
  const extra = schema.additionalProperties;
  if (extra && typeof extra === "object") parts.push(...inner(extra));
  return schema.properties ? [given, ...parts] : parts;
}

const line = (name, given, required, description) => {
  const schema = resolve(given);
  const limits = limitsOf(choices(schema).length ? { ...resolve(choices(schema).find((one) => !isNull(one))), ...schema } : schema);
  const words = description ?? schema.description;
  return [
    h("span", { class: "name" }, name), " ", h("span", { class: "type" }, typeOf(given)),
    required && h("span", { class: "required" }, "required"),
    words && h("span", { class: "words" }, text(words)),
    limits && h("span", { class: "limits" }, limits),
  ];
};

/** A part that is made when it is opened: types may contain themselves. */
function lazy(summary, make, open) {
  const node = h("details", { open, toggle: fill }, h("summary", {}, summary));
  function fill() {
    if (node.open && node.children.length === 1) node.append(...[make()].flat());
  }
  if (open) fill();
  return node;
}

function members(given) {
  const schema = resolve(given);
  const required = new Set(schema.required);
  const rows = Object.entries(schema.properties).map(([name, property]) => {
    const parts = inner(property);
    const more = parts.map((part) => lazy(["Members of ", h("code", {}, nameOf(part) ?? name)], () => members(part)));
    return h("li", {}, line(name, property, required.has(name)), more);
  });
  return [schema.description && h("p", {}, text(schema.description)), h("ul", { class: "members" }, rows)].filter(Boolean);
}

function schemaView(given) {
  const parts = inner(given);
  const whole = parts.length === 1 && parts[0] === given;
  return [!whole && h("p", {}, line("", given)), ...parts.flatMap((part) => members(part))].filter(Boolean);
}

/** A value that fits a schema. */
function example(given, depth = 0) {
  const schema = resolve(given);
  if (schema.example !== undefined) return schema.example;
  if (schema.examples?.length) return schema.examples[0];
  if (schema.const !== undefined) return schema.const;
  if (schema.default !== undefined) return schema.default;
  if (schema.enum) return schema.enum[0];
  const choice = choices(schema).find((one) => !isNull(one));
  if (choice) return example(choice, depth);
  const kind = [schema.type].flat().find((one) => one !== "null");
  if (kind === "array") return depth > MAX_EXAMPLE_DEPTH ? [] : [example(schema.items ?? {}, depth + 1)];
  if (kind === "object" || schema.properties || schema.allOf) {
    if (depth > MAX_EXAMPLE_DEPTH) return {};
    const all = [schema, ...(schema.allOf ?? []).map(resolve)].flatMap((part) => Object.entries(part.properties ?? {}));
    return Object.fromEntries(all.map(([name, property]) => [name, example(property, depth + 1)]));
  }
  if (kind === "integer" || kind === "number") return schema.minimum ?? (schema.exclusiveMinimum !== undefined ? schema.maximum : 1);
  if (kind === "boolean") return true;
  if (schema.format === "date-time") return "2030-01-31T00:00:00Z";
  if (schema.format === "uuid") return "00000000-0000-4000-8000-000000000000";
  return kind === "string" ? "..." : {};
}

/** Only what a body must have, or its first member. */
function smallest(given) {
  const schema = resolve(given), whole = example(given);
  if (!schema.properties) return whole;
  const required = schema.required?.length ? schema.required : Object.keys(schema.properties).slice(0, 1);
  return Object.fromEntries(required.map((name) => [name, whole[name]]));
}

const quoted = (word) => `'${String(word).replaceAll("'", `'\\''`)}'`;

function curl(method, path, operation) {
  const parts = ["curl"];
  if (method !== "get") parts.push(`-X ${method.toUpperCase()}`);
  const [scheme] = operation.security ?? api.security ?? [];
  for (const name of Object.keys(scheme ?? {})) {
    const { type, name: header } = resolve(api.components.securitySchemes[name]);
    if (type === "http") parts.push(`-H "Authorization: Bearer $TOKEN"`);
    else parts.push(`-H "${header}: $${header.replaceAll("-", "_")}"`);
  }
  const [kind, media] = Object.entries(resolve(operation.requestBody).content ?? {})[0] ?? [];
  if (kind === "multipart/form-data") {
    const { properties = {}, required, allOf = [] } = resolve(media.schema);
    const either = allOf.map((part) => part.anyOf?.[0].required?.[0]).filter(Boolean);
    for (const name of [...(required ?? []), ...either]) {
      const file = JSON.stringify(resolve(properties[name])).includes('"binary"');
      parts.push(`-F ${quoted(`${name}=${file ? "@photo.jpg" : "..."}`)}`);
    }
  } else if (kind) {
    parts.push(`-H ${quoted(`Content-Type: ${kind}`)}`, `-d ${quoted(JSON.stringify(smallest(media.schema)))}`);
  }
  const filled = path.replaceAll(/\{(\w+)\}/g, (_, name) => name.replaceAll(/[A-Z]/g, "_$&").toUpperCase());
  parts.push(quoted(address.origin + filled));
  return parts.join(" ");
}

const status = h("p", { role: "status", class: "outside" });

function copied(words) {
  const code = h("code", { tabindex: "0" }, words);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(words);
      status.textContent = "Copied.";
    } catch {
      getSelection().selectAllChildren(code);
      status.textContent = "Selected: copy it with the keyboard.";
    }
  };
  return h("div", { class: "copied" }, h("pre", {}, code), h("button", { type: "button", click: copy }, "Copy"));
}

function content(map) {
  return Object.entries(map ?? {}).flatMap(([kind, media]) => [
    h("p", {}, h("code", {}, kind)),
    ...schemaView(media.schema ?? {}),
    kind.includes("json") && lazy("Example", () => h("pre", { tabindex: "0" }, JSON.stringify(media.example ?? example(media.schema ?? {}), null, 2))),
  ].filter(Boolean));
}

function access(operation) {
  const facts = [];
  const list = (words) => words.map((word) => `\`${word}\``).join(", ");
  if (operation.security?.length === 0) facts.push("No credentials are needed.");
  if (operation["x-roles"]?.length) facts.push(`Roles: ${list(operation["x-roles"])}.`);
  if (operation["x-fresh"]) facts.push("The token or the sign-in must be of the last ten minutes.");
  if (operation["x-scopes"]) facts.push(`The key needs one of these scopes: ${list(operation["x-scopes"])}.`);
  if (operation["x-all-scopes"]) facts.push(`The key needs all of these scopes: ${list(operation["x-all-scopes"])}.`);
  return facts.length ? h("p", {}, text(facts.join(" "))) : undefined;
}

function body(method, path, operation) {
  const parameters = (operation.parameters ?? []).map(resolve);
  const request = resolve(operation.requestBody);
  const replies = Object.entries(operation.responses ?? {}).map(([code, given]) => {
    const reply = resolve(given);
    const headers = Object.entries(reply.headers ?? {}).map(([name, header]) => h("li", {}, line(name, resolve(header).schema ?? {}, false, resolve(header).description)));
    return lazy([h("strong", {}, code), " ", text(reply.description)], () => [
      headers.length ? h("ul", { class: "members" }, headers) : undefined, ...content(reply.content),
    ].filter(Boolean), code < "300");
  });
  return [
    operation.description && h("p", {}, text(operation.description)),
    access(operation),
    parameters.length > 0 && [h("h4", {}, "Parameters"), h("ul", { class: "members" }, parameters.map((one) =>
      h("li", {}, line(`${one.name}`, one.schema, one.required, `In the ${one.in}. ${one.description ?? ""}`))))],
    operation.requestBody && [h("h4", {}, "Request body"), request.description && h("p", {}, text(request.description)), content(request.content)],
    h("h4", {}, "Replies"), replies,
    h("h4", {}, "Call"), copied(curl(method, path, operation)),
  ].flat(2).filter(Boolean);
}

const operations = [];

function operationView(method, path, operation) {
  const title = h("h3", {}, h("span", { class: `method ${method}` }, method.toUpperCase()), " ", h("span", { class: "path" }, path));
  const node = lazy([title, " ", h("span", { class: "summary" }, text(operation.summary))], () => body(method, path, operation));
  node.id = operation.operationId;
  node.className = "operation";
  const link = h("a", { href: `#${node.id}` }, `${operation.operationId}`);
  operations.push({ node, link: h("li", {}, link), words: `${method} ${path} ${operation.operationId} ${operation.summary}`.toLowerCase() });
  return node;
}

/** Opens the operation that the address names. */
function follow() {
  const node = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!node?.classList.contains("operation")) return;
  node.open = true;
  node.scrollIntoView();
  node.querySelector("summary").focus({ preventScroll: true });
}

function page() {
  const listed = Object.entries(api.paths).flatMap(([path, methods]) =>
    METHODS.filter((method) => methods[method]).map((method) => [method, path, methods[method]]));
  const tags = api.tags ?? [...new Set(listed.map(([, , { tags: [tag] }]) => tag))].map((name) => ({ name }));
  const groups = tags.map(({ name, description }) => {
    const from = operations.length;
    const views = listed.filter(([, , operation]) => operation.tags?.[0] === name).map((one) => operationView(...one));
    const own = operations.slice(from);
    return {
      own,
      section: h("section", { "aria-labelledby": `tag-${name}` }, h("h2", { id: `tag-${name}` }, name), h("p", {}, text(description)), views),
      links: h("li", {}, h("a", { href: `#tag-${name}` }, name), h("ul", {}, own.map(({ link }) => link))),
    };
  });
  const filter = ({ target }) => {
    const words = target.value.toLowerCase().split(/\s+/);
    for (const one of operations) one.node.hidden = one.link.hidden = !words.every((word) => one.words.includes(word));
    for (const { own, section, links } of groups) section.hidden = links.hidden = own.every(({ node }) => node.hidden);
    status.textContent = `${operations.filter(({ node }) => !node.hidden).length} operations`;
  };
  const { title, version, summary, description } = api.info;
  document.title = title;
  const list = h("details", { class: "list", open: innerWidth > 800 }, h("summary", {}, "Operations"), h("ul", {}, groups.map(({ links }) => links)));
  document.body.replaceChildren(
    h("a", { class: "skip", href: "#content" }, "Skip to the operations"),
    h("header", {}, h("h1", {}, title, " ", h("small", {}, version)), h("p", {}, text(summary)), h("p", {}, text(description)),
      h("p", {}, h("a", { href: address.href }, "The document itself"), " (OpenAPI ", api.openapi, ")")),
    h("nav", { "aria-label": "Operations" }, h("label", { for: "filter" }, "Filter"), h("input", { id: "filter", type: "search", input: filter }), list),
    h("main", { id: "content", tabindex: "-1" }, groups.map(({ section }) => section)), status,
  );
  addEventListener("hashchange", follow);
  follow();
}

try {
  const answer = await fetch(address, { credentials: "omit" });
  if (!answer.ok) throw new Error(`The server answered ${answer.status}.`);
  api = await answer.json();
  page();
} catch (error) {
  document.body.replaceChildren(h("main", {}, h("h1", {}, "The document cannot be read"), h("p", { role: "alert" }, String(error.message))));
}
