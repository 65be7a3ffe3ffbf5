// The feed's rows, kept up to date from the server: what is in its memory first, then the stream from there on.
import { useEffect, useRef, useState } from "./html.js";
import { api } from "../api.js";
import { search_of } from "../address.js";
import { follow } from "../stream.js";
import { erase, no_rows, release, take_labels } from "../rows.js";

const SHOW_EVERY_MS = 250;
const MOST_BUFFERED = 2_000;
const FIRST = 200;
const MOST_NOTICES = 4;

/** Tells whoever shows a post that it was erased. */
const tell_erased = (post_id) => window.dispatchEvent(new CustomEvent("jtav-erased", { detail: post_id }));

/** `{feed, state, detail, notices, let_through(), dismiss(at), started, error}`; `held` is a ref: does the feed wait? */
export function useFeed({ filters, turn, held, texts }) {
  const [feed, set_feed] = useState(no_rows);
  const [line, set_line] = useState({ state: "connecting", started: false });
  const [notices, set_notices] = useState([]);
  const [round, set_round] = useState(0);
  const buffer = useRef([]);
  const search = search_of(filters);

  useEffect(() => {
    const stop = new AbortController();
    let timer = null;
    buffer.current = [];
    set_feed(no_rows());
    set_line({ state: "connecting", started: false });

    const show = () => {
      timer = null;
      const events = buffer.current;
      buffer.current = [];
      set_feed((old) => with_events(old, events, held.current));
    };
    const push = (event) => {
      buffer.current.push(event);
      if (buffer.current.length >= MOST_BUFFERED) {
        clearTimeout(timer);
        show();
      } else timer ??= setTimeout(show, SHOW_EVERY_MS);
    };
    const on = {
      label(label) {
        texts.forget_older(label.sentiment.post_id, label.sentiment.revision);
        push({ label });
      },
      erasure({ post_id }) {
        texts.forget(post_id);
        push({ erased: post_id });
        tell_erased(post_id);
      },
      notice: (kind, data) => set_notices((old) => [...old, { kind, data, at_ms: Date.now() }].slice(-MOST_NOTICES)),
      state: (state, detail = null) => set_line((old) => ({ ...old, state, detail })),
      lost: () => set_round((now) => now + 1),
    };
    begin({ filters, signal: stop.signal, on, push, started: () => set_line((old) => ({ ...old, started: true })) });
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [search, turn, round]);

  return {
    feed,
    ...line,
    notices,
    let_through: () => set_feed(release),
    dismiss: (at) => set_notices((old) => old.filter((_, index) => index !== at)),
  };
}

async function begin({ filters, signal, on, push, started }) {
  let position = null;
  try {
    const first = await api.feed(filters, FIRST, { signal });
    for (const event of first.events) {
      if (event.event === "erasure") push({ erased: event.post_id });
      else push({ label: event, first: true });
    }
    position = first.position || null;
  } catch (error) {
    if (signal.aborted) return;
    if (error.status === 401) return on.state("locked");
    // The stream says what is wrong, if it is still wrong; it brings the newest posts itself.
  }
  started();
  await follow({ filters, position, signal, on });
}

/** Events in their order, runs of labels together. What was there at the beginning is shown, held or not. */
function with_events(feed, events, is_held) {
  let labels = [];
  let first = true;
  const take = () => {
    feed = take_labels(feed, labels, is_held && !first);
    labels = [];
  };
  for (const event of events) {
    if (event.erased !== undefined) {
      take();
      feed = erase(feed, event.erased);
      continue;
    }
    if (Boolean(event.first) !== first) {
      take();
      first = Boolean(event.first);
    }
    labels.push(event.label);
  }
  take();
  return feed;
}
