// The photos as objects, decoded from the arrays in the page (see payload.py for the units).
"use strict";

const COLOURS = { reported: "#d55e00", truth: "#00795a", anchor: "#7c8794" };

const report = (() => {
  const raw = JSON.parse(document.getElementById("data").textContent);
  Object.assign(COLOURS, raw.statusColours);
  const DEGREE = 1e-8;
  const [metresEast, metresNorth] = raw.metresPerDegree;
  const named = (column, i) => (column.index[i] === null ? "" : column.names[column.index[i]]);
  const at = (column, i) => (column === null ? null : column[i]);
  const scaled = (column, i, unit) => (at(column, i) === null ? NaN : column[i] * unit);

  // A place in the map's plane: metres north and east of the origin, as Leaflet orders them.
  const place = ([lon, lat]) => (lon === null || lat === null ? null : [lat * DEGREE * metresNorth, lon * DEGREE * metresEast]);
  const shifted = (from, lon, lat) => (lon === null ? null : place([(from[0] || 0) + lon, (from[1] || 0) + lat]));
  const geographic = ([north, east]) => {
    const lon = raw.origin[0] + east / metresEast;
    return [((lon + 540) % 360) - 180, raw.origin[1] + north / metresNorth];
  };

  const photo = (id, i) => {
    const from = [at(raw.rLon, i), at(raw.rLat, i)];
    return {
      id, status: raw.statuses[raw.status[i]], time: raw.time[i] === null ? null : raw.firstTime + raw.time[i],
      sequence: named(raw.sequence, i), device: named(raw.device, i),
      reason: named(raw.reason, i), detail: named(raw.detail, i),
      creator: named(raw.creator, i), licence: named(raw.licence, i), page: named(raw.page, i).replace("{}", encodeURIComponent(id)),
      reported: place(from), corrected: shifted(from, at(raw.cLon, i), at(raw.cLat, i)), truth: shifted(from, at(raw.tLon, i), at(raw.tLat, i)),
      computed: shifted(from, at(raw.kLon, i), at(raw.kLat, i)), fromComputed: scaled(raw.fromComputed, i, 0.01),
      reportedHeading: scaled(raw.rHeading, i, 0.1), heading: scaled(raw.cHeading, i, 0.1), height: scaled(raw.height, i, 0.01),
      moved: scaled(raw.moved, i, 0.01), expected: scaled(raw.expected, i, 0.001), trueError: scaled(raw.trueError, i, 0.001),
      semiMajor: scaled(raw.semiMajor, i, 0.001), semiMinor: scaled(raw.semiMinor, i, 0.001), azimuth: scaled(raw.azimuth, i, 1),
      inliers: raw.inliers[i], views: raw.views[i], tail: scaled(raw.tail, i, 0.001),
    };
  };

  return {
    photos: raw.id.map(photo),
    anchors: raw.anchors.map(place), nAnchors: raw.nAnchors,
    routes: raw.routes.map((line) => line.map(place)), outlines: raw.outlines.map((ring) => ring.map(place)),
    // The colour of a predicted error, as in QGIS.
    errorColour: (metres) => raw.errorClasses.find(([limit]) => limit === null || metres <= limit)[1],
    hasTruth: raw.hasTruth, statuses: raw.statuses, reasonTexts: raw.reasonTexts,
    names: { sequence: raw.sequence.names, device: raw.device.names, reason: raw.reason.names },
    geographic,
  };
})();

const words = {
  length(metres) {
    if (!Number.isFinite(metres)) return "–";
    const [value, unit] = Math.abs(metres) < 1 ? [metres * 100, "cm"] : [metres, "m"];
    const size = Number(Math.abs(value).toPrecision(2));
    return `${value.toFixed(size < 0.1 ? 3 : size < 1 ? 2 : size < 10 ? 1 : 0)} ${unit}`;
  },
  degrees: (value) => (Number.isFinite(value) ? `${value.toFixed(1)}°` : "–"),
  count: (n) => n.toLocaleString("en-GB"),
  plain: (code) => code.replaceAll("_", " "),
  moment: (seconds) => (seconds === null ? "–" : `${new Date(seconds * 1000).toISOString().slice(0, 19).replace("T", " ")} UTC`),
};

// An element with attributes and children; texts are set as text, never as markup.
function element(name, attributes = {}, ...children) {
  const svg = ["svg", "g", "path", "line", "rect", "circle", "text", "title", "polyline"].includes(name);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b), middle = sorted.length / 2;
  return sorted.length ? (sorted[Math.ceil(middle) - 1] + sorted[Math.floor(middle)]) / 2 : NaN;
}
