// The review page: a queue of photos, what is known about each, and a decision by keyboard.
import { $, boxAround, colour, element, emptyMap, getJson, measured, postJson, say, session, terms } from "./common.js";
import { PictureView, cross, ring } from "./picture.js";

const REASONS = ["wrong place", "wrong direction", "too few true matches", "picture unusable", "moving scene"];
const filters = $("filters");
const photoView = new PictureView($("photo"), { label: "Photo; plus and minus zoom, 0 shows all, arrows move" });
const anchorView = new PictureView($("anchor"), { label: "Anchor" });
const map = emptyMap("map", { center: [0, 0], zoom: 1 });
const mapReady = new Promise((ready) => map.once("style.load", ready));

let queue = []; // of the server, in its order
let total = 0;
let current = null; // what /api/review/photo said
let found = null; // what /api/review/matches said, null until it came
let chosenAnchor = null;
let leave = new AbortController(); // ends what is asked about a photo when another one is opened
let points = null; // what /api/review/points said of photo and anchor, null until it came
const decided = []; // ids that were decided on here, the latest last
let busy = false;

// --- queue ---------------------------------------------------------------------------------------------------

async function loadChoices() {
  const choices = await getJson("/api/review/choices");
  for (const name of ["status", "reason", "sequence_id", "device"]) {
    const options = choices[name].map(([value, n]) => element("option", { value }, `${value} (${n})`));
    filters.elements[name].replaceChildren(element("option", { value: "" }, "any"), ...options);
  }
  const asked = new URLSearchParams(location.search);
  for (const [name, value] of asked) if (filters.elements[name]) filters.elements[name].value = value;
  if (![...asked.keys()].length && choices.status.some(([value]) => value === "review")) filters.elements.status.value = "review";
}

async function loadQueue(first = 0) {
  const query = new URLSearchParams(new FormData(filters));
  query.set("first", first);
  const page = await getJson(`/api/review/queue?${query}`);
  queue = first ? [...queue, ...page.photos] : page.photos;
  total = page.total;
  showQueue();
}

function showQueue() {
  const photos = total === 1 ? "1 photo" : `${total} photos, least sure first`;
  $("total").textContent = queue.length < total ? `${queue.length} of ${photos}` : photos;
  $("queue").replaceChildren(...queue.map((photo) => element("li", {},
    element("button", { type: "button", "data-id": photo.image_id, onclick: () => open(photo.image_id) },
      element("i", { class: `sign ${photo.status}`, title: photo.status }),
      element("span", { class: "id" }, photo.image_id),
      element("span", { class: "muted" }, photo.reason ? "" : measured(photo.expected_error_m, " m"))))));
  if (queue.length < total) {
    $("queue").append(element("li", {}, element("button", { type: "button", onclick: () => loadQueue(queue.length) }, "more")));
  }
  markCurrent();
}

function markCurrent() {
  for (const button of $("queue").querySelectorAll("[data-id]")) {
    const here = current !== null && button.dataset.id === current.image_id;
    if (here) { button.setAttribute("aria-current", "true"); button.scrollIntoView({ block: "nearest" }); }
    else button.removeAttribute("aria-current");
  }
}

/** Open the photo after the current one (or before it); says so at the end. */
async function step(by) {
  const here = queue.findIndex((photo) => current && photo.image_id === current.image_id);
  const next = here + by;
  if (next >= queue.length && queue.length < total) await loadQueue(queue.length);
  if (next < 0 || next >= queue.length) {
    say(next < 0 ? "this is the first photo" : queue.length ? "this was the last photo of the queue" : "nothing waits here");
    return;
  }
  await open(queue[next].image_id);
}

// --- one photo -------------------------------------------------------------------------------------------------

async function open(id) {
  const photo = await getJson(`/api/review/photo?id=${encodeURIComponent(id)}`);
  leave.abort(); // else its matches would be computed before those of the photo that is looked at
  leave = new AbortController();
  current = photo;
  found = points = null;
  chosenAnchor = photo.anchors.toSorted((a, b) => b.n_inliers - a.n_inliers)[0]?.anchor_id ?? null;
  showFacts();
  markCurrent();
  showAnchors();
  showPlaces();
  $("note").value = "";
  document.body.dataset.photo = id;
  const shown = photoView.show(`/photo/${encodeURIComponent(id)}`).catch((error) => { photoView.clear(); $("photo-caption").textContent = error.message; });
  await Promise.all([shown, showAnchorPicture()]);
  if (current === photo && photo.has_picture && photo.anchors.length) loadMatches(photo);
  if (current === photo) loadPoints();
  drawMatches();
}

async function loadMatches(photo) {
  document.body.dataset.matches = "loading";
  $("photo-caption").textContent = `${photo.image_id}: matches are computed …`;
  try {
    const answer = await getJson(`/api/review/matches?id=${encodeURIComponent(photo.image_id)}`, { signal: leave.signal });
    if (current !== photo) return;
    found = answer;
    $("photo-caption").textContent = `${photo.image_id}: ${photo.creator || "unknown creator"}, ${photo.licence || "no licence named"}`;
  } catch (error) {
    if (current !== photo) return;
    $("photo-caption").textContent = `no matches: ${error.message}`;
  }
  document.body.dataset.matches = found ? "shown" : "none";
  showAnchors();
  drawMatches();
}

/** The points of the chosen anchor, once they are asked for; until the next photo or anchor. */
async function loadPoints() {
  document.body.dataset.points = "none";
  if (!pressed("show-points") || chosenAnchor === null) return;
  const [photo, anchor] = [current, chosenAnchor];
  document.body.dataset.points = "loading";
  let said = null;
  try {
    said = await getJson(`/api/review/points?${new URLSearchParams({ id: photo.image_id, anchor })}`, { signal: leave.signal });
  } catch (error) {
    if (current === photo && chosenAnchor === anchor) say(`no points: ${error.message}`, "error");
  }
  if (current !== photo || chosenAnchor !== anchor) return;
  points = said;
  document.body.dataset.points = said ? "shown" : "none";
  showAnchorCaption();
  drawMatches();
}

// Near yellow, far blue, as bright as dark (cividis); which colour-blind people see, too.
const RAMP = ["#fee838", "#d3c064", "#a69d75", "#7c7b78", "#575d6d", "#3f6fb0", "#2a78d6"];
const dot = (share) => (context, x, y) => {
  context.fillStyle = RAMP[Math.min(RAMP.length - 1, Math.floor(share * RAMP.length))];
  context.fillRect(x - 1.25, y - 1.25, 2.5, 2.5);
};

/** Marks of the points: colours by distance, by ranks, so that neighbouring distances differ. */
function pointMarks() {
  if (!points || !pressed("show-points")) return [];
  const n = points.away_m.length; // nearest first
  return points.photo_px.map(([u, v], k) => ({ u, v, draw: dot(k / n) }));
}

function showFacts() {
  const { numbers: n } = current;
  $("title").textContent = current.image_id;
  $("words").textContent = `${current.status}: ${current.words}`;
  const facts = {
    "predicted error": measured(n.expected_error_m, " m"), "moved by": measured(n.displacement_m, " m", 1),
    heading: measured(n.heading_deg, "°", 1), "turned by": measured(n.heading_change_deg, "°", 1),
    sequence: current.sequence_id ?? "?", device: current.device || "?",
    taken: current.captured_at ? current.captured_at.slice(0, 16).replace("T", " ") : "?", creator: current.creator || "?",
    "inliers share": current.gate.inlier_share === undefined ? "?" : `${Math.round(100 * current.gate.inlier_share)} %`,
    "anchors agree to": measured(current.gate.anchor_spread_m, " m"), matcher: current.matcher, depth: current.depth,
  };
  $("facts").replaceChildren(...terms(Object.entries(facts)));
  $("history-title").hidden = !current.decisions.length;
  $("history").replaceChildren(...current.decisions.map((d) => element("li", {},
    `${d.reviewed_at.slice(0, 16).replace("T", " ")} ${d.reviewer}: ${d.verdict}${d.note ? `, ${d.note}` : ""}${d.is_active ? "" : " (no longer active)"}`)));
  const byPerson = current.decisions.some((d) => d.is_active);
  $("accept").disabled = session.read_only || current.status !== "review";
  $("reject").disabled = session.read_only || current.status === "rejected";
  $("undo").disabled = session.read_only || !(byPerson || decided.length);
}

function showAnchors() {
  const counts = Object.fromEntries((found?.anchors ?? []).map((a) => [a.anchor_id, a]));
  $("anchors").replaceChildren(...current.anchors.map((anchor, k) => element("button", {
    type: "button", title: `${anchor.anchor_id}: matches that support the pose, of all verified`, "aria-pressed": String(anchor.anchor_id === chosenAnchor),
    onclick: () => chooseAnchor(anchor.anchor_id),
  }, element("kbd", {}, String(k + 1)), ` ${(counts[anchor.anchor_id] ?? anchor).n_inliers}/${(counts[anchor.anchor_id] ?? anchor).n_verified}`)));
}

async function chooseAnchor(id) {
  chosenAnchor = id;
  points = null;
  showAnchors();
  showPlaces();
  await showAnchorPicture();
  loadPoints();
  drawMatches();
}

async function showAnchorPicture() {
  if (chosenAnchor === null) { anchorView.clear(); $("anchor-caption").textContent = "no anchor was matched"; return; }
  showAnchorCaption();
  await anchorView.show(`/anchor/${encodeURIComponent(chosenAnchor)}`).catch((error) => {
    anchorView.clear();
    $("anchor-caption").textContent = `anchor ${chosenAnchor}: ${error.message}`;
  });
}

function showAnchorCaption() {
  const n = points?.away_m.length;
  const seen = !points ? "" : n ? `; ${n} of its points (${points.source}) in the photo, yellow ${points.away_m[0].toFixed(1)} m to blue ${points.away_m[n - 1].toFixed(0)} m`
    : `; the photo sees none of its points (${points.source})`;
  $("anchor-caption").textContent = `anchor ${chosenAnchor}${seen}`;
}

const pressed = (id) => $(id).getAttribute("aria-pressed") === "true";

/** Rings: matches that support the pose; crosses: those that do not; lines: to where the pose sees the anchor's point. */
function drawMatches() {
  const anchor = found?.anchors.find((a) => a.anchor_id === chosenAnchor);
  const lists = { photo: pointMarks(), anchor: [], lines: [] };
  for (let k = 0; anchor && pressed("show-matches") && k < anchor.is_inlier.length; k += 1) {
    const inlier = anchor.is_inlier[k];
    if (!inlier && !pressed("show-outliers")) continue;
    const draw = inlier ? ring("#56b4e9", 3) : cross("#ff9a4d", 3.5);
    const [u, v] = anchor.photo_px[k];
    lists.photo.push({ u, v, draw });
    lists.anchor.push({ u: anchor.anchor_px[k][0], v: anchor.anchor_px[k][1], draw });
    const again = anchor.reprojected_px[k];
    if (pressed("show-residuals") && again[0] !== null) lists.lines.push({ from: [u, v], to: again, colour: inlier ? "#ffe14d" : "#ff9a4d", width: 2 });
  }
  photoView.marks = lists.photo;
  photoView.lines = lists.lines;
  anchorView.marks = lists.anchor;
  photoView.draw();
  anchorView.draw();
}

// --- map -------------------------------------------------------------------------------------------------------

const point = (lon, lat, properties) => ({ type: "Feature", geometry: { type: "Point", coordinates: [lon, lat] }, properties });

async function showPlaces() {
  await mapReady;
  const { numbers: n } = current;
  const features = [];
  const places = [];
  const add = (lon, lat, kind) => {
    if (lon === null || lat === null) return;
    features.push(point(lon, lat, { kind }));
    if (kind !== "other") places.push([lon, lat]);
  };
  for (const anchor of current.anchors) {
    if (anchor.place) add(...anchor.place, anchor.anchor_id === chosenAnchor ? "chosen" : "other");
  }
  add(n.reported_lon_deg, n.reported_lat_deg, "reported");
  add(n.computed_lon_deg, n.computed_lat_deg, "computed");
  add(n.lon_deg, n.lat_deg, "corrected");
  if (n.lon_deg !== null && n.reported_lon_deg !== null) {
    const line = [[n.reported_lon_deg, n.reported_lat_deg], [n.lon_deg, n.lat_deg]];
    features.push({ type: "Feature", geometry: { type: "LineString", coordinates: line }, properties: { kind: "moved" } });
  }
  if (n.lon_deg !== null && n.heading_deg !== null) {
    const angle = (n.heading_deg * Math.PI) / 180, metre = 1 / 111320;
    const tip = [n.lon_deg + (8 * metre * Math.sin(angle)) / Math.cos((n.lat_deg * Math.PI) / 180), n.lat_deg + 8 * metre * Math.cos(angle)];
    features.push({ type: "Feature", geometry: { type: "LineString", coordinates: [[n.lon_deg, n.lat_deg], tip] }, properties: { kind: "heading" } });
  }
  if (current.ellipse) features.push({ type: "Feature", geometry: { type: "Polygon", coordinates: [current.ellipse] }, properties: { kind: "ellipse" } });
  map.getSource("places").setData({ type: "FeatureCollection", features });
  if (places.length) {
    map.fitBounds(boxAround(places), { padding: { top: 48, bottom: 48, left: 48, right: 72 }, maxZoom: 20.5, animate: false });
  }
}

function styleMap() {
  const kind = ["get", "kind"];
  const only = (name) => ["==", kind, name];
  const by = (pairs, other) => ["match", kind, ...pairs.flat(), other];
  map.addSource("places", { type: "geojson", data: { type: "FeatureCollection", features: [] } });
  const layers = [
    { id: "ellipse", type: "fill", filter: only("ellipse"), paint: { "fill-color": colour("accepted"), "fill-opacity": 0.22 } },
    { id: "outline", type: "line", filter: only("ellipse"), paint: { "line-color": colour("accepted"), "line-width": 1.5 } },
    { id: "moved", type: "line", filter: only("moved"), paint: { "line-color": colour("muted"), "line-dasharray": [3, 2] } },
    { id: "heading", type: "line", filter: only("heading"), paint: { "line-color": colour("accepted"), "line-width": 3 } },
    {
      id: "points", type: "circle", filter: ["==", ["geometry-type"], "Point"],
      paint: {
        "circle-radius": by([["other", 3.5], ["chosen", 6]], 6),
        "circle-color": by([["corrected", colour("accepted")], ["chosen", colour("anchor")]], "rgba(0,0,0,0)"),
        "circle-stroke-width": 2.5,
        "circle-stroke-color": by([["reported", colour("reported")], ["computed", colour("truth")], ["corrected", colour("accepted")]], colour("anchor")),
      },
    },
  ];
  for (const layer of layers) map.addLayer({ ...layer, source: "places" });
}

// --- decisions ---------------------------------------------------------------------------------------------------

async function change(path, body, done) {
  if (busy || !current) return;
  busy = true;
  document.body.dataset.busy = "yes";
  try {
    const changed = await postJson(path, { ...body, reviewer: $("reviewer").value });
    const queued = queue.find((photo) => photo.image_id === changed.image_id);
    if (queued) Object.assign(queued, { status: changed.status, reason: changed.reason });
    await done(changed);
  } catch (error) {
    say(error.message, "error");
    if (error.status === 409) await open(current.image_id);
  } finally {
    busy = false;
    document.body.dataset.busy = "no";
  }
}

async function decide(verdict) {
  if (!current || $(verdict).disabled) { say(`this photo cannot be ${verdict}ed: it is ${current?.status ?? "not there"}`, "error"); return; }
  const reason = verdict === "reject" ? $("reason").value : "";
  const note = [reason, $("note").value.trim()].filter(Boolean).join(": ");
  const body = { image_id: current.image_id, version: current.version, verdict, note };
  await change("/api/review/decide", body, async (changed) => {
    decided.push(changed.image_id);
    say(`${changed.image_id}: ${verdict}ed; u takes it back`);
    showQueue();
    await step(1);
  });
}

async function takeBack() {
  const own = current?.decisions.some((d) => d.is_active);
  if (!own && decided.length) await open(decided[decided.length - 1]);
  if (!current?.decisions.some((d) => d.is_active)) { say("no decision to take back", "error"); return; }
  await change("/api/review/undo", { image_id: current.image_id, version: current.version }, async (changed) => {
    if (decided.includes(changed.image_id)) decided.splice(decided.lastIndexOf(changed.image_id), 1);
    say(`${changed.image_id}: the decision was taken back`);
    showQueue();
    await open(changed.image_id);
  });
}

function toggle(id) {
  $(id).setAttribute("aria-pressed", String(!pressed(id)));
  drawMatches();
}

const keys = {
  a: () => decide("accept"), r: () => decide("reject"), s: () => step(1), j: () => step(1), b: () => step(-1), k: () => step(-1),
  t: () => { $("reason").selectedIndex = ($("reason").selectedIndex + 1) % REASONS.length; },
  u: takeBack, n: () => $("note").focus(), m: () => toggle("show-matches"), o: () => toggle("show-outliers"), e: () => toggle("show-residuals"),
  p: () => { toggle("show-points"); if (!points) loadPoints(); },
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const typing = event.target.matches("input[type=text], input[type=number], select, textarea");
  if (typing) {
    if (event.key === "Escape" || (event.key === "Enter" && event.target.id === "note")) { event.preventDefault(); event.target.blur(); }
    return;
  }
  const anchor = /^[1-9]$/.test(event.key) ? current?.anchors[Number(event.key) - 1] : null;
  const action = anchor ? () => chooseAnchor(anchor.anchor_id) : keys[event.key];
  if (!action) return;
  event.preventDefault();
  action();
});

function begin() {
  $("reason").append(...REASONS.map((reason) => element("option", {}, reason)));
  $("reviewer").value = session.reviewer;
  for (const [id, action] of [["accept", keys.a], ["reject", keys.r], ["skip", keys.s], ["back", keys.b], ["undo", keys.u],
    ["show-matches", keys.m], ["show-outliers", keys.o], ["show-residuals", keys.e], ["show-points", keys.p]]) {
    $(id).addEventListener("click", () => action());
  }
  for (const form of [filters, $("decide")]) form.addEventListener("submit", (event) => event.preventDefault());
  filters.addEventListener("change", () => loadQueue().then(() => { current = null; return step(1); }));
}

begin();
await mapReady;
styleMap();
await loadChoices();
await loadQueue();
const asked = new URLSearchParams(location.search).get("id");
if (asked) await open(asked); else await step(1);
document.body.dataset.ready = "yes";
