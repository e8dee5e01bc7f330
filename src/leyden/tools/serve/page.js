"use strict";

const byId = (id) => document.getElementById(id);
let info = null;
let newest = 0; // the number of the latest question; answers to older ones are dropped

function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  Object.assign(made, properties);
  made.append(...children);
  return made;
}

async function post(path, body, type) {
  const response = await fetch(path, { method: "POST", headers: { "Content-Type": type }, body });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

function reset() {
  for (const id of ["status", "error", "bars", "chart", "images"]) byId(id).replaceChildren();
}

function short(value) {
  if (typeof value !== "number") return String(value);
  return Number.isInteger(value) ? value.toLocaleString("en") : String(Number(value.toPrecision(5)));
}

function percent(probability) {
  return (100 * probability).toFixed(1) + " %";
}

// Screen readers wait with announcements of the result while it is busy.
function setBusy(isBusy) {
  byId("result").setAttribute("aria-busy", String(isBusy));
}

// Ask the model about `body`, and also for an explanation if it explains.
async function ask(body, type, query = "", past = null) {
  const number = ++newest;
  setBusy(true);
  try {
    const answer = await post("/predict?top=10" + query, body, type);
    if (number !== newest) return;
    reset();
    showPrediction(answer, past);
    if (info.explains) {
      const explained = await post("/explain?top=1" + query, body, type);
      if (number === newest) showImages(explained.images);
    }
  } catch (error) {
    if (number === newest) showError(error);
  } finally {
    if (number === newest) setBusy(false);
  }
}

function showError(error) {
  reset();
  byId("error").textContent = error.message || "The server does not answer.";
}

function showPrediction(answer, past) {
  const value = answer.prediction;
  let text = Array.isArray(value) ? value.map(short).join(", ") || "none of the labels" : short(value);
  if (info.task === "Autoencoder") text = "Anomaly score " + text;
  const line = element("p", { className: "answer" + (text.length > 14 ? " long" : ""), id: "answer", textContent: text });
  byId("status").replaceChildren(element("span", { textContent: "Prediction" }), line);
  if (answer.probability !== null) {
    byId("status").append(element("p", { textContent: "Probability " + percent(answer.probability) }));
  }
  if (answer.top.length > 1) byId("bars").replaceChildren(...answer.top.map(bar));
  if (past) showSeries(past, value);
}

function bar([name, probability]) {
  const filled = element("div", { className: "bar" });
  filled.style.width = 100 * probability + "%";
  const track = element("div", { className: "track" }, filled);
  track.setAttribute("aria-hidden", "true");
  return element(
    "li", {}, element("span", { className: "label", textContent: name, title: name }), track,
    element("span", { className: "percent", textContent: percent(probability) }),
  );
}

function showImages(images) {
  byId("images").replaceChildren(...images.map((image) => element(
    "figure", {},
    element("img", { src: "data:image/png;base64," + image.png, alt: image.title + ". " + image.text }),
    element("figcaption", { textContent: image.title + ": " + image.text }),
  )));
}

// A line of the past steps and one of the predicted steps; the numbers are in the text of the prediction.
function showSeries(past, next) {
  const shown = past.slice(-Math.max(2 * next.length, info.shape[0]));
  const all = shown.concat(next);
  const low = Math.min(...all), span = Math.max(...all) - low || 1;
  const point = (value, index) => `${(600 * index) / (all.length - 1)},${150 - (140 * (value - low)) / span}`;
  const make = (tag, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  };
  const label = `Line chart of the last ${shown.length} known steps and the ${next.length} predicted steps`;
  const svg = make("svg", { viewBox: "0 0 600 155", role: "img", "aria-label": label });
  const points = all.map(point);
  svg.append(make("polyline", { class: "past", points: points.slice(0, shown.length).join(" ") }));
  svg.append(make("polyline", { class: "next", points: points.slice(shown.length - 1).join(" ") }));
  byId("chart").replaceChildren(svg);
}

function setUpDrawing() {
  const canvas = byId("canvas"), [, height, width] = info.shape;
  const scale = Math.min(320 / Math.min(height, width), 560 / Math.max(height, width));
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const pen = canvas.getContext("2d");
  const clear = () => {
    pen.fillStyle = "#000";
    pen.fillRect(0, 0, canvas.width, canvas.height);
  };
  const position = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) * canvas.width) / box.width, ((event.clientY - box.top) * canvas.height) / box.height];
  };
  let last = null;
  const line = (event) => {
    const [x, y] = position(event);
    pen.beginPath();
    pen.moveTo(...last);
    pen.lineTo(x, y);
    pen.stroke();
    last = [x, y];
  };
  const end = () => {
    if (last === null) return;
    last = null;
    setBusy(true);
    canvas.toBlob((blob) => ask(blob, "image/png", "&drawing=1"), "image/png");
  };
  pen.strokeStyle = "#fff";
  pen.lineCap = pen.lineJoin = "round";
  pen.lineWidth = info.pen * Math.min(canvas.width, canvas.height);
  clear();
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    canvas.setPointerCapture(event.pointerId);
    last = position(event);
    line(event);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (last !== null) line(event);
  });
  canvas.addEventListener("pointerup", end);
  canvas.addEventListener("pointercancel", end);
  byId("clear").addEventListener("click", () => {
    newest += 1;
    clear();
    reset();
    setBusy(false);
  });
  byId("draw").hidden = false;
}

function setUpUpload() {
  const send = (file) => file && ask(file, file.type.startsWith("image/") ? file.type : "application/octet-stream");
  byId("file").addEventListener("change", (event) => send(event.target.files[0]));
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    byId("drop").classList.add("over");
  });
  document.addEventListener("dragleave", () => byId("drop").classList.remove("over"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    byId("drop").classList.remove("over");
    send(event.dataTransfer.files[0]);
  });
  byId("upload").hidden = false;
}

function setUpRow() {
  const inputs = info.features.map((name, number) => {
    const input = fieldOf(name, { id: "feature-" + number, required: !info.optional });
    byId("fields").append(element("span", {}, element("label", { htmlFor: input.id, textContent: name }), input));
    return input;
  });
  byId("row-help").textContent = info.optional ? "An empty field counts as a missing value." : "All fields are required.";
  byId("row").addEventListener("submit", (event) => {
    event.preventDefault();
    const row = Object.fromEntries(info.features.map((name, number) => [name, inputs[number].value]));
    ask(JSON.stringify({ row }), "application/json");
  });
  byId("row").hidden = false;
}

/** The field for a feature: a list of its categories, or a number. */
function fieldOf(name, attributes) {
  const categories = info.categories[name];
  if (!categories) return element("input", { type: "number", step: "any", ...attributes });
  const options = ["", ...categories].map((category) => element("option", { value: category, textContent: category }));
  return element("select", { ...attributes, required: false }, ...options);
}

function setUpSeries() {
  byId("series-help").textContent =
    `Numbers separated by spaces, commas or new lines. The model uses the last ${info.shape[0]} and predicts the next ${info.horizon}.`;
  byId("series").addEventListener("submit", (event) => {
    event.preventDefault();
    const series = byId("steps").value.split(/[\s,;]+/).filter(Boolean).map(Number);
    if (series.some((step) => !Number.isFinite(step))) {
      newest += 1;
      showError(new Error("Every step must be a number."));
      return;
    }
    ask(JSON.stringify({ series }), "application/json", "", series);
  });
  byId("series").hidden = false;
}

function setUpText() {
  byId("write").addEventListener("submit", (event) => {
    event.preventDefault();
    ask(JSON.stringify({ text: byId("text").value }), "application/json");
  });
  byId("write").hidden = false;
}

function setUpGenerate() {
  const sample = async () => {
    const number = ++newest;
    const values = { num: Number(byId("num").value), seed: Number(byId("seed").value) };
    try {
      const answer = await post("/sample", JSON.stringify(values), "application/json");
      if (number !== newest) return;
      reset();
      byId("status").textContent = answer.images[0].text;
      showImages(answer.images);
      byId("seed").value = values.seed + 1; // so that the next click gives other images
    } catch (error) {
      if (number === newest) showError(error);
    }
  };
  byId("generate").addEventListener("submit", (event) => {
    event.preventDefault();
    sample();
  });
  byId("generate").hidden = false;
}

function describe() {
  document.title = info.name + " – Leyden";
  byId("name").textContent = info.name;
  const facts = [info.task, info.parameters.toLocaleString("en") + " parameters"];
  if (info.classes) facts.push(info.classes.length + " classes");
  byId("facts").textContent = facts.join(" · ");
  for (const [name, value] of Object.entries(info.metrics)) {
    const head = element("th", { scope: "row", textContent: name });
    byId("metrics").tBodies[0].append(element("tr", {}, head, element("td", { textContent: short(value) })));
  }
  byId("metrics").hidden = Object.keys(info.metrics).length === 0;
  byId("call").textContent = example();
}

function example() {
  const json = (path, values) => `curl -H 'Content-Type: application/json' -d '${JSON.stringify(values)}' ${location.origin}${path}`;
  if (info.generates) return json("/sample", { num: 16, seed: 0 });
  if (info.input === "row") return json("/predict", { row: Object.fromEntries(info.features.map((name) => [name, 0])) });
  if (info.input === "series") return json("/predict", { series: ["…"] });
  if (info.input === "text") return json("/predict", { text: "…" });
  return `curl -H 'Content-Type: image/png' --data-binary @image.png ${location.origin}/predict`;
}

async function start() {
  try {
    info = await (await fetch("/info")).json();
  } catch {
    showError(new Error("The server does not answer. Reload the page when it runs."));
    return;
  }
  describe();
  if (info.draws) setUpDrawing();
  if (info.input === "image") setUpUpload();
  if (info.input === "row") setUpRow();
  if (info.input === "series") setUpSeries();
  if (info.input === "text") setUpText();
  if (info.generates) setUpGenerate();
  byId("status").textContent = info.generates ? "" : "No input yet.";
  document.body.dataset.ready = "true";
}

start();
