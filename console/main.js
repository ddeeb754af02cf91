// The beginning: language, session, first page.

import { resume, signIn } from "./session.js";
import { put } from "./dom.js";
import { loadLanguage, t } from "./i18n.js";
import { errorView, explain, toast } from "./ui.js";
import { applyTheme, display, prepare } from "./shell.js";
import { render, start } from "./router.js";

/** The one-time code of a link. A fragment reaches no server and no log; here it leaves the address, too. */
function oneTimeCode() {
  const code = new URLSearchParams(location.hash.slice(1)).get("code");
  if (code) history.replaceState(null, "", location.pathname + location.search);
  return code;
}

async function begin() {
  applyTheme();
  await loadLanguage();
  const code = oneTimeCode();
  prepare();
  start(display);
  try {
    let failure;
    if (code) await signIn({ code }).catch((error) => (failure = error));
    if (!code || failure) await resume();
    await render();
    if (failure) toast(failure.status === 401 ? t("signIn.codeEnded") : explain(failure), "bad");
  } catch (error) {
    put(document.body, errorView(error, begin));
  }
}

begin();
