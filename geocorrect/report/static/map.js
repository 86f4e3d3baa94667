// The map: a plane of metres, drawn on one canvas by Leaflet. Leaflet's places are [north, east].
"use strict";

const SYMBOLS = {
  dot: (c, p, r) => c.arc(p.x, p.y, r, 0, 2 * Math.PI),
  square: (c, p, r) => c.rect(p.x - 0.9 * r, p.y - 0.9 * r, 1.8 * r, 1.8 * r),
  triangle: (c, p, r) => { c.moveTo(p.x, p.y - r); c.lineTo(p.x + r, p.y + r); c.lineTo(p.x - r, p.y + r); c.closePath(); },
  cross: (c, p, r) => { c.moveTo(p.x - r, p.y - r); c.lineTo(p.x + r, p.y + r); c.moveTo(p.x + r, p.y - r); c.lineTo(p.x - r, p.y + r); },
  plus: (c, p, r) => { c.moveTo(p.x, p.y - r); c.lineTo(p.x, p.y + r); c.moveTo(p.x - r, p.y); c.lineTo(p.x + r, p.y); },
};

L.Canvas.include({
  _updateSymbol(layer) {
    if (!this._drawing || layer._empty()) return;
    this._ctx.beginPath();
    SYMBOLS[layer.options.symbol](this._ctx, layer._point, layer._radius);
    this._fillStroke(this._ctx, layer);
  },
  _updateEllipse(layer) {
    if (!this._drawing || layer._empty() || layer._radius < 1) return;
    const { semiMajor, semiMinor, azimuth } = layer.options;
    this._ctx.beginPath();
    this._ctx.ellipse(layer._point.x, layer._point.y, layer._radius, (layer._radius * semiMinor) / semiMajor, ((azimuth - 90) * Math.PI) / 180, 0, 2 * Math.PI);
    this._fillStroke(this._ctx, layer);
  },
  // A shaft, and a head whose size does not depend on the zoom.
  _updateArrow(layer) {
    if (!this._drawing || !layer._rings.length) return;
    const [from, to] = layer._rings[0], c = this._ctx, size = from.distanceTo(to);
    if (size < 1) return;
    const head = Math.min(9, 0.45 * size), east = (to.x - from.x) / size, south = (to.y - from.y) / size;
    const neck = { x: to.x - head * east, y: to.y - head * south };
    c.beginPath();
    c.moveTo(from.x, from.y);
    c.lineTo(neck.x, neck.y);
    this._fillStroke(c, layer);
    c.beginPath();
    c.moveTo(to.x, to.y);
    c.lineTo(neck.x - 0.42 * head * south, neck.y + 0.42 * head * east);
    c.lineTo(neck.x + 0.42 * head * south, neck.y - 0.42 * head * east);
    c.fillStyle = layer.options.color;
    c.globalAlpha = layer.options.opacity;
    c.fill();
    c.globalAlpha = 1;
  },
});

// Half axes in metres of the map's plane, the larger one turned clockwise from north.
const MapEllipse = L.CircleMarker.extend({
  _project() {
    this._radius = this.options.semiMajor * 2 ** this._map.getZoom();
    L.CircleMarker.prototype._project.call(this);
  },
  _updatePath() { this._renderer._updateEllipse(this); },
});
const MapSymbol = L.CircleMarker.extend({ _updatePath() { this._renderer._updateSymbol(this); } });
const MapArrow = L.Polyline.extend({
  options: { noClip: true, smoothFactor: 0 },
  _updatePath() { this._renderer._updateArrow(this); },
});

const photoMap = (() => {
  const STREET_M = 8;
  const MOST_OUTLINED = 3000; // of more photos the dots touch, and their outlines would only make them dark
  const map = L.map("map", {
    crs: L.CRS.Simple, renderer: L.canvas({ padding: 0.3, tolerance: 4 }), minZoom: -9, maxZoom: 10, zoomSnap: 0.25,
    zoomDelta: 0.75, attributionControl: false, scrollWheelZoom: false, zoomAnimation: false, fadeAnimation: false,
  });
  const photos = L.layerGroup();
  const streets = [];

  map.on("click focus", () => map.scrollWheelZoom.enable());
  map.on("mouseout blur", () => map.scrollWheelZoom.disable());

  function fit(shown) {
    const places = shown.flatMap((photo) => [photo.reported, photo.corrected]).filter(Boolean);
    const bounds = L.latLngBounds(places.length ? places : [[0, 0]]);
    if (!places.length) report.anchors.forEach((anchor) => bounds.extend(anchor));
    map.fitBounds(bounds.pad(0.03), { padding: [22, 22], maxZoom: 6 });
  }

  function drawStreets() {
    for (const ring of report.outlines) L.polygon(ring, { color: "#bdb6a7", weight: 1, fillColor: "#e0dcd2", fillOpacity: 1, interactive: false }).addTo(map);
    for (const [color, extra] of [["#cfcbc2", 2], ["#ffffff", 0]]) {
      for (const line of report.routes) streets.push([L.polyline(line, { color, opacity: 1, interactive: false }).addTo(map), extra]);
    }
    const widen = () => streets.forEach(([line, extra]) => line.setStyle({ weight: Math.max(2, STREET_M * 2 ** map.getZoom()) + extra }));
    map.on("zoomend", widen);
    widen();
  }

  const symbol = (place, name, radius, style) => new MapSymbol(place, { symbol: name, radius, ...style });
  const solid = (colour) => ({ color: "#fff", weight: 1, fillColor: colour, fillOpacity: 1 });
  const stroke = (color, weight = 2) => ({ color, weight, fill: false });
  const isPlaced = (photo) => photo.corrected !== null;

  // Layers from below to above; each gives one figure per photo.
  const LAYERS = [
    ["ellipses", (photo, wanted) => photo.semiMajor > 0 && new MapEllipse(photo.corrected, {
      semiMajor: photo.semiMajor * wanted.scale, semiMinor: photo.semiMinor * wanted.scale, azimuth: photo.azimuth,
      color: COLOURS[photo.status], weight: 1, opacity: 0.9, fillOpacity: 0.12 })],
    ["arrows", (photo) => isPlaced(photo) && photo.reported && new MapArrow([photo.reported, photo.corrected], {
      color: COLOURS[photo.status], weight: 1.5, opacity: 0.8, dashArray: photo.status === "review" ? "5 3" : null })],
    ["arrows", (photo) => isPlaced(photo) && photo.reported && symbol(photo.reported, "dot", 3.2,
      { color: COLOURS.reported, weight: 1.7, fillColor: "#fff", fillOpacity: 1 })],
    ["computed", (photo) => photo.computed && symbol(photo.computed, "triangle", 3.4, { color: COLOURS.reported, weight: 1.2, fill: false, interactive: false })],
    ["always", (photo) => !isPlaced(photo) && photo.reported && symbol(photo.reported, "cross", 4, stroke(COLOURS.rejected, 2.2))],
    ["truth", (photo) => isPlaced(photo) && photo.truth && symbol(photo.truth, "plus", 6.5, { ...stroke(COLOURS.truth, 1.4), interactive: false })],
    // All outlines under all fills: in a crowd the outline of one photo must not cover the colour of another.
    ["outlines", (photo) => photo.status === "accepted" && symbol(photo.corrected, "dot", 4.4, { fillColor: "#1b2430", fillOpacity: 0.8, stroke: false, interactive: false })],
    ["always", (photo) => photo.status === "accepted" && symbol(photo.corrected, "dot", 3.8, { fillColor: report.errorColour(photo.expected), fillOpacity: 1, stroke: false })],
    ["always", (photo) => photo.status === "review" && symbol(photo.corrected, "square", 4.2, { color: COLOURS.review, weight: 2, fillColor: "#fff", fillOpacity: 1 })],
  ];

  function drawPhotos(shown, wanted) {
    photos.clearLayers();
    if (wanted.layers.has("anchors")) {
      for (const place of report.anchors) photos.addLayer(symbol(place, "triangle", 3.4, { ...solid(COLOURS.anchor), interactive: false }));
    }
    for (const [name, figure] of LAYERS) {
      if (name === "outlines" ? shown.length > MOST_OUTLINED : name !== "always" && !wanted.layers.has(name)) continue;
      for (const photo of shown) {
        const layer = figure(photo, wanted);
        if (!layer) continue;
        layer.photo = photo;
        photos.addLayer(layer);
      }
    }
  }

  function popup(photo) {
    const rows = photo.corrected ? [
      ["Predicted error", `${words.length(photo.expected)} (68 %)`],
      ...(Number.isFinite(photo.trueError) ? [["True error", words.length(photo.trueError)]] : []),
      ["Moved by", words.length(photo.moved)],
      ...(Number.isFinite(photo.fromComputed) ? [["Provider's position", `${words.length(photo.fromComputed)} from ours`]] : []),
      ["Heading", `${words.degrees(photo.heading)} (reported ${words.degrees(photo.reportedHeading)})`],
      ["Height", `${photo.height.toFixed(2)} m above the ellipsoid`],
      ["Inliers", `${words.count(photo.inliers)} with ${words.count(photo.views)} anchors`],
    ] : [["Reason", words.plain(photo.reason)], ["Meaning", report.reasonTexts[photo.reason] || "–"], ["Detail", photo.detail || "–"]];
    const place = photo.corrected || photo.reported;
    const [lon, lat] = report.geographic(place);
    rows.push(["Lat, lon", `${lat.toFixed(7)}, ${lon.toFixed(7)}`], ["Taken", words.moment(photo.time)], ["Sequence", photo.sequence],
      ["Device", photo.device], ["Photo by", [photo.creator, photo.licence].filter(Boolean).join(", ") || "–"]);
    const list = element("dl", {}, ...rows.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
    const box = element("div", {}, element("h3", {}, `Photo ${photo.id}`), element("p", {}, photo.status), list);
    if (/^https?:\/\//i.test(photo.page)) box.append(element("a", { href: photo.page, target: "_blank", rel: "noopener noreferrer" }, "Open the photo's page"));
    return box;
  }

  function addControls() {
    const corner = (position, make) => {
      const control = L.control({ position });
      control.onAdd = make;
      control.addTo(map);
    };
    corner("topright", () => {
      const arrow = element("svg", { viewBox: "0 0 22 34" }, element("path", { d: "M11 1L19 30 11 24 3 30z", fill: "#fff", stroke: "#1b2430", "stroke-width": 1.4 }),
        element("path", { d: "M11 1L11 24 3 30z", fill: "#1b2430" }));
      return element("div", { class: "map-north", title: "true north" }, arrow, "N");
    });
    const bar = element("div"), label = element("span");
    corner("bottomleft", () => element("div", { class: "map-scale" }, label, bar));
    const rescale = () => {
      const pixelsPerMetre = 2 ** map.getZoom(), longest = 140 / pixelsPerMetre, power = 10 ** Math.floor(Math.log10(longest));
      const metres = [5, 2, 1].map((step) => step * power).find((size) => size <= longest) || power;
      label.textContent = metres >= 1000 ? `${metres / 1000} km` : metres >= 1 ? `${metres} m` : `${Math.round(metres * 1000) / 10} cm`;
      bar.style.width = `${metres * pixelsPerMetre}px`;
    };
    map.on("zoomend", rescale);
    corner("topleft", () => {
      const link = element("a", { href: "#map", role: "button", title: "Show all", "aria-label": "Show all photos that pass the filters" }, "⤢");
      L.DomEvent.disableClickPropagation(link);
      link.addEventListener("click", (event) => { event.preventDefault(); fit(photoMap.shown); });
      return element("div", { class: "leaflet-bar" }, link);
    });
    rescale();
  }

  map.on("layeradd", ({ layer }) => {
    if (layer.photo && layer.options.interactive !== false) layer.on("click", (event) => {
      L.popup({ maxWidth: 340, autoPanPaddingTopLeft: [56, 12] }).setLatLng(event.latlng).setContent(popup(layer.photo)).openOn(map);
      L.DomEvent.stopPropagation(event);
    });
  });

  fit(report.photos);
  drawStreets();
  photos.addTo(map);
  addControls();
  const shownAnchors = report.anchors.length < report.nAnchors ? `${words.count(report.anchors.length)} of ` : "";
  document.getElementById("anchor-note").textContent = `(${shownAnchors}${words.count(report.nAnchors)})`;
  return {
    map, popup, shown: report.photos,
    draw(shown, wanted) {
      this.shown = shown;
      drawPhotos(shown, wanted);
    },
  };
})();
