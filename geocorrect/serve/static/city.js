// The map of the whole catalog: tiles from this server, filtered by it; the form is the only state.
import { $, colour, element, emptyMap, getJson, measured, say, terms } from "./common.js";

const start = await getJson("/api/city/start");
const form = $("filters");
const card = $("photo");
const field = (name) => form.elements[name];
const LAYERS = ["coverage", "anchors", "displacement", "rejected", "corrected"];
const LOWEST_M = 0.05, HIGHEST_M = 5;
const count = (number) => number.toLocaleString("en");

// ---- what is asked for

function query() {
  const run = start.runs[Number(field("run").value)];
  const share = Number(field("error").value) / 100;
  const [first, last] = [field("first").value, field("last").value];
  const wanted = {
    // Both statuses in one layer: which of them is drawn, is decided here.
    reason: form.dataset.reason, sequence_id: field("sequence_id").value.trim(), device: field("device").value,
    max_expected_error_m: share < 1 ? (LOWEST_M * (HIGHEST_M / LOWEST_M) ** share).toPrecision(2) : "",
    datetime: first || last ? `${first || ".."}/${last || ".."}` : "",
    // The last stop is what is active now, runs that start later included.
    run: run && run !== start.runs.at(-1) ? run.fid : "",
  };
  return new URLSearchParams(Object.entries(wanted).filter(([, value]) => value)).toString();
}

const runOnly = () => {
  const run = new URLSearchParams(query()).get("run");
  return run ? `run=${run}` : "";
};
const tiles = (layer) => [`${location.origin}/tiles/${layer}/{z}/{x}/{y}.mvt${layer === "anchors" || layer === "coverage" ? "" : `?${query()}`}`];

// ---- the map

const [west, south, east, north] = start.extent ?? [-180, -60, 180, 70];
const map = emptyMap("map", { bounds: [[west, south], [east, north]], fitBoundsOptions: { padding: 40, maxZoom: 19 } });

function icon(size, draw) {
  const canvas = Object.assign(document.createElement("canvas"), { width: size, height: size });
  const context = canvas.getContext("2d");
  draw(context, size);
  return context.getImageData(0, 0, size, size);
}

const cross = (c, s) => {
  for (const [style, width] of [[colour("card"), 8], [colour("rejected"), 4]]) {
    Object.assign(c, { strokeStyle: style, lineWidth: width, lineCap: "round" });
    c.beginPath(); c.moveTo(6, 6); c.lineTo(s - 6, s - 6); c.moveTo(s - 6, 6); c.lineTo(6, s - 6); c.stroke();
  }
};
const triangle = (c, s) => {
  Object.assign(c, { fillStyle: colour("anchor"), strokeStyle: colour("card"), lineWidth: 2 });
  c.beginPath(); c.moveTo(s / 2, 3); c.lineTo(s - 3, s - 3); c.lineTo(3, s - 3); c.closePath(); c.fill(); c.stroke();
};
const pointer = (c, s) => {
  Object.assign(c, { strokeStyle: colour("ink"), lineWidth: 3, lineCap: "round" });
  c.beginPath(); c.moveTo(s / 2, s / 2); c.lineTo(s / 2, 3); c.stroke();
};

function errorColour() {
  const steps = start.error_classes.flatMap(([limit, shade]) => (limit === null ? [shade] : [shade, limit]));
  return ["step", ["coalesce", ["get", "expected_error_m"], 1e9], ...steps];
}

function addLayers() {
  map.addImage("cross", icon(26, cross), { pixelRatio: 2 });
  map.addImage("triangle", icon(22, triangle), { pixelRatio: 2 });
  map.addImage("pointer", icon(48, pointer), { pixelRatio: 2 });
  for (const name of LAYERS) {
    map.addSource(name, { type: "vector", tiles: tiles(name), minzoom: start.min_zoom[name] ?? 0, maxzoom: start.max_zoom,
      attribution: "Photos by their creators: open one for name and licence" });
  }
  const layer = (id, source, type, more) => map.addLayer({ id, source, "source-layer": source, type, ...more });
  const radius = ["interpolate", ["linear"], ["zoom"], 9, 2, 14, 3.5, 18, 6.5];
  const grown = ["interpolate", ["linear"], ["zoom"], 9, 0.45, 16, 0.9];
  const always = { "icon-allow-overlap": true, "icon-ignore-placement": true, "icon-size": grown };
  const missing = ["==", ["get", "has_anchor"], 0];
  layer("coverage", "coverage", "fill", { paint: {
    "fill-color": ["case", missing, "#e69f00", colour("anchor")], "fill-opacity": ["case", missing, 0.5, 0.1] } });
  layer("missing", "coverage", "line", { filter: missing, paint: { "line-color": colour("reported"), "line-width": 1 } });
  layer("anchors", "anchors", "symbol", { layout: { "icon-image": "triangle", ...always } });
  layer("displacement", "displacement", "line", { paint: { "line-color": colour("reported"), "line-width": 1.5 } });
  layer("rejected", "rejected", "symbol", { layout: { "icon-image": "cross", ...always } });
  layer("pointer", "corrected", "symbol", { minzoom: 16, filter: ["==", ["get", "status"], "accepted"],
    layout: { "icon-image": "pointer", "icon-rotate": ["get", "heading_deg"], "icon-rotation-alignment": "map", ...always } });
  layer("accepted", "corrected", "circle", { filter: ["==", ["get", "status"], "accepted"], paint: { "circle-radius": radius,
    "circle-color": errorColour(), "circle-stroke-color": colour("ink"), "circle-stroke-width": ["interpolate", ["linear"], ["zoom"], 12, 0.2, 15, 0.8] } });
  layer("review", "corrected", "circle", { filter: ["==", ["get", "status"], "review"], paint: { "circle-radius": radius,
    "circle-color": colour("card"), "circle-stroke-color": colour("review"), "circle-stroke-width": 2.2 } });
}

const shown = (name) => field(name).checked;
function showLayers() {
  const visible = (id, on) => map.setLayoutProperty(id, "visibility", on ? "visible" : "none");
  for (const name of ["accepted", "review", "rejected", "anchors", "displacement", "coverage"]) visible(name, shown(name));
  visible("missing", shown("coverage"));
  visible("pointer", shown("accepted"));
  const statuses = ["accepted", "review"].filter(shown);
  map.setFilter("displacement", ["in", ["get", "status"], ["literal", statuses]]);
}

function sayShare() {
  const most = Math.max(1, ...map.queryRenderedFeatures({ layers: PICKED }).map((f) => f.properties.stands_for));
  $("thinned").textContent = most > 1
    ? `Zoomed out: up to ${count(most)} photos for each that is drawn; zoom in to see all.` : "";
}

// ---- the form

function label() {
  const run = start.runs[Number(field("run").value)];
  const isLast = !run || run === start.runs.at(-1);
  $("run-name").textContent = isLast ? "all" : `${run.started_at.slice(0, 10)}, ${run.matcher}`;
  const limit = new URLSearchParams(query()).get("max_expected_error_m");
  $("error-limit").textContent = limit ? `${limit} m` : "any";
}

let asked = null, timer = 0;
function apply() {
  label();
  showLayers();
  if (query() === asked) return;
  const runChanged = asked === null || new URLSearchParams(asked).get("run") !== new URLSearchParams(query()).get("run");
  asked = query();
  clearTimeout(timer);
  timer = setTimeout(() => {
    for (const name of ["corrected", "rejected", "displacement"]) map.getSource(name).setTiles(tiles(name));
    if (runChanged) showCounts();
  }, 150);
}

/** First what is known at once, of very many results an estimate; then the counts, which the server makes one at a time. */
async function showCounts() {
  const given = runOnly();
  for (let exact = ""; ; exact = "exact=1") {
    const found = await getJson(`/api/city/counts?${[given, exact].filter(Boolean).join("&")}`);
    if (given !== runOnly()) return; // the slider went on meanwhile
    showNumbers(found.counts, found.is_exact ? count : (number) => `about ${count(Number(number.toPrecision(2)))}`);
    if (found.is_exact) return;
    if (exact) await new Promise((later) => setTimeout(later, 10_000));
  }
}

function showNumbers(found, words) {
  for (const output of form.querySelectorAll("output[data-status]")) {
    const total = found.filter((row) => row.status === output.dataset.status).reduce((sum, row) => sum + row.count, 0);
    output.textContent = words(total);
  }
  const rejected = found.filter((row) => row.status === "rejected").sort((a, b) => b.count - a.count);
  $("reasons").replaceChildren(...rejected.map((row) => element("li", {},
    element("button", { type: "button", title: start.reasons[row.reason], "data-reason": row.reason,
      "aria-pressed": String(form.dataset.reason === row.reason), onclick: () => choose(row.reason) },
      element("span", {}, row.reason.replaceAll("_", " ")), element("span", {}, words(row.count)),
      element("meter", { min: 0, max: rejected[0].count, value: row.count, "aria-hidden": "true" })))));
}

function choose(reason) {
  form.dataset.reason = form.dataset.reason === reason ? "" : reason;
  for (const button of form.querySelectorAll("[data-reason]")) {
    button.setAttribute("aria-pressed", String(button.dataset.reason === form.dataset.reason));
  }
  apply();
}

function fillForm() {
  Object.assign(field("run"), { max: Math.max(0, start.runs.length - 1), value: start.runs.length - 1 });
  field("run").setAttribute("value", Math.max(0, start.runs.length - 1)); // what a reset goes back to
  field("run").disabled = start.runs.length < 2;
  const square = (shade) => {
    const drawn = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const inside = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    for (const [name, value] of [["width", "100%"], ["height", "100%"], ["fill", shade]]) inside.setAttribute(name, value);
    drawn.append(inside);
    return drawn;
  };
  $("classes").append(...start.error_classes.map(([limit, shade], k) =>
    element("li", {}, square(shade), limit === null ? `> ${start.error_classes[k - 1][0]} m` : `≤ ${limit}`)));
}

// ---- a photo

const PICKED = ["accepted", "review", "rejected"];
async function open(id) {
  const photo = await getJson(`/api/city/photo?id=${encodeURIComponent(id)}${runOnly() ? `&${runOnly()}` : ""}`);
  const moment = photo.captured_at ? `${photo.captured_at.slice(0, 19).replace("T", " ")} UTC` : "unknown";
  const place = photo.status === "rejected" || photo.lon_deg === null ? [photo.reported_lat_deg, photo.reported_lon_deg] : [photo.lat_deg, photo.lon_deg];
  const rows = photo.status === "rejected"
    ? [["Reason", photo.reason.replaceAll("_", " ")], ["Meaning", photo.meaning], ["Detail", photo.detail]]
    : [["Expected error", `${measured(photo.expected_error_m, " m")} (68 %)`], ["Moved by", measured(photo.displacement_m, " m")],
      ["Heading", `${measured(photo.heading_deg, "°", 1)} (reported ${measured(photo.reported_heading_deg, "°", 1)})`],
      ["Height", `${measured(photo.height_m, " m")} above the ellipsoid`], ["Inliers", `${photo.n_inliers ?? "?"} with ${photo.n_anchors ?? "?"} anchors`]];
  rows.push(["Lat, lon", place.map((x) => measured(x, "", 7)).join(", ")], ["Taken", moment], ["Sequence", photo.sequence_id],
    ["Device", [photo.device_make, photo.device_model].filter(Boolean).join(" ")], ["Creator", photo.creator], ["Licence", photo.licence],
    ["Method", [photo.matcher, photo.depth].filter(Boolean).join(", ")]);
  const picture = photo.has_picture && element("img", { src: `/photo/${encodeURIComponent(id)}`, alt: `Photo ${id}`, onerror: (event) => event.target.remove() });
  const isAddress = /^https?:\/\//i.test(photo.page_url);
  card.replaceChildren(element("h2", {}, `Photo ${id}`), element("p", {}, photo.status ?? "no result"), picture || "",
    element("dl", {}, ...terms(rows.map(([name, value]) => [name, value || "–"]))),
    element("p", { class: "buttons" },
      photo.sequence_id ? element("button", { type: "button", onclick: () => { field("sequence_id").value = photo.sequence_id; apply(); } }, "Only its sequence") : null,
      isAddress ? element("a", { href: photo.page_url, target: "_blank", rel: "noopener noreferrer" }, "Its page") : null,
      element("button", { type: "button", onclick: close }, "Close")));
  card.hidden = false;
  map.resize();
}

function close() {
  card.hidden = true;
  map.resize();
  map.getCanvas().focus();
}

/** The photo nearest to a point of the map, in pixels, at most so far away. */
function pick(point, reach) {
  const box = [[point.x - reach, point.y - reach], [point.x + reach, point.y + reach]];
  const far = (feature) => {
    const at = map.project(feature.geometry.coordinates);
    return Math.hypot(at.x - point.x, at.y - point.y);
  };
  return map.queryRenderedFeatures(box, { layers: PICKED }).sort((a, b) => far(a) - far(b))[0]?.properties.image_id;
}

function openAt(point, reach) {
  const id = pick(point, reach);
  if (id !== undefined) open(id);
}

// ---- together

fillForm();
label();
map.on("load", () => {
  addLayers();
  asked = query();
  showLayers();
  form.addEventListener("input", apply);
  form.addEventListener("reset", () => { form.dataset.reason = ""; setTimeout(() => choose("")); });
  form.addEventListener("submit", (event) => event.preventDefault());
  map.on("click", (event) => openAt(event.point, 10));
  map.getCanvas().addEventListener("keydown", (event) => {
    if (event.key === "Enter") openAt(map.project(map.getCenter()), 60);
    if (event.key === "Escape" && !card.hidden) close();
  });
  for (const name of PICKED) {
    map.on("mouseenter", name, () => { map.getCanvas().style.cursor = "pointer"; });
    map.on("mouseleave", name, () => { map.getCanvas().style.cursor = ""; });
  }
  map.on("idle", sayShare);
  // After the first map, so that this does not wait for it.
  map.once("idle", () => {
    document.documentElement.dataset.ready = "yes";
    showCounts();
    getJson("/api/city/devices").then((names) => field("device").append(...names.map((name) => element("option", { value: name }, name))));
  });
});
map.on("error", (event) => say(event.error?.message ?? "a tile did not load", "error"));
if (!start.extent) say("Nothing in this catalog has a place yet.");
globalThis.cityMap = map; // for whoever looks at the page from its console, tests included
