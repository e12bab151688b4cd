// The words of the page in the chosen language. Each element that has some names them: data-words="notice".
import en from "./words/en.js";
import es from "./words/es.js";
import problemsInSpanish from "./words/problems_es.js";

const CATALOGUES = { en, es };
let language = "en";

/** The languages that there are. */
export const languages = Object.keys(CATALOGUES);

/** Words by their name, with {placeholders} filled in; the name itself where there are none. */
export function word(name, values = {}) {
  const text = CATALOGUES[language][name] ?? name;
  return text.replace(/\{(\w+)\}/g, (whole, key) => values[key] ?? whole);
}

/** What a problem is called. */
export function title({ code, title: told = "" }) {
  return (language === "es" && problemsInSpanish[code]) || told;
}

/** A number as people of that language write it. */
export function number(value, digits = 0) {
  return value.toLocaleString(language, { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** Changes the language of the whole page. */
export function speak(chosen) {
  language = chosen;
  document.documentElement.lang = chosen;
  for (const element of document.querySelectorAll("[data-words]")) {
    element.textContent = word(element.dataset.words);
  }
}
