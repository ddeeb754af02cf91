// The camera: a live picture with advice from the server's measures, and a photo by hand or when all is well.

import { h, put, s } from "./dom.js";
import { t } from "./i18n.js";
import { api, at } from "./api.js";
import { button, dialog, field, notice } from "./ui.js";
import { photoForm } from "./photos.js";
import { guidance, overlay } from "./face.js";

/** Shortest time from one look at the picture to the next. */
const LOOK_MS = 350;
/** Time until the next look after the server had no room for one. */
const BUSY_MS = 2000;
/** The wider side of a picture that is looked at. The photo itself has the camera's size. */
const LOOK_PIXELS = 640;
/** How often in a row all is well before the photo is taken. */
const STEADY = 3;

const faults = { NotAllowedError: "denied", NotFoundError: "none", OverconstrainedError: "none", NotReadableError: "inUse" };

/** Opens the camera in a dialog. Answers the photo, or undefined. The camera is off when the dialog or the page is left. */
export async function photograph({ appId, onLeave, signal }) {
  if (!navigator.mediaDevices?.getUserMedia) {
    await dialog(t("camera.title"), (close) => [
      notice("warn", h("p", null, t("camera.insecure"))),
      h("div", { class: "actions" }, button(t("close"), () => close(), { kind: "primary" })),
    ]);
    return undefined;
  }
  const ending = new AbortController();
  const stop = () => ending.abort();
  onLeave(stop);
  const answer = await dialog(t("camera.title"), (close) => view(appId, close, ending.signal), { wide: true });
  stop();
  return signal?.aborted ? undefined : answer;
}

function view(appId, close, signal) {
  const video = h("video", { autoplay: true, playsinline: true, "aria-label": t("camera.live") });
  video.muted = true;
  const drawn = s("svg", { class: "overlay", "aria-hidden": "true" });
  const advice = h("p", { class: "advice", role: "status" }, t("camera.starting"));
  const automatic = field({ name: "automatic", label: t("camera.automatic"), kind: "checkbox", value: true });
  const chosen = h("select", { "aria-label": t("camera.which"), hidden: true });
  const shoot = button(t("camera.take"), () => take(), { kind: "primary", symbol: "camera", disabled: true });
  const place = h("div", { class: "camera" }, h("div", { class: "stage mirror" }, video, drawn), advice);
  let stream;
  let alive = true;
  const off = () => stream?.getTracks().forEach((track) => track.stop());
  signal.addEventListener("abort", () => ((alive = false), off(), (video.srcObject = null), close()));

  async function start(deviceId) {
    off();
    try {
      const size = { width: { ideal: 1920 }, height: { ideal: 1080 } };
      stream = await navigator.mediaDevices.getUserMedia({ video: { ...size, ...(deviceId ? { deviceId } : { facingMode: "user" }) }, audio: false });
    } catch (error) {
      put(place, notice("warn", h("p", null, t(`camera.${faults[error.name] ?? "failed"}`))));
      return;
    }
    if (!alive) return off();
    video.srcObject = stream;
    await video.play().catch(() => null);
    shoot.disabled = false;
    const cameras = (await navigator.mediaDevices.enumerateDevices()).filter((device) => device.kind === "videoinput");
    chosen.hidden = cameras.length < 2;
    put(chosen, cameras.map((camera, i) => h("option", { value: camera.deviceId }, camera.label || t("camera.number", { n: i + 1 }))));
    chosen.value = stream.getVideoTracks()[0]?.getSettings().deviceId ?? "";
  }
  chosen.addEventListener("change", () => start(chosen.value));

  async function take() {
    const photo = await still(video, Infinity, 0.95);
    if (photo) close(new File([photo], "camera.jpg", { type: "image/jpeg" }));
  }

  async function guide() {
    let steady = 0;
    while (alive) {
      const began = performance.now();
      let wait = LOOK_MS;
      const picture = video.videoWidth && !document.hidden && (await still(video, LOOK_PIXELS, 0.8));
      if (picture) {
        try {
          const face = await api.post(at`applications/${appId}/inspect`, photoForm([picture]), { signal });
          const found = guidance(face, LOOK_PIXELS);
          steady = found.good ? steady + 1 : 0;
          advice.textContent = found.text;
          advice.classList.toggle("good", found.good);
          overlay(drawn, face, lookSize(video));
          if (steady >= STEADY && automatic.read()) return take();
        } catch (error) {
          if (signal.aborted) return;
          steady = 0;
          put(drawn);
          advice.classList.remove("good");
          if (error.code >= 1 && error.code <= 9) advice.textContent = t(`guide.code${[5, 6].includes(error.code) ? error.code : 9}`);
          else if ([429, 503].includes(error.status)) wait = (error.retryAfter ?? 0) * 1000 || BUSY_MS;
          else return (advice.textContent = t("camera.noGuide"));
        }
      }
      await new Promise((resolve) => setTimeout(resolve, Math.max(wait, performance.now() - began)));
    }
  }
  start().then(() => alive && stream && guide());
  return [place, automatic, chosen, h("div", { class: "actions" }, button(t("cancel"), () => close()), shoot)];
}

function lookSize(video) {
  const scale = Math.min(1, LOOK_PIXELS / Math.max(video.videoWidth, video.videoHeight));
  return { width: Math.round(video.videoWidth * scale), height: Math.round(video.videoHeight * scale) };
}

/** The present picture as a JPEG whose wider side has at most so many pixels. */
async function still(video, pixels, quality) {
  const scale = Math.min(1, pixels / Math.max(video.videoWidth, video.videoHeight));
  const width = Math.round(video.videoWidth * scale);
  const height = Math.round(video.videoHeight * scale);
  if (!width) return null;
  const canvas = h("canvas", { width, height });
  canvas.getContext("2d").drawImage(video, 0, 0, width, height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", quality));
}
