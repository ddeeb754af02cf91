// What is done with a person: move a sample, merge, export, erase. Each asks first and says what it did.

import { h, put } from "./dom.js";
import { t, known, number, dateTime } from "./i18n.js";
import { actionKey, api, at, request, segment } from "./api.js";
import { go } from "./router.js";
import { button, code, confirm, dialog, errorView, facts, field, form, notice, save, toast } from "./ui.js";
import { personField, personHref, personTitle } from "./people.js";

/** Above so many samples the id must be typed before a person is erased. */
const TYPE_ABOVE = 5;
/** Pause between two questions for a receipt that is not signed yet. */
const RECEIPT_POLL_MS = 1000;
/** Longest wait of the server for the signed receipt. */
const RECEIPT_SECONDS = 3;

export function removeSample(person, sample, n, { path, reload }) {
  return confirm({
    title: t("sample.deleteTitle", { n }),
    text: t("sample.deleteText"),
    verb: t("sample.deleteVerb"),
    act: async () => {
      const erased = await api.delete(`${path}/samples/${segment(sample.sampleId)}`, { waitSeconds: RECEIPT_SECONDS });
      toast(t("sample.deleted", { n }), "good");
      reload();
      if (erased?.erasureId) receipt(erased, t("sample.receiptTitle"));
    },
  });
}

export function move(person, sample, n, { appId, path, reload }) {
  return dialog(t("sample.moveTitle", { n }), (close) => {
    const to = personField({ appId, name: "to", label: t("sample.moveTo"), except: person.templateId });
    const last = person.samples.length < 2;
    const remove = last && field({ name: "removeEmpty", label: t("sample.removeEmpty"), kind: "checkbox", value: true, hint: t("sample.removeEmptyHint") });
    return [
      h("p", null, t("sample.moveText", { name: personTitle(person) })),
      form({
        fields: [to, remove].filter(Boolean),
        verb: t("sample.moveVerb"),
        save: async (values) => {
          const body = { to: values.to, removeEmpty: values.removeEmpty ?? false };
          await api.post(`${path}/samples/${segment(sample.sampleId)}/move`, body, { idempotencyKey: actionKey() });
          close(true);
          toast(t("sample.moved", { n, to: values.to }), "good");
          last && values.removeEmpty ? go(personHref(values.to, appId)) : reload();
        },
        extra: button(t("cancel"), () => close(false)),
      }),
    ];
  });
}

/** Another id. Everything else of the person stays. */
export const rename = (person, { appId, path }) =>
  dialog(t("person.renameTitle", { name: personTitle(person) }), (close) => [
    h("p", null, t("person.renameNote")),
    form({
      fields: [field({ name: "to", label: t("person.newId"), required: true, attributes: { autocomplete: "off", maxlength: 128 } })],
      verb: t("person.renameVerb"),
      save: async ({ to }) => {
        const renamed = await api.post(`${path}/rename`, { to });
        close(true);
        toast(t("person.renamed", { id: renamed.templateId }), "good");
        go(personHref(renamed.templateId, appId));
      },
      extra: button(t("cancel"), () => close(false)),
    }),
  ]);

/** First what would happen, then the merge. */
export function merge(person, { appId, path, reload }) {
  return dialog(
    t("merge.title", { name: personTitle(person) }),
    (close) => {
      const from = personField({ appId, name: "from", label: t("merge.from"), except: person.templateId });
      const preview = h("div", { class: "text" });
      const look = form({
        fields: [from],
        verb: t("merge.look"),
        save: async (values) => put(preview, await previewed(values.from)),
        extra: button(t("cancel"), () => close(false)),
      });
      async function previewed(id) {
        const found = await api.post(`${path}/merge`, { from: id, dryRun: true });
        const lowest = found.lowestCrossSimilarity;
        const unlike = typeof lowest === "number" && typeof found.samePerson === "number" && lowest < found.samePerson;
        const conflicts = found.conflicts ?? [];
        const act = async () => {
          const merged = await api.post(`${path}/merge`, { from: id }, { idempotencyKey: actionKey() });
          close(true);
          toast(t("merge.done", { id }), "good");
          reload();
          return merged;
        };
        return [
          notice(
            unlike || conflicts.length ? "warn" : "good",
            h("p", null, t("merge.samples", { count: found.samples ?? 0, id, total: number(found.total) })),
            typeof lowest === "number" && h("p", null, t(unlike ? "merge.unlike" : "merge.alike", { n: number(lowest, 2), limit: number(found.samePerson, 2) })),
            conflicts.map((conflict) => h("p", null, conflictText(conflict))),
          ),
          h("p", { class: "hint" }, t("merge.text", { id, name: personTitle(person) })),
          h("div", { class: "actions" }, button(t("merge.verb"), act, { kind: unlike ? "danger" : "primary", disabled: conflicts.some((one) => one.blocks !== false) })),
        ];
      }
      from.input.addEventListener("input", () => put(preview));
      return [look, preview];
    },
    { wide: true },
  );
}

const conflictText = (conflict) => {
  const reason = conflict.reason ?? conflict;
  return known(`reason.${reason}`) ? t(`reason.${reason}`) : (conflict.info ?? String(reason));
};

/** Everything that is held of a person, as one file. */
export async function exportAll(person, { path, signal }) {
  const held = await api.post(`${path}/exports`, {}, { signal });
  // The id is not in the name of the file: it may lie in a shared folder.
  const name = "person.json";
  save(`${JSON.stringify(held, null, 2)}\n`, name, "application/json");
  toast(t("person.exported", { name }), "good");
}

/** Erases a person, then shows the receipt. Answers whether the person is gone. */
export async function erase(person, etag, { path }) {
  const count = person.samples?.length ?? person.sampleCount ?? 0;
  const erased = await confirm({
    title: t("person.deleteTitle", { name: personTitle(person) }),
    text: [h("p", null, t("person.deleteGoes", { count })), h("p", null, t("person.deleteStays"))],
    verb: t("person.deleteVerb"),
    typed: count > TYPE_ABOVE ? person.templateId : undefined,
    act: async () => (await request("DELETE", path, { query: { confirmSamples: count, waitSeconds: RECEIPT_SECONDS }, etag })).result,
  });
  if (!erased) return false;
  await receipt(erased, t("person.receiptTitle"));
  return true;
}

/** The receipt of an erasure: id, time, signature, download. */
function receipt(erased, title) {
  const time = new Date().toISOString();
  return dialog(title, (close) => {
    const place = h("div", { class: "text", role: "status" });
    const show = (found) => {
      const signed = found?.line ?? found?.receipt?.line;
      const download = () => save(`${typeof signed === "string" ? signed : JSON.stringify(signed)}\n`, `receipt-${erased.erasureId}.json`, "application/json");
      put(
        place,
        signed
          ? [notice("good", h("p", null, t("receipt.signed"))), button(t("receipt.download"), download, { symbol: "import" })]
          : notice("quiet", h("p", null, t("receipt.pending"))),
      );
      if (!signed) setTimeout(() => place.isConnected && look(), RECEIPT_POLL_MS);
    };
    async function look() {
      try {
        show(await api.get(at`receipts/${erased.erasureId}`));
      } catch (error) {
        error.status === 404 ? show(null) : put(place, errorView(error, look));
      }
    }
    erased.receipt?.line ? show(erased.receipt) : look();
    const counts = erased.erased ?? {};
    return [
      facts([
        [t("receipt.id"), code(erased.erasureId)],
        [t("receipt.time"), `${dateTime(time, undefined, true)} · ${dateTime(time, "UTC", true)} UTC`],
        counts.samples !== undefined && [t("samples"), number(counts.samples)],
        counts.crops !== undefined && [t("receipt.crops"), number(counts.crops)],
        erased.revision !== undefined && [t("receipt.revision"), number(erased.revision)],
      ]),
      place,
      h("div", { class: "actions" }, button(t("close"), () => close(true), { kind: "primary" })),
    ];
  });
}
