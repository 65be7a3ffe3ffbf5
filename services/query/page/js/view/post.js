// One post: its label and where in it the reason lies.
import { html, useContext, useEffect, useRef, useState } from "./html.js";
import { App, Go, Id, Label, PostLink, Trouble, Wait } from "./bits.js";
import { Excerpt } from "./feed.js";
import { useLoad } from "./load.js";
import { Picture, Sound } from "./media.js";
import { api } from "../api.js";
import { search_of } from "../address.js";
import { cut, percent, shade, time_of, visible } from "../text.js";
import { ABSENT, doubt, LABELS, language, MODALITIES, MOODS, NEAR_BY, NO_CONTENT } from "../words.js";

const MOST_CHARACTERS = 20_000;

function Probabilities({ probabilities }) {
  return html`<div class="probabilities"><div class="shares" aria-hidden="true">${Object.keys(LABELS).map((label) => html`<span key=${label} class=${label} style=${{ flexGrow: probabilities[label] ?? 0 }}></span>`)}</div>
    <dl class="counts">${Object.entries(LABELS).map(([label, { sign, name }]) => html`<div key=${label}><dt><span class=${`dot ${label}`} aria-hidden="true">${sign}</span>${name}</dt><dd>${percent(probabilities[label])}</dd></div>`)}</dl></div>`;
}

function Head({ view }) {
  const { sentiment } = view;
  const facts = [
    ["Language", sentiment.lang ? language(sentiment.lang) : null],
    ["Revision", String(sentiment.revision)],
    ["Posted", time_of(sentiment.event_time_ms)],
    ["Labelled", time_of(sentiment.labelled_at_ms)],
    ["Model", visible(sentiment.model_version, 60)],
    ["Source", view.source ? `partition ${view.source.partition}, offset ${view.source.offset}` : null],
  ];
  return html`<section class="card verdict-card" aria-label="Label">
    <div class="headline"><${Label} sentiment=${sentiment} big=${true} />
      <p>${sentiment.certain ? "Certain: the model keeps its promised accuracy on labels like this one." : `Uncertain because ${doubt(sentiment)}.`}</p></div>
    <${Probabilities} probabilities=${sentiment.probabilities} />
    <dl class="facts">${facts.filter(([, value]) => value).map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
  </section>`;
}

/** Offsets in `words` count Unicode scalar values of the text with that index. */
function Text({ content, words }) {
  const most = Math.max(...words.map((word) => word.weight), 1e-9);
  const list = words.length > 0 && html`<p class="jumps"><span class="small">Weighed most:</span> ${words.map((word) => html`<span class="chip" key=${`${word.position} ${word.word}`}><bdi>${visible(word.word, 40)}</bdi> <span class="share">${percent(word.weight)}</span></span>`)}</p>`;
  if (content?.status !== "available") return html`<p class="absent">${NO_CONTENT[content?.reason] ?? visible(content?.detail ?? "The text is not kept with the label.", 200)}</p>${list}`;
  return html`${content.texts.map(({ role, text }, index) => {
    const pieces = shade(text.slice(0, MOST_CHARACTERS * 2), words.filter((word) => (word.text_index ?? 0) === index));
    return html`<div class="said-block" key=${index}><span class="role">${visible(role ?? "", 20)}</span><p class="said" dir="auto">${pieces.map((piece, at) => (piece.weight > 0 ? html`<mark key=${at} title=${`${percent(piece.weight)} of the attention`} style=${{ "--strength": piece.weight / most }}>${piece.text}</mark>` : cut(piece.text, MOST_CHARACTERS)))}</p></div>`;
  })}${list}`;
}

function Contributions({ contributions }) {
  if (!contributions) return html`<p class="absent">This model does not say how much each part contributed.</p>`;
  const rows = [...Object.entries(MODALITIES), ["interaction", "together"]].map(([field, name]) => [name, contributions[field] ?? 0]);
  const most = Math.max(...rows.map(([, value]) => Math.abs(value)), 1e-9);
  return html`<div class="pull"><div class="poles" aria-hidden="true"><span>− negative</span><span>positive +</span></div>
    <dl>${rows.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd><span class="track" aria-hidden="true"><span class=${`bar ${value < 0 ? "negative" : "positive"}`} style=${{ width: `${(Math.abs(value) / most) * 50}%`, [value < 0 ? "right" : "left"]: "50%" }}></span></span><span class="value">${value > 0 ? "+" : value < 0 ? "−" : ""}${Math.abs(value).toFixed(2)}</span></dd></div>`)}</dl></div>`;
}

/** What took no part, or only in part. */
function Missing({ sentiment }) {
  const lines = Object.entries(MODALITIES).map(([modality, name]) => {
    const status = sentiment.modalities?.[modality] ?? "absent";
    if (status === "present") return sentiment.truncated?.includes(modality) ? `The ${name} was read in part: it is longer than is read.` : null;
    return `The ${name} ${ABSENT[status] ?? visible(status, 40)}.`;
  });
  const said = lines.filter(Boolean);
  return said.length === 0 ? html`<p class="small">All three parts were there and were read.</p>` : html`<ul class="missing">${said.map((line) => html`<li key=${line}>${line}</li>`)}</ul>`;
}

function Neighbours({ id, kinds }) {
  const { texts } = useContext(App);
  const [by, set_by] = useState("semantic");
  const chosen = kinds.includes(by) ? by : kinds[0];
  const { value, error, again } = useLoad((options) => api.neighbours(id, chosen, options), `${id} ${chosen}`);
  useEffect(() => value?.neighbours.forEach((one) => texts.want(one.post_id)), [value]);
  return html`<section class="card neighbours" aria-labelledby="near-title">
    <header><h2 id="near-title">Posts like this one</h2><label class="choice"><span>by</span><select name="by" value=${chosen} onChange=${(event) => set_by(event.currentTarget.value)}>${kinds.map((kind) => html`<option key=${kind} value=${kind}>${NEAR_BY[kind]}</option>`)}</select></label></header>
    ${error?.status === 409 ? html`<p class="absent">The model made no such vector of this post; choose another way to compare.</p>` : error && html`<${Trouble} error=${error} what="The neighbours are not there." again=${again} />`}
    ${!value && !error && html`<${Wait} what="Looking for posts like this one" />`}
    ${value && value.neighbours.length === 0 && html`<p class="absent">Nothing else is in memory to compare with.</p>`}
    ${value && value.neighbours.length > 0 && html`<ol class="near">${value.neighbours.map((one) => html`<li key=${one.post_id}><span class="similarity" title="Cosine of the two vectors">${one.similarity.toFixed(2)}</span><span class=${`dot ${one.label}`} title=${`${one.label}${one.certain ? "" : ", uncertain"}`}>${LABELS[one.label]?.sign ?? "·"}${!one.certain && "?"}</span>
      <${PostLink} id=${one.post_id}><span class="unseen">${one.label}: </span><${Excerpt} entry=${texts.of(one.post_id)} sentiment=${{ modalities: {} }} /><//> <${Id} id=${one.post_id} most=${18} /></li>`)}</ol>`}
    ${value && html`<p class="small">${value.searched} searched${value.reaches_back_to_ms ? `, back to ${time_of(value.reaches_back_to_ms)}` : ""}${value.complete === false ? "; older posts are not in memory" : ""}.</p>`}
  </section>`;
}

function Body({ view, why }) {
  const { sentiment } = view;
  const present = (modality) => sentiment.modalities?.[modality] === "present";
  const kinds = Object.keys(NEAR_BY).filter((kind) => (kind === "semantic" ? present("text") : kind === "u" || present(kind)));
  const words = why.value?.words ?? sentiment.attention?.words ?? [];
  const seconds = why.value?.seconds ?? sentiment.attention?.audio_spans ?? [];
  const cells = why.value?.cells ?? sentiment.attention?.image_cells ?? [];
  const sentences = why.value?.sentences ?? [];
  return html`<div class="grid">
    <div class="column">
      ${(view.content?.texts?.length > 0 || words.length > 0 || present("text")) && html`<section class="card" aria-labelledby="text-title"><header><h2 id="text-title">Text</h2></header><${Text} content=${view.content} words=${words} /></section>`}
      ${present("image") && html`<${Picture} id=${view.post_id} cells=${cells} />`}
      ${present("audio") && html`<${Sound} id=${view.post_id} seconds=${seconds} heard_seconds=${why.value?.heard_seconds} />`}
    </div>
    <div class="column">
      <section class="card" aria-labelledby="why-title"><header><h2 id="why-title">Why</h2></header>
        ${why.error && html`<${Trouble} error=${why.error} what="The explanation is not there." again=${why.again} />`}
        ${sentences.length > 0 && html`<ul class="sentences">${sentences.map((line, at) => html`<li key=${at}><bdi>${visible(line, 500)}</bdi></li>`)}</ul>`}
        <h3>How much each part pulled</h3><${Contributions} contributions=${sentiment.contributions} />
        <h3>What was missing</h3><${Missing} sentiment=${sentiment} />
        ${sentiment.moods?.length > 0 && html`<h3>Mood of the sound</h3><ul class="moods">${sentiment.moods.map(({ tag, probability }) => html`<li key=${tag}><span>${MOODS[tag] ?? visible(tag, 20)}</span><span class="track" aria-hidden="true"><span class="bar plain-bar" style=${{ width: `${probability * 100}%` }}></span></span><span class="value">${percent(probability)}</span></li>`)}</ul>`}
      </section>
      <${Neighbours} id=${view.post_id} kinds=${kinds} />
      <details class="card raw"><summary>The record as it was published</summary><pre tabindex="0">${visible_json(sentiment)}</pre></details>
    </div></div>`;
}

// Indented JSON; hidden characters inside its strings become escapes, which is still JSON.
function visible_json(value) {
  return JSON.stringify(value, null, 2).replace(/[\p{Cf}\u2028\u2029\u007f-\u009f]/gu, (one) => Array.from({ length: one.length }, (_, at) => `\\u${one.charCodeAt(at).toString(16).padStart(4, "0")}`).join(""));
}

function Gone({ error, again }) {
  if (error.status === 410) return html`<div class="empty"><p>This post was erased.</p><p class="small">Its label, its vectors and its content are in no answer of this server any more.</p></div>`;
  if (error.status === 404) return html`<div class="empty"><p>No label of this post is known.</p><p class="small">It was never labelled here, or its label has lapsed.</p></div>`;
  return html`<${Trouble} error=${error} what="The post is not there." again=${again} />`;
}

export function Post({ id, turn }) {
  const { filters } = useContext(App);
  const title = useRef(null);
  const [erased, set_erased] = useState(0);
  const key = `${id}\n${turn}\n${erased}`;
  const post = useLoad((options) => api.post(id, options), key);
  const why = useLoad((options) => api.explanation(id, options), key);
  useEffect(() => {
    const gone = (event) => event.detail === id && set_erased((now) => now + 1);
    window.addEventListener("jtav-erased", gone);
    return () => window.removeEventListener("jtav-erased", gone);
  }, [id]);
  useEffect(() => title.current?.focus(), [id]);
  return html`<article class="post" aria-labelledby="post-title">
    <header class="post-head"><${Go} to=${`/${search_of(filters)}`} class="back">← Feed<kbd aria-hidden="true">Esc</kbd><//><h1 id="post-title" tabindex="-1" ref=${title}>Post <${Id} id=${id} /></h1></header>
    ${post.error && html`<${Gone} error=${post.error} again=${post.again} />`}
    ${!post.value && !post.error && html`<${Wait} what="Loading the post" />`}
    ${post.value && html`<${Head} view=${post.value} /><${Body} key=${id} view=${post.value} why=${why} />`}
  </article>`;
}
