// Elements, made without markup text: nothing that comes from a server or a person is ever parsed as HTML.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "on") for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    else if (name === "value") node.value = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  add(node, children);
  return node;
}

function add(node, children) {
  for (const child of children) {
    if (Array.isArray(child)) add(node, child);
    else if (child !== undefined && child !== null && child !== false) node.append(child);
  }
}

/** An element: `h("p", {class: "lead", on: {click}}, "text", child)`. Absent, null and false are left out. */
export const h = (name, properties, ...children) => fill(document.createElement(name), properties, children);

/** An element of SVG. */
export const s = (name, properties, ...children) => fill(document.createElementNS(SVG, name), properties, children);

/** Replaces what a node holds. */
export function put(node, ...children) {
  node.replaceChildren();
  add(node, children);
  return node;
}

const ICONS = {
  overview: "M4 13h6V4H4zM14 20h6V4h-6zM4 20h6v-3H4z",
  people: "M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM2.5 20c0-3.600 2.900-6 6.5-6s6.5 2.400 6.5 6M16 4.5a3.5 3.5 0 0 1 0 6.5M17.5 14.5c2.5.7 4 2.800 4 5.5",
  identify: "M4 8V6a2 2 0 0 1 2-2h2M16 4h2a2 2 0 0 1 2 2v2M20 16v2a2 2 0 0 1-2 2h-2M8 20H6a2 2 0 0 1-2-2v-2M9 10v.5M15 10v.5M9 14.5c1.800 1.600 4.200 1.600 6 0",
  import: "M12 4v11M7.5 10.5 12 15l4.5-4.5M4 19h16",
  review: "M9 12l2 2 4-4.5M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18z",
  journal: "M6 4h12v16H6zM9 8.5h6M9 12h6M9 15.5h4",
  applications: "M4 7.5 12 4l8 3.5-8 3.5zM4 12l8 3.5L20 12M4 16.5 12 20l8-3.5",
  access: "M12 3l7 3v5c0 4.5-3 8-7 10-4-2-7-5.5-7-10V6zM12 11a2 2 0 1 0 0-4 2 2 0 0 0 0 4zM8.5 15.5c1-2 6-2 7 0",
  system: "M4 6h16v5H4zM4 13h16v5H4zM7.5 8.5v.01M7.5 15.5v.01",
  search: "M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13zM15.5 15.5 20 20",
  menu: "M4 7h16M4 12h16M4 17h16",
  close: "M6 6l12 12M18 6 6 18",
  copy: "M9 9h10v11H9zM5 15V4h10",
  check: "M5 12.5l4.5 4.5L19 7.5",
  warn: "M12 4 3 19.5h18zM12 10v4M12 16.800v.01",
  down: "M6 9.5l6 6 6-6",
  key: "M8 15.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM11.5 12H20v3M17 12v2.5",
  user: "M12 11.5a3.700 3.700 0 1 0 0-7.400 3.700 3.700 0 0 0 0 7.400zM5 20c.4-3.700 3.300-6 7-6s6.600 2.300 7 6",
  camera: "M4 8h3l1.5-2.5h7L17 8h3v11H4zM12 16.5a3.200 3.200 0 1 0 0-6.400 3.200 3.200 0 0 0 0 6.400z",
  upload: "M12 16V5M7.5 9.5 12 5l4.5 4.5M4 19h16",
  trash: "M5 7h14M9.5 7V4.5h5V7M7 7l.8 12.5h8.400L17 7M10.5 10.5v5.5M13.5 10.5v5.5",
  plus: "M12 5v14M5 12h14",
  image: "M4 5h16v14H4zM4 16l5-5 4 4 2.500-2.500L20 17M15.5 9.500v.01",
  folder: "M3.500 6.500h6l2 2.500h9v10h-17z",
};

/** A drawn symbol, hidden from screen readers: what it stands beside names it. */
export const icon = (name) =>
  s("svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true" }, s("path", { d: ICONS[name] ?? "" }));
