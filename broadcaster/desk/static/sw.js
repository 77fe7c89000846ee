// Shows a push and opens what it leads to. It keeps nothing: no page, no words, no answer.

self.addEventListener("push", (event) => {
  const { words, url } = event.data.json();
  event.waitUntil(
    self.registration.showNotification(words, {
      tag: url, // a later call about the same request takes the place of the one before
      renotify: true,
      requireInteraction: true,
      icon: "/static/icon.svg",
      data: new URL(url).pathname,
    }),
  );
});

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(self.clients.openWindow(event.notification.data));
});
