// What htmx leaves to the page: say when the service does not answer, and keep the keyboard where it was.
document.addEventListener("htmx:sendError", () => { document.getElementById("gone").hidden = false; });
document.addEventListener("htmx:afterOnLoad", () => { document.getElementById("gone").hidden = true; });
document.addEventListener("htmx:afterSettle", (event) => {
  if (event.target.id === "main" && document.activeElement === document.body) event.target.focus({ preventScroll: true });
});
