// image2song: a picture in, clips out.
import { html, useEffect, useRef, useState } from "./html.js";
import { Id, Trouble, Wait } from "./bits.js";
import { api, ApiError } from "../api.js";
import { count, visible } from "../text.js";

const KINDS = ["image/png", "image/jpeg", "image/webp", "image/gif"];

/** Why a file is not sent at all; null if it is. */
function refused(file) {
  if (!KINDS.includes(file.type)) return "This is not a picture of a kind that is read: PNG, JPEG, WebP or GIF.";
  return file.size === 0 ? "This file is empty." : null;
}

function Ranked({ result }) {
  const best = Math.max(...result.songs.map((song) => song.score));
  const least = Math.min(...result.songs.map((song) => song.score));
  const share = (score) => (best > least ? (score - least) / (best - least) : 1);
  return html`${result.above_chance === false && html`<p class="notice plain-notice" role="note"><b>Not above chance.</b> On its test set this model does not rank better than drawing lots: take the order for no more than that.</p>`}
    ${result.songs.length === 0 ? html`<p class="empty">There is no song in the catalogue.</p>` : html`<ol class="songs">${result.songs.map((song) => html`<li key=${song.id}><span class="rank">${song.rank}</span><span class="title">${song.title ? html`<bdi>${visible(song.title, 120)}</bdi> ` : ""}<${Id} id=${song.id} most=${48} /></span><span class="track" aria-hidden="true"><span class="bar plain-bar" style=${{ width: `${6 + share(song.score) * 94}%` }}></span></span><span class="value">${song.score.toFixed(3)}</span></li>`)}</ol>`}
    ${result.note && html`<details class="raw"><summary>What was measured</summary><p class="small">${visible(result.note, 2_000)}</p></details>`}
    <p class="small">Model <bdi>${visible(result.model ?? "", 80)}</bdi>. Scores compare the picture with each clip; they are no probabilities.</p>`;
}

/** An address of the person's own file, to show it back; given back afterwards. */
function usePreview(file) {
  const [url, set] = useState(null);
  useEffect(() => {
    if (!file) return undefined;
    const made = URL.createObjectURL(file);
    set(made);
    return () => URL.revokeObjectURL(made);
  }, [file]);
  return file ? url : null;
}

export function Songs({ status }) {
  const [job, set] = useState({});
  const [over, set_over] = useState(false);
  const running = useRef(null);
  const preview = usePreview(job.file);
  useEffect(() => () => running.current?.abort(), []);
  const ask = async (file) => {
    if (!file) return;
    running.current?.abort();
    const stop = new AbortController();
    running.current = stop;
    const why = refused(file);
    if (why) return set({ refused: why });
    set({ file, busy: true });
    try {
      const result = await api.songs(file, { signal: stop.signal });
      if (!stop.signal.aborted) set({ file, result });
    } catch (error) {
      if (!stop.signal.aborted) set({ file, error: error instanceof ApiError ? error : new ApiError(0) });
    }
  };
  const drop = (event) => {
    event.preventDefault();
    set_over(false);
    ask(event.dataTransfer?.files?.[0]);
  };
  const songs = status?.songs;
  return html`<section class="page" aria-labelledby="songs-title">
    <h1 id="songs-title" tabindex="-1">Songs for a picture</h1>
    <p class="lead">Drop a picture; the clips of the catalogue are ranked by how well they go with it. The picture is looked at and not kept.</p>
    ${status && !songs && html`<p class="notice plain-notice" role="note">This server has no catalogue of songs. <code>jtav index songs DIR</code> makes one from a folder of clips.</p>`}
    ${songs && html`<p class="small">${count(songs.count)} clips in the catalogue.${songs.above_chance === false && " The model was not found to rank them better than chance."}</p>`}
    <div class="two"><label class=${`drop ${over ? "over" : ""}`} onDragOver=${(event) => { event.preventDefault(); set_over(true); }} onDragLeave=${() => set_over(false)} onDrop=${drop}>
      <input type="file" class="unseen" accept=${KINDS.join(",")} onChange=${(event) => { ask(event.currentTarget.files[0]); event.currentTarget.value = ""; }} />
      ${preview ? html`<img src=${preview} alt="Your picture" />` : html`<span class="drop-sign" aria-hidden="true">⬚</span>`}
      <span>${preview ? "Drop or choose another picture" : "Drop a picture here, or choose one"}</span><span class="small">PNG, JPEG, WebP or GIF</span></label>
    <div aria-live="polite">${job.busy && html`<${Wait} what="Listening through the catalogue" />`}
      ${job.refused && html`<p class="trouble" role="alert">${job.refused}</p>`}
      ${job.error && html`<${Trouble} error=${job.error} what="No songs were ranked." again=${() => ask(job.file)} />`}
      ${job.result && html`<${Ranked} result=${job.result} />`}</div></div>
  </section>`;
}
