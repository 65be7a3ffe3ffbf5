// Small parts that several pages share.
import { createContext, html, useContext } from "./html.js";
import { visible, cut, percent } from "../text.js";
import { ABSENT, ABSENT_SHORT, advice, doubt, doubt_short, LABELS, MODALITIES, MOODS } from "../words.js";
import { post_path } from "../address.js";

/** What every part may use: `{filters, go(path), texts, reveal_all, …}`. */
export const App = createContext(null);

/** An id with its hidden characters shown, kept apart from the direction of its neighbours. */
export const Id = ({ id, most = 80 }) => html`<bdi class="id" title=${visible(id, 400)}>${visible(id, most)}</bdi>`;

/** Label by sign, name and colour, with its probability and whether it is certain. */
export function Label({ sentiment, big = false }) {
  const known = LABELS[sentiment.label];
  return html`<span class=${`label ${known ? sentiment.label : "other"} ${sentiment.certain ? "certain" : "uncertain"} ${big ? "big" : ""}`}>
    <span class="sign" aria-hidden="true">${known?.sign ?? "·"}</span><span class="name">${known?.name ?? visible(sentiment.label, 20)}</span>
    <span class="share">${percent(sentiment.confidence)}</span>${!sentiment.certain && html`<span class="query" aria-hidden="true">?</span>`}
  </span>`;
}

/** In a row: why the label is not certain. */
export const Doubt = ({ sentiment }) =>
  !sentiment.certain && html`<span class="doubt" title=${`Uncertain because ${doubt(sentiment)}.`}>uncertain: ${cut(doubt_short(sentiment), 40)}</span>`;

/** Which parts took part, and why the others did not. */
export function Parts({ sentiment }) {
  return html`<span class="parts">${Object.entries(MODALITIES).map(([modality, name]) => {
    const status = sentiment.modalities?.[modality] ?? "absent";
    const cut_short = sentiment.truncated?.includes(modality);
    if (status === "absent") return null;
    const tell = `The ${name} ${ABSENT[status] ?? visible(status, 40)}${cut_short ? ", in part: it is longer than is read" : ""}.`;
    return html`<span key=${modality} class=${`part ${status === "present" ? "there" : "failed"}`} title=${tell}>${name}${status !== "present" && html`: ${ABSENT_SHORT[status] ?? visible(status, 40)}`}${status === "present" && cut_short && " (in part)"}</span>`;
  })}</span>`;
}

export function Moods({ moods = [] }) {
  return moods.slice(0, 1).map(({ tag, probability }) => html`<span class="mood" title=${`Mood of the sound: ${tag}, ${MOODS[tag] ?? ""} (${percent(probability)})`}>♪ ${MOODS[tag] ?? visible(tag, 20)}</span>`);
}

/** A link inside the page: followed without loading it anew, unless the person asks for a tab of its own. */
export function Go({ to, children, ...rest }) {
  const { go } = useContext(App);
  const click = (event) => {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    go(to);
  };
  return html`<a href=${to} onClick=${click} ...${rest}>${children}</a>`;
}

export function PostLink({ id, children, ...rest }) {
  const { filters } = useContext(App);
  return html`<${Go} to=${post_path(id, filters)} ...${rest}>${children}<//>`;
}

/** An error and what to do about it. */
export function Trouble({ error, what, again }) {
  return html`<div class="trouble" role="alert">
    <p><strong>${what}</strong> ${advice(error)}</p>
    <p class="small">${visible(error.message ?? "", 300)}${error.request_id && html` <span>Request <code>${visible(error.request_id, 80)}</code></span>`}</p>
    ${again && html`<button type="button" onClick=${again}>Try again</button>`}
  </div>`;
}

/** Something is on its way. */
export const Wait = ({ what }) => html`<p class="wait" role="status">${what}…</p>`;

/** A switch that is on or off. */
export function Switch({ on, set, children, ...rest }) {
  return html`<button type="button" class="switch" aria-pressed=${on ? "true" : "false"} onClick=${() => set(!on)} ...${rest}>${children}</button>`;
}
