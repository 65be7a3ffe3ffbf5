// What lies over the page: the help and the question for a key. `<dialog>` keeps focus inside and gives it back.
import { html, useEffect, useRef, useState } from "./html.js";
import { key, set_key } from "../api.js";

function useModal(close) {
  const dialog = useRef(null);
  useEffect(() => {
    dialog.current.showModal();
    const closed = () => close();
    dialog.current.addEventListener("close", closed);
    return () => dialog.current?.removeEventListener("close", closed);
  }, []);
  return dialog;
}

const KEYS = [
  [["j", "↓"], "next post"],
  [["k", "↑"], "previous post"],
  [["Enter"], "open the post"],
  [["Esc"], "back to the feed"],
  [["p"], "pause the feed, and go on"],
  [["/"], "to the filters"],
  [["m"], "show all media, or veil them"],
  [["?"], "this help"],
];

export function Help({ close, keys_on, set_keys_on }) {
  const dialog = useModal(close);
  return html`<dialog ref=${dialog} aria-labelledby="help-title"><h2 id="help-title">Keys</h2>
    <dl class="keys">${KEYS.map(([keys, what]) => html`<div key=${what}><dt>${keys.map((one) => html`<kbd key=${one}>${one}</kbd>`)}</dt><dd>${what}</dd></div>`)}</dl>
    <label class="check"><input type="checkbox" checked=${keys_on} onChange=${(event) => set_keys_on(event.currentTarget.checked)} /> Single keys do something</label>
    <h2>Signs</h2>
    <p class="signs"><span class="label positive certain"><span class="sign">+</span><span class="name">positive</span></span> <span class="label neutral certain"><span class="sign">○</span><span class="name">neutral</span></span> <span class="label negative uncertain"><span class="sign">−</span><span class="name">negative</span><span class="query">?</span></span></p>
    <p class="small">A dashed frame and a question mark: the label is not certain. Pictures are blurred and grey, clips silent, until you ask for them. Filters stand in the address: send it to somebody, or keep it.</p>
    <form method="dialog"><button autofocus>Close</button></form></dialog>`;
}

export function KeyPrompt({ done }) {
  const dialog = useRef(null);
  const [value, set] = useState("");
  const again = key() !== null;
  useEffect(() => dialog.current.showModal(), []);
  const submit = (event) => {
    event.preventDefault();
    if (value.trim() === "") return;
    set_key(value.trim());
    done();
  };
  return html`<dialog ref=${dialog} aria-labelledby="key-title" onCancel=${(event) => event.preventDefault()}><h2 id="key-title">A key, please</h2>
    <p>${again ? "The server does not take this key: it is unknown, or has expired." : "This server answers only to those who have a key."} Whoever runs it gives them out.</p>
    <form onSubmit=${submit}><label class="field"><span>Key</span><input type="password" name="key" autocomplete="off" autofocus value=${value} onInput=${(event) => set(event.currentTarget.value)} /></label>
      <button class="main">Go on</button></form>
    <p class="small">It is kept until this tab is closed, and sent to this server alone.</p></dialog>`;
}
