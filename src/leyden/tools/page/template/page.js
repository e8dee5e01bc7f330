"use strict";
// The headings of tables with data-sortable become buttons that sort the rows. Without JavaScript they are plain text.
for (const table of document.querySelectorAll("table[data-sortable]")) {
  const headings = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = heading.textContent;
    heading.replaceChildren(button);
    button.addEventListener("click", () => {
      const ascending = heading.getAttribute("aria-sort") !== "ascending";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      const rows = [...body.rows].map((row) => [key(row.cells[column]), row]);
      rows.sort(([one], [other]) => compare(one, other, ascending ? 1 : -1));
      body.replaceChildren(...rows.map(([, row]) => row));
    });
  });
}

// Return the number of a cell, or its text. Cells without a value are last in both orders.
function key(cell) {
  const text = cell.textContent.trim();
  if (text === "" || text === "–") return null;
  return "value" in cell.dataset ? Number(cell.dataset.value) : text;
}

function compare(one, other, sign) {
  if (one === null || other === null) return (one === null) - (other === null);
  if (typeof one === "number" && typeof other === "number") return sign * (one - other);
  return sign * String(one).localeCompare(String(other), "en", { numeric: true });
}
