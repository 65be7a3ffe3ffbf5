// The filters of the feed. They stand in the address; changing one asks the server for another stream.
import { html, useContext, useEffect, useRef, useState } from "./html.js";
import { App } from "./bits.js";
import { FILTERS } from "../address.js";
import { LABELS, MODALITIES, MOODS } from "../words.js";

function Choice({ name, title, value, options, set }) {
  return html`<label class=${`choice ${value ? "set" : ""}`}><span>${title}</span>
    <select name=${name} value=${value ?? ""} onChange=${(event) => set(event.currentTarget.value || undefined)}>
      <option value="">any</option>
      ${options.map(([code, text]) => html`<option key=${code} value=${code}>${text}</option>`)}
    </select></label>`;
}

function Language({ value, set }) {
  const [typed, type] = useState(value ?? "");
  const field = useRef(null);
  // Not under the hands of who types: two letters are a filter already, and a third may follow.
  useEffect(() => {
    if (document.activeElement !== field.current) type(value ?? "");
  }, [value]);
  const change = (event) => {
    const text = event.currentTarget.value.trim().toLowerCase();
    type(text);
    if (text === "" || /^[a-z]{2,3}$/.test(text)) set(text || undefined);
  };
  return html`<label class=${`choice ${value ? "set" : ""}`}><span>Language</span>
    <input ref=${field} name="lang" type="text" size="4" maxlength="3" placeholder="any" autocomplete="off" spellcheck=${false} autocapitalize="off" value=${typed} onInput=${change} list="languages" />
    <datalist id="languages">${["en", "de", "es", "fr", "it", "pt", "ar", "hi", "ja", "zh", "zxx"].map((code) => html`<option key=${code} value=${code} />`)}</datalist></label>`;
}

export function Filters() {
  const { filters, set_filters } = useContext(App);
  const put = (name) => (value) => set_filters({ ...filters, [name]: value });
  const labels = filters.label ?? [];
  const toggle = (label) => {
    const next = labels.includes(label) ? labels.filter((one) => one !== label) : FILTERS.label.filter((one) => one === label || labels.includes(one));
    put("label")(next.length === 0 || next.length === FILTERS.label.length ? undefined : next);
  };
  const [more, set_more] = useState(false);
  const is_any = Object.values(filters).some(Boolean);
  return html`<form class="filters" role="search" aria-label="Filters of the feed" onSubmit=${(event) => event.preventDefault()}>
    <fieldset class="labels"><legend class="unseen">Label</legend>
      ${FILTERS.label.map((label) => html`<button type="button" key=${label} class=${`toggle ${label}`} data-filter=${label} aria-pressed=${labels.includes(label) ? "true" : "false"} onClick=${() => toggle(label)}><span aria-hidden="true">${LABELS[label].sign}</span> ${LABELS[label].name}</button>`)}
    </fieldset>
    <button type="button" class="more" aria-expanded=${more ? "true" : "false"} onClick=${() => set_more(!more)}>More</button>
    <div class=${`choices ${more ? "unfolded" : ""}`}><${Choice} name="certain" title="Certainty" value=${filters.certain} set=${put("certain")} options=${[["true", "certain"], ["false", "uncertain"]]} />
    <${Choice} name="mood" title="Mood" value=${filters.mood} set=${put("mood")} options=${Object.entries(MOODS)} />
    <${Choice} name="modality" title="With" value=${filters.modality} set=${put("modality")} options=${Object.entries(MODALITIES)} />
    <${Language} value=${filters.lang} set=${put("lang")} /></div>
    ${is_any && html`<button type="button" class="plain" onClick=${() => set_filters({})}>Clear filters</button>`}
  </form>`;
}
