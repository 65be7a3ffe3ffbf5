// The dead letters: records that were set aside, and why.
import { html } from "./html.js";
import { Id, PostLink, Trouble, Wait } from "./bits.js";
import { useLoad } from "./load.js";
import { api } from "../api.js";
import { time_of, visible } from "../text.js";
import { DEAD } from "../words.js";

export function Letters({ turn }) {
  const { value, error, again } = useLoad((options) => api.dead_letters(100, options), `letters ${turn}`);
  const letters = value?.letters ?? [];
  return html`<section class="page" aria-labelledby="letters-title">
    <header class="page-head"><h1 id="letters-title" tabindex="-1">Dead letters</h1>${value && html`<button type="button" onClick=${again}>Look again</button>`}</header>
    <p class="lead">Records that could not be labelled, newest first. Nothing is lost: each lies on the dead-letter topic as it came, and <code>jtav dead-letters replay</code> sends it back once the cause is mended.</p>
    ${error && html`<${Trouble} error=${error} what="The dead letters are not shown." again=${again} />`}
    ${!value && !error && html`<${Wait} what="Reading the dead-letter topic" />`}
    ${value && letters.length === 0 && html`<p class="empty">No record has been set aside. That is how it should be.</p>`}
    ${letters.length > 0 && html`<ol class="letters">${letters.map((letter) => html`<li key=${`${letter.partition}:${letter.offset}`}>
      <p class="reason"><b>${DEAD[letter.reason] ?? visible(letter.reason, 60)}</b> <code>${visible(letter.reason, 60)}</code></p>
      <p class="message"><bdi>${visible(letter.message ?? "", 400)}</bdi></p>
      <p class="meta"><span>stage ${visible(letter.stage ?? "", 30)}</span><span>partition ${letter.partition}, offset ${letter.offset}</span>${letter.post_id && html`<${PostLink} id=${letter.post_id}><${Id} id=${letter.post_id} most=${40} /><//>`}<time>${time_of(letter.at_ms)}</time></p></li>`)}</ol>`}
  </section>`;
}
