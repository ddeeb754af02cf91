// The calls of the administration API. Every failure is an `ApiError` or a `LostConnection`.

const BASE = "/api/admin/v1/";

/** The API's answer to a call that it refused. `info` is a sentence, `reason` a stable word. */
export class ApiError extends Error {
  constructor(status, result, transactionId, retryAfter) {
    super(result.info ?? String(status));
    this.status = status;
    this.code = result.code ?? status;
    this.info = result.info ?? "";
    this.reason = result.reason ?? null;
    this.details = result.details ?? {};
    this.fields = result.fields ?? [];
    this.transactionId = transactionId ?? null;
    this.retryAfter = retryAfter;
  }
}

/** The server did not answer. */
export class LostConnection extends Error {}

// What the shell does when a session has ended, when a call asks for a fresh one, and when the connection changes.
const hooks = { csrf: null, ended() {}, confirm: async () => false, connection() {} };
export const connect = (changes) => Object.assign(hooks, changes);

/** An id as a segment of a path. URL libraries rewrite `.` and `..`, so such ids travel as base64url. */
export function segment(id) {
  if (!/^(\.{1,2}$|~)/.test(id)) return encodeURIComponent(id);
  const binary = String.fromCharCode(...new TextEncoder().encode(id));
  return `~${btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "")}`;
}

/** A path with ids: at`applications/${appId}/keys`. */
export const at = (parts, ...ids) => parts.reduce((path, part, i) => path + segment(String(ids[i - 1])) + part);

/**
 * One call. `options`: `query` (an object; absent, null and "" are left out), `body` (JSON; FormData and Blob go as they
 * are), `etag` (sent as If-Match), `idempotencyKey`, `signal`, `headers`, `raw` (answers the `Response`).
 * Answers `{result, etag, status, transactionId, headers}`.
 */
export async function request(method, path, options = {}) {
  const url = new URL(BASE + path, location.origin);
  for (const [name, value] of Object.entries(options.query ?? {}))
    if (value !== undefined && value !== null && value !== "") url.searchParams.set(name, value);
  const headers = { Accept: "application/json", ...options.headers };
  let { body } = options;
  if (body !== undefined && !(body instanceof FormData) && !(body instanceof Blob)) {
    headers["Content-Type"] = method === "PATCH" ? "application/merge-patch+json" : "application/json";
    body = JSON.stringify(body);
  }
  if (method !== "GET" && hooks.csrf) headers["X-CSRF-Token"] = hooks.csrf;
  if (options.etag) headers["If-Match"] = options.etag;
  if (options.idempotencyKey) headers["Idempotency-Key"] = options.idempotencyKey;
  let response;
  try {
    response = await fetch(url, { method, headers, body, signal: options.signal, credentials: "same-origin", redirect: "error" });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    hooks.connection(false);
    throw new LostConnection();
  }
  hooks.connection(true);
  if (response.ok && options.raw) return response;
  const text = await response.text();
  let envelope;
  try {
    envelope = text ? JSON.parse(text) : {};
  } catch {
    envelope = {};
  }
  if (response.ok) {
    const { result, transactionId } = envelope;
    return { result, transactionId, etag: response.headers.get("ETag"), status: response.status, headers: response.headers };
  }
  const retryAfter = Number(response.headers.get("Retry-After")) || null;
  const error = new ApiError(response.status, envelope.result ?? {}, envelope.transactionId, retryAfter);
  if (error.status === 401 && !options.anonymous) hooks.ended();
  if (error.reason === "freshSessionRequired" && !options.confirmed && (await hooks.confirm()))
    return request(method, path, { ...options, confirmed: true });
  throw error;
}

const result = async (...call) => (await request(...call)).result;

export const api = {
  get: (path, query, options) => result("GET", path, { query, ...options }),
  post: (path, body, options) => result("POST", path, { body: body ?? {}, ...options }),
  patch: (path, body, options) => result("PATCH", path, { body, ...options }),
  put: (path, body, options) => result("PUT", path, { body, ...options }),
  delete: (path, query, options) => result("DELETE", path, { query, ...options }),
};

/** A random key for one action of a person, so that a call that is sent again is done once. */
export const actionKey = () => crypto.randomUUID?.() ?? Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
