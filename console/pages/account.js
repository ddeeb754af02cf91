// The person's own sessions and tokens.

import { h } from "../dom.js";
import { t, word } from "../i18n.js";
import { api, at } from "../api.js";
import { session, may } from "../session.js";
import { head, pending } from "../ui.js";
import { sessionTable, tokenTable } from "../credentials.js";

export default function page({ signal }) {
  const load = async () => {
    const { administrator } = session;
    return may.own() ? api.get(at`administrators/${administrator.adminId}`, undefined, { signal }) : administrator;
  };
  const view = pending(load, (me) =>
    h(
      "div",
      { class: "page" },
      head(t("account.sessions"), { lead: `${me.name} · ${word("role", me.role)}` }),
      tokenTable(me, { changed: () => view.refresh() }),
      sessionTable(me, { signal }),
    ),
  );
  return view;
}
