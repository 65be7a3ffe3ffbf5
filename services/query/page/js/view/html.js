// The one place that joins the libraries. `html` makes text nodes of every value: nothing on this page is parsed as HTML.
import { h } from "../../vendor/preact.js";
import htm from "../../vendor/htm.js";

export const html = htm.bind(h);
export { Component, createContext, Fragment, render } from "../../vendor/preact.js";
export { useCallback, useContext, useEffect, useLayoutEffect, useMemo, useRef, useState } from "../../vendor/hooks.js";
