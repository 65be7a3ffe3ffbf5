// Where the page begins: what stands in the address, what is shown, and the keys.
import { html, render, useCallback, useEffect, useMemo, useRef, useState } from "./view/html.js";
import { filters_of, place_of, post_path, search_of } from "./address.js";
import { when_unauthorised } from "./api.js";
import { action_of, move_focus } from "./keys.js";
import { visible } from "./text.js";
import { texts_of_posts } from "./texts.js";
import { App } from "./view/bits.js";
import { Help, KeyPrompt } from "./view/dialogs.js";
import { Feed } from "./view/feed.js";
import { Figures, useStatus } from "./view/figures.js";
import { useFeed } from "./view/follow.js";
import { Letters } from "./view/letters.js";
import { Post } from "./view/post.js";
import { Songs } from "./view/songs.js";
import { Top } from "./view/top.js";

/** A choice that outlives the page, where storage is allowed. */
function useKept(name, first) {
  const [value, set] = useState(() => {
    try {
      return JSON.parse(localStorage.getItem(name)) ?? first;
    } catch {
      return first;
    }
  });
  const put = (next) => {
    set(next);
    try {
      localStorage.setItem(name, JSON.stringify(next));
    } catch {
      // Forbidden: it lasts as long as the page.
    }
  };
  return [value, put];
}

function useTheme() {
  const [theme, set] = useState(() => document.documentElement.dataset.theme ?? "auto");
  const put = (next) => {
    set(next);
    if (next === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    try {
      localStorage.setItem("jtav.theme", next);
    } catch {
      // Forbidden: it lasts as long as the page.
    }
  };
  return [theme, put];
}

/** `{place, filters, go(path), set_filters(filters)}`, in step with the address. */
function useAddress() {
  const read = () => ({ place: place_of(location.pathname, location.search), filters: filters_of(location.search) });
  const [address, set] = useState(read);
  useEffect(() => {
    const moved = () => set(read());
    window.addEventListener("popstate", moved);
    return () => window.removeEventListener("popstate", moved);
  }, []);
  const go = useCallback((path) => {
    history.pushState(null, "", path);
    set((old) => ({ place: read().place, filters: is_of_feed(read().place) ? read().filters : old.filters }));
  }, []);
  const set_filters = useCallback((filters) => {
    const { place } = read();
    history.replaceState(null, "", place.page === "post" ? post_path(place.id, filters) : `/${search_of(filters)}`);
    set(read());
  }, []);
  return { ...address, go, set_filters };
}

const is_of_feed = (place) => place.page === "feed" || place.page === "post";

function useKeys(act) {
  const newest = useRef(act);
  newest.current = act;
  useEffect(() => {
    const press = (event) => newest.current(event);
    document.addEventListener("keydown", press);
    return () => document.removeEventListener("keydown", press);
  }, []);
}

/** Focus goes where the eye goes: back to the row after a post, to the title of another page. */
function useFocus(place, last_row) {
  const before = useRef(place.page);
  useEffect(() => {
    if (before.current === place.page) return;
    if (place.page === "feed" && before.current === "post") move_focus(0, last_row.current);
    else if (place.page !== "post") document.querySelector("main h1")?.focus();
    before.current = place.page;
  }, [place.page]);
  useEffect(() => {
    const seen = (event) => {
      const row = event.target?.dataset?.row;
      if (row) last_row.current = row;
    };
    document.addEventListener("focusin", seen);
    return () => document.removeEventListener("focusin", seen);
  }, []);
}

function title_of(place) {
  const of_page = { feed: "Feed", songs: "Songs for a picture", "dead-letters": "Dead letters", unknown: "Not here" }[place.page];
  return `${of_page ?? `Post ${visible(place.id, 40)}`} – jtav`;
}

function Page() {
  const address = useAddress();
  const { place, filters, go, set_filters } = address;
  const [turn, set_turn] = useState(0);
  const [locked, set_locked] = useState(false);
  const [paused, set_paused] = useState(false);
  const [is_helping, set_helping] = useState(false);
  const [reveal_all, set_reveal_all] = useState(false);
  const [keys_on, set_keys_on] = useKept("jtav.keys", true);
  const [theme, set_theme] = useTheme();
  const [texts_turn, set_texts_turn] = useState(0);
  const texts = useMemo(() => texts_of_posts(() => set_texts_turn((now) => now + 1)), []);
  const scrolled = useRef(false);
  const held = useRef(false);
  held.current = paused || scrolled.current;
  const last_row = useRef(null);
  const figures = useStatus(turn);
  const line = useFeed({ filters, turn, held, texts });
  useEffect(() => when_unauthorised(() => set_locked(true)), []);
  useFocus(place, last_row);
  useEffect(() => {
    document.title = title_of(place);
  }, [place]);
  useKeys((event) => {
    const action = action_of(event, keys_on);
    const in_feed = is_of_feed(place);
    if (action === null) return;
    let done = true;
    if (action === "help") set_helping(true);
    else if (action === "media") set_reveal_all((now) => !now);
    else if (action === "back") {
      if (event.target?.matches?.("input, select")) event.target.blur();
      else if (place.page !== "feed") go(`/${search_of(filters)}`);
      else done = false;
    } else if (!in_feed) done = false;
    else if (action === "pause") {
      if (paused) line.let_through();
      set_paused(!paused);
    } else if (action === "filters") document.querySelector(".filters button, .filters select")?.focus();
    else done = move_focus(action === "next" ? 1 : -1, last_row.current);
    if (done) event.preventDefault();
  });
  const set_scrolled = useCallback((is) => {
    scrolled.current = is;
    held.current = is || paused;
    if (!is && !paused) line.let_through();
  }, [paused]);
  const app = { filters, set_filters, go, texts, texts_turn, reveal_all, place, search: search_of(filters) };
  const unlocked = () => {
    set_locked(false);
    set_turn((now) => now + 1);
  };
  return html`<${App.Provider} value=${app}>
    <${Top} place=${place} line=${line} paused=${paused} theme=${theme} set_theme=${set_theme} reveal_all=${reveal_all} set_reveal_all=${set_reveal_all} help=${() => set_helping(true)} filters=${filters} status=${figures.status} />
    <main id="content" class=${`at-${place.page}`}>
      ${place.page === "feed" && html`<h1 class="unseen">Feed</h1>`}
      <div class="feed-side" hidden=${!is_of_feed(place)}><${Figures} state=${figures} />
        <${Feed} line=${line} open_id=${place.page === "post" ? place.id : null} paused=${paused} set_paused=${set_paused} set_scrolled=${set_scrolled} texts_turn=${texts_turn} /></div>
      ${place.page === "post" && html`<${Post} id=${place.id} turn=${turn} />`}
      ${place.page === "songs" && html`<${Songs} status=${figures.status} />`}
      ${place.page === "dead-letters" && html`<${Letters} turn=${turn} />`}
      ${place.page === "unknown" && html`<section class="page"><h1 tabindex="-1">Not here</h1><p class="lead">There is no such page.</p></section>`}
    </main>
    ${is_helping && html`<${Help} close=${() => set_helping(false)} keys_on=${keys_on} set_keys_on=${set_keys_on} />`}
    ${locked && html`<${KeyPrompt} done=${unlocked} />`}
  <//>`;
}

render(html`<${Page} />`, document.getElementById("page"));
