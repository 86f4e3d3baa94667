// What every page shares: the session, requests with their CSRF token, the bar on top, messages, an empty map.

/** The session of this server: {csrf, read_only, reviewer, catalog, pages}. */
export const session = await fetch("/session").then(answered);

async function answered(answer) {
  const body = await answer.json().catch(() => ({ error: `the server answered ${answer.status}` }));
  if (!answer.ok) throw Object.assign(new Error(body.error || `the server answered ${answer.status}`), { status: answer.status, body });
  return body;
}

/** JSON of an address of this server; throws an Error with the server's words. */
export const getJson = (path, options = {}) => fetch(path, options).then(answered);

/** Send a change; throws an Error with the server's words, `status` and `body`. */
export const postJson = (path, value) =>
  fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-CSRF-Token": session.csrf },
    body: JSON.stringify(value),
  }).then(answered);

/** An element with attributes, text and children; text is never read as HTML. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export const $ = (id) => document.getElementById(id);

/** Say something to whoever works here; errors stay until the next message. */
export function say(text, kind = "note") {
  const box = $("message");
  box.textContent = text;
  box.dataset.kind = kind;
}

// An error that no page catches, of the server for the most part, is said, too.
addEventListener("unhandledrejection", (event) => {
  event.preventDefault();
  say(event.reason.message, "error");
});

/** What a list of terms (dl) holds, from [name, value]. */
export const terms = (rows) => rows.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]);

/** A text with a unit, "?" where the value is unknown. */
export const measured = (value, unit, digits = 2) =>
  value === null || value === undefined ? "?" : `${value.toFixed(digits)}${unit}`;

// MapLibre reads attributions as HTML.
const escaped = (text) => text.replace(/[&<>"']/g, (letter) => `&#${letter.charCodeAt(0)};`);

function showBar() {
  const here = location.pathname.split("/")[1];
  const links = session.pages.map((page) =>
    element("a", { href: `/${page}`, "aria-current": page === here ? "page" : false }, page));
  const where = session.catalog + (session.read_only ? " (read-only)" : "");
  document.body.prepend(element("header", { class: "bar" }, element("nav", { "aria-label": "Pages" }, ...links),
    element("span", { class: "where" }, where)));
}

/** A MapLibre map with the ground that the server was given, or none; needs vendor/maplibre-gl-csp.js loaded before. */
export function emptyMap(container, options = {}) {
  maplibregl.setWorkerUrl("/static/vendor/maplibre-gl-csp-worker.js");
  const ground = session.basemap;
  const sources = {}, layers = [{ id: "ground", type: "background", paint: { "background-color": colour("press") } }];
  if (ground) {
    const tiles = [ground.tiles.startsWith("/") ? location.origin + ground.tiles : ground.tiles];
    sources.basemap = { type: "raster", tiles, tileSize: 256, maxzoom: ground.max_zoom, attribution: escaped(ground.attribution) };
    if (ground.bounds) sources.basemap.bounds = ground.bounds;
    layers.push({ id: "basemap", type: "raster", source: "basemap" });
  }
  const map = new maplibregl.Map({
    container,
    style: { version: 8, sources, layers },
    ...(ground?.bounds ? { bounds: ground.bounds } : {}),
    attributionControl: { compact: false },
    maxZoom: 26,
    dragRotate: false,
    pitchWithRotate: false,
    ...options,
  });
  map.touchZoomRotate.disableRotation();
  map.addControl(new maplibregl.NavigationControl({ showCompass: false }), "top-right");
  map.addControl(new maplibregl.ScaleControl(), "top-left");
  return map;
}

/** The box around places, [longitude, latitude] each. */
export const boxAround = (places) => places.reduce((box, place) => box.extend(place), new maplibregl.LngLatBounds(places[0], places[0]));

/** The value of a colour of common.css now, light or dark. */
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

showBar();
