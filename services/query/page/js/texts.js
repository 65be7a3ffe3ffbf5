// The texts of the rows on screen. At most 50 ids a question, one question at a time, at most `MAX_KEPT` kept.
import { api } from "./api.js";

const AT_ONCE = 50;
const MAX_KEPT = 600;
const MAX_WAITING = 200;
const SETTLE_MS = 120;

/** `want(id)` asks, `of(id)` gives `{status, content}` or undefined, `forget(id)` drops; `changed()` is called. */
export function texts_of_posts(changed) {
  const kept = new Map();
  let waiting = new Set();
  let timer = null;
  let busy = false;

  function keep(id, value) {
    kept.delete(id);
    kept.set(id, value);
    if (kept.size > MAX_KEPT) kept.delete(kept.keys().next().value);
  }

  async function ask() {
    timer = null;
    if (busy || waiting.size === 0) return;
    busy = true;
    // The newest wish first: what was scrolled past is not worth a question.
    const ids = Array.from(waiting).slice(-AT_ONCE);
    waiting = new Set(Array.from(waiting).slice(0, -AT_ONCE));
    try {
      const { posts } = await api.texts(ids);
      for (const { post_id, status, post } of posts) if (ids.includes(post_id)) keep(post_id, { status, revision: post?.revision, content: post?.content ?? null });
    } catch (error) {
      for (const id of ids) keep(id, { status: "error", error, at_ms: Date.now() });
    }
    busy = false;
    changed();
    if (waiting.size > 0) timer ??= setTimeout(ask, SETTLE_MS);
  }

  return {
    of: (id) => kept.get(id),
    want(id) {
      const known = kept.get(id);
      if (known !== undefined && !(known.status === "error" && Date.now() - known.at_ms > 5_000)) return;
      waiting.delete(id);
      waiting.add(id);
      if (waiting.size > MAX_WAITING) waiting.delete(waiting.values().next().value);
      timer ??= setTimeout(ask, SETTLE_MS);
    },
    /** A newer revision of the post is there: its text may be another. */
    forget_older(id, revision) {
      const known = kept.get(id);
      if (known !== undefined && !(known.revision >= revision)) kept.delete(id);
    },
    forget(id) {
      kept.delete(id);
      waiting.delete(id);
      changed();
    },
  };
}
