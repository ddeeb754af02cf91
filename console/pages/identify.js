// Who is on a photo, or is it this person: the photo, the verdict, the photo's health.

import { h, put } from "../dom.js";
import { t, number } from "../i18n.js";
import { ApiError, at, request } from "../api.js";
import { may } from "../session.js";
import { go, href } from "../router.js";
import { badge, button, card, code, errorView, field, head, notice, skeleton, tabs } from "../ui.js";
import { addresses, carry, photoForm, photoPlace } from "../photos.js";
import { photograph } from "../camera.js";
import { checks, health, photoView, scale, times, traced } from "../face.js";
import { MANY_FACES, namesOf, personField, personHref, refusal } from "../people.js";

/** People who are shown where none matches. */
const NEAREST = 5;

export default function page(context) {
  const { appId, query, signal, onLeave } = context;
  const verifies = query.get("mode") === "verify";
  const urls = addresses(onLeave);
  const result = h("div", { class: "place" });
  const spoken = h("p", { class: "outside", role: "status" });
  const liveness = field({ name: "liveness", label: t("identify.liveness"), kind: "checkbox" });
  const deepfake = field({ name: "deepfake", label: t("identify.deepfake"), kind: "checkbox" });
  const person = verifies && personField({ appId, name: "person", label: t("identify.person"), value: context.state.templateId });
  let photo = null;
  let turn = 0;

  async function look(file, faces) {
    if (file !== photo && photo) urls.release(photo);
    photo = file;
    const own = ++turn;
    const id = person && person.read();
    if (person) person.fail(id ? null : t("required"));
    if (person && !id) return person.input.focus();
    place.classList.add("compact");
    put(result, skeleton(6));
    const asked = { faces, check_liveness: liveness.read() || undefined, check_deepfake: deepfake.read() || undefined, trace: verifies ? undefined : true };
    const path = at`applications/${appId}/` + (verifies ? "verify" : "identify");
    try {
      const answer = await request("POST", path, { body: photoForm([file], verifies ? { templateId: id } : {}), query: asked, signal });
      const { search, candidates = [] } = answer.result;
      const shown = verifies ? [id] : search ? [search.templateId] : candidates.slice(0, NEAREST).map((one) => one.templateId);
      const names = await namesOf(appId, shown, signal);
      if (own === turn) show(file, answer.result, names, answer.transactionId, id);
    } catch (error) {
      if (own !== turn || signal.aborted) return;
      if (error instanceof ApiError && error.code >= 1 && error.code <= 9) refused(file, error);
      else put(result, errorView(error, () => look(file, faces)));
    }
  }

  function refused(file, error) {
    const words = refusal(error, file);
    spoken.textContent = words.why;
    put(
      result,
      h(
        "div",
        { class: "seen" },
        h("div", { class: "card" }, photoView(urls.of(file), null, t("identify.photo"))),
        card(
          t("identify.notLooked"),
          null,
          notice("warn", h("p", null, h("strong", null, words.why)), h("p", null, words.remedy)),
          h("div", { class: "actions" }, error.code === MANY_FACES && button(t("identify.largest"), () => look(file, "largest"), { kind: "primary" })),
        ),
      ),
    );
  }

  function show(file, found, names, transactionId, id) {
    const face = traced(found.firstFace ?? found);
    const verdict = verifies ? compared(found, id, names[id]) : identified(found, file, names);
    put(
      result,
      h(
        "div",
        { class: "seen" },
        h("div", { class: "card" }, photoView(urls.of(file), face, t("identify.photo"))),
        h("div", { class: "page" }, verdict, card(t("health.title"), null, health(face), found.trace && times(found.trace), transactionId && h("p", { class: "hint transaction" }, t("error.transaction"), " ", code(transactionId)))),
      ),
    );
    spoken.textContent = verdict.querySelector(".verdict").textContent;
  }

  const verdict = (good, text) => h("p", { class: `verdict ${good ? "good" : ""}` }, text);
  const odds = (fpir) => typeof fpir === "number" && fpir > 0 && h("p", { class: "quiet" }, fpir >= 0.5 ? t("identify.oddsHigh") : t("identify.odds", { n: number(niceOdds(1 / fpir)) }));

  function identified({ search, candidates = [], decision = {}, ...face }, file, names) {
    const best = search ?? candidates[0];
    const runnerUp = candidates.find((one) => one.templateId !== best?.templateId)?.similarity;
    const enroll = may.change() && button(t("identify.enrollAs"), () => (carry([file]), go(href("enroll", appId))), { symbol: "plus", kind: search ? undefined : "primary" });
    const threshold = decision.threshold;
    return card(
      t("identify.verdict"),
      h("div", { class: "badges" }, checks(face)),
      verdict(Boolean(search), search ? names[search.templateId] || search.templateId : t("identify.none")),
      search ? names[search.templateId] && h("p", null, h("code", null, search.templateId)) : h("p", { class: "quiet" }, t("identify.noneText")),
      best && typeof threshold === "number" && scale(best.similarity, threshold, runnerUp),
      odds(decision.expectedFpir),
      !search && candidates.length > 0 && nearest(candidates, names),
      h("div", { class: "actions" }, search && h("a", { class: "button primary", href: personHref(search.templateId, appId) }, t("identify.open")), enroll),
    );
  }

  const nearest = (candidates, names) =>
    h("div", { class: "nearest" }, h("h3", null, t("identify.nearest")), h("ol", null, candidates.slice(0, NEAREST).map((one) => h("li", null, h("a", { href: personHref(one.templateId, appId) }, names[one.templateId] || one.templateId), h("span", { class: "quiet" }, number(one.similarity, 2))))));

  function compared(found, id, name) {
    const { similarity, same } = found.comparison ?? found;
    const threshold = found.decision?.threshold ?? found.threshold;
    return card(
      t("identify.verdict"),
      h("div", { class: "badges" }, checks(found.firstFace ?? found)),
      verdict(same, t(same ? "identify.same" : "identify.different")),
      h("p", { class: "who" }, name, h("code", null, id)),
      typeof threshold === "number" ? scale(similarity, threshold) : badge(t("scale.similarity", { n: number(similarity, 2) }), same ? "good" : "warn"),
      h("div", { class: "actions" }, h("a", { class: "button primary", href: personHref(id, appId) }, t("identify.open"))),
    );
  }

  const place = photoPlace({
    title: t(verifies ? "identify.bringVerify" : "identify.bring"),
    text: t("identify.bringText"),
    take: ([{ file }]) => look(file),
    camera: async () => {
      const taken = await photograph(context);
      if (taken) look(taken);
    },
    onLeave,
  });
  for (const option of [liveness, deepfake]) option.input.addEventListener("change", () => photo && look(photo));
  const mode = (name) => ({ text: t(`identify.mode.${name}`), href: `${href("identify", appId)}${name === "verify" ? "?mode=verify" : ""}`, current: verifies === (name === "verify") });
  return h(
    "div",
    { class: "page wide" },
    head(t("nav.identify"), { lead: t(verifies ? "identify.leadVerify" : "identify.lead") }),
    tabs(t("nav.identify"), [mode("identify"), mode("verify")]),
    h("div", { class: "card" }, person, place, h("div", { class: "options-row" }, liveness, deepfake)),
    spoken,
    result,
  );
}

/** Two digits: more would claim a precision that the figure does not have. */
function niceOdds(n) {
  const unit = 10 ** Math.max(0, Math.floor(Math.log10(n)) - 1);
  return Math.round(n / unit) * unit;
}
