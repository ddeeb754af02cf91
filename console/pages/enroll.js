// Enroll a person, or add photos to one: by file, drag and drop, paste, camera.

import { h, put } from "../dom.js";
import { t } from "../i18n.js";
import { actionKey, api, at, ApiError } from "../api.js";
import { href } from "../router.js";
import { button, buttonLink, card, field, form, head, notice } from "../ui.js";
import { addresses, carriedHere, photoForm, photoList, photoPlace, thumbnail } from "../photos.js";
import { photograph } from "../camera.js";
import { addSamples, detailFields, detailValues, guardFindings, MANY_FACES, MAX_PHOTOS, outcomes, personHref } from "../people.js";

/** A new person. */
export default (context) => page(context, null);

/** More photos of a person. */
export const photos = (context) => page(context, context.params.templateId);

function page(context, templateId) {
  const { appId, onLeave, signal } = context;
  const urls = addresses(onLeave);
  const result = h("div", { class: "place", "aria-live": "polite" });
  const chosen = photoList({ urls, max: MAX_PHOTOS });
  const place = photoPlace({
    title: t("enroll.photos"),
    text: t("enroll.photosText", { max: MAX_PHOTOS }),
    multiple: true,
    take: (found) => chosen.add(found.map(({ file }) => file)),
    camera: async () => {
      const photo = await photograph(context);
      if (photo) chosen.add([photo]);
    },
    onLeave,
  });
  chosen.add(carriedHere() ?? []);

  const fields = templateId ? [] : [field({ name: "templateId", label: t("person.id"), hint: t("enroll.idHint"), attributes: { autocomplete: "off", maxlength: 128, spellcheck: "false" } }), ...detailFields()];

  async function send(values, query) {
    put(result);
    const sent = chosen.photos();
    if (!sent.length) return put(result, notice("warn", h("p", null, t("enroll.noPhoto"))));
    const details = templateId ? {} : { templateId: values.templateId?.trim(), ...detailValues(values) };
    try {
      const made = templateId
        ? await addSamples(appId, templateId, sent, { query, signal })
        : await api.post(at`applications/${appId}/people`, photoForm(sent, details), { query, signal, idempotencyKey: actionKey() });
      made.accepted.length ? done(made, sent, query) : refused(new ApiError(400, { details: made }), sent, values, query);
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ApiError) || !(error.details.refused || error.details.guard || isFault(error))) throw error;
      refused(error, sent, values, query);
    }
    result.scrollIntoView({ block: "nearest" });
  }

  const isFault = (error) => error.code >= 1 && error.code <= 9;

  function done(made, sent, query) {
    const id = made.templateId ?? templateId;
    const { accepted, refused: refusals = [] } = made;
    const rows = sent.map((file, i) => ({ file, accepted: accepted.find((one) => one.index === i), refused: refusals.find((one) => one.index === i) }));
    const again = rows.filter((row) => row.refused?.code === MANY_FACES).map((row) => row.file);
    const findings = made.guard?.findings ?? [];
    chosen.keep([]);
    entry.hidden = true;
    put(
      result,
      card(
        t(templateId ? "enroll.added" : "enroll.done"),
        null,
        h("p", null, t("enroll.count", { count: accepted.length })),
        findings.length > 0 && notice("warn", h("p", null, t("enroll.warned")), guardFindings(findings, appId)),
        outcomes(rows, (file) => thumbnail(file, urls)),
        h(
          "div",
          { class: "actions" },
          buttonLink(t("enroll.show"), personHref(id, appId), { kind: "primary" }),
          again.length > 0 && query?.faces !== "largest" && button(t("enroll.largest"), () => largest(id, again)),
          !templateId && buttonLink(t("enroll.next"), href("enroll", appId)),
        ),
      ),
    );
    result.querySelector("h2").setAttribute("tabindex", "-1");
    result.querySelector("h2").focus();
  }

  /** Sends photos with several faces again, for a person who exists now. */
  async function largest(id, files) {
    const query = { faces: "largest" };
    done(await addSamples(appId, id, files, { query, signal }), files, query);
  }

  function refused(error, sent, values, query) {
    const refusals = error.details.refused ?? (isFault(error) ? [{ index: 0, code: error.code, info: error.info }] : []);
    const rows = sent.map((file, i) => ({ file, refused: refusals.find((one) => one.index === i) })).filter((row) => row.refused);
    const findings = error.details.guard?.findings ?? [];
    const known = findings.find((finding) => finding.kind === "alreadyEnrolled" && finding.templateId !== templateId);
    const several = refusals.some((one) => one.code === MANY_FACES) && query?.faces !== "largest";
    put(
      result,
      card(
        t(templateId ? "enroll.notAdded" : "enroll.notDone"),
        null,
        notice("warn", h("p", null, t(findings.length ? "enroll.guardRefused" : "enroll.noneAccepted")), findings.length > 0 && guardFindings(findings, appId)),
        rows.length > 0 && outcomes(rows, (file) => thumbnail(file, urls)),
        h(
          "div",
          { class: "actions" },
          several && button(t("enroll.largest"), () => send(values, { ...query, faces: "largest" }), { kind: "primary" }),
          known?.templateId && buttonLink(t("enroll.openOther"), personHref(known.templateId, appId)),
          findings.length > 0 && button(t("enroll.anyway"), () => send(values, { ...query, guard: "warn" }), { kind: "danger" }),
        ),
      ),
    );
  }

  const entryForm = form({ fields, verb: t(templateId ? "enroll.addVerb" : "enroll.verb"), save: () => send(Object.fromEntries(fields.map((one) => [one.name, one.read()]))) });
  const details = templateId ? entryForm : card(t("details"), null, entryForm);
  details.classList.add("columns");
  const entry = h("div", { class: "page" }, h("div", { class: "card" }, place, chosen), details);
  const back = templateId ? { href: personHref(templateId, appId), text: templateId } : { href: href("people", appId), text: t("nav.people") };
  return h("div", { class: "page" }, head(t(templateId ? "enroll.addTitle" : "people.enroll"), { back }), entry, result);
}
