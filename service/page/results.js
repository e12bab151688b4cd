// What was found, as tables and sentences, and as a file for a spreadsheet.
import { number, word } from "./words.js";

/** An element with a class, words and children. */
export function make(tag, { className = "", text = "", ...attributes } = {}, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Tables of what one version found in one picture: `found` is an answer, or a frame of one, with its model. */
export function describe(found, colours) {
  const parts = [make("h3", { text: `${found.model.name} ${found.model.version}` })];
  if (found.warnings.length) {
    parts.push(make("h3", { text: word("warnings") }));
    parts.push(make("ul", { className: "warnings" }, ...found.warnings.map(({ code, detail }) => {
      const known = word(code);
      return make("li", { text: known === code ? detail : known });
    })));
  }
  if (!found.lesions.length) parts.push(make("p", { className: "nothing", text: word("nothingFound") }));
  parts.push(areas(found, colours));
  if (found.lesions.length) parts.push(lesions(found, colours));
  if (!found.spacing) parts.push(make("p", { className: "small", text: word("noSpacing") }));
  parts.push(model(found));
  return parts;
}

function areas({ classes, spacing }, colours) {
  const rows = classes.map((each) => [
    named(each, colours),
    number(each.pixels),
    `${number(100 * each.fraction, 1)} %`,
    ...(spacing ? [number(each.area_mm2, 1)] : []),
    each.mean_confidence === null ? "–" : `${number(100 * each.mean_confidence)} %`,
  ]);
  const heads = ["class", "pixels", "share", ...(spacing ? ["areaMm2"] : []), "confidence"];
  return table("classes", heads, rows);
}

function lesions({ lesions: all, spacing }, colours) {
  const rows = all.map((each) => {
    const { longest, across } = spacing ? each.axes_mm : each.axes_px;
    const unit = spacing ? "mm" : "px";
    return [
      named({ number: each.class_number, label: each.label }, colours, `${each.number} `),
      `${number(longest, spacing ? 1 : 0)} ${unit}`,
      `${number(across, spacing ? 1 : 0)} ${unit}`,
      spacing ? `${number(each.area_mm2, 1)} mm²` : `${number(each.pixels)} px`,
    ];
  });
  return table("lesions", ["lesion", "longest", "across", "area"], rows);
}

function model({ model: by, timing_ms: timing }) {
  const total = Object.values(timing).reduce((sum, ms) => sum + ms, 0);
  const facts = {
    by: `${by.name} ${by.version}`,
    digest: by.digest,
    engine: `${by.engine}, ${by.provider}, ${by.precision}`,
    time: word("ms", { ms: number(total) }),
  };
  return make("dl", {}, ...Object.entries(facts).flatMap(([name, text]) => [
    make("dt", { text: word(name) }), make("dd", { text }),
  ]));
}

function named({ number: place, label }, colours, before = "") {
  const swatch = make("span", { className: "swatch" });
  swatch.style.backgroundColor = `rgb(${colours[place]})`;
  return make("span", {}, swatch, before + word(label));
}

function table(caption, heads, rows) {
  return make("table", {},
    make("caption", { text: word(caption) }),
    make("thead", {}, make("tr", {}, ...heads.map((head) => make("th", { scope: "col", text: word(head) })))),
    make("tbody", {}, ...rows.map((cells) => make("tr", {}, ...cells.map((cell, index) => {
      const element = make(index ? "td" : "th", index ? {} : { scope: "row" });
      element.append(cell);
      return element;
    })))),
  );
}

/** Lines of comma-separated values, one for each lesion class of each frame; names are English, as the API's. */
export function csv(name, found) {
  const lines = [["file", "frame", "class", "pixels", "fraction", "area_mm2", "mean_confidence", "lesions", "model", "version", "digest"]];
  for (const each of found) {
    for (const area of each.classes) {
      const own = each.lesions.filter((lesion) => lesion.class_number === area.number).length;
      const { model } = each;
      lines.push([name, each.frame_number, area.label, area.pixels, area.fraction, area.area_mm2 ?? "", area.mean_confidence ?? "", own, model.name, model.version, model.digest]);
    }
  }
  // A cell that begins like a formula is one to a spreadsheet: a file may be called anything.
  const cell = (value) => `"${String(value).replace(/^[=+\-@\t\r]/, "'$&").replaceAll('"', '""')}"`;
  return lines.map((line) => line.map((value) => (typeof value === "number" ? value : cell(value))).join(",")).join("\r\n") + "\r\n";
}
