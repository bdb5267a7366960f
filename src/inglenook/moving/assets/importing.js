// Goes on to the login when the import is over; until then, the page shows how far it is.
(() => {
  const refresh = async () => {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const id of ["progress", "bar"]) {
      const [here, there] = [document.getElementById(id), page.getElementById(id)];
      if (here && there) here.replaceWith(there);
    }
  };
  let wait = 1000;
  const listen = () => {
    const socket = new WebSocket(`${location.origin.replace(/^http/, "ws")}/move/importing/realtime`, "io.cozy.websocket");
    socket.onmessage = (message) => location.assign(JSON.parse(message.data).redirect);
    socket.onclose = () => {
      setTimeout(listen, wait);
      wait = Math.min(wait * 2, 60000);
    };
  };
  listen();
  setInterval(() => refresh().catch(() => {}), 2000);
})();
