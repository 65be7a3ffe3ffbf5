// The picture and the sound of a post. Blurred, grey and silent until somebody asks for them.
import { html, useContext, useEffect, useRef, useState } from "./html.js";
import { App, Switch, Trouble, Wait } from "./bits.js";
import { useBlob } from "./load.js";
import { api } from "../api.js";
import { clock, percent } from "../text.js";
import { ABSENT } from "../words.js";

const GRID = 7;
const HEARD_BYTES_PER_SECOND = 22_050 * 2;
const WAV_HEADER_BYTES = 44;

/** Shown or not: the switch for all, unless this medium was asked for or put away by itself. */
function useReveal(id) {
  const { reveal_all } = useContext(App);
  const [own, set_own] = useState(null);
  useEffect(() => set_own(null), [id, reveal_all]);
  return [own ?? reveal_all, set_own];
}

function why_not(error, name) {
  const absent = error.absent_reason;
  if (absent) return `The ${name} ${ABSENT[absent] ?? absent}.`;
  if (error.status === 404) return `The ${name} cannot be had any more: the post is past retention, or carries none.`;
  return null;
}

function Medium({ blob, name, children }) {
  if (blob.error) {
    const reason = why_not(blob.error, name);
    return reason ? html`<p class="absent">${reason} <button type="button" class="plain" onClick=${blob.again}>Try again</button></p>` : html`<${Trouble} error=${blob.error} what=${`The ${name} is not shown.`} again=${blob.again} />`;
  }
  return blob.url ? children : html`<${Wait} what=${`Fetching the ${name}`} />`;
}

function Cells({ cells }) {
  const most = Math.max(...cells.map((cell) => cell.weight), 1e-9);
  return html`<div class="cells" aria-hidden="true">${cells.map(({ row, column, weight }) => html`<span key=${`${row} ${column}`} class="cell" title=${percent(weight)}
    style=${{ left: `${(column / GRID) * 100}%`, top: `${(row / GRID) * 100}%`, "--strength": weight / most }}><b>${percent(weight)}</b></span>`)}</div>`;
}

export function Picture({ id, cells }) {
  const [shown, show] = useReveal(id);
  const [with_cells, set_cells] = useState(true);
  const blob = useBlob(({ signal }) => api.medium(id, `/picture.png${shown ? "" : "?blur=28&grey=true"}`, { signal }), `${id} ${shown}`);
  return html`<section class="card picture" aria-labelledby="picture-title">
    <header><h2 id="picture-title">Picture</h2><div class="tools">
      ${cells.length > 0 && html`<${Switch} on=${with_cells} set=${set_cells}>Cells<//>`}
      <${Switch} on=${shown} set=${show} data-show="picture">${shown ? "Hide" : "Show"}<//></div></header>
    <${Medium} blob=${blob} name="picture"><div class=${`frame ${shown ? "" : "veiled"}`}>
      <img src=${blob.url} alt=${shown ? "The post's picture, the centre square that the network saw" : "The post's picture, blurred and grey"} width="448" height="448" />
      ${with_cells && cells.length > 0 && html`<${Cells} cells=${cells} />`}</div><//>
    ${cells.length > 0 && html`<p class="small">The network looked most at ${cells.slice(0, 3).map((cell, at) => `${at > 0 ? ", " : ""}row ${cell.row + 1} column ${cell.column + 1} (${percent(cell.weight)})`).join("")}; it sees a grid of 7 by 7.</p>`}
  </section>`;
}

function Marks({ seconds, heard_seconds, jump }) {
  const most = Math.max(...seconds.map((span) => span.weight), 1e-9);
  return html`<div class="marks">${seconds.map((span) => html`<button type="button" key=${span.start_seconds} class="mark" aria-label=${`Play from ${clock(span.start_seconds)}, ${percent(span.weight)} of the attention`} title=${`${clock(span.start_seconds)}–${clock(span.end_seconds)}: ${percent(span.weight)}`} onClick=${() => jump(span.start_seconds)}
    style=${{ left: `${Math.min(100, (span.start_seconds / heard_seconds) * 100)}%`, width: `${Math.max(1, Math.min(100, ((span.end_seconds - span.start_seconds) / heard_seconds) * 100))}%`, "--strength": span.weight / most }}></button>`)}</div>`;
}

export function Sound({ id, seconds, heard_seconds = null }) {
  const [shown, show] = useReveal(id);
  const player = useRef(null);
  const wish = useRef(null);
  const spectrum = useBlob(({ signal }) => api.medium(id, "/spectrogram.png?axes=false", { signal }), id);
  const clip = useBlob(shown ? ({ signal }) => api.medium(id, "/sound.wav", { signal }) : null, id);
  const length = heard_seconds ?? (clip.bytes ? (clip.bytes - WAV_HEADER_BYTES) / HEARD_BYTES_PER_SECOND : null);
  const play_from = (start) => {
    player.current.currentTime = start;
    player.current.play().catch(() => {});
  };
  const jump = (start) => {
    if (player.current) return play_from(start);
    wish.current = start;
    show(true);
  };
  const ready = () => {
    if (wish.current === null) return;
    play_from(wish.current);
    wish.current = null;
  };
  return html`<section class="card sound" aria-labelledby="sound-title">
    <header><h2 id="sound-title">Sound</h2><div class="tools"><${Switch} on=${shown} set=${show} data-show="sound">${shown ? "Silence" : "Listen"}<//></div></header>
    <${Medium} blob=${spectrum} name="sound"><div class=${`spectrum ${shown ? "" : "grey"}`}><img src=${spectrum.url} alt="Spectrogram of the clip, low notes below, time from left to right" />
      ${length && seconds.length > 0 && html`<${Marks} seconds=${seconds} heard_seconds=${length} jump=${jump} />`}</div><//>
    ${shown && html`<${Medium} blob=${clip} name="sound"><audio ref=${player} controls preload="auto" src=${clip.url} onCanPlay=${ready} aria-label="The clip as the network heard it"></audio><//>`}
    ${seconds.length > 0 && html`<p class="jumps"><span class="small">Weighed most:</span> ${seconds.map((span) => html`<button type="button" class="chip" key=${span.start_seconds} onClick=${() => jump(span.start_seconds)}>▸ ${clock(span.start_seconds)}–${clock(span.end_seconds)} <span class="share">${percent(span.weight)}</span></button>`)}</p>`}
  </section>`;
}
