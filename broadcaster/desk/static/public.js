// The public page works without this. With it, the page says when there is something newer, and
// how old this copy is. Who reads at the top gets the new words at once; nobody is moved elsewhere.

const newer = document.getElementById("newer");
const age = document.getElementById("age");
const made = Date.parse(document.getElementById("made").dateTime);

const events = new EventSource(`/events?only=public&since=${newer.dataset.since}`);
events.addEventListener("changed", () => {
  if (window.scrollY < 80) {
    location.reload();
    return;
  }
  const link = document.createElement("a");
  link.href = location.pathname;
  link.textContent = "There is something newer. Show it.";
  newer.replaceChildren(link);
  newer.hidden = false;
});

setInterval(() => {
  const minutes = Math.floor((Date.now() - made) / 60000);
  if (minutes >= 2) age.textContent = `That is ${minutes} minutes ago; reload it to see whether there is anything newer.`;
}, 15000);
