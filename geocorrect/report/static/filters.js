// Which photos and layers are shown; the form is the only state.
"use strict";

const filters = (() => {
  const form = document.getElementById("filters");
  const listeners = [];
  const errors = report.photos.map((photo) => photo.expected).filter((error) => error > 0);
  const lowest = errors.length ? Math.min(...minMax(errors)) : 0.01;
  const highest = errors.length ? Math.max(...minMax(errors)) : 1;

  function minMax(values) {
    return values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
  }

  function fill(name, label) {
    const select = form.elements[name];
    for (const value of report.names[name]) select.append(new Option(label(value), value));
    select.closest("label").hidden = report.names[name].length === 0;
  }

  // The slider runs evenly through the orders of magnitude; its right end means any error.
  function errorLimit() {
    const share = Number(form.elements.error.value) / 100;
    return share >= 1 ? Infinity : lowest * (highest / lowest) ** share * 1.0001;
  }

  const ticked = (name) => new Set([...form.querySelectorAll(`input[name=${name}]:checked`)].map((box) => box.value));

  function current() {
    const value = (name) => form.elements[name].value;
    return {
      status: ticked("status"), layers: ticked("layer"), reason: value("reason"), sequence: value("sequence"),
      device: value("device"), limit: errorLimit(), scale: Number(value("scale")),
    };
  }

  function passes(photo, wanted) {
    return wanted.status.has(photo.status)
      && (!wanted.reason || photo.reason === wanted.reason)
      && (!wanted.sequence || photo.sequence === wanted.sequence)
      && (!wanted.device || photo.device === wanted.device)
      && !(photo.expected > wanted.limit);
  }

  function apply() {
    const wanted = current();
    const shown = report.photos.filter((photo) => passes(photo, wanted));
    document.getElementById("error-limit").textContent = Number.isFinite(wanted.limit) ? words.length(wanted.limit) : "any";
    document.getElementById("ellipse-scale").textContent = form.elements.scale.selectedOptions[0].textContent;
    document.getElementById("shown").textContent = `${words.count(shown.length)} of ${words.count(report.photos.length)} photos shown`;
    for (const listener of listeners) listener(shown, wanted);
  }

  // Show one sequence, device or reason only, whatever was chosen before.
  function only(name, value) {
    form.reset();
    form.elements[name].value = value;
    apply();
  }

  fill("reason", words.plain);
  fill("sequence", (name) => name);
  fill("device", (name) => name);
  form.addEventListener("input", apply);
  form.addEventListener("reset", () => setTimeout(apply));
  form.addEventListener("submit", (event) => event.preventDefault());
  return { apply, only, listen: (listener) => listeners.push(listener) };
})();
