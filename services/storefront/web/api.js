// The exchange's API at this page's own origin. Tokens live in memory only: a reload signs out.

let tokens = null;
let refreshing = null;

export class ApiError extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

async function send(method, path, { body, key } = {}) {
  const headers = {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (key) headers["Idempotency-Key"] = key;
  if (tokens) headers.Authorization = `Bearer ${tokens.access_token}`;
  const content = body === undefined ? undefined : JSON.stringify(body);
  return fetch(path, { method, headers, body: content, credentials: "omit" });
}

async function read(response) {
  const text = await response.text();
  let body = null;
  try {
    body = text ? JSON.parse(text) : null;
  } catch {
    // A proxy between here and the service answers in plain text.
  }
  if (response.ok) return body;
  const error = body?.error ?? { code: "unavailable", message: `${response.status}: ${text || "no answer"}` };
  throw new ApiError(response.status, error.code, error.message);
}

// One refresh for all requests that find their token expired: a refresh token counts once.
async function refresh() {
  refreshing ??= (async () => {
    const old = tokens;
    tokens = null;
    tokens = await read(await send("POST", "/api/auth/refresh", { body: { refresh_token: old.refresh_token } }));
  })().finally(() => { refreshing = null; });
  return refreshing;
}

export async function call(method, path, options = {}) {
  await refreshing;
  let response = await send(method, path, options);
  if (response.status === 401 && tokens && !path.startsWith("/api/auth/")) {
    await refresh();
    response = await send(method, path, options);
  }
  return read(response);
}

export async function signIn(email, password, isNew) {
  const body = { email, password };
  if (isNew) await call("POST", "/api/auth/signup", { body });
  tokens = await call("POST", "/api/auth/login", { body });
  const claims = tokens.access_token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
  return JSON.parse(atob(claims)).sub;
}

export async function signOut() {
  const body = { refresh_token: tokens.refresh_token };
  tokens = null;
  await call("POST", "/api/auth/logout", { body });
}

// Names one attempt to order: sent again, it means the same order.
export function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
