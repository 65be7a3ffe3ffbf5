// Server-Sent Events (WHATWG HTML, section 9.2) from chunks of text. Pure. `EventSource` sends no header, so a key could
// only travel in the address; hence `fetch` and this.

/** Characters of one event beyond which the stream is not ours: a label record is a few thousand. */
export const MAX_EVENT_CHARS = 4 * 1024 * 1024;

/** Gives `feed(text)`, which returns the events that the text completes: `{event, data, id}`.
 *
 *  A block with an `id:` alone is an event as well here (`data` is null): the server moves the position forward with
 *  it while the filter lets nothing through. `retry_ms()` is what the server last asked for. Throws a RangeError on an
 *  event that does not end. */
export function sse_parser() {
  let rest = "";
  let event = "";
  let data = null;
  let id = null;
  let retry = null;
  let size = 0;
  let first = true;

  function take(line, done) {
    if (line === "") {
      if (data !== null || id !== null) done.push({ event: event || "message", data, id });
      event = "";
      data = null;
      id = null;
      size = 0;
      return;
    }
    if (line.startsWith(":")) return;
    size += line.length;
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? "" : line.slice(colon + 1);
    if (value.startsWith(" ")) value = value.slice(1);
    if (field === "data") data = data === null ? value : `${data}\n${value}`;
    else if (field === "event") event = value;
    else if (field === "id" && !value.includes("\0")) id = value;
    else if (field === "retry" && /^[0-9]+$/.test(value)) retry = Number(value);
  }

  return {
    feed(text) {
      if (first && text !== "") {
        first = false;
        if (text.startsWith("\ufeff")) text = text.slice(1);
      }
      const done = [];
      // A carriage return at the end may be half of a line's end: it waits for what follows.
      let from = Math.max(0, rest.length - 1);
      rest += text;
      let start = 0;
      for (;;) {
        const at = line_end(rest, from);
        if (at < 0) break;
        take(rest.slice(start, at), done);
        start = at + (rest[at] === "\r" && rest[at + 1] === "\n" ? 2 : 1);
        from = start;
      }
      rest = rest.slice(start);
      if (rest.length + size > MAX_EVENT_CHARS) throw new RangeError("an event of the stream does not end");
      return done;
    },
    retry_ms: () => retry,
  };
}

/** Where the line ends, looking from `from` on (what lies before was looked at already); -1 if it does not yet. */
function line_end(text, from) {
  const ends = /[\r\n]/g;
  ends.lastIndex = from;
  const at = ends.exec(text)?.index ?? -1;
  return at >= 0 && text[at] === "\r" && at + 1 === text.length ? -1 : at;
}
