// The HTTP API: one function a call, JSON answers, and errors that carry the server's code.

/** A refusal, or a failure on the way (`code` is `network` then). */
export class ApiError extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly status = 0,
  ) {
    super(message);
  }
}

/** An answer's tables by their names. */
export type Reply = Record<string, unknown> & { response: Record<string, unknown> };

/** How long a call may take, in milliseconds. */
const DEADLINE = 15_000;

export async function call(method: string, path: string, args?: Record<string, string | number>): Promise<Reply> {
  // The second header says that the cookie is the token, and that it is this page that asks: no other site can set it.
  const headers: Record<string, string> = { Accept: "application/json", "IM-Session": "cookie" };
  const init: RequestInit = { method, headers, cache: "no-store", credentials: "same-origin" };
  if (args) {
    headers["Content-Type"] = "application/json";
    init.body = JSON.stringify(args);
  }
  let status = 0;
  let body: Record<string, unknown>;
  try {
    const response = await fetch(path, { ...init, signal: AbortSignal.timeout(DEADLINE) });
    status = response.status;
    body = (await response.json()) as Record<string, unknown>;
  } catch {
    throw new ApiError("network", "The server cannot be reached. Check your connection and try again.", status);
  }
  const response = rows(body, "response")[0] ?? {};
  if (status >= 400 || response.status === 1) {
    throw new ApiError(String(response.code ?? "unknown"), String(response.r ?? `HTTP ${status}`), status);
  }
  return { ...body, response };
}

/** The tables of one name in an answer. */
export function rows(reply: Record<string, unknown>, name: string): Record<string, unknown>[] {
  const found = reply[name];
  return Array.isArray(found) ? (found as Record<string, unknown>[]) : [];
}
