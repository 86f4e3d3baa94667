// The landmark page: a mark is clicked in the photo and on the map; the solver answers to each click.
import { $, boxAround, colour, element, emptyMap, getJson, measured, postJson, say, session, terms } from "./common.js";
import { PictureView, label, ring, square } from "./picture.js";

const form = $("click");
const field = (name) => form.elements[name];
const view = new PictureView($("photo"), { label: "Photo; arrows move the cross, with shift by a quarter pixel, Enter takes the place, plus and minus zoom", editable: !session.read_only });
const map = emptyMap("map", { center: [0, 0], zoom: 1 });
const mapReady = new Promise((ready) => map.once("style.load", ready));

let state = null; // what /api/landmarks/state or a change said
let drives = [];
let here = { drive: 0, photo: 0 };
let pending = { photo: null, map: null }; // a click of which one half is there
let selected = null; // {drive, index} of a click
let check = null; // what /api/landmarks/check said of this version
let seen = { camera: null, ground: [], marks: [] };
let pins = [];
let flat = false; // whether the photo is shown undistorted; everything but the view itself is in raw pixels
let busy = false;

const photoOf = (place = here) => drives[place.drive].photos[place.photo];
const placeOf = (click) => ({ drive: click.drive, photo: drives[click.drive].photos.findIndex((photo) => photo.name === click.image) });
const isHere = (click) => click.drive === here.drive && click.image === photoOf().name;
const isSelected = (click) => selected !== null && click.drive === selected.drive && click.index === selected.index;
const same = (a, b) => a.drive === b.drive && a.photo === b.photo;
const query = (more) => new URLSearchParams({ ...here, ...more });

// --- raw and undistorted --------------------------------------------------------------------------------------------

/** Pixels [u, v] of the raw photo as pixels of the view ("undistorted"), or back ("raw"); null where there is none. */
async function converted(pixels, to) {
  if (!flat || !pixels.length) return pixels;
  return (await getJson(`/api/landmarks/pixels?${query({ to, px: pixels.flat().join(",") })}`)).px;
}

/** The raw pixel of a place in the view. */
async function rawOf({ u, v }) {
  const [px] = await converted([[u, v]], "raw");
  if (!px) say("the photo ends before that place", "error");
  return px;
}

async function toggleFlat() {
  flat = !flat;
  $("undistorted").setAttribute("aria-pressed", String(flat));
  await openPicture();
  await showPicture();
}

async function openPicture() {
  const drive = drives[here.drive];
  flat = flat && drive.undistorted !== null;
  $("undistorted").disabled = drive.undistorted === null;
  const { width, height } = flat ? drive.undistorted : drive;
  const address = `/landmarks/picture/${here.drive}/${here.photo}${flat ? "?undistorted" : ""}`;
  if (!photoOf().has_picture) view.showBlank(width, height);
  else await view.show(address).catch((error) => { say(error.message, "error"); view.showBlank(width, height); });
  document.body.dataset.view = flat ? "undistorted" : "raw";
}

// --- one photo -------------------------------------------------------------------------------------------------

async function open(place, { keep = false } = {}) {
  here = place;
  if (!keep) select(null);
  document.body.dataset.photo = photoOf().name;
  $("photos").value = `${here.drive}/${here.photo}`;
  await openPicture();
  await look();
}

/** Where this photo looks, by the present solution; the map follows it. */
async function look({ follow = true } = {}) {
  const asked = { ...here };
  const found = await getJson(`/api/landmarks/view?${query()}`);
  if (!same(asked, here)) return;
  seen = found;
  show();
  const places = [...(seen.camera ? [seen.camera] : []), ...seen.ground];
  if (follow && places.length > 1) map.fitBounds(boxAround(near(places)), { padding: 20, maxZoom: 21, animate: false });
}

/** Ground far away, near the horizon, would make everything small. */
const near = (places) => places.filter((place) => Math.hypot((place[0] - places[0][0]) * Math.cos((places[0][1] * Math.PI) / 180), place[1] - places[0][1]) < 60 / 111320);

function select(click) {
  selected = click === null ? null : { drive: click.drive, index: click.index };
  pending = { photo: null, map: null };
  const values = click ?? { u_px: "", v_px: "", lon_deg: "", lat_deg: "", landmark: nextName() };
  for (const name of ["u_px", "v_px", "lon_deg", "lat_deg", "landmark"]) field(name).value = values[name];
  $("keep").textContent = click ? "Change" : "Add";
}

function nextName() {
  const used = new Set((state?.clicks ?? []).map((click) => click.landmark));
  let k = used.size + 1;
  while (used.has(`mark ${k}`)) k += 1;
  return `mark ${k}`;
}

// --- changes -----------------------------------------------------------------------------------------------------

async function change(path, body) {
  if (busy) return null;
  if (session.read_only) { say("this server is read-only", "error"); return null; }
  busy = true;
  document.body.dataset.busy = "yes";
  const started = performance.now();
  try {
    state = await postJson(path, { version: state.version, ...body });
    document.body.dataset.answered = Math.round(performance.now() - started);
    check = null;
    show();
    look({ follow: false });
    checkWhole();
    return state;
  } catch (error) {
    say(error.message, "error");
    if (error.status === 409) { Object.assign(state, await getJson("/api/landmarks/state")); show(); }
    return null;
  } finally {
    busy = false;
    document.body.dataset.busy = "no";
  }
}

/** Keep what the form says: a new click, or other values of the selected one. */
async function keep() {
  const number = (name) => (field(name).value === "" ? NaN : Number(field(name).value));
  const body = { ...here, u_px: number("u_px"), v_px: number("v_px"), lon_deg: number("lon_deg"), lat_deg: number("lat_deg"), landmark: field("landmark").value.trim() };
  if ([body.u_px, body.v_px, body.lon_deg, body.lat_deg].some(Number.isNaN)) return;
  const changed = selected !== null
    ? await change("/api/landmarks/click", { ...body, ...selected, action: "replace" })
    : await change("/api/landmarks/click", { ...body, action: "add" });
  if (changed) { select(null); show(); }
}

async function remove() {
  if (selected === null) { say("select a click first: in the photo, on the map or in the table", "error"); return; }
  if (await change("/api/landmarks/click", { ...selected, action: "remove" })) { select(null); show(); }
}

async function undo() {
  if (await change("/api/landmarks/undo", {})) { select(null); show(); say("undone"); }
}

let checking = 0;
async function checkWhole() {
  const mine = (checking += 1);
  document.body.dataset.check = "waiting";
  await new Promise((later) => setTimeout(later, 250)); // while clicks follow each other
  if (mine !== checking) return;
  try {
    const found = await getJson(`/api/landmarks/check?version=${state.version}`);
    if (mine !== checking || found.outdated) return;
    check = found;
    show();
    document.body.dataset.check = "done";
  } catch (error) {
    if (mine === checking) say(error.message, "error");
  }
}

async function store() {
  const stored = await postJson("/api/landmarks/store", { version: state.version });
  say(`alignment ${stored.alignment_id} is stored in ${stored.catalog}`);
}

// --- what is shown -------------------------------------------------------------------------------------------------

function show() {
  showPicture();
  showMap();
  showTable();
  showFacts();
  const names = [...new Set(state.clicks.map((click) => click.landmark))];
  $("marks").replaceChildren(...names.map((name) => element("option", { value: name })));
  for (const option of $("photos").options) {
    const [drive, photo] = option.value.split("/").map(Number);
    const n = state.clicks.filter((click) => click.drive === drive && click.image === drives[drive].photos[photo].name).length;
    option.textContent = `${drives.length > 1 ? `${drives[drive].name}: ` : ""}${drives[drive].photos[photo].name}, ${drives[drive].photos[photo].along_m.toFixed(0)} m${n ? `, ${n} clicks` : ""}`;
  }
  $("undo").disabled = session.read_only || !state.can_undo;
  $("remove").disabled = session.read_only || selected === null;
  $("suggested").disabled = !state.suggestion;
  $("suggested").title = state.suggestion?.why ?? "";
  $("store").disabled = session.read_only || !check || Boolean(check.refused);
  $("export-gcp").href = `/api/landmarks/export?${query({ format: "gcp" })}`;
  $("export-points").href = `/api/landmarks/export?${query({ format: "points" })}`;
}

let drawing = 0;
async function showPicture() {
  const mine = (drawing += 1);
  const marks = []; // with raw pixels
  for (const mark of seen.marks) {
    marks.push({ at: [mark.u_px, mark.v_px], draw: (context, x, y) => { context.setLineDash([3, 3]); ring("#3fc79a", 8)(context, x, y); context.setLineDash([]); label(mark.landmark, "#3fc79a")(context, x, y); } });
  }
  for (const click of state.clicks.filter(isHere)) {
    const shape = click.outlier ? square("#ff9a4d", isSelected(click)) : ring(isSelected(click) ? "#ffe14d" : "#56b4e9", 6);
    const told = click.outlier || isSelected(click); // the words of all would hide the photo
    const words = told ? `${click.landmark}${click.residual_m === undefined ? "" : ` ${measured(click.residual_m, " m")}`}${click.outlier ? " OUTLIER" : ""}` : "";
    marks.push({ id: click, at: [click.u_px, click.v_px], draw: (context, x, y) => { shape(context, x, y); label(words, click.outlier ? "#ff9a4d" : "#fff")(context, x, y); } });
  }
  if (pending.photo) marks.push({ at: [pending.photo.u, pending.photo.v], draw: ring("#ffe14d", 7) });
  const n = state.clicks.filter(isHere).length;
  $("photo-caption").textContent = `${photoOf().name}: ${n} clicks; dashed: where marks of other photos should appear`;
  const places = await converted(marks.map((mark) => mark.at), "undistorted");
  if (mine !== drawing) return;
  view.marks = marks.flatMap((mark, k) => (places[k] ? [{ ...mark, u: places[k][0], v: places[k][1] }] : []));
  view.draw();
}

// While a pin is held, pins are not made anew: an answer that comes meanwhile would take it out of the hand.
let held = false;
function letGo() {
  if (!held) return;
  held = false;
  showMap(); // a pin that was let go outside the map goes back, too
}
for (const end of ["pointerup", "touchend", "touchcancel"]) addEventListener(end, () => setTimeout(letGo)); // after its own dragend

function pin(place, className, title, dragged, picked) {
  const button = element("button", { type: "button", class: `pin ${className}`, title, "aria-label": title, onpointerdown: () => { held = true; }, onclick: (event) => { event.stopPropagation(); picked(); } });
  const marker = new maplibregl.Marker({ element: button, draggable: !session.read_only && dragged !== null }).setLngLat(place).addTo(map);
  if (dragged) marker.on("dragend", () => dragged(marker.getLngLat()));
  pins.push(marker);
}

function showMap() {
  if (held) return;
  for (const marker of pins) marker.remove();
  pins = [];
  for (const click of state.clicks) {
    const classes = [click.outlier ? "outlier" : "", isSelected(click) ? "selected" : ""].join(" ");
    const words = `${click.landmark} in ${click.image}${click.residual_m === undefined ? "" : `: ${measured(click.residual_m, " m")}`}${click.outlier ? ", OUTLIER" : ""}`;
    const moved = async (to) => {
      held = false;
      if (!(await change("/api/landmarks/click", { ...bodyOf(click), lon_deg: to.lng, lat_deg: to.lat, action: "replace" }))) show();
    };
    pin([click.lon_deg, click.lat_deg], classes, words, moved, () => pick(click));
  }
  if (pending.map) pin(pending.map, "pending", "new mark", null, () => {});
  if (map.getSource("seen")) {
    const features = seen.ground.map((place) => ({ type: "Feature", geometry: { type: "Point", coordinates: place }, properties: { kind: "ground" } }));
    if (seen.camera) features.push({ type: "Feature", geometry: { type: "Point", coordinates: seen.camera }, properties: { kind: "camera" } });
    map.getSource("seen").setData({ type: "FeatureCollection", features });
  }
}

/** A click as the server takes it. */
const bodyOf = (click) => ({ drive: click.drive, photo: placeOf(click).photo, index: click.index, u_px: click.u_px, v_px: click.v_px, lon_deg: click.lon_deg, lat_deg: click.lat_deg, landmark: click.landmark });

async function pick(click) {
  const place = placeOf(click);
  if (!same(place, here)) await open(place, { keep: true });
  select(click);
  const [px] = await converted([[click.u_px, click.v_px]], "undistorted");
  if (px) view.centre(...px, Math.max(view.scale, 1));
  show();
}

function showTable() {
  const without = check?.leave_one_out_m ?? {};
  $("clicks").replaceChildren(...state.clicks.map((click) => element("tr", {
    class: click.outlier ? "outlier" : "", "aria-selected": String(isSelected(click)), tabindex: "0",
    onclick: () => pick(click), onkeydown: (event) => { if (event.key === "Enter") pick(click); },
  },
  element("td", {}, click.image), element("td", {}, click.landmark), element("td", {}, measured(click.residual_px, "", 1)),
  element("td", {}, measured(click.residual_m, "")), element("td", {}, measured(click.mahalanobis, "", 1)),
  element("td", {}, without[click.image] === undefined ? "" : measured(without[click.image], " m")),
  element("td", {}, click.outlier ? "OUTLIER" : ""))));
}

function showFacts() {
  const found = check?.solution ?? state.solution;
  const n = state.clicks.length;
  const facts = found ? {
    clicks: `${n}, ${found.n_outliers} outliers`, scale: found.scale.toFixed(5), median: measured(found.median_residual_m, " m"), yaw: `${found.yaw_deg.toFixed(3)}°`,
    "along the drive": `≤ ${measured(found.track_sigma_m, " m")} (1 sigma)`, "base above ground": measured(found.base_height_m, " m"),
  } : { clicks: String(n) };
  const shifts = Object.values(check?.leave_one_out_m ?? {}).filter((shift) => shift !== null);
  if (shifts.length) facts["without one photo"] = `≤ ${Math.max(...shifts).toFixed(2)} m`;
  if (check?.alignment_id) facts.alignment = check.alignment_id.slice(0, 12);
  $("facts").replaceChildren(...terms(Object.entries(facts)));
  const words = [];
  const refused = check ? check.refused : state.refused;
  if (refused) words.push({ text: refused, fatal: true });
  for (const finding of found?.findings ?? []) if (!refused || !refused.includes(finding.text)) words.push(finding);
  if (state.suggestion) words.push({ text: `best next photo: ${drives[state.suggestion.drive].photos[state.suggestion.photo].name} (${state.suggestion.why})` });
  if (!check && found) words.push({ text: "photos are left out in turn …" });
  $("findings").replaceChildren(...words.map((finding) => element("li", { class: finding.fatal ? "fatal" : "" }, finding.text)));
}

// --- clicks ----------------------------------------------------------------------------------------------------------

async function place() {
  show();
  if (selected === null && pending.photo && pending.map) await keep();
  else if (selected !== null) say("changed values are kept with Enter in the form, or by dragging");
}

view.addEventListener("place", async ({ detail }) => {
  const px = await rawOf(detail);
  if (!px) return;
  if (selected !== null) select(null);
  const [u, v] = px;
  pending.photo = { u, v };
  field("u_px").value = u;
  field("v_px").value = v;
  const known = state.clicks.find((click) => click.landmark === field("landmark").value.trim());
  if (known && !pending.map) takeMapPlace([known.lon_deg, known.lat_deg]);
  else if (!pending.map) {
    // The solver knows where this pixel's ground lies: the map goes there.
    getJson(`/api/landmarks/ground?${query({ u_px: u, v_px: v })}`).then(({ place: to }) => { if (to) map.easeTo({ center: to, zoom: Math.max(map.getZoom(), 19), duration: 200 }); });
  }
  await place();
});
view.addEventListener("pick", ({ detail }) => pick(detail.mark.id));
view.addEventListener("move", async ({ detail }) => {
  if (!detail.done) return;
  const click = detail.mark.id;
  const px = await rawOf(detail);
  select(null);
  if (!px) { show(); return; }
  if (!(await change("/api/landmarks/click", { ...bodyOf(click), u_px: px[0], v_px: px[1], action: "replace" }))) show();
});

function takeMapPlace([lon, lat]) {
  pending.map = [lon, lat];
  field("lon_deg").value = lon;
  field("lat_deg").value = lat;
}

async function clickedMap(lngLat) {
  if (session.read_only) return;
  if (selected !== null) select(null);
  takeMapPlace([lngLat.lng, lngLat.lat]);
  await place();
}

function step(by) {
  const { photos } = drives[here.drive];
  const photo = here.photo + by;
  if (photo >= 0 && photo < photos.length) return open({ drive: here.drive, photo });
  const drive = here.drive + by;
  if (drive < 0 || drive >= drives.length) { say("no further photo"); return null; }
  return open({ drive, photo: by > 0 ? 0 : drives[drive].photos.length - 1 });
}

const toSuggested = () => state.suggestion && open({ drive: state.suggestion.drive, photo: state.suggestion.photo });
const keys = {
  n: () => step(1), p: () => step(-1), g: toSuggested, d: () => drives[here.drive].undistorted && toggleFlat(), z: undo, Delete: remove, Backspace: remove,
  Escape: () => { select(null); show(); }, i: () => view.canvas.focus(), m: () => map.getCanvas().focus(), f: () => field("u_px").focus(),
};

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input, select, textarea");
  if (event.key === "z" && event.ctrlKey && !typing) { event.preventDefault(); undo(); return; }
  if (typing && event.key === "Escape") { event.target.blur(); return; }
  if (typing || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.key === "Enter" && event.target === map.getCanvas()) { event.preventDefault(); clickedMap(map.getCenter()); return; }
  const action = keys[event.key];
  if (!action) return;
  event.preventDefault();
  action();
});

form.addEventListener("submit", (event) => { event.preventDefault(); keep(); });
$("photos").addEventListener("change", () => { const [drive, photo] = $("photos").value.split("/").map(Number); open({ drive, photo }); });
for (const [id, action] of [["previous", keys.p], ["next", keys.n], ["suggested", toSuggested], ["undistorted", keys.d], ["undo", undo], ["remove", remove], ["store", store]]) {
  $(id).addEventListener("click", () => action());
}
map.on("click", (event) => clickedMap(event.lngLat));

await mapReady;
map.addSource("seen", { type: "geojson", data: { type: "FeatureCollection", features: [] } });
map.addLayer({ id: "ground-seen", type: "circle", source: "seen", paint: { "circle-radius": ["match", ["get", "kind"], "camera", 6, 2.5], "circle-color": colour("truth"), "circle-opacity": 0.8, "circle-stroke-width": 1, "circle-stroke-color": "#fff" } });
state = await getJson("/api/landmarks/state");
drives = state.drives;
$("photos").append(...drives.flatMap((drive, d) => drive.photos.map((photo, p) => element("option", { value: `${d}/${p}` }, photo.name))));
if (!drives[0].photos.length) say("no photo to click in: give --photos FOLDER", "error");
else {
  if (state.clicks.length) map.fitBounds(boxAround(state.clicks.map((click) => [click.lon_deg, click.lat_deg])), { padding: 40, maxZoom: 19, animate: false });
  select(null);
  const first = state.clicks.length ? placeOf(state.clicks[0]) : { drive: 0, photo: 0 };
  await open(first);
  if (state.clicks.length) checkWhole();
}
for (const input of form.elements) if (session.read_only && input.tagName !== "DATALIST") input.disabled = true;
document.body.dataset.ready = "yes";
Object.assign(globalThis, { landmarkMap: map, landmarkView: view }); // for whoever looks at the page from its console, tests included
