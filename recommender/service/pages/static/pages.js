// What htmx leaves to the page: say when the service does not answer, and keep the keyboard where it was, and the drawings.
const setGone = (isGone) => { document.getElementById("gone").hidden = !isGone; };
document.addEventListener("htmx:sendError", () => setGone(true));
// Every page of the service has this part. An answer without it is not one of them, as a proxy's "502 Bad Gateway".
document.addEventListener("htmx:beforeSwap", (event) => {
  const isOurs = event.detail.serverResponse.includes('id="faults"');
  event.detail.shouldSwap &&= isOurs;
  setGone(!isOurs);
});
document.addEventListener("htmx:afterSettle", (event) => {
  if (event.target.id === "main" && document.activeElement === document.body) event.target.focus({ preventScroll: true });
});
// A picture that does not load gives way to the drawing below it.
const gone = (picture) => { if (picture.matches?.(".picture.over > img")) picture.hidden = true; };
document.addEventListener("error", (event) => gone(event.target), true);
document.querySelectorAll("img").forEach((picture) => { if (picture.complete && !picture.naturalWidth) gone(picture); });
