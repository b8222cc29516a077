"use strict";
// Reading in a browser: what session.py does, with NiiVue to show the images and IndexedDB to keep the answers.

const study = JSON.parse(document.getElementById("study").textContent);
const element = (id) => document.getElementById(id);
const show = (id, shown) => { element(id).hidden = !shown; };
const DAY_MS = 86400000;

// What is next

const readingOf = (reader) => study.readings.find((reading) => reading.reader === reader);

function nextTrial(reading, answers) {
  const answered = new Set(answers.map((answer) => answer.trial));
  return reading.trials.find((trial) => !answered.has(trial.id)) || null;
}

function opens(reading, answers) {
  const trial = nextTrial(reading, answers);
  if (!trial || !answers.length) return null;
  const last = answers[answers.length - 1];
  const block = reading.trials.find((each) => each.id === last.trial).block;
  return block === trial.block ? null : new Date(Date.parse(last.at) + study.washout_days * DAY_MS);
}

function isOfThisStudy(content) {
  const reading = content && content.format === study.format && content.study === study.id && readingOf(content.reader);
  return Boolean(reading) && content.answers.every((answer) => reading.trials.some((trial) => trial.id === answer.trial));
}

// Keeping answers: on disk before the next trial is shown, or it is said that they are not

const store = {
  open() {
    return new Promise((resolve, reject) => {
      const request = indexedDB.open("csrd-readers", 1);
      request.onupgradeneeded = () => request.result.createObjectStore("answers");
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
  },
  async run(mode, action) {
    const database = await this.open();
    return new Promise((resolve, reject) => {
      const transaction = database.transaction("answers", mode, { durability: "strict" });
      const request = action(transaction.objectStore("answers"));
      transaction.oncomplete = () => { database.close(); resolve(request.result); };
      transaction.onerror = transaction.onabort = () => { database.close(); reject(transaction.error); };
    });
  },
  read: (reader) => store.run("readonly", (answers) => answers.get(`${study.id}/${reader}`)),
  write: (content) => store.run("readwrite", (answers) => answers.put(content, `${study.id}/${content.reader}`)),
};

function saveFile() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(state.content, null, 1)], { type: "application/json" }));
  link.download = `answers-${state.content.reader}.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// Showing images

const files = new Map();

async function imageFile(name) {
  const embedded = element(`image-${name}`);
  if (embedded) {
    const response = await fetch(`data:application/octet-stream;base64,${embedded.textContent}`);
    return new File([await response.arrayBuffer()], "image.nii.gz");
  }
  if (!files.has(name)) throw new Error("The folder chosen is not that of this study: an image is missing.");
  return new File([files.get(name)], "image.nii");
}

const viewers = [];

function makeViewers(captions) {
  element("viewers").replaceChildren();
  viewers.length = 0;
  for (const caption of captions) {
    const figure = document.createElement("figure");
    const title = document.createElement("figcaption");
    const box = document.createElement("div");
    const canvas = document.createElement("canvas");
    title.textContent = caption;
    box.append(canvas);
    figure.append(title, box);
    element("viewers").append(figure);
    const viewer = new niivue.Niivue({
      dragAndDropEnabled: false, loadingText: "", isRadiologicalConvention: true,
      crosshairWidth: 0.2, crosshairWidthUnit: "percent", crosshairColor: [0.1, 0.45, 0.8, 0.8],
      multiplanarShowRender: niivue.SHOW_RENDER.NEVER, multiplanarLayout: niivue.MULTIPLANAR_TYPE.AUTO,
      dragMode: niivue.DRAG_MODE.windowing, backColor: [1, 1, 1, 1], fontColor: [0.35, 0.35, 0.35, 1], isColorbar: false,
    });
    viewer.addColormap("pet", { R: [255, 0], G: [255, 0], B: [255, 0], A: [255, 255], I: [0, 255] });
    viewers.push({ viewer, canvas, caption });
  }
}

async function attachViewers() {
  for (const { viewer, canvas } of viewers) {
    await viewer.attachToCanvas(canvas);
    viewer.setSliceType(viewer.sliceTypeMultiplanar);
  }
  // positions are linked everywhere, the window between the images of a pair
  const pets = viewers.filter(({ caption }) => caption !== "MR").map(({ viewer }) => viewer);
  for (const { viewer } of viewers) {
    const others = viewers.map((each) => each.viewer).filter((each) => each !== viewer);
    if (others.length) viewer.broadcastTo(others, { "2d": true, "3d": false });
  }
  for (const pet of pets) {
    const link = () => requestAnimationFrame(() => linkWindow(pet, pets));
    pet.canvas.addEventListener("mousemove", (event) => { if (event.buttons & 2) link(); });
    pet.canvas.addEventListener("mouseup", link);
  }
}

function linkWindow(from, all) {
  if (!from.volumes.length) return;
  const { cal_min: low, cal_max: high } = from.volumes[0];
  for (const other of all) {
    if (!other.volumes.length || (other.volumes[0].cal_min === low && other.volumes[0].cal_max === high)) continue;
    Object.assign(other.volumes[0], { cal_min: low, cal_max: high });
    other.updateGLVolume();
  }
}

async function showTrial(trial) {
  const names = [...trial.images, ...(trial.mr ? [trial.mr] : [])];
  const captions = trial.images.length === 2 ? ["Left", "Right"] : ["Image"];
  if (trial.mr) captions.push("MR");
  if (viewers.map(({ caption }) => caption).join() !== captions.join()) {
    makeViewers(captions);
    show("viewers", true);
    await attachViewers();
  }
  // all are read before any is shown: a pair appears at once
  const images = await Promise.all(names.map(async (name, place) => {
    const windowed = place < trial.images.length;
    return niivue.NVImage.loadFromFile({
      file: await imageFile(name), name: "image.nii", colormap: windowed ? "pet" : "gray",
      ...(windowed ? { cal_min: trial.window[0], cal_max: trial.window[1], trustCalMinMax: false } : {}),
    });
  }));
  const [x, y, z] = trial.centre;
  viewers.forEach(({ viewer }, place) => {
    while (viewer.volumes.length) viewer.removeVolumeByIndex(0);
    viewer.addVolume(images[place]);
    if (place < trial.images.length) {
      Object.assign(viewer.volumes[0], { cal_min: trial.window[0], cal_max: trial.window[1] });
      viewer.updateGLVolume();
    }
  });
  for (const { viewer } of viewers) {
    viewer.scene.crosshairPos = viewer.mm2frac([-x, -y, z]);
    viewer.drawScene();
  }
}

// Answering

const state = { content: null, reading: null, trial: null, values: {}, spent: 0, since: 0, busy: false, resting: true };

const scaleNow = () => study.scales.find((scale) => !(scale.name in state.values)) || null;
const stopClock = () => { if (state.since) { state.spent += performance.now() - state.since; state.since = 0; } };
const startClock = () => { if (!state.since && !document.hidden) state.since = performance.now(); };

function ask() {
  const scale = scaleNow();
  element("question").textContent = scale.question;
  element("choices").replaceChildren(...scale.labels.map((label, place) => {
    const button = document.createElement("button");
    const key = document.createElement("kbd");
    key.textContent = place + 1;
    button.append(key, label);
    button.addEventListener("click", () => choose(place + 1));
    return button;
  }));
  const done = state.content.answers.length;
  const training = state.trial.training ? ", training" : "";
  element("progress").textContent = `${done + 1} of ${state.reading.trials.length}, block ${state.trial.block}${training}`;
}

async function choose(choice) {
  const scale = scaleNow();
  if (state.busy || state.resting || !scale || choice > scale.labels.length) return;
  state.values[scale.name] = choice;
  if (scaleNow()) { ask(); return; }
  stopClock();
  const answer = {
    trial: state.trial.id, values: { ...state.values }, seconds: Math.round(state.spent / 100) / 10,
    at: new Date().toISOString(),
  };
  await keep([...state.content.answers, answer], () => { delete state.values[scale.name]; });
}

async function back() {
  if (state.busy || state.resting) return;
  const given = Object.keys(state.values);
  if (given.length) { delete state.values[given[given.length - 1]]; ask(); return; }
  if (state.content.answers.length) await keep(state.content.answers.slice(0, -1), () => {});
}

async function keep(answers, undo) {
  const content = { ...state.content, answers };
  state.busy = true;
  try {
    await store.write(content);
  } catch (error) {
    state.busy = false;
    undo();
    rest("Not saved", `The browser cannot keep your answer (${error}). Save the answers file and ask for help.`, true);
    return;
  }
  state.content = content;
  await goOn();
}

async function goOn() {
  const trial = nextTrial(state.reading, state.content.answers);
  state.busy = false;
  if (!trial) {
    rest("Everything is read", "Send the answers file to whoever runs the study. Thank you.", false);
    saveFile();
    return;
  }
  const from = opens(state.reading, state.content.answers);
  if (from && new Date() < from) {
    rest("This block is done", `The next block opens on ${from.toLocaleString()}. Open this page again then.`, false);
    return;
  }
  if (state.trial !== trial || state.resting) await begin(trial);
}

async function begin(trial) {
  state.busy = true;
  show("rest", false); show("start", false); show("panel", true); show("viewers", true);
  try {
    await showTrial(trial);
  } catch (error) {
    state.busy = false;
    rest("The images cannot be shown", String(error.message || error), false);
    return;
  }
  Object.assign(state, { trial, values: {}, spent: 0, since: 0, busy: false, resting: false });
  ask();
  startClock();
}

function rest(title, text, canGoOn) {
  stopClock();
  state.resting = true;
  show("viewers", false); show("panel", false); show("start", false); show("rest", true);
  element("rest-title").textContent = title;
  element("rest-text").textContent = text;
  show("go-on", canGoOn);
}

function pause() {
  if (state.resting || state.busy) return;
  const done = state.content.answers.length;
  rest("Pause", `${done} of ${state.reading.trials.length} answers are kept in this browser. You may close it.`, true);
}

function resume() {
  if (!state.resting || element("go-on").hidden) return;
  show("rest", false); show("panel", true); show("viewers", true);
  state.resting = false;
  ask();
  startClock();
}

async function start() {
  const reader = element("reader").value;
  element("trouble").textContent = "";
  try {
    let content = await store.read(reader);
    const chosen = element("earlier").files[0];
    if (chosen) {
      const earlier = JSON.parse(await chosen.text());
      if (!isOfThisStudy(earlier) || earlier.reader !== reader) {
        throw new Error(`This answers file is not of this study or not of reader ${reader}.`);
      }
      if (!content || earlier.answers.length > content.answers.length) content = earlier;
    }
    for (const file of element("folder").files) files.set(file.name, file);
    if (!element("folder-label").hidden && !files.size) throw new Error("Choose the folder of the study first.");
    state.content = content || { format: study.format, study: study.id, reader, tool: "page", answers: [] };
    state.reading = readingOf(reader);
    await goOn();
  } catch (error) {
    element("trouble").textContent = String(error.message || error);
  }
}

// The page

element("title").textContent = study.title;
const kinds = { "2afc": "You compare two images of a case.", rating: "You rate one image at a time." };
element("about").textContent = `${kinds[study.kind]} Scroll through slices with the wheel, change the window with the ` +
  "right mouse button, answer with the number keys. Every answer is kept in this browser at once.";
element("reader").append(...study.readings.map(({ reader }) => new Option(reader, reader)));
const first = study.readings[0].trials[0].images[0];
show("folder-label", !element(`image-${first}`));
element("begin").addEventListener("click", start);
element("back").addEventListener("click", back);
element("pause").addEventListener("click", pause);
element("go-on").addEventListener("click", resume);
element("save").addEventListener("click", saveFile);
document.addEventListener("visibilitychange", () => {
  if (state.resting) return;
  if (document.hidden) stopClock(); else startClock();
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
  if (/^[1-9]$/.test(event.key)) choose(Number(event.key));
  else if (event.key === "Backspace") back();
  else if (event.key.toLowerCase() === "p") { if (state.resting) resume(); else pause(); }
  else return;
  event.preventDefault();
}, { capture: true });
