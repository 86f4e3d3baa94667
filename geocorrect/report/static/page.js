// Puts the parts together: filters drive map and charts, tables sort and pick.
"use strict";

filters.listen((shown, wanted) => photoMap.draw(shown, wanted));
filters.listen((shown) => charts.draw(shown));

for (const button of document.querySelectorAll("button.pick")) {
  button.addEventListener("click", () => {
    filters.only(button.closest("table").dataset.filter, button.dataset.value || button.textContent);
    document.getElementById("map-title").scrollIntoView();
  });
}

function sortKey(cell) {
  if (cell.dataset.sort !== undefined) return Number(cell.dataset.sort);
  return cell.cellIndex > 1 ? Infinity : cell.textContent.trim().toLowerCase();
}

for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  headings.forEach((heading, column) => heading.addEventListener("click", () => {
    const descending = heading.getAttribute("aria-sort") === "ascending";
    headings.forEach((other) => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const rows = [...body.rows].sort((a, b) => {
      const [first, second] = [a, b].map((row) => sortKey(row.cells[column]));
      return first < second ? -1 : first > second ? 1 : 0;
    });
    body.append(...(descending ? rows.reverse() : rows));
  }));
}

filters.apply();
document.documentElement.dataset.ready = "yes";
