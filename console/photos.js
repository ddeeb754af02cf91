// Photos that a person brings: by file, by drag and drop, from the clipboard, from the camera. They stay in the page.

import { h, put, icon } from "./dom.js";
import { t, bytes } from "./i18n.js";
import { button, toast } from "./ui.js";

const PHOTO = /^image\//;
const NAME = /\.(jpe?g|png|webp|bmp|tiff?|gif|heic|heif|avif)$/i;

/** Whether a file looks like a photo: by its type, or by its name where the system knows no type. */
export const isPhoto = (file) => PHOTO.test(file.type) || NAME.test(file.name);

/** Addresses of photos for this page. All are revoked when the page is left. */
export function addresses(onLeave) {
  const made = new Map();
  onLeave(() => {
    for (const address of made.values()) URL.revokeObjectURL(address);
    made.clear();
  });
  return {
    of(blob) {
      if (!made.has(blob)) made.set(blob, URL.createObjectURL(blob));
      return made.get(blob);
    },
    release(blob) {
      if (made.has(blob)) URL.revokeObjectURL(made.get(blob));
      made.delete(blob);
    },
  };
}

/** A picture of a file; its name where the browser cannot show the format. */
export function thumbnail(file, urls, { label } = {}) {
  const image = h("img", { src: urls.of(file), alt: label ?? file.name ?? "", loading: "lazy", decoding: "async" });
  const place = h("span", { class: "thumb" }, image);
  image.addEventListener("error", () => put(place, icon("image"), h("span", { class: "outside" }, label ?? file.name)));
  return place;
}

/** Photos on their way from one page to another. They are in no address and no history. */
let carried = null;
export const carry = (photos) => (carried = photos);
export function carriedHere() {
  const photos = carried;
  carried = null;
  return photos;
}

/** All files of a drop, those in folders too: `[{file, path}]`. */
export async function droppedFiles(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files].map((file) => ({ file, path: file.name }));
  const found = [];
  for (const entry of entries) await walk(entry, found);
  return found;
}

async function walk(entry, found) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    found.push({ file, path: entry.fullPath.replace(/^\//, "") });
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const part = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!part.length) return;
    for (const inner of part) await walk(inner, found);
  }
}

/**
 * A place for photos: drop, paste, choose, camera. `take([{file, path}])` hears of them; `folder` also offers a folder;
 * `camera` is a function that opens it. Pasting and dropping work anywhere on the page.
 */
export function photoPlace({ title, text, multiple = false, folder = false, camera, accept = "image/*", take, onLeave }) {
  const chooser = (attributes) => {
    const input = h("input", { type: "file", hidden: true, "aria-label": t("photos.choose"), ...attributes });
    input.addEventListener("change", () => {
      const files = [...input.files].map((file) => ({ file, path: file.webkitRelativePath || file.name }));
      input.value = "";
      if (files.length) take(files);
    });
    return input;
  };
  const files = chooser({ accept, multiple });
  const folders = folder && chooser({ webkitdirectory: true });
  const choose = t(multiple ? "photos.chooseSome" : "photos.choose");
  const place = h(
    "div",
    { class: "drop" },
    icon("upload"),
    h("h2", null, title),
    text && h("p", { class: "hint" }, text),
    h(
      "div",
      { class: "actions" },
      button(choose, () => files.click(), { kind: "primary", symbol: "image" }),
      folders && button(t("photos.chooseFolder"), () => folders.click(), { symbol: "folder" }),
      camera && button(t("photos.camera"), camera, { symbol: "camera" }),
    ),
    files,
    folders,
  );
  const blocked = () => document.querySelector("dialog[open]") && !place.closest("dialog");
  const over = (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = blocked() ? "none" : "copy";
    place.classList.toggle("over", event.type === "dragover" && !blocked());
  };
  const drop = async (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    place.classList.remove("over");
    if (blocked()) return;
    const found = await droppedFiles(event.dataTransfer);
    if (found.length) take(multiple ? found : found.slice(0, 1));
  };
  const paste = (event) => {
    const found = [...(event.clipboardData?.files ?? [])].filter(isPhoto);
    if (!found.length || blocked()) return;
    event.preventDefault();
    take((multiple ? found : found.slice(0, 1)).map((file) => ({ file, path: file.name })));
  };
  const listeners = { dragover: over, dragleave: over, drop, paste };
  for (const [event, listener] of Object.entries(listeners)) document.addEventListener(event, listener);
  onLeave(() => {
    for (const [event, listener] of Object.entries(listeners)) document.removeEventListener(event, listener);
  });
  return place;
}

/** A list of photos before they are sent. `photos()` answers them; `changed()` hears of each change. */
export function photoList({ urls, max, changed }) {
  const list = h("ul", { class: "photos", "aria-label": t("photos.chosen") });
  let photos = [];
  const draw = () => {
    put(
      list,
      photos.map((file, i) =>
        h(
          "li",
          null,
          thumbnail(file, urls, { label: t("photos.number", { n: i + 1 }) }),
          h("span", { class: "hint" }, bytes(file.size)),
          button(null, () => remove(file), { kind: "plain", small: true, symbol: "close", label: t("photos.remove", { n: i + 1 }) }),
        ),
      ),
    );
    list.hidden = !photos.length;
    changed?.(photos);
  };
  const remove = (file) => {
    photos = photos.filter((other) => other !== file);
    urls.release(file);
    draw();
  };
  draw();
  return Object.assign(list, {
    photos: () => photos,
    add(files) {
      const some = files.filter(isPhoto);
      if (some.length < files.length) toast(t("photos.notPhoto"), "bad");
      if (photos.length + some.length > max) toast(t("photos.most", { max }), "bad");
      photos = [...photos, ...some].slice(0, max);
      draw();
    },
    keep(kept) {
      for (const file of photos) if (!kept.includes(file)) urls.release(file);
      photos = kept;
      draw();
    },
  });
}

/** A form with photos and texts, as the API takes it. */
export function photoForm(photos, values = {}) {
  const body = new FormData();
  for (const [name, value] of Object.entries(values))
    for (const one of Array.isArray(value) ? value : [value]) if (one !== null && one !== undefined && one !== "") body.append(name, one);
  // The name of a file can say who is on it: it stays here.
  for (const photo of photos) body.append("photo", photo, "photo");
  return body;
}
