// Lets staff order the rows of a service (surge windows, cities, questions): drag one by its handle, or press the arrow
// keys on it. The rows are posted in the order in which they are shown, so all there is to keep is their numbers.
(() => {
  const ROW = "tbody.form-group:not(.empty-form)";
  const TITLE = "Drag, or press the up and down keys, to move this row";

  const renumber = (table, prefix) => {
    const numbered = new RegExp(`^((?:id_)?${prefix}-)\\d+`);
    table.querySelectorAll(ROW).forEach((row, number) => {
      for (const part of [row, ...row.querySelectorAll("*")]) {
        for (const name of ["id", "name", "for"]) {
          const text = part.getAttribute(name);
          if (text) part.setAttribute(name, text.replace(numbered, `$1${number}`));
        }
      }
    });
  };

  const handle = () => {
    const button = document.createElement("button");
    button.type = "button";
    button.draggable = true;
    button.title = TITLE;
    button.setAttribute("aria-label", TITLE);
    button.className = "row-handle material-symbols-outlined";
    button.textContent = "drag_indicator";
    return button;
  };

  const makeSortable = (table) => {
    const prefix = table.id.replace(/-data$/, "");
    let dragged = null;

    const moved = () => {
      renumber(table, prefix);
      table.dispatchEvent(new Event("change", { bubbles: true })); // the price preview shows the windows in their order
    };

    table.addEventListener("dragstart", (event) => {
      if (!event.target.closest?.(".row-handle")) return;
      dragged = event.target.closest(ROW);
      event.dataTransfer.effectAllowed = "move";
      event.dataTransfer.setDragImage(dragged, 20, 20);
    });
    table.addEventListener("dragover", (event) => {
      const row = event.target.closest(ROW);
      if (!dragged || !row) return;
      event.preventDefault();
      if (row === dragged) return;
      const { top, height } = row.getBoundingClientRect();
      if (event.clientY < top + height / 2) row.before(dragged);
      else row.after(dragged);
    });
    table.addEventListener("drop", (event) => dragged && event.preventDefault());
    table.addEventListener("dragend", () => {
      if (dragged) moved();
      dragged = null;
    });
    table.addEventListener("keydown", (event) => {
      const button = event.target.closest(".row-handle");
      const row = button && button.closest(ROW);
      if (!row || !["ArrowUp", "ArrowDown"].includes(event.key)) return;
      event.preventDefault();
      const up = event.key === "ArrowUp";
      const other = up ? row.previousElementSibling : row.nextElementSibling;
      if (!other || !other.matches(ROW)) return;
      if (up) other.before(row);
      else other.after(row);
      button.focus();
      moved();
    });
  };

  document.addEventListener("DOMContentLoaded", () => {
    for (const table of document.querySelectorAll("table.formset")) {
      // The row that is copied for new ones gets a handle, too; who may only look has no such row.
      if (!table.querySelector("tbody.empty-form")) continue;
      for (const field of table.querySelectorAll("tbody.form-group .form-row > td:first-of-type > div")) field.prepend(handle());
      makeSortable(table);
    }
  });
})();
