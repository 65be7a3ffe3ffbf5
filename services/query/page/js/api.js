// The HTTP interface. Every call has a deadline; errors are `ApiError`s that carry what RFC 9457 says.
import { id_segment, is_path_safe, search_of } from "./address.js";

const DEADLINE_MS = 20_000;
const KEY = "jtav.key";

export class ApiError extends Error {
  constructor(status, problem = {}) {
    super(problem.detail ?? problem.title ?? `HTTP ${status}`);
    this.status = status;
    this.reason = problem.reason ?? null;
    this.request_id = problem.instance ?? null;
    this.absent_reason = problem.absent_reason ?? null;
  }
}

let memory_key = null;

/** The key lives as long as the tab: `sessionStorage`, or memory where that is forbidden. */
export function key() {
  try {
    return sessionStorage.getItem(KEY) ?? memory_key;
  } catch {
    return memory_key;
  }
}

export function set_key(value) {
  memory_key = value;
  try {
    if (value === null) sessionStorage.removeItem(KEY);
    else sessionStorage.setItem(KEY, value);
  } catch {
    // Forbidden: memory has it.
  }
}

let on_unauthorised = () => {};
/** Who is told that the server wants a key (or another one). */
export function when_unauthorised(call) {
  on_unauthorised = call;
}

export function headers(more = {}) {
  const bearer = key();
  return bearer === null ? more : { ...more, Authorization: `Bearer ${bearer}` };
}

/** The problem that an answer carries, whatever it is. */
export async function problem_of(response) {
  let problem = {};
  try {
    if ((response.headers.get("content-type") ?? "").includes("json")) problem = await response.json();
  } catch {
    // A proxy's own page, or a body cut off: the status says enough.
  }
  problem.instance ??= response.headers.get("x-request-id");
  if (response.status === 401) on_unauthorised();
  return new ApiError(response.status, problem);
}

async function call(path, { signal, deadline_ms = DEADLINE_MS, ...options } = {}) {
  const limits = [AbortSignal.timeout(deadline_ms), signal].filter(Boolean);
  let response;
  try {
    response = await fetch(path, { cache: "no-store", ...options, headers: headers(options.headers), signal: AbortSignal.any(limits) });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, { detail: error.name === "TimeoutError" ? "no answer in time" : "no connection" });
  }
  if (!response.ok) throw await problem_of(response);
  return response;
}

const json = async (path, options) => (await call(path, options)).json();

function of_post(id, rest) {
  if (!is_path_safe(id)) throw new ApiError(404, { reason: "no_address", detail: "browsers take `.` and `..` in an address for folders" });
  return `/v1/posts/${id_segment(id)}${rest}`;
}

function query(values) {
  const parts = Object.entries(values).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return parts.length === 0 ? "" : `?${parts.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join("&")}`;
}

const post_json = (path, body, options) =>
  json(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), ...options });

/** A post whose id no address can hold. */
async function one_of_batch(id, options) {
  const { posts } = await api.texts([id], options);
  const [{ status, post }] = posts;
  if (status === "found") return post;
  throw new ApiError(status === "erased" ? 410 : 404, { detail: `the post is ${status}` });
}

export const api = {
  status: async (options) => {
    const { counts, conservation, ...status } = await json("/v1/status", options);
    const { gap, ...sums } = conservation ?? {};
    return { ...status, counts: { label: counts }, ...sums, conservation_gap: gap };
  },
  feed: async (filters, limit, options) => {
    const search = search_of(filters);
    const { events, position } = await json(`/v1/feed${search}${search === "" ? "?" : "&"}limit=${limit}`, options);
    return { events: events.map(({ event, data }) => ({ event, ...data })), position };
  },
  /** At most 50 ids. */
  texts: (ids, options) => post_json("/v1/posts:batch", { ids, content: true }, options),
  post: async (id, options) => (is_path_safe(id) ? json(of_post(id, "?content=true"), options) : one_of_batch(id, options)),
  explanation: async (id, options) => json(of_post(id, "/explanation?content=true"), options),
  neighbours: async (id, by, options) => json(of_post(id, `/neighbours${query({ by, k: 12 })}`), options),
  dead_letters: (limit, options) => json(`/v1/dead-letters?limit=${limit}`, options),
  songs: (file, options) => json("/v1/retrieve/image2song?k=20", { method: "POST", body: file, headers: { "Content-Type": file.type }, deadline_ms: 60_000, ...options }),
  /** A picture or a clip, as a blob: an element's `src` could not carry the key. */
  medium: async (id, rest, options) => (await call(of_post(id, rest), { deadline_ms: 45_000, ...options })).blob(),
};
