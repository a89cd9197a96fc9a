"use strict";
// Tables are sorted by a button in the head of each column.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const rises = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", rises ? "ascending" : "descending");
      const sign = rises ? 1 : -1;
      const numeric = head.classList.contains("number");
      const key = ({ dataset, textContent }) => numeric ? parseFloat(dataset.value) : textContent;
      const rows = [...table.tBodies[0].rows].map((row) => [key(row.cells[column]), row]);
      const byNumber = (a, b) => isNaN(a) - isNaN(b) || sign * (a - b); // what is not known comes last
      const byName = (a, b) => sign * a.localeCompare(b, undefined, { numeric: true });
      rows.sort(([a], [b]) => (numeric ? byNumber : byName)(a, b));
      table.tBodies[0].append(...rows.map(([, row]) => row));
    });
  });
}
// A picture opens larger; the arrow keys go to the one before or after it.
const viewer = document.getElementById("viewer");
if (viewer) {
  const shown = [...document.querySelectorAll(".pictures figure")];
  const [image, text] = [viewer.querySelector("img"), viewer.querySelector("p")];
  let at = 0;
  const show = (i) => {
    at = (i + shown.length) % shown.length;
    const from = shown[at].querySelector("img");
    [image.src, image.alt] = [from.src, from.alt];
    text.textContent = shown[at].querySelector("figcaption").innerText;
  };
  shown.forEach((figure, i) => {
    const button = document.createElement("button");
    const picture = figure.querySelector("img");
    button.type = "button";
    button.setAttribute("aria-haspopup", "dialog");
    picture.replaceWith(button);
    button.append(picture);
    button.addEventListener("click", () => { show(i); viewer.showModal(); });
  });
  viewer.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) { show(at + step); event.preventDefault(); }
  });
  viewer.addEventListener("click", (event) => {
    const step = event.target.dataset?.step;
    if (event.target === viewer || step === "0") viewer.close();
    else if (step) show(at + Number(step));
  });
  viewer.addEventListener("close", () => shown[at].querySelector("button").focus());
}
for (const code of document.querySelectorAll("pre.program")) {
  if (!navigator.clipboard) break;
  const button = document.createElement("button");
  [button.type, button.className, button.textContent] = ["button", "copy", "Copy"];
  code.after(button);
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "Copied";
  });
}
// What is folded is shown on paper.
addEventListener("beforeprint", () => {
  for (const folded of document.querySelectorAll("details")) folded.open = true;
});
