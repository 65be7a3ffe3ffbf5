// The head of every page.
import { html } from "./html.js";
import { Go, Switch } from "./bits.js";
import { search_of } from "../address.js";

const STATES = {
  connecting: ["wait", "connecting"],
  live: ["fine", "live"],
  reconnecting: ["bad", "reconnecting"],
  locked: ["bad", "key needed"],
};

const THEMES = { auto: "light", light: "dark", dark: "auto" };
const THEME_NAMES = { auto: "Theme: system", light: "Theme: light", dark: "Theme: dark" };
const THEME_SIGNS = { auto: "◐", light: "☀", dark: "☾" };

export function Top({ place, line, paused, theme, set_theme, reveal_all, set_reveal_all, help, filters, status }) {
  const [mood, name] = STATES[line.state] ?? STATES.connecting;
  const here = place.page === "post" ? "feed" : place.page;
  const item = (page, to, text) => html`<${Go} to=${to} aria-current=${here === page ? "page" : undefined}>${text}<//>`;
  return html`<header class="top">
    <a class="skip" href="#content">Skip to the content</a>
    <div class="brand"><b>jtav</b>${status?.read_only && html`<span class="badge" title="This server answers questions; nothing can be changed here">read-only</span>`}</div>
    <nav aria-label="Pages">${item("feed", `/${search_of(filters)}`, "Feed")}${item("songs", "/songs", "Songs")}${item("dead-letters", "/dead-letters", "Dead letters")}</nav>
    <span class=${`line ${mood}`} role="status" data-state=${line.state} title=${line.detail ?? ""}><i aria-hidden="true"></i>${paused && line.state === "live" ? "live, paused" : name}</span>
    <div class="tools"><${Switch} on=${reveal_all} set=${set_reveal_all} data-show="all" title="Pictures without blur, clips with sound, on every post">Show media<//>
      <button type="button" class="icon" data-theme-switch onClick=${() => set_theme(THEMES[theme])} aria-label=${`${THEME_NAMES[theme]}; change`} title=${THEME_NAMES[theme]}>${THEME_SIGNS[theme]}</button>
      <button type="button" class="icon" onClick=${help} aria-label="Help: keys and signs" title="Keys and signs (?)">?</button></div>
  </header>`;
}
