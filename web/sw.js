// Keeps the page's files, so that it works offline, and gives them the headers that threads need.

importScripts('./build.js'); // { version, files, headers }, written by tools/web.py
const NAME = `tfswa-${BUILD.version}`;

self.addEventListener('install', (event) => {
  event.waitUntil(caches.open(NAME).then((cache) => cache.addAll(BUILD.files)).then(() => self.skipWaiting()));
});

self.addEventListener('activate', (event) => {
  const drop = (names) => Promise.all(names.filter((name) => name.startsWith('tfswa-') && name !== NAME).map((name) => caches.delete(name)));
  event.waitUntil(caches.keys().then(drop).then(() => self.clients.claim()));
});

self.addEventListener('fetch', (event) => {
  const here = new URL(event.request.url).origin === self.location.origin;
  if (here && event.request.method === 'GET') event.respondWith(answer(event.request));
});

async function answer(request) {
  const cache = await caches.open(NAME);
  let found = await cache.match(request, { ignoreSearch: true });
  if (!found) {
    found = await fetch(request);
    if (found.ok) await cache.put(request, found.clone());
  }
  const headers = new Headers(found.headers);
  Object.entries(BUILD.headers).forEach(([name, value]) => headers.set(name, value));
  return new Response(found.body, { status: found.status, statusText: found.statusText, headers });
}
