// The charts: plain SVG, drawn again whenever the filters change.
"use strict";

const charts = (() => {
  const WIDTH = 400, HEIGHT = 272, LEFT = 52, RIGHT = 24, TOP = 24, BOTTOM = 46, MAX_POINTS = 2500;
  const DEVICE_COLOURS = ["#0072b2", "#d55e00", "#00795a", "#b0579a", "#8a6d00", "#3d4650"];
  const home = document.getElementById("charts");
  const ink = { class: "axis" };

  const linear = (low, high, from, to) => Object.assign((v) => from + ((v - low) / (high - low)) * (to - from), { ticks: niceTicks(low, high), format: tidy });
  // From and to a round number (1, 2 or 5 times a power of ten); labels at all of them, or at the powers when they are many.
  const logarithmic = (low, high, from, to) => {
    const round = [];
    for (let k = -6; k <= 9; k += 1) round.push(10 ** k, 2 * 10 ** k, 5 * 10 ** k);
    const first = Math.max(0, round.findLastIndex((v) => v <= low * 1.0001)), last = Math.max(first + 1, round.findIndex((v) => v >= high * 0.9999));
    const all = round.slice(first, last + 1), ends = [Math.log10(all[0]), Math.log10(all[all.length - 1])];
    const scale = (v) => from + ((Math.log10(Math.max(v, all[0])) - ends[0]) / (ends[1] - ends[0])) * (to - from);
    const ticks = all.length > 6 ? all.filter((v) => Math.abs(Math.log10(v) - Math.round(Math.log10(v))) < 1e-9) : all;
    return Object.assign(scale, { ticks, format: tidy, ends: [all[0], all[all.length - 1]] });
  };

  function niceTicks(low, high, wanted = 5) {
    const rough = (high - low) / wanted, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough * 0.999);
    const ticks = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k += 1) ticks.push(k * step);
    return ticks;
  }

  function tidy(value) {
    return Number(value.toPrecision(6)).toLocaleString("en-GB", { maximumFractionDigits: 6 });
  }

  const text = (x, y, anchor, content, extra = {}) => element("text", { x, y, "text-anchor": anchor, ...extra }, content);
  const across = (low, high, kind = linear) => kind(low, high, LEFT, WIDTH - RIGHT);
  const upward = (low, high, kind = linear) => kind(low, high, HEIGHT - BOTTOM, TOP);

  function axes(x, y, xTitle, yTitle, right = WIDTH - RIGHT) {
    const floor = HEIGHT - BOTTOM, group = element("g");
    for (const tick of y.ticks) group.append(element("line", { x1: LEFT, x2: right, y1: y(tick), y2: y(tick), class: "grid" }), text(LEFT - 7, y(tick) + 4, "end", y.format(tick)));
    for (const tick of x.ticks) group.append(element("line", { x1: x(tick), x2: x(tick), y1: floor, y2: floor + 4, ...ink }), text(x(tick), floor + 18, "middle", x.format(tick)));
    group.append(element("line", { x1: LEFT, x2: right, y1: floor, y2: floor, ...ink }));
    group.append(text((LEFT + right) / 2, HEIGHT - 8, "middle", xTitle), text(4, 13, "start", yTitle));
    return group;
  }

  function figure(id, title, caption, parts) {
    const svg = element("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${title}. ${caption}` }, ...parts);
    return element("figure", { id: `chart-${id}` }, element("h3", {}, title), element("figcaption", {}, caption), svg);
  }

  const nothing = (id, title, what) => figure(id, title, `No ${what} among the photos shown.`, [text(WIDTH / 2, HEIGHT / 2, "middle", "nothing to show")]);

  // One photo in k when there are too many dots to draw; the caption says so.
  function sampled(photos) {
    const step = Math.ceil(photos.length / MAX_POINTS);
    return [photos.filter((_, k) => k % step === 0), step > 1 ? `, one in ${step} drawn` : ""];
  }

  function dot(x, y, photo, note, fill = COLOURS[photo.status]) {
    const style = { fill, "fill-opacity": 0.62, stroke: "#fff", "stroke-width": 0.5 };
    const title = element("title", {}, `photo ${photo.id}: ${note}`);
    return photo.status === "review"
      ? element("rect", { x: x - 3.2, y: y - 3.2, width: 6.4, height: 6.4, ...style }, title)
      : element("circle", { cx: x, cy: y, r: 3.6, ...style }, title);
  }

  const spread = (values) => values.reduce(([low, high], v) => [Math.min(low, v), Math.max(high, v)], [Infinity, -Infinity]);

  // Bars of accepted photos with those to review on top of them, and a line at the median.
  function histogram(id, title, photos, value, unit, x, edges, note) {
    const bars = edges.slice(1).map(() => ({ accepted: 0, review: 0 }));
    for (const photo of photos) {
      const k = edges.findIndex((edge, i) => i > 0 && value(photo) < edge) - 1;
      bars[k < 0 ? bars.length - 1 : k][photo.status] += 1;
    }
    const tallest = Math.max(...bars.map((bar) => bar.accepted + bar.review));
    const y = upward(0, Math.max(tallest * 1.04, 4)), parts = [axes(x, y, unit, "photos")];
    bars.forEach((bar, k) => {
      let base = 0;
      for (const status of ["accepted", "review"]) {
        if (!bar[status]) continue;
        const label = element("title", {}, `${bar[status]} ${status}: ${words.length(edges[k])} to ${words.length(edges[k + 1])}`);
        parts.push(element("rect", { x: x(edges[k]) + 0.7, width: Math.max(1, x(edges[k + 1]) - x(edges[k]) - 1.4), y: y(base + bar[status]), height: y(base) - y(base + bar[status]), fill: COLOURS[status] }, label));
        base += bar[status];
      }
    });
    const accepted = photos.filter((photo) => photo.status === "accepted");
    const middle = median((accepted.length ? accepted : photos).map(value)), at = x(middle), side = at > WIDTH * 0.7 ? "end" : "start";
    parts.push(element("line", { x1: at, x2: at, y1: TOP - 4, y2: HEIGHT - BOTTOM, class: "mark" }), text(at + (side === "end" ? -5 : 5), TOP + 5, side, `median ${words.length(middle)}`, { class: "strong" }));
    return figure(id, title, `${note}; n = ${words.count(photos.length)}.`, parts);
  }

  function displacement(photos) {
    const title = "How far the photos moved", moved = photos.filter((photo) => Number.isFinite(photo.moved));
    if (!moved.length) return nothing("displacement", title, "corrected photo with a reported position");
    const high = Math.max(spread(moved.map((photo) => photo.moved))[1], 0.01) * 1.001;
    const ticks = niceTicks(0, high, 20), step = ticks[1] - ticks[0], edges = [...ticks, ticks[ticks.length - 1] + step];
    return histogram("displacement", title, moved, (photo) => photo.moved, "horizontal displacement (m)", across(0, edges[edges.length - 1]), edges,
      "Distance from the reported to the corrected position: the error of the reported one");
  }

  function offsets(photos) {
    const title = "In which direction", id = "offsets";
    const moved = photos.filter((photo) => photo.corrected && photo.reported);
    if (!moved.length) return nothing(id, title, "corrected photo with a reported position");
    const shift = (photo) => [photo.corrected[1] - photo.reported[1], photo.corrected[0] - photo.reported[0]];
    const reach = Math.max(...spread(moved.flatMap((photo) => shift(photo).map(Math.abs)))) * 1.12 || 1;
    const side = HEIGHT - TOP - BOTTOM, right = LEFT + side, x = linear(-reach, reach, LEFT, right), y = upward(-reach, reach);
    const parts = [axes(x, y, "metres east", "metres north", right)];
    parts.push(element("line", { x1: x(0), x2: x(0), y1: TOP, y2: HEIGHT - BOTTOM, ...ink }), element("line", { x1: LEFT, x2: right, y1: y(0), y2: y(0), ...ink }));
    const devices = [...new Set(moved.map((photo) => photo.device))].sort(), few = devices.length <= DEVICE_COLOURS.length;
    const colour = (photo) => (few ? DEVICE_COLOURS[devices.indexOf(photo.device)] : COLOURS[photo.status]);
    const [drawn, note] = sampled(moved);
    for (const photo of drawn) {
      const [east, north] = shift(photo);
      parts.push(dot(x(east), y(north), photo, `${words.length(photo.moved)}, ${photo.device}, sequence ${photo.sequence}`, colour(photo)));
    }
    if (few) devices.forEach((device, k) => {
      const name = device.length > 16 ? `${device.slice(0, 15)}…` : device;
      parts.push(element("circle", { cx: right + 16, cy: TOP + 8 + 20 * k, r: 4, fill: DEVICE_COLOURS[k] }), text(right + 25, TOP + 12 + 20 * k, "start", name));
    });
    return figure(id, title, `Corrected minus reported position. A cluster away from the centre is the bias of a device or recording; n = ${words.count(moved.length)}${note}.`, parts);
  }

  function inliers(photos) {
    const title = "Predicted error against evidence", id = "inliers";
    const placed = photos.filter((photo) => photo.expected > 0 && photo.inliers > 0);
    if (!placed.length) return nothing(id, title, "corrected photo");
    const x = across(...spread(placed.map((photo) => photo.inliers)), logarithmic), y = upward(...spread(placed.map((photo) => photo.expected)), logarithmic);
    const [drawn, note] = sampled(placed);
    const dots = drawn.map((photo) => dot(x(photo.inliers), y(photo.expected), photo, `${words.length(photo.expected)} predicted, ${words.count(photo.inliers)} inliers`));
    return figure(id, title, `Image points that agree with the pose, and the horizontal error (68 %) that is expected; n = ${words.count(placed.length)}${note}.`, [axes(x, y, "inliers", "predicted error (m)"), ...dots]);
  }

  function predicted(photos) {
    const title = "Predicted error", placed = photos.filter((photo) => photo.expected > 0);
    if (!placed.length) return nothing("predicted", title, "corrected photo");
    const x = across(...spread(placed.map((photo) => photo.expected)), logarithmic), [first, last] = x.ends.map(Math.log10), BARS = 28;
    const edges = Array.from({ length: BARS + 1 }, (_, k) => 10 ** (first + ((last - first) * k) / BARS));
    return histogram("predicted", title, placed, (photo) => photo.expected, "predicted horizontal error, 68 % (m)", x, edges, "What the system expects of itself, from the evidence of each photo");
  }

  function againstTruth(photos) {
    const title = "Predicted against true error", id = "truth", known = photos.filter((photo) => photo.trueError >= 0 && photo.expected > 0);
    if (!known.length) return nothing(id, title, "corrected photo with known truth");
    const [low, high] = spread(known.flatMap((photo) => [photo.expected, Math.max(photo.trueError, 0.001)]));
    const x = across(low, high, logarithmic), y = upward(low, high, logarithmic), ends = x.ends;
    const inside = known.filter((photo) => photo.trueError <= photo.expected).length;
    const [drawn, note] = sampled(known);
    const parts = [axes(x, y, "predicted error, 68 % (m)", "true horizontal error (m)"), element("line", { x1: x(ends[0]), y1: y(ends[0]), x2: x(ends[1]), y2: y(ends[1]), class: "mark" }),
      text(LEFT + 8, TOP + 14, "start", "↖ worse than predicted"), text(x(ends[1]) - 6, HEIGHT - BOTTOM - 8, "end", "better than predicted ↘")];
    parts.push(...drawn.map((photo) => dot(x(photo.expected), y(Math.max(photo.trueError, 0.001)), photo, `${words.length(photo.expected)} predicted, ${words.length(photo.trueError)} true`)));
    return figure(id, title, `${inside} of ${known.length} photos (${Math.round((100 * inside) / known.length)} %) are within their prediction, which promises 68 %${note}.`, parts);
  }

  // Wilson score interval of a share, 95 %.
  function wilson(k, n) {
    const z = 1.96, p = k / n, scale = 1 + (z * z) / n, centre = (p + (z * z) / (2 * n)) / scale;
    const half = (z * Math.sqrt((p * (1 - p)) / n + (z * z) / (4 * n * n))) / scale;
    return [Math.max(0, centre - half), Math.min(1, centre + half)];
  }

  function calibration(photos) {
    const title = "Are the error ellipses honest?", id = "calibration", tails = photos.filter((photo) => photo.tail >= 0).map((photo) => photo.tail).sort((a, b) => b - a);
    if (!tails.length) return nothing(id, title, "corrected photo with known truth");
    const n = tails.length, percent = (scale) => Object.assign(scale, { ticks: [0, 0.2, 0.4, 0.6, 0.8, 1], format: (v) => `${Math.round(v * 100)} %` });
    const x = percent(across(0, 1)), y = percent(upward(0, 1)), parts = [axes(x, y, "promised: size of the error ellipse", "kept: share of true positions inside")];
    parts.push(element("line", { x1: x(0), y1: y(0), x2: x(1), y2: y(1), class: "mark" }));
    const curve = tails.map((tail, k) => `${x(1 - tail)},${y(k / n)} ${x(1 - tail)},${y((k + 1) / n)}`);
    parts.push(element("polyline", { points: `${x(0)},${y(0)} ${curve.join(" ")} ${x(1)},${y(1)}`, fill: "none", stroke: COLOURS.accepted, "stroke-width": 2 }));
    for (const level of [0.5, 0.68, 0.95]) {
      const kept = tails.filter((tail) => tail >= 1 - level).length, [low, high] = wilson(kept, n), label = element("title", {}, `${kept} of ${n} inside the ${Math.round(level * 100)} % ellipse`);
      parts.push(element("line", { x1: x(level), x2: x(level), y1: y(low), y2: y(high), stroke: COLOURS.accepted, "stroke-width": 1.4 }), element("circle", { cx: x(level), cy: y(kept / n), r: 4.5, fill: COLOURS.accepted, stroke: "#fff" }, label));
    }
    const inside = tails.filter((tail) => tail >= 0.05).length, [low, high] = wilson(inside, n).map((v) => Math.round(v * 100));
    return figure(id, title, `${Math.round((100 * inside) / n)} % [${low}–${high}] of the true positions lie inside their 95 % ellipse. Above the line: cautious; below: too sure; n = ${words.count(n)}.`, parts);
  }

  function reasons(photos) {
    const title = "Rejected, by reason", id = "reasons", counts = new Map();
    for (const photo of photos) if (photo.reason) counts.set(photo.reason, (counts.get(photo.reason) || 0) + 1);
    if (!counts.size) return nothing(id, title, "rejected photo");
    const rows = [...counts].sort((a, b) => b[1] - a[1]), n = rows.reduce((sum, row) => sum + row[1], 0);
    const label = 152, step = Math.min(34, (HEIGHT - 40) / rows.length), x = (v) => label + (v / rows[0][1]) * (WIDTH - label - 46);
    const parts = rows.flatMap(([reason, k], row) => {
      const top = 22 + row * step;
      return [text(label - 8, top + step * 0.45 + 4, "end", words.plain(reason)), element("rect", { x: label, y: top + step * 0.1, width: x(k) - label, height: step * 0.7, fill: COLOURS.rejected }, element("title", {}, report.reasonTexts[reason] || reason)),
        text(x(k) + 6, top + step * 0.45 + 4, "start", words.count(k), { class: "strong" })];
    });
    return figure(id, title, `Photos without a position, and what was missing; n = ${words.count(n)}.`, parts);
  }

  const all = report.hasTruth ? [displacement, offsets, againstTruth, calibration, inliers, reasons] : [displacement, offsets, predicted, inliers, reasons];
  return { draw: (shown) => home.replaceChildren(...all.map((chart) => chart(shown))) };
})();
