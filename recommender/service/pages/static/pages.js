// What htmx leaves to the page: say when the service does not answer, and keep the keyboard where it was, and the drawings.
document.addEventListener("htmx:sendError", () => { document.getElementById("gone").hidden = false; });
document.addEventListener("htmx:afterOnLoad", () => { document.getElementById("gone").hidden = true; });
document.addEventListener("htmx:afterSettle", (event) => {
  if (event.target.id === "main" && document.activeElement === document.body) event.target.focus({ preventScroll: true });
});
// A picture that does not load gives way to the drawing below it.
const gone = (picture) => { if (picture.matches?.(".picture.over > img")) picture.hidden = true; };
document.addEventListener("error", (event) => gone(event.target), true);
document.querySelectorAll("img").forEach((picture) => { if (picture.complete && !picture.naturalWidth) gone(picture); });
