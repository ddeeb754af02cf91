// Sign in with a token.

import { h } from "../dom.js";
import { t } from "../i18n.js";
import { signIn } from "../session.js";
import { render } from "../router.js";
import { field, form } from "../ui.js";

export default function page() {
  document.title = `${t("signIn.title")} · Semblance`;
  const token = field({
    name: "token",
    label: t("signIn.token"),
    kind: "password",
    required: true,
    attributes: { autocomplete: "current-password", spellcheck: "false" },
  });
  const save = async (values) => {
    try {
      await signIn(values);
    } catch (error) {
      if (error.status !== 401) throw error;
      token.fail(t("signIn.wrong"));
      return token.input.select();
    }
    await render();
  };
  return h(
    "main",
    { class: "sign-in" },
    h("img", { src: "/console/assets/icon.svg", alt: "", width: 56, height: 56 }),
    h("h1", null, t("signIn.title")),
    h("div", { class: "card" }, form({ fields: [token], verb: t("signIn.verb"), save })),
    h("details", null, h("summary", null, t("signIn.noToken")), h("p", null, t("signIn.help")), h("pre", null, h("code", null, "semblance admin token"))),
  );
}
