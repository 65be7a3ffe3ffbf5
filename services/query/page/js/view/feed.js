// The feed: newest first, moved through by keyboard, held while somebody reads further down.
import { Component, html, useContext, useEffect, useLayoutEffect, useRef } from "./html.js";
import { App, Doubt, Id, Label, Moods, Parts, PostLink } from "./bits.js";
import { Filters } from "./filters.js";
import { advice, language, NO_CONTENT } from "../words.js";
import { count, one_line, time_of, visible } from "../text.js";

/** What a row says of a post's text. */
export function Excerpt({ entry, sentiment }) {
  const has_text = sentiment.modalities?.text === "present";
  if (entry === undefined) return html`<span class="no-text">${has_text ? "…" : "No text"}</span>`;
  if (entry.status === "error") return html`<span class="no-text">Text not loaded. ${advice(entry.error)}</span>`;
  if (entry.status === "erased") return html`<span class="no-text">${NO_CONTENT.erased}</span>`;
  const { content } = entry;
  if (content?.status === "unavailable") return html`<span class="no-text">${NO_CONTENT[content.reason] ?? visible(content.detail ?? content.reason, 120)}</span>`;
  const texts = (content?.texts ?? []).map(({ text }) => one_line(text)).filter(Boolean);
  if (texts.length === 0) return html`<span class="no-text">No text</span>`;
  return texts.map((text, at) => html`<bdi key=${at} class="said" dir="auto">${text}</bdi>`);
}

class Row extends Component {
  shouldComponentUpdate(next) {
    return ["row", "entry", "is_open", "search"].some((name) => next[name] !== this.props[name]);
  }

  render({ row, entry, is_open, see }) {
    if (row.erased) return html`<li class="row gone"><span>A post that was here has been erased.</span></li>`;
    const { sentiment } = row;
    return html`<li class=${`row ${sentiment.label} ${is_open ? "open" : ""}`} ref=${(element) => see(element, sentiment.post_id)}>
      <${Label} sentiment=${sentiment} />
      <${PostLink} id=${sentiment.post_id} class="open-post" aria-current=${is_open ? "true" : undefined} data-row=${row.key}><${Excerpt} entry=${entry} sentiment=${sentiment} /><//>
      <div class="meta"><${Doubt} sentiment=${sentiment} /><${Parts} sentiment=${sentiment} /><${Moods} moods=${sentiment.moods} />
        ${sentiment.lang && html`<span title="Language of the text">${language(sentiment.lang)}</span>`}
        <${Id} id=${sentiment.post_id} most=${28} />${sentiment.revision > 0 && html`<span>rev. ${sentiment.revision}</span>`}
        <time title=${sentiment.model_version}>${time_of(sentiment.labelled_at_ms)}</time></div>
    </li>`;
  }
}

/** Asks for the texts of the rows on screen: gives `see(element, id)`. */
function useOnScreen(texts, ...turns) {
  const tools = useRef(null);
  if (tools.current === null) {
    const ids = new WeakMap();
    const shown = new Set();
    const observer = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        if (isIntersecting) shown.add(target);
        else shown.delete(target);
      }
      wish();
    }, { rootMargin: "120px 0px" });
    const wish = () => {
      for (const element of shown) {
        if (element.isConnected) texts.want(ids.get(element));
        else shown.delete(element);
      }
    };
    const see = (element, id) => {
      if (element === null || ids.get(element) === id) return;
      ids.set(element, id);
      observer.observe(element);
    };
    tools.current = { see, wish, observer };
  }
  useEffect(() => tools.current.wish(), turns);
  useEffect(() => () => tools.current.observer.disconnect(), []);
  return tools.current.see;
}

function Notices({ notices, dismiss }) {
  return notices.map(({ kind, data, at_ms }, at) => html`<div class="notice" role="status" key=${at_ms + kind}>
    <span>${kind === "dropped" ? "This window was too slow for the stream and was cut off; it goes on where it stopped, nothing is lost." : html`Some posts are missing here: they were labelled while this window was away and are past retention${data.from ? ` (from ${visible(data.from, 60)} to ${visible(data.to ?? "", 60)})` : ""}.`}</span>
    <button type="button" class="plain" onClick=${() => dismiss(at)}>Dismiss</button></div>`);
}

function Nothing({ line }) {
  const { filters, set_filters } = useContext(App);
  if (line.state === "locked") return html`<p class="empty">The server asks for a key.</p>`;
  if (!line.started) return html`<p class="empty" role="status">Loading the feed…</p>`;
  if (line.state === "reconnecting") return html`<p class="empty">The server does not answer${line.detail ? `: ${visible(line.detail, 200)}` : ""}. This page tries again by itself.</p>`;
  if (Object.keys(filters).length > 0) return html`<div class="empty"><p>No post passes these filters so far. What comes and passes will appear here.</p><button type="button" onClick=${() => set_filters({})}>Clear filters</button></div>`;
  return html`<div class="empty"><p>No post has been labelled so far.</p><p class="small">Posts appear here as soon as a worker labels them. To try it: <code>jtav demo --serve</code></p></div>`;
}

export function Feed({ line, open_id, paused, set_paused, set_scrolled, texts_turn }) {
  const { texts, place, search } = useContext(App);
  const list = useRef(null);
  const scroll = useRef(0);
  const { feed } = line;
  const see = useOnScreen(texts, texts_turn, feed);
  const scrolled = (event) => {
    scroll.current = event.currentTarget.scrollTop;
    set_scrolled(scroll.current > 40);
  };
  useLayoutEffect(() => {
    if (list.current && place.page === "feed") list.current.scrollTop = scroll.current;
  }, [place.page]);
  const to_newest = () => {
    set_paused(false);
    line.let_through();
    if (list.current) list.current.scrollTop = 0;
  };
  return html`<section class="feed" aria-label="Feed">
    <div class="bar"><${Filters} />
      <div class="hold"><button type="button" class="pause" aria-pressed=${paused ? "true" : "false"} onClick=${() => (paused ? to_newest() : set_paused(true))}>${paused ? "Resume" : "Pause"}<kbd aria-hidden="true">p</kbd></button></div>
    </div>
    <${Notices} notices=${line.notices} dismiss=${line.dismiss} />
    <div class="scroll" ref=${list} onScroll=${scrolled} tabindex="-1">
      ${feed.waiting > 0 && html`<button type="button" class="waiting" onClick=${to_newest}><b>${count(feed.waiting)}</b> ${feed.waiting === 1 ? "post waits" : "posts wait"} – show</button>`}
      ${feed.rows.length === 0 ? html`<${Nothing} line=${line} />` : html`<ol class="rows">${feed.rows.map((row) => html`<${Row} key=${row.key} row=${row} entry=${row.erased ? undefined : texts.of(row.sentiment.post_id)} is_open=${!row.erased && open_id === row.sentiment.post_id} search=${search} see=${see} />`)}</ol>`}
    </div>
    <p class="unseen" aria-live="polite">${feed.waiting > 0 ? `${feed.waiting} posts wait` : ""}</p>
  </section>`;
}
