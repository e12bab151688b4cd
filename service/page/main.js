// The page: files go to the service one after the other, and what it marks is shown.
import { Problem, ask, correct, segment, segmentPath, useKey } from "./api.js";
import { Correction } from "./correction.js";
import { Live } from "./live.js";
import { csv, describe } from "./results.js";
import { View, Viewer } from "./viewer.js";
import { languages, number, speak, word } from "./words.js";

const at = (id) => document.getElementById(id);
const FRAME_MS = 80;
const view = new View();

/** Files, in the order in which they came: {file, name, state, problem, answers: [{version, answer}]}. */
const items = [];
let current = null;
let frameIndex = 0;
let shown = []; // of each version that is compared: {viewer, found, colours, image}
let models = null;
let colours = { 1: [86, 180, 233], 2: [230, 159, 0] };
let playing = 0;
let busy = false;
let live = null;
let correcting = false; // whether the service keeps corrections

// ---------------------------------------------------------------- files

function add(files) {
  const added = [...files].map((file) => ({ file, name: file.name || "image", state: "waiting", answers: [] }));
  items.push(...added);
  if (added.length && (!current || current.state === "done" || current.state === "failed")) select(added[0]);
  list();
  work();
}

async function work() {
  if (busy) return;
  busy = true;
  for (let item; (item = items.find((each) => each.state === "waiting")); ) {
    item.state = "working";
    list();
    tell(word("workingOn", { name: item.name }));
    await answer(item);
    list();
    await show();
  }
  busy = false;
}

async function answer(item) {
  const versions = [at("version").value, at("compare").value].filter((value, index) => value || !index);
  try {
    item.answers = [];
    for (const version of versions) {
      const response = await segment(item.file, { ...parameters(), version, format: "json", pictures: true }, {
        onWait: ({ detail }) => tell(word("notReady", { why: detail })),
      });
      item.answers.push(frames(await response.json()));
    }
    item.state = "done";
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    item.state = "failed";
    item.problem = error;
    if (error.status === 401) askForKey();
  }
}

/** An answer as a list of frames, each with all that is to be shown of it; a still picture has one. */
function frames(answered) {
  const { model, image, mask } = answered;
  const common = { model, image, mask, spacing: image.pixel_spacing_mm };
  const several = answered.frames ?? [{ ...answered, frame_number: 1 }];
  return Object.assign(several.map((each) => ({ ...each, ...common })), { key: (answered.key_frame_number ?? 1) - 1 });
}

const parameters = () => ({ pixel_spacing_mm: spacing() });

function spacing() {
  const [row, column] = [at("spacing-row").value, at("spacing-column").value];
  return row || column ? `${row || column},${column || row}` : "";
}

function summary(item) {
  if (item.state !== "done") return word(item.state);
  const count = item.answers[0][item.answers[0].key].lesions.length;
  return count ? word("found", { count }) : word("foundNone");
}

function list() {
  at("list").replaceChildren(...items.map((item) => {
    const line = document.createElement("li");
    line.className = item.state;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = item.name;
    button.setAttribute("aria-current", String(item === current));
    const state = document.createElement("span");
    state.className = "state";
    state.textContent = summary(item);
    button.append(state);
    button.addEventListener("click", () => { select(item); show(); list(); });
    line.append(button);
    return line;
  }));
}

function select(item) {
  stop();
  current = item;
  frameIndex = item.answers[0]?.key ?? 0;
}

/** Asks for every file again, as after a change of version. */
function again() {
  for (const item of items) item.state = "waiting";
  list();
  work();
}

// ---------------------------------------------------------------- what is shown

async function show() {
  const item = current;
  const done = item?.state === "done";
  at("error").hidden = item?.state !== "failed";
  at("empty").hidden = done;
  for (const id of ["controls", "downloads"]) at(id).hidden = !done;
  at("correction").hidden = !done || !correcting;
  at("frames").hidden = !done || item.answers[0].length < 2;
  if (item?.state === "failed") complain(item.problem);
  if (item && item.state !== "waiting") tell(word("doneWith", { name: item.name, what: summary(item) }));
  if (!done) {
    at("viewers").replaceChildren();
    at("tables").replaceChildren();
    shown = [];
    return;
  }
  frameIndex = Math.min(frameIndex, item.answers[0].length - 1);
  if (shown.length !== item.answers.length || shown.item !== item) {
    frameIndex = item.answers[0].key;
    shown = Object.assign(item.answers.map(() => ({ viewer: new Viewer(view, word("viewerHelp")) })), { item });
    at("viewers").replaceChildren(...shown.map(({ viewer }) => viewer.element));
    at("frame").max = item.answers[0].length;
    await frame();
    shown[0].viewer.fit();
    return;
  }
  await frame();
}

/** Shows the chosen frame of all versions that are compared. */
async function frame() {
  const { answers } = current;
  at("frame").value = frameIndex + 1;
  at("frame-number").textContent = word("frameOf", { number: frameIndex + 1, count: answers[0].length });
  await Promise.all(shown.map(async (each, index) => {
    each.found = answers[index][frameIndex];
    each.image = await loaded(each.found.picture);
    const { name, version } = each.found.model;
    each.viewer.show(each.image, `${name} ${version}`);
    // Only where it can be saved: it takes a moment, for which nobody should wait.
    if (correcting) each.found.correction ??= new Correction(each.found.mask.rows, each.found.mask.columns, each.found.classes);
  }));
  adjust();
  chooseTool();
  await mark();
  // Objects of a study are there for DICOM alone, and a segmentation where there is something.
  for (const role of ["dicom-seg", "dicom-sr"]) {
    const anything = answers[0].some(({ lesions }) => lesions.length);
    document.querySelector(`[data-download=${role}]`).hidden = !shown[0].found.image.region_xywh || (role === "dicom-seg" && !anything);
  }
  at("tables").replaceChildren(...shown.flatMap(({ found }) => describe(found, colours)));
}

async function mark() {
  const how = at("show").value;
  const opacity = at("opacity").value / 100;
  for (const { viewer, found } of shown) {
    if (how === "probability") {
      await probability(viewer, found, opacity);
    } else {
      const areas = found.correction?.changed ? found.correction.masks(found.classes.map((each) => each.number)) : found.classes;
      viewer.mark(areas.map(({ number, rle }) => ({ rle, colour: colours[number], pattern: number })), {
        how, opacity, patterns: at("patterns").checked,
      });
    }
  }
}

async function probability(viewer, found, opacity) {
  if (!found.tumour_probability) {
    try {
      const response = await segment(current.file, {
        ...parameters(), version: found.model.digest, format: "json", probabilities: true,
        frame: found.image.frames > 1 ? found.frame_number : "",
      });
      found.tumour_probability = (await response.json()).tumour_probability;
    } catch (error) {
      complain(error);
      return;
    }
  }
  const region = found.image.region_xywh ?? [0, 0, found.image.columns, found.image.rows];
  viewer.probability(await loaded(found.tumour_probability), region, opacity);
}

function adjust() {
  for (const { viewer } of shown) viewer.window(at("brightness").value / 100, at("contrast").value / 100);
}

async function loaded(source) {
  const image = new Image();
  image.src = source;
  await image.decode();
  return image;
}

function stop() {
  clearInterval(playing);
  playing = 0;
  at("play").textContent = word("play");
}

function play() {
  if (playing) return stop();
  at("play").textContent = word("pause");
  playing = setInterval(() => {
    frameIndex = (frameIndex + 1) % current.answers[0].length;
    frame();
  }, FRAME_MS);
}

// ---------------------------------------------------------------- words to people

function tell(text) {
  at("status").textContent = text;
}

function complain(error) {
  const words = error.code === "unreachable" ? word("unreachable") : error.status === 401 ? word("keyNeeded") : error.message;
  const title = document.createElement("strong");
  title.textContent = error.title ?? "";
  const detail = document.createElement("p");
  detail.textContent = words;
  at("error").replaceChildren(title, detail);
  at("error").hidden = false;
}

function askForKey() {
  at("key-form").hidden = false;
  document.querySelector(".options").open = true;
}

// ---------------------------------------------------------------- to take along

const ENDINGS = { png: ".mask.png", overlay: ".overlay.png", csv: ".csv", "dicom-seg": ".seg.dcm", "dicom-sr": ".sr.dcm" };

async function download(format) {
  const found = current.answers[0];
  try {
    if (format === "csv") {
      save(new Blob([csv(current.name, current.answers.flat())], { type: "text/csv" }), format);
      return;
    }
    const frameNumber = found.length > 1 && !format.startsWith("dicom") ? frameIndex + 1 : "";
    const version = found[0].model.digest;
    const response = await segment(current.file, { ...parameters(), version, format, frame: frameNumber });
    save(await response.blob(), format);
  } catch (error) {
    complain(error);
  }
}

function save(blob, format) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = current.name.replace(/\.[^.]*$/, "") + ENDINGS[format];
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

async function copyCurl() {
  const path = segmentPath({ ...parameters(), version: at("version").value });
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const command = `curl -F ${quoted(`image=@${current.name}`)} ${quoted(new URL(path, document.baseURI).href)}`;
  await navigator.clipboard.writeText(command);
  tell(word("copied"));
}

// ---------------------------------------------------------------- live mode

async function goLive(source) {
  live?.stop();
  live = new Live();
  live.raw = at("live-raw").checked;
  live.addEventListener("told", ({ detail }) => {
    const { framesPerSecond, latencyMs, dropped, classes, isStill } = detail;
    const found = classes.filter(({ pixels }) => pixels).map(({ label, fraction }) => `${word(label)} ${number(100 * fraction, 1)} %`);
    const numbers = word("liveNumbers", { frames: number(framesPerSecond), latency: number(latencyMs), dropped: number(dropped) });
    at("live-numbers").textContent = [numbers, ...found, ...(isStill ? [word("liveStill")] : [])].join(" · ");
  });
  live.addEventListener("ended", ({ detail }) => {
    at("live-view").hidden = true;
    at("viewers").hidden = false;
    tell(word("liveEnded", { why: detail }));
  });
  at("live-picture").replaceChildren(live.element);
  at("live-view").hidden = false;
  at("viewers").hidden = true;
  try {
    await live.start(source, at("version").value);
    tell("");
  } catch (error) {
    live.stop();
    complain(error);
    if (error.status === 401) askForKey();
  }
}

// ---------------------------------------------------------------- the expert's say

function chooseTool() {
  const number = at("tool").value;
  const { viewer, found } = shown[0];
  viewer.paintWith(number === "move" ? null : (from, to) => {
    if (!from) return found.correction.begin();
    found.correction.stroke(from, to, Number(at("tool-size").value), Number(number));
    mark();
  });
}

async function keep(decision) {
  const { found } = shown[0];
  if (!at("patient").value.trim()) {
    tell(word("patientNeeded"));
    at("patient").focus();
    return;
  }
  try {
    const response = await correct({
      picture: found.picture, masks: found.correction.masks(found.classes.map(({ number }) => number)),
      patient: at("patient").value, decision, version: found.model.digest,
    });
    tell(word("kept", await response.json()));
  } catch (error) {
    complain(error);
  }
}

/** Forgets what was painted. */
function reject() {
  for (const { found } of shown) delete found.correction;
  frame().then(() => tell(word("rejected")));
}

// ---------------------------------------------------------------- versions and state of the service

async function versions() {
  try {
    models = await (await ask("v1/models")).json();
  } catch (error) {
    if (error.status === 401) askForKey();
    return;
  }
  const published = models.models.find(({ name }) => name === models.default)?.versions ?? [];
  const option = (value, text) => Object.assign(document.createElement("option"), { value, textContent: text });
  const all = () => published.map(({ version, aliases }) => option(version, [version, ...aliases].join(" · "))).reverse();
  const before = [at("version").value, at("compare").value];
  at("version").replaceChildren(option("", word("versionProduction")), ...all());
  at("compare").replaceChildren(option("", word("compareNone")), ...all());
  [at("version").value, at("compare").value] = before;
  const manifest = (await (await ask(`v1/models/${models.default}/versions/production`)).json()).manifest;
  colours = Object.fromEntries(manifest.specification.classes.map(({ number, colour }) => [number, colour]));
}

async function abilities() {
  correcting = (await (await ask("version")).json()).corrections;
}

async function ready() {
  try {
    const { model } = await (await ask("readyz", { onWait: ({ detail }) => tell(word("notReady", { why: detail })) })).json();
    at("model").textContent = `${model.name} ${model.version}, ${model.digest.slice(0, 19)}…`;
    at("model").title = model.digest;
    tell("");
  } catch (error) {
    complain(error);
  }
}

// ---------------------------------------------------------------- what people do

const drop = at("drop");
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", kind === "dragover");
    if (kind === "drop") add(event.dataTransfer.files);
  });
}
document.addEventListener("paste", (event) => add(event.clipboardData.files));
at("files").addEventListener("change", () => { add(at("files").files); at("files").value = ""; });
for (const id of ["version", "compare", "spacing-row", "spacing-column"]) at(id).addEventListener("change", again);
for (const id of ["show", "opacity", "patterns"]) at(id).addEventListener("input", mark);
for (const id of ["brightness", "contrast"]) at(id).addEventListener("input", adjust);
at("frame").addEventListener("input", () => { stop(); frameIndex = at("frame").value - 1; frame(); });
at("play").addEventListener("click", play);
at("key-frame").addEventListener("click", () => { stop(); frameIndex = current.answers[0].key; frame(); });
const enlarge = (factor) => {
  const { clientWidth, clientHeight } = shown[0].viewer.element;
  view.enlarge(factor, clientWidth / 2, clientHeight / 2);
};
at("zoom-in").addEventListener("click", () => enlarge(1.25));
at("zoom-out").addEventListener("click", () => enlarge(0.8));
at("fit").addEventListener("click", () => shown[0].viewer.fit());
for (const button of document.querySelectorAll("[data-download]")) {
  button.addEventListener("click", () => download(button.dataset.download));
}
for (const button of document.querySelectorAll("[data-live]")) button.addEventListener("click", () => goLive(button.dataset.live));
at("live-file").addEventListener("change", () => goLive(at("live-file").files[0]));
at("live-stop").addEventListener("click", () => live.stop());
at("live-raw").addEventListener("input", () => { if (live) live.raw = at("live-raw").checked; });
at("tool").addEventListener("input", chooseTool);
for (const action of ["undo", "redo"]) {
  at(action).addEventListener("click", () => { shown[0].found.correction[action](); mark(); });
}
for (const button of document.querySelectorAll("[data-reclassify]")) {
  button.addEventListener("click", () => { shown[0].found.correction.reclassify(Number(button.dataset.reclassify)); mark(); });
}
at("accept").addEventListener("click", () => { delete shown[0].found.correction; frame().then(() => keep("accepted")); });
at("keep").addEventListener("click", () => keep(shown[0].found.correction.changed ? "corrected" : "accepted"));
at("reject").addEventListener("click", reject);
at("copy").addEventListener("click", copyCurl);
at("key-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  useKey(at("key").value.trim());
  await versions();
  again();
});
at("language").addEventListener("change", () => talk(at("language").value));
at("theme").addEventListener("change", () => { document.documentElement.dataset.theme = at("theme").value; });

/** Speaks a language, in what is shown already too. */
function talk(language) {
  speak(language);
  at("zoom-in").setAttribute("aria-label", word("zoomIn"));
  at("zoom-out").setAttribute("aria-label", word("zoomOut"));
  list();
  if (models) versions();
  if (current) show();
}

const preferred = navigator.languages.map((tag) => tag.slice(0, 2)).find((tag) => languages.includes(tag)) ?? "en";
at("language").value = preferred;
talk(preferred);
ready();
abilities().catch(complain);
versions();
