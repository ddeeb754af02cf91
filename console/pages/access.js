// Administrators: who may do what.

import { h } from "../dom.js";
import { t, word } from "../i18n.js";
import { api, at, actionKey, segment } from "../api.js";
import { session } from "../session.js";
import { go, href } from "../router.js";
import { applications, applicationName } from "../shell.js";
import { badge, button, card, choices, confirm, dialog, facts, field, form, head, notice, pending, secret, state, table, toast, when } from "../ui.js";
import { sessionTable, tokenTable } from "../credentials.js";

const ROLES = ["owner", "operator", "auditor"];

export default function page({ signal }) {
  const load = async ({ cursor }) => {
    const found = await api.get("administrators", { cursor }, { signal });
    return { items: found.administrators, nextCursor: found.nextCursor };
  };
  const list = table({
    caption: t("access.title"),
    columns: [
      { title: t("name"), cell: (one) => [one.name, one.adminId === session.administrator.adminId && h("span", { class: "quiet" }, " · ", t("access.you"))] },
      { title: t("access.role"), cell: (one) => word("role", one.role) },
      { title: t("nav.applications"), cell: (one) => scope(one) },
      { title: t("state"), cell: (one) => state(one.state) },
      { title: t("access.lastSignIn"), cell: (one) => when(one.lastSignInAt, t("never")) },
    ],
    load,
    href: (one) => href(`access/${segment(one.adminId)}`),
  });
  const add = button(t("access.add"), () => addDialog(), { kind: "primary", symbol: "plus" });
  return h("div", { class: "page" }, head(t("access.title"), { lead: t("access.lead"), action: add }), list);
}

const scope = (one) =>
  one.role === "owner" || !one.applications ? t("access.all") : h("div", { class: "badges" }, one.applications.map((id) => badge(applicationName(id))));

function fields(one = {}) {
  const role = field({ name: "role", label: t("access.role"), kind: "select", value: one.role ?? "operator", options: ROLES.map((role) => [role, word("role", role)]) });
  const about = h("p", { class: "hint" });
  const every = field({ name: "every", label: t("access.everyApplication"), kind: "checkbox", value: !one.applications });
  const which = choices({ name: "applications", label: t("access.which"), value: one.applications ?? [], options: applications().map((app) => [app.appId, app.name]) });
  const mayChange = field({ name: "mayChange", label: t("access.mayChange"), hint: t("access.mayChangeHint"), kind: "checkbox", value: one.mayChange ?? true });
  const arrange = () => {
    about.textContent = t(`access.about.${role.read()}`);
    every.hidden = role.read() === "owner";
    which.hidden = every.hidden || every.read();
    mayChange.hidden = role.read() !== "operator";
  };
  role.input.addEventListener("change", arrange);
  every.input.addEventListener("change", arrange);
  arrange();
  return [field({ name: "name", label: t("name"), value: one.name, required: true, attributes: { maxlength: 100, autocomplete: "off" } }), role, about, every, which, mayChange];
}

const body = ({ name, role, every, applications: list, mayChange }) => ({
  name,
  role,
  applications: role === "owner" || every ? null : list,
  ...(role === "operator" ? { mayChange } : {}),
});

async function addDialog() {
  const key = actionKey();
  const made = await dialog(t("access.add"), (close) =>
    form({ fields: fields(), verb: t("access.add"), save: async (values) => close(await api.post("administrators", body(values), { idempotencyKey: key })) }),
  );
  if (!made) return;
  await go(href(`access/${segment(made.adminId)}`));
  await invite(made);
}

/** A link with a one-time code: in the fragment, which reaches no server and no log. */
async function invite(one) {
  const made = await api.post(at`administrators/${one.adminId}/invitations`, {}, { idempotencyKey: actionKey() });
  await secret(t("access.inviteTitle", { name: one.name }), t("access.inviteText"), `${location.origin}/console#code=${encodeURIComponent(made.code)}`);
}

export function person({ params, signal }) {
  const path = at`administrators/${params.adminId}`;
  const load = () => api.get(path, undefined, { signal });
  const view = pending(load, (one) => {
    const isSelf = one.adminId === session.administrator.adminId;
    const edit = () =>
      dialog(t("access.edit"), (close) =>
        form({
          fields: fields(one),
          verb: t("save"),
          save: async (values) => {
            await api.patch(path, body(values));
            close(true);
            toast(t("saved"), "good");
            view.refresh();
          },
        }),
      );
    const toggle = async () => {
      const active = one.state === "active";
      const done = await confirm({
        title: t(active ? "access.disableTitle" : "access.enableTitle", { name: one.name }),
        text: t(active ? "access.disableText" : "access.enableText"),
        verb: t(active ? "access.disable" : "access.enable"),
        danger: active,
        act: () => api.patch(path, { state: active ? "disabled" : "active" }),
      });
      if (done) (toast(t("saved"), "good"), view.refresh());
    };
    const remove = async () => {
      const done = await confirm({ title: t("access.removeTitle", { name: one.name }), text: t("access.removeText"), verb: t("remove"), act: () => api.delete(path) });
      if (!done) return;
      toast(t("access.removed", { name: one.name }), "good");
      go(href("access"));
    };
    return h(
      "div",
      { class: "page" },
      head(one.name, { back: { href: href("access"), text: t("access.title") }, action: one.state === "active" && button(t("access.invite"), () => invite(one), { kind: "primary", symbol: "key" }) }),
      one.bootstrap && notice("warn", t("access.isBootstrap")),
      card(
        t("details"),
        h("div", { class: "actions" }, button(t("edit"), edit), !isSelf && button(t(one.state === "active" ? "access.disable" : "access.enable"), toggle), !isSelf && button(t("remove"), remove, { kind: "danger" })),
        facts([
          [t("access.role"), word("role", one.role)],
          [t("nav.applications"), scope(one)],
          one.role === "operator" && [t("access.mayChange"), t(one.mayChange === false ? "no" : "yes")],
          [t("state"), state(one.state)],
          [t("created"), when(one.createdAt)],
          [t("access.lastSignIn"), when(one.lastSignInAt, t("never"))],
        ]),
      ),
      tokenTable(one, { signal, changed: () => view.refresh() }),
      sessionTable(one, { signal }),
    );
  });
  return view;
}
