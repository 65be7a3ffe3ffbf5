// Follows /v1/stream: resumes where it stopped, waits longer after each failure, and says what it is doing.
import { search_of } from "./address.js";
import { headers, problem_of } from "./api.js";
import { sse_parser } from "./sse.js";

const SILENCE_MS = 35_000;
const LONGEST_WAIT_MS = 30_000;
/** A browser opens six connections to a server over HTTP/1.1, for all its tabs together: one that nobody looks at lets its
 *  own go, and resumes where it stopped. */
const UNSEEN_MS = 15_000;

/** Milliseconds before attempt `attempt` (from 1), half of it by chance, so that a thousand pages do not come back in
 *  one moment. */
export function wait_ms(attempt, base_ms, chance = Math.random()) {
  const full = Math.min(LONGEST_WAIT_MS, base_ms * 2 ** Math.min(attempt - 1, 10));
  return Math.round(full / 2 + (full / 2) * chance);
}

/** Follows until `signal` aborts. `on` has `label(data)`, `erasure(data)`, `notice(kind, data)`, `state(state, detail)`
 *  and `lost()` (the position is of no use any more: load the feed again). `position` is where to begin. */
export async function follow({ filters, position, signal, on }) {
  let attempt = 0;
  let base_ms = 1_000;
  const at = { position };
  while (!signal.aborted) {
    await until_seen(signal);
    on.state(attempt === 0 ? "connecting" : "reconnecting");
    const silence = new AbortController();
    const unwatch = when_unseen(() => silence.abort());
    try {
      await read_once({ filters, at, signal: AbortSignal.any([signal, silence.signal]), silence, on, fine: (retry_ms) => {
        attempt = 0;
        if (retry_ms !== null) base_ms = Math.min(Math.max(retry_ms, 250), LONGEST_WAIT_MS);
      } });
    } catch (error) {
      if (signal.aborted) return;
      if (document.hidden) {
        attempt = 0;
        continue;
      }
      if (error.status === 401) return on.state("locked");
      if (error.status === 400) return on.lost();
      on.state("reconnecting", error.status ? error.message : null);
    } finally {
      unwatch();
    }
    attempt += 1;
    await pause(wait_ms(attempt, base_ms), signal);
  }
}

async function read_once({ filters, at, signal, silence, on, fine }) {
  let alarm = setTimeout(() => silence.abort(), SILENCE_MS);
  try {
    const more = at.position ? { "Last-Event-ID": at.position } : {};
    const search = search_of(filters);
    const recent = at.position ? "" : `${search === "" ? "?" : "&"}recent=200`;
    const response = await fetch(`/v1/stream${search}${recent}`, { headers: headers({ Accept: "text/event-stream", ...more }), cache: "no-store", signal });
    if (!response.ok) throw await problem_of(response);
    on.state("live");
    const parser = sse_parser();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(alarm);
      alarm = setTimeout(() => silence.abort(), SILENCE_MS);
      for (const event of parser.feed(value)) take(event, at, on);
      fine(parser.retry_ms());
    }
  } finally {
    clearTimeout(alarm);
    silence.abort();
  }
}

function take({ event, data, id }, at, on) {
  if (data !== null) {
    const value = JSON.parse(data);
    if (event === "label") on.label(value);
    else if (event === "erasure") on.erasure(value);
    else if (event === "gap") on.notice("gap", value);
    else if (event === "dropped") {
      if (value.resume_from) at.position = value.resume_from;
      on.notice("dropped", value);
    }
  }
  // After the event: one that was not taken comes again.
  if (id) at.position = id;
}

function pause(ms, signal) {
  return new Promise((done) => {
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", () => { clearTimeout(timer); done(); }, { once: true });
  });
}

function until_seen(signal) {
  return new Promise((done) => {
    const look = () => {
      if (document.hidden && !signal.aborted) return;
      document.removeEventListener("visibilitychange", look);
      done();
    };
    document.addEventListener("visibilitychange", look);
    signal.addEventListener("abort", look, { once: true });
    look();
  });
}

/** Calls `let_go` when the page has not been seen for a while, or is left: a browser keeps left pages with what they
 *  hold, to go back to. Gives what ends the watch. */
function when_unseen(let_go) {
  let timer = null;
  const look = () => {
    clearTimeout(timer);
    if (document.hidden) timer = setTimeout(let_go, UNSEEN_MS);
  };
  document.addEventListener("visibilitychange", look);
  window.addEventListener("pagehide", let_go);
  look();
  return () => {
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", look);
    window.removeEventListener("pagehide", let_go);
  };
}
