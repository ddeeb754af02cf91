// A face that was found: where it is on the photo, how good the photo is, whom it looks like.

import { h, put, s, icon } from "./dom.js";
import { t, known, number } from "./i18n.js";
import { badge } from "./ui.js";

/** The measures by what they are about. */
const GROUPS = {
  light: ["exposure", "contrast", "uniformity", "flare"],
  sharpness: ["blur", "macroblocks"],
  face: ["occlusion", "leftEyeClosed", "rightEyeClosed", "emotion", "distortion"],
  use: ["crfiqa"],
  checks: ["liveness", "deepfake"],
};
/** The advice that comes first where several fail: what a person can change most easily. */
const ORDER = ["exposure", "occlusion", "leftEyeClosed", "rightEyeClosed", "blur", "flare", "uniformity", "contrast", "emotion", "distortion", "macroblocks", "crfiqa"];
/** The camera's guide asks to look straight beyond so many degrees. */
const STRAIGHT_DEGREES = 20;
/** The camera's guide asks to come closer below this part of the picture's wider side. */
const CLOSE_PART = 0.22;
/** A face below so many pixels is recognized less reliably (docs/photos.md). */
const SMALL_PIXELS = 200;

const value = (measure) => measure.score ?? measure.value;

/** Draws box, points and roll of a face over a picture of this size. */
export function overlay(svg, face, { width, height }) {
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const unit = Math.max(width, height) / 200;
  const { box, landmarks = [] } = face;
  const [left, right] = landmarks;
  const reach = left && 0.6;
  put(
    svg,
    box && s("rect", { class: "face-box", x: box.x, y: box.y, width: box.w, height: box.h, rx: unit * 2 }),
    left && s("line", { class: "face-roll", x1: left[0] - (right[0] - left[0]) * reach, y1: left[1] - (right[1] - left[1]) * reach, x2: right[0] + (right[0] - left[0]) * reach, y2: right[1] + (right[1] - left[1]) * reach }),
    landmarks.map(([x, y]) => s("circle", { class: "face-point", cx: x, cy: y, r: unit })),
  );
}

/** The photo with what was found on it. */
export function photoView(address, face, label) {
  const drawn = s("svg", { class: "overlay", "aria-hidden": "true" });
  const image = h("img", { src: address, alt: label });
  const stage = h("figure", { class: "stage" }, image, drawn);
  image.addEventListener("load", () => face?.box && overlay(drawn, face, { width: image.naturalWidth, height: image.naturalHeight }));
  image.addEventListener("error", () => put(stage, h("p", { class: "hint" }, icon("image"), t("photos.notShown"))));
  return stage;
}

/** A bar from 0 to 1 with the part that is fine, and the value. */
function bar(at, limit) {
  const [from, to] = limit?.within ?? [limit?.atLeast ?? 0, limit?.below ?? 1];
  const x = Math.min(Math.max(at, 0), 1) * 100;
  return s(
    "svg",
    { class: "gauge", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
    s("rect", { class: "gauge-track", x: 0, y: 3, width: 100, height: 4 }),
    limit && s("rect", { class: "gauge-fine", x: from * 100, y: 3, width: (to - from) * 100, height: 4 }),
    limit && [from, to].filter((edge) => edge > 0 && edge < 1).map((edge) => s("rect", { class: "gauge-limit", x: edge * 100 - 0.25, y: 1, width: 0.5, height: 8 })),
    s("rect", { class: "gauge-value", x: Math.min(Math.max(x - 0.9, 0), 98.2), y: 0, width: 1.8, height: 10 }),
  );
}

const limitText = (limit) =>
  !limit ? null : limit.within ? t("limit.within", { from: number(limit.within[0], 2), to: number(limit.within[1], 2) }) : limit.atLeast !== undefined ? t("limit.atLeast", { n: number(limit.atLeast, 2) }) : t("limit.below", { n: number(limit.below, 2) });

function row(name, measure, limit) {
  const limited = limitText(limit);
  return h(
    "li",
    { class: measure.fine ? "measure" : "measure amber" },
    h("span", { class: "measure-name" }, t(`measure.${name}`)),
    bar(value(measure), limit),
    h("span", { class: "measure-value", title: limited }, number(value(measure), 2), limited && h("span", { class: "outside" }, ` (${limited})`)),
    h("span", { class: "measure-verdict" }, icon(measure.fine ? "check" : "warn"), t(measure.fine ? "measure.fine" : "measure.poor")),
  );
}

/** All measures of a photo, a limit where the server gives it. */
export function health(face) {
  const measures = { ...face.quality, liveness: face.liveness, deepfake: face.deepfake };
  const part = (group) => {
    const rows = GROUPS[group].filter((name) => measures[name] && typeof measures[name] === "object").map((name) => row(name, measures[name], measures[name].limit ?? face.limits?.[name]));
    if (group === "face") rows.push(...pose(face));
    return rows.length ? h("div", { class: "measures" }, h("h3", null, t(`measures.${group}`)), h("ul", null, rows)) : null;
  };
  const parts = Object.keys(GROUPS).map(part);
  return h("div", { class: "health" }, sentence(face), h("div", { class: "health-parts" }, parts));
}

function pose({ quality = {}, box }) {
  const degrees = ["yaw", "pitch", "roll"].filter((name) => typeof quality[name] === "number").map((name) => t(`pose.${name}`, { n: number(quality[name]) }));
  const text = (name, content) => h("li", { class: "measure text-only" }, h("span", { class: "measure-name" }, t(`measure.${name}`)), h("span", null, content));
  return [degrees.length && text("pose", degrees.join(" · ")), box && text("size", t("measure.pixels", { w: box.w, h: box.h }))].filter(Boolean);
}

/** A face with the limits that a trace names. */
export function traced(face) {
  const judged = (face.trace ?? []).filter(({ limit, step }) => limit && step !== "decide");
  const form = ({ atLeast, atMost, below }) => (atMost !== undefined ? { within: [atLeast, atMost] } : atLeast !== undefined ? { atLeast } : { below });
  return { ...face, limits: Object.fromEntries(judged.map(({ step, limit }) => [step, form(limit)])) };
}

/** How long each step of a trace took. */
export function times(trace) {
  const parts = trace.filter(({ milliseconds }) => milliseconds !== undefined).map(({ step, milliseconds }) => t(`trace.${step}`, { n: number(milliseconds, 1) }));
  return h("p", { class: "hint times" }, t("trace.times", { parts: parts.join(" · ") }));
}

/** What fails, the most useful first. */
export function failures(face) {
  return ORDER.filter((name) => face.quality?.[name]?.fine === false);
}

/** The advice for a measure that fails. Some fail at either end. */
export function adviceFor(name, face) {
  const at = value(face.quality[name]);
  const sided = `advice.${name}.${at < 0.5 ? "low" : "high"}`;
  return known(sided) ? t(sided) : t(`advice.${name}`);
}

function sentence(face) {
  const failed = failures(face);
  const small = face.box && Math.min(face.box.w, face.box.h) < SMALL_PIXELS;
  if (!failed.length) return h("p", { class: "health-line" }, icon(small ? "warn" : "check"), small ? t("advice.size") : t("health.good"));
  const more = failed.length > 1 ? t("health.more", { count: failed.length - 1 }) : "";
  return h("p", { class: "health-line amber" }, icon("warn"), [adviceFor(failed[0], face), more].filter(Boolean).join(" "));
}

/** What the person before the camera should do. */
export function guidance(face, pixels) {
  const { quality = {}, box } = face;
  const say = (key) => ({ good: false, text: t(key) });
  if (box && Math.max(box.w, box.h) < pixels * CLOSE_PART) return say("guide.closer");
  if (Math.abs(quality.yaw ?? 0) > STRAIGHT_DEGREES || Math.abs(quality.pitch ?? 0) > STRAIGHT_DEGREES) return say("guide.straight");
  if (quality.blur?.fine === false) return say("guide.still");
  const [first] = failures(face);
  if (first && !["emotion", "macroblocks", "distortion", "contrast"].includes(first)) return { good: false, text: adviceFor(first, face) };
  return { good: true, text: t("guide.good") };
}

/** Similarity from 0 to 1 with the threshold and the runner-up. */
export function scale(similarity, threshold, runnerUp) {
  const x = (at) => Math.min(Math.max(at, 0), 1) * 200;
  const parts = [t("scale.similarity", { n: number(similarity, 2) }), t("scale.threshold", { n: number(threshold, 2) }), runnerUp !== undefined && t("scale.runnerUp", { n: number(runnerUp, 2) })].filter(Boolean);
  const passed = similarity >= threshold;
  return h(
    "div",
    { class: "scale" },
    s(
      "svg",
      { viewBox: "-8 0 216 34", role: "img", "aria-label": parts.join("; ") },
      s("rect", { class: "gauge-track", x: 0, y: 14, width: 200, height: 6, rx: 3 }),
      s("rect", { class: passed ? "scale-good" : "scale-low", x: 0, y: 14, width: x(similarity), height: 6, rx: 3 }),
      s("line", { class: "scale-mark", x1: x(threshold), x2: x(threshold), y1: 6, y2: 28 }),
      runnerUp !== undefined && s("line", { class: "scale-tick", x1: x(runnerUp), x2: x(runnerUp), y1: 11, y2: 23 }),
      s("circle", { class: passed ? "scale-dot good" : "scale-dot", cx: x(similarity), cy: 17, r: 6 }),
    ),
    h("ul", { class: "legend" }, parts.map((text, i) => h("li", null, h("span", { class: `key key-${["dot", "mark", "tick"][i]}` }), text))),
  );
}

/** Liveness or deepfake, where it was asked for. */
export const checks = (face) =>
  ["liveness", "deepfake"].filter((name) => face[name]).map((name) => badge(t(`check.${name}.${face[name].fine ? "good" : "bad"}`, { n: number(face[name].score, 2) }), face[name].fine ? "good" : "bad"));

/** A drawn face where no picture is kept. */
export const silhouette = () =>
  s("svg", { class: "silhouette", viewBox: "0 0 64 64", "aria-hidden": "true" }, s("circle", { cx: 32, cy: 25, r: 12 }), s("path", { d: "M8 64c1.500-15 11-23 24-23s22.500 8 24 23z" }));
