"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const make = (name, words, attributes = {}) => {
    const made = document.createElement(name);
    if (words !== undefined) made.textContent = words;
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  const card = (i) => {
    const item = make("li");
    if (data.thumbnails[i]) item.append(make("img", undefined, { src: data.thumbnails[i], alt: "" }));
    item.append(make("div", data.files[i], { class: "file" }), make("div", "label: " + data.classes[data.labels[i]]));
    for (const [method, predicted] of Object.entries(data.predicted)) {
      item.append(make("div", method + ": " + data.classes[predicted[i]] + (predicted[i] === data.labels[i] ? "" : " (wrong)")));
    }
    return item;
  };
  for (const list of document.querySelectorAll("[data-images]")) {
    for (const i of JSON.parse(list.dataset.images)) list.append(card(i));
  }

  const matrix = document.getElementById("matrix"), method = document.getElementById("method");
  const shown = document.getElementById("cell-images"), title = document.getElementById("cell-title");
  const show = (row, column) => {
    const predicted = data.predicted[method.value] || [], found = [];
    data.labels.forEach((label, i) => { if (label === row && predicted[i] === column) found.push(i); });
    found.sort((a, b) => (b in data.thumbnails) - (a in data.thumbnails));
    const without = found.filter((i) => !(i in data.thumbnails)).length;
    title.textContent = data.classes[row] + ", called " + data.classes[column] + " by " + method.value + ": " +
      found.length + (found.length === 1 ? " image" : " images") + (without ? ", " + without + " without a picture here" : "");
    shown.replaceChildren(...found.map(card));
  };
  const cell = (counts, row, column) => {
    const count = counts[row][column], total = counts[row].reduce((a, b) => a + b, 0);
    const words = data.classes[row] + ", called " + data.classes[column] + ": " + count + " of " + total;
    const button = make("button", count, { type: "button", title: words, "aria-label": words });
    button.addEventListener("click", () => show(row, column));
    return button;
  };
  const draw = () => {
    const counts = data.confusion[method.value];
    title.textContent = "A click on a number shows its images.";
    shown.replaceChildren();
    matrix.replaceChildren();
    if (!counts) { matrix.append(make("caption", "The result has no confusion matrix (more than 300 classes).")); return; }
    matrix.append(make("caption", "Rows: the label; columns: what " + method.value + " says. Shading: share of the row."));
    const head = make("thead"), body = make("tbody"), line = make("tr");
    if (data.classes.length <= data.matrix_classes) {
      line.append(make("th", "label", { scope: "col" }), ...data.classes.map((name) => make("th", name, { scope: "col", class: "column" })));
      counts.forEach((own, row) => {
        const made = make("tr"), total = own.reduce((a, b) => a + b, 0);
        made.append(make("th", data.classes[row], { scope: "row" }));
        own.forEach((count, column) => {
          const place = make("td", undefined, { class: row === column ? "heat right" : "heat" });
          place.style.setProperty("--share", total ? count / total : 0);
          if (count) place.append(cell(counts, row, column));
          made.append(place);
        });
        body.append(made);
      });
    } else {
      for (const name of ["label", "called", "images", "share of the label's images"]) line.append(make("th", name, { scope: "col" }));
      const mistakes = [];
      counts.forEach((own, row) => own.forEach((count, column) => { if (count && row !== column) mistakes.push([count, row, column]); }));
      mistakes.sort((a, b) => b[0] - a[0]);
      for (const [count, row, column] of mistakes.slice(0, 100)) {
        const made = make("tr"), place = make("td");
        place.append(cell(counts, row, column));
        made.append(make("th", data.classes[row], { scope: "row" }), make("td", data.classes[column]), place,
          make("td", (count / counts[row].reduce((a, b) => a + b, 0)).toFixed(2)));
        body.append(made);
      }
      matrix.caption.textContent = "The " + Math.min(100, mistakes.length) + " largest of " + mistakes.length + " kinds of mistake of " + method.value + ".";
    }
    head.append(line);
    matrix.append(head, body);
  };
  if (method) { method.addEventListener("change", draw); draw(); }

  const classes = document.getElementById("classes");
  for (const button of classes.querySelectorAll("th button")) {
    button.addEventListener("click", () => {
      const column = button.closest("th").cellIndex, rows = [...classes.tBodies[0].rows];
      const up = button.closest("th").getAttribute("aria-sort") !== "ascending";
      const key = (row) => row.cells[column].dataset.value;
      const compare = column ? (a, b) => key(a) - key(b) : (a, b) => key(a).localeCompare(key(b), undefined, { numeric: true });
      rows.sort((a, b) => compare(a, b) * (up ? 1 : -1));
      for (const other of classes.querySelectorAll("th[aria-sort]")) other.removeAttribute("aria-sort");
      button.closest("th").setAttribute("aria-sort", up ? "ascending" : "descending");
      classes.tBodies[0].append(...rows);
    });
  }
})();
