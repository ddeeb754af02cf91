// Every page of the console, and the entries of the rail in their order.

import { may } from "./session.js";
import { page } from "./router.js";

const people = () => may.operate() || may.audit();

/** `nav` names the entry: its text is the message `nav.<nav>`, its symbol the icon of that name. */
export const NAV = [
  { nav: "overview", path: "" },
  { nav: "people", path: "people", may: people },
  { nav: "identify", path: "identify", may: may.operate },
  { nav: "import", path: "import", may: may.change },
  { nav: "review", path: "review", may: may.operate },
  { nav: "journal", path: "journal", may: may.audit },
  { nav: "applications", path: "applications", may: may.own },
  { nav: "access", path: "access", may: may.own },
  { nav: "system", path: "system" },
];

const applications = (name) => async () => ({ default: (await import("./pages/applications.js"))[name] });

page("", { nav: "overview" }, () => import("./pages/overview.js"));
page("people", { nav: "people", of: "application", may: people }, () => import("./pages/people.js"));
page("people/:templateId", { nav: "people", of: "application", may: people }, () => import("./pages/person.js"));
page("people/:templateId/photos", { nav: "people", of: "application", may: may.change }, async () => ({ default: (await import("./pages/enroll.js")).photos }));
page("enroll", { nav: "people", of: "application", may: may.change }, () => import("./pages/enroll.js"));
page("identify", { nav: "identify", of: "application", may: may.operate }, () => import("./pages/identify.js"));
page("import", { nav: "import", of: "application", may: may.change }, () => import("./pages/import.js"));
page("review", { nav: "review", of: "application", may: may.operate }, () => import("./pages/review.js"));
page("journal", { nav: "journal", may: may.audit }, () => import("./pages/journal.js"));
page("applications", { nav: "applications", may: may.own }, applications("default"));
page("applications/new", { nav: "applications", may: may.own }, applications("create"));
page("applications/:appId", { nav: "applications", may: may.own }, applications("one"));
page("access", { nav: "access", may: may.own }, () => import("./pages/access.js"));
page("access/:adminId", { nav: "access", may: may.own }, async () => ({ default: (await import("./pages/access.js")).person }));
page("system", { nav: "system" }, () => import("./pages/system.js"));
page("account", {}, () => import("./pages/account.js"));
