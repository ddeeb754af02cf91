// Who is signed in, and what that person may do.

import { api, connect } from "./api.js";

/** `null` while no person is signed in. */
export let session = null;

function take(found) {
  session = found;
  connect({ csrf: found?.csrfToken ?? null });
}

/** Asks whether the browser holds a session, and which applications the person may see. */
export async function resume() {
  try {
    const found = await api.get("session", undefined, { anonymous: true });
    take({ ...found, applications: await applications() });
  } catch (error) {
    if (error.status !== 401) throw error;
    take(null);
  }
  return session;
}

/** All applications that the person may see, by name. */
async function applications() {
  const all = [];
  for (let cursor; cursor !== null; ) {
    const found = await api.get("applications", { limit: 1000, cursor }, { anonymous: true });
    all.push(...found.applications);
    cursor = found.nextCursor ?? null;
  }
  return all.sort((a, b) => a.name.localeCompare(b.name));
}

/** Signs in with `{token}` or `{code}`. */
export async function signIn(credentials) {
  const made = await api.post("session", credentials, { anonymous: true });
  connect({ csrf: made.csrfToken });
  return resume();
}

export async function signOut() {
  await api.delete("session").catch((error) => {
    if (error.status !== 401) throw error;
  });
  take(null);
}

/** The session ended at the server. */
export const forget = () => take(null);

const role = () => session?.administrator.role;

/** What the person may do; the API decides, the console only leaves out what it would refuse. */
export const may = {
  own: () => role() === "owner",
  /** Sees people and photos. */
  operate: () => role() === "owner" || role() === "operator",
  /** Enrolls, changes and erases people. */
  change: () => role() === "owner" || (role() === "operator" && session.administrator.mayChange !== false),
  audit: () => role() === "owner" || role() === "auditor",
};
