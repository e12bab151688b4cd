// The page: files go to the service one after the other, and what it marks is shown.
import { ask, correct, hasKey, segment, segmentPath, useKey } from "./api.js";
import { Correction } from "./correction.js";
import { Live } from "./live.js";
import { csv, describe, make } from "./results.js";
import { View, Viewer } from "./viewer.js";
import { languages, number, speak, title, word } from "./words.js";

const at = (id) => document.getElementById(id);
const FRAME_MS = 80;
// What has words of the page's own, by the codes of problems and the names of the browser's errors.
const OWN_WORDS = {
  unreachable: "unreachable", credentials_missing: "keyNeeded", credentials_invalid: "keyWrong",
  NotAllowedError: "liveRefused", SecurityError: "liveInsecure", NotFoundError: "liveNone", NotReadableError: "liveNone",
  NotSupportedError: "liveUnreadable",
};
const view = new View();

/** Files, in the order in which they came: {file, name, state, problem, answers: [{version, answer}]}. */
const items = [];
let current = null;
let frameIndex = 0;
let shown = []; // of each version that is compared: {viewer, found, colours, image}
let models = null;
let colours = { 1: [86, 180, 233], 2: [230, 159, 0] };
let playing = null;
let busy = false;
let asking = 0; // how often what is asked for was changed
let turn = 0; // of the frames that were shown
let marking = 0; // of what was drawn over them
let live = null;
let correcting = false; // whether the service keeps corrections
let saving = false;

// ---------------------------------------------------------------- files

function add(files) {
  const added = [...files].map((file) => (
    { file, name: file.name || "image", state: "waiting", answers: [], row: "", column: "", patient: "" }
  ));
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
    if (item === current) await show().catch(complain);
  }
  busy = false;
  if (current) tell(word("doneWith", { name: current.name, what: summary(current) }));
}

async function answer(item) {
  const asked = asking;
  const versions = [at("version").value, at("compare").value].filter((value, index) => value || !index);
  try {
    const answers = [];
    for (const version of versions) {
      const response = await segment(item.file, { ...parameters(item), version, format: "json", pictures: true }, {
        onWait: ({ detail }) => tell(word("notReady", { why: detail })),
      });
      answers.push(frames(await response.json()));
    }
    Object.assign(item, { answers, state: "done" });
  } catch (error) {
    Object.assign(item, { state: "failed", problem: error });
    if (error.status === 401) askForKey();
  }
  if (asked !== asking) item.state = "waiting"; // meanwhile something else was asked for
}

/** An answer as a list of frames, each with all that is to be shown of it; a still picture has one. */
function frames(answered) {
  const { model, image, mask } = answered;
  const common = { model, image, mask, spacing: image.pixel_spacing_mm };
  const several = answered.frames ?? [{ ...answered, frame_number: 1 }];
  return Object.assign(several.map((each) => ({ ...each, ...common })), { key: (answered.key_frame_number ?? 1) - 1 });
}

/** What is asked of a file: the spacing is its own, since the next may be of another machine. */
const parameters = ({ row, column }) => ({ pixel_spacing_mm: row || column ? `${row || column},${column || row}` : "" });

function summary(item) {
  if (item.state !== "done") return word(item.state);
  const count = item.answers[0][item.answers[0].key].lesions.length;
  return count ? word(count === 1 ? "foundOne" : "found", { count }) : word("foundNone");
}

function list() {
  const buttons = () => [...at("list").querySelectorAll("button")];
  const focused = buttons().indexOf(document.activeElement);
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
  if (focused >= 0) buttons()[focused].focus();
}

function select(item) {
  stop();
  live?.stop();
  current = item;
  frameIndex = item.answers[0]?.key ?? 0;
  [at("spacing-row").value, at("spacing-column").value, at("patient").value] = [item.row, item.column, item.patient];
}

/** Asks for the file that is shown again, as after a change of its spacing. */
function respace() {
  if (!current) return;
  [current.row, current.column] = [at("spacing-row").value, at("spacing-column").value];
  asking++;
  current.state = "waiting";
  list();
  work();
}

/** Asks for every file again, as after a change of version. */
function again() {
  asking++;
  for (const item of items) item.state = "waiting";
  list();
  work();
}

// ---------------------------------------------------------------- what is shown

async function show() {
  const item = current;
  const done = item?.state === "done";
  at("error").hidden = item?.state !== "failed";
  at("empty").hidden = at("invitation").hidden = Boolean(item);
  for (const id of ["controls", "downloads"]) at(id).hidden = !done;
  at("correction").hidden = !done || !correcting;
  at("frames").hidden = !done || item.answers[0].length < 2;
  if (item?.state === "failed") complain(item.problem);
  if (item && item.state !== "waiting") tell(word("doneWith", { name: item.name, what: summary(item) }));
  if (!done) {
    clear();
    at("tables").replaceChildren();
    return;
  }
  frameIndex = Math.min(frameIndex, item.answers[0].length - 1);
  if (shown.length !== item.answers.length || shown.item !== item) {
    frameIndex = item.answers[0].key;
    clear();
    shown = Object.assign(item.answers.map(() => ({ viewer: new Viewer(view, word("viewerHelp")) })), { item });
    at("viewers").replaceChildren(...shown.map(({ viewer }) => viewer.element));
    at("frame").max = item.answers[0].length;
    await frame();
    shown[0]?.viewer.fit();
    return;
  }
  await frame();
}

function clear() {
  turn++; // who still loads a frame has come too late
  for (const { viewer } of shown) viewer.leave();
  at("viewers").replaceChildren();
  shown = [];
}

/** Shows the chosen frame of all versions that are compared. */
async function frame() {
  const { answers } = current;
  const mine = ++turn;
  at("frame").value = frameIndex + 1;
  at("frame-number").textContent = word("frameOf", { number: frameIndex + 1, count: answers[0].length });
  const wanted = shown.map((each, index) => answers[index][frameIndex]);
  const images = await Promise.all(wanted.map(({ picture }) => loaded(picture)));
  if (mine !== turn) return; // another frame was asked for: no picture may get the masks of another one
  shown.forEach((each, index) => {
    each.found = wanted[index];
    const { name, version } = each.found.model;
    each.viewer.show(images[index], `${name} ${version}`);
    // Only where it can be saved: it takes a moment, for which nobody should wait.
    if (correcting) each.found.correction ??= new Correction(each.found.mask.rows, each.found.mask.columns, each.found.classes);
  });
  adjust();
  chooseTool();
  // Objects of a study are there for DICOM alone, and a segmentation where there is something.
  for (const role of ["dicom-seg", "dicom-sr"]) {
    const anything = answers[0].some(({ lesions }) => lesions.length);
    document.querySelector(`[data-download=${role}]`).hidden = !shown[0].found.image.region_xywh || (role === "dicom-seg" && !anything);
  }
  at("tables").replaceChildren(...shown.flatMap(({ found }) => describe(found, colours)));
  await mark();
}

async function mark() {
  const mine = ++marking;
  const how = at("show").value;
  at("scale").hidden = how !== "probability";
  offer();
  const opacity = at("opacity").value / 100;
  for (const { viewer, found } of shown) {
    if (how === "probability") {
      await probability(viewer, found, opacity, () => mine === marking);
    } else {
      const areas = found.correction?.changed ? found.correction.masks(found.classes.map((each) => each.number)) : found.classes;
      viewer.mark(areas.map(({ number, rle }) => ({ rle, colour: colours[number], pattern: number })), {
        how, opacity, patterns: at("patterns").checked,
      });
    }
  }
}

/** Shows the probabilities, if that is still `wanted` once they are there. */
async function probability(viewer, found, opacity, wanted) {
  try {
    found.tumour_probability ??= (await more(found, { probabilities: true })).tumour_probability;
  } catch (error) {
    complain(error);
    return;
  }
  const region = found.image.region_xywh ?? [0, 0, found.image.columns, found.image.rows];
  const image = await loaded(found.tumour_probability);
  if (wanted()) viewer.probability(image, region, opacity);
}

/** The answer to one picture again, with more than the page asks for at first. */
async function more(found, extras) {
  const frame = found.image.frames > 1 ? found.frame_number : "";
  const response = await segment(current.file, { ...parameters(current), version: found.model.digest, format: "json", frame, ...extras });
  return response.json();
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
  playing = null;
  at("play").textContent = word("play");
}

async function play() {
  if (playing) return stop();
  at("play").textContent = word("pause");
  const mine = (playing = {});
  while (playing === mine) {
    frameIndex = (frameIndex + 1) % current.answers[0].length;
    await Promise.all([frame(), new Promise((resolve) => setTimeout(resolve, FRAME_MS))]);
  }
}

// ---------------------------------------------------------------- words to people

function tell(text) {
  at("status").textContent = text;
}

function complain(error) {
  const known = OWN_WORDS[error.code] ?? OWN_WORDS[error.name];
  const words = known ? word(known) : error.message;
  const detail = make("p", { text: words, ...(known ? {} : { lang: "en" }) });
  at("error").replaceChildren(make("strong", { text: title(error) }), detail);
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
    const response = await segment(current.file, { ...parameters(current), version, format, frame: frameNumber });
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
  const path = segmentPath({ ...parameters(current), version: at("version").value });
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  // Of a name with these characters curl would take a part for something else.
  const name = /[;,"\\]/.test(current.name) ? `"${current.name.replace(/["\\]/g, "\\$&")}"` : current.name;
  const key = hasKey() ? '-H "Authorization: Bearer $KEY" ' : "";
  const command = `curl ${key}-F ${quoted(`image=@${name}`)} ${quoted(new URL(path, document.baseURI).href)}`;
  try {
    await navigator.clipboard.writeText(command);
    tell(word("copied"));
  } catch {
    tell(command); // without https there is no clipboard
  }
}

// ---------------------------------------------------------------- live mode

async function goLive(source) {
  live?.stop();
  const mine = (live = new Live());
  lookLive();
  live.addEventListener("told", ({ detail }) => {
    const { framesPerSecond, latencyMs, dropped, classes, isStill, model } = detail;
    const found = classes.filter(({ pixels }) => pixels).map(({ label, fraction }) => `${word(label)} ${number(100 * fraction, 1)} %`);
    if (model && !at("live-legend").childElementCount) legend(model.classes);
    const by = model ? [`${model.model} ${model.version}`] : [];
    const numbers = word("liveNumbers", { frames: number(framesPerSecond), latency: number(latencyMs), dropped: number(dropped) });
    at("live-numbers").textContent = [...by, numbers, ...found, ...(isStill ? [word("liveStill")] : [])].join(" · ");
  });
  live.addEventListener("ended", ({ detail }) => {
    at("main").classList.remove("is-live");
    shown[0]?.viewer.fit(); // it had no size meanwhile
    tell(word("liveEnded", { why: detail }));
    // Browsers send next to nothing from a tab that nobody sees, and the service ends what says nothing.
    if (document.hidden && detail && mine === live) {
      document.addEventListener("visibilitychange", () => { if (mine === live) goLive(source); }, { once: true });
    }
  });
  at("live-picture").replaceChildren(live.element);
  at("live-numbers").textContent = "";
  at("live-legend").replaceChildren();
  at("error").hidden = true;
  at("main").classList.add("is-live");
  tell(word("liveStarting"));
  try {
    await live.start(source, at("version").value, ({ detail }) => tell(detail));
    if (!mine.ended) tell("");
  } catch (error) {
    if (mine.ended) return; // that is why
    mine.stop();
    complain(error);
    if (error.status === 401) askForKey();
  }
}

/** How the live mask is drawn. */
function lookLive() {
  if (!live) return;
  Object.assign(live, {
    raw: at("live-raw").checked, how: at("live-outline").checked ? "outline" : "mask", patterns: at("live-patterns").checked,
  });
}

function legend(classes) {
  at("live-legend").replaceChildren(...classes.filter((each) => each.number).map(({ label, colour }) => {
    const entry = make("span", { text: word(label) });
    entry.style.borderBottom = `0.3em solid rgb(${colour.join(" ")})`;
    return entry;
  }));
}

// ---------------------------------------------------------------- the expert's say

function chooseTool() {
  const number = at("tool").value;
  const { viewer, found } = shown[0];
  // In a large picture a brush is larger: it is to be so on the screen.
  const radius = () => at("tool-size").value * Math.max(1, Math.max(found.mask.rows, found.mask.columns) / 800);
  const lesion = /^lesion-(\d)$/.exec(number);
  const stroke = (from, to) => {
    if (lesion) found.correction.fill(...to, Number(lesion[1]));
    else found.correction.stroke(from, to, radius(), Number(number));
    mark();
  };
  viewer.paintWith(number === "move" ? null : {
    radius: lesion ? () => 3 : radius,
    begin: () => found.correction.begin(),
    cancel: () => { found.correction.cancel(); mark(); },
    stroke,
  });
}

/** Only what can be done can be pressed: nothing is accepted that is not as answered, and nothing saved twice. */
function offer() {
  const correction = shown[0].found.correction;
  if (!correction) return;
  const { changed } = correction;
  at("unpainted").hidden = !changed;
  at("undo").disabled = !correction.past.length;
  at("redo").disabled = !correction.future.length;
  at("accept").disabled = saving || changed || correction.isSaved;
  at("keep").disabled = saving || !changed || correction.isSaved;
}

async function keep(decision) {
  const { found } = shown[0];
  if (!at("patient").value.trim()) {
    tell(word("patientNeeded"));
    at("patient").focus();
    return;
  }
  const { correction } = found;
  const labels = correction.labels.slice();
  saving = true;
  offer();
  try {
    // The pictures of a loop are JPEG, and training is to see what the network saw.
    const picture = found.image.frames > 1 ? (await more(found, { pictures: true })).picture : found.picture;
    const response = await correct({
      picture, masks: correction.masks(found.classes.map(({ number }) => number)),
      patient: at("patient").value, decision, version: found.model.digest,
      // Of a DICOM picture the part that was analysed: names may be drawn into the rest.
      ...(found.image.region_xywh && { region_xywh: found.image.region_xywh }),
    });
    correction.saved = labels;
    at("error").hidden = true;
    tell(word("kept", await response.json()));
  } catch (error) {
    complain(error);
  } finally {
    saving = false;
    if (shown.length) offer();
  }
}

/** Forgets what was painted. */
function reject() {
  shown[0].found.correction.reset();
  mark();
  tell(word("rejected"));
}

// ---------------------------------------------------------------- versions and state of the service

async function versions() {
  try {
    await offerVersions();
  } catch (error) {
    if (error.status !== 401) return; // without them there is the one in production
    askForKey();
    complain(error);
  }
}

async function offerVersions() {
  models = await (await ask("v1/models")).json();
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
  if (correcting) at("formats").dataset.words = "formatsSaved";
  at("formats").textContent = word(at("formats").dataset.words);
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
for (const id of ["version", "compare"]) at(id).addEventListener("change", again);
for (const id of ["spacing-row", "spacing-column"]) at(id).addEventListener("change", respace);
at("patient").addEventListener("input", () => { if (current) current.patient = at("patient").value; });
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
at("live-file").addEventListener("change", () => {
  const [file] = at("live-file").files;
  at("live-file").value = ""; // so that the same file can be chosen again
  if (file) goLive(file);
});
at("live-stop").addEventListener("click", () => live.stop());
for (const id of ["live-raw", "live-outline", "live-patterns"]) at(id).addEventListener("input", lookLive);
at("tool").addEventListener("input", chooseTool);
at("tool-size").addEventListener("input", () => shown[0].viewer.brush.place());
for (const action of ["undo", "redo"]) {
  at(action).addEventListener("click", () => { shown[0].found.correction[action](); mark(); });
}
for (const button of document.querySelectorAll("[data-reclassify]")) {
  button.addEventListener("click", () => { shown[0].found.correction.reclassify(Number(button.dataset.reclassify)); mark(); });
}
at("accept").addEventListener("click", () => keep("accepted"));
at("keep").addEventListener("click", () => keep("corrected"));
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
  stop();
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
