// Draws the taste map on a canvas: what the tables of the page hold, and the points, which it loads.
// Coordinates of the map are from 0 to 1, to the right and downwards; `view` says which part of it is seen.
(() => {
  "use strict";
  const SIDE = 65534, NOWHERE = 65535, CLOSEST = 200, NEAR = 14, STEP = 1.5;

  function start(canvas) {
    const context = canvas.getContext("2d"), state = document.getElementById("map-state");
    const view = { x: 0.5, y: 0.5, zoom: 1 };
    const pointers = new Map();
    let points = null, chosen = null, lines = [], colors = null, waiting = false, moved = 0, spread = 0, timer = 0, image = null;
    const regions = [...document.querySelectorAll("#regions tbody tr")].map((row) => ({
      number: Number(row.dataset.region), x: row.dataset.x / SIDE, y: row.dataset.y / SIDE,
      radius: row.dataset.radius / SIDE, people: Number(row.dataset.people),
      names: [...row.querySelectorAll(".category")].map((one) => one.textContent),
    }));

    // ---- from the map to the canvas and back ----
    const size = () => Math.min(canvas.clientWidth, canvas.clientHeight) * (canvas.dataset.points ? 0.92 : 0.8) * view.zoom;
    const right = (x) => (x - view.x) * size() + canvas.clientWidth / 2;
    const down = (y) => (y - view.y) * size() + canvas.clientHeight / 2;
    const place = (element) => ({ x: element.dataset.x / SIDE, y: element.dataset.y / SIDE });

    function zoom(by, x = canvas.clientWidth / 2, y = canvas.clientHeight / 2) {
      const before = size();
      view.zoom = Math.min(Math.max(view.zoom * by, 1), CLOSEST);
      const [left, top] = [x - canvas.clientWidth / 2, y - canvas.clientHeight / 2];
      move(left / before - left / size(), top / before - top / size());
    }

    function move(x, y) {
      view.x = Math.min(Math.max(view.x + x, 0), 1);
      view.y = Math.min(Math.max(view.y + y, 0), 1);
      draw();
    }

    function showWhole() {
      Object.assign(view, { x: 0.5, y: 0.5, zoom: 1 });
      draw();
    }

    // Shows the chosen shopper and all neighbors, unless they are seen already.
    function showChosen() {
      const all = [chosen, ...lines], xs = all.map((one) => one.x), ys = all.map((one) => one.y);
      const wide = Math.max(Math.max(...xs) - Math.min(...xs), Math.max(...ys) - Math.min(...ys));
      view.x = (Math.max(...xs) + Math.min(...xs)) / 2;
      view.y = (Math.max(...ys) + Math.min(...ys)) / 2;
      view.zoom = Math.min(Math.max(0.75 / Math.max(wide, 1e-4), 1), 12);
    }

    // ---- what is drawn ----
    function tones() {
      if (colors) return colors;
      const of = (element, name) => getComputedStyle(element).getPropertyValue(name).trim();
      const root = document.documentElement;
      colors = { paper: of(root, "--card"), ink: of(root, "--ink"), accent: of(root, "--accent"), soft: of(root, "--soft") };
      colors.unit = parseFloat(getComputedStyle(root).fontSize) / 16;
      colors.regions = Array.from({ length: 16 }, (_, at) => of(root, `--tone-${at}`));
      return colors;
    }
    // Text and marks grow with the text of the page.
    const unit = () => tones().unit;
    const tone = (number) => tones().regions[number % 16];

    function draw() {
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(() => { waiting = false; if (canvas.isConnected) paint(); });
    }

    function paint() {
      const ratio = window.devicePixelRatio || 1, wide = canvas.clientWidth, high = canvas.clientHeight;
      if (canvas.width !== Math.round(wide * ratio)) canvas.width = Math.round(wide * ratio);
      if (canvas.height !== Math.round(high * ratio)) canvas.height = Math.round(high * ratio);
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      context.clearRect(0, 0, wide, high);
      if (points) paintPoints(wide, high); else paintRegions();
      if (chosen) paintChosen();
      paintNames(wide, high);
      canvas.dataset.lines = lines.map((one) => one.user).join(",");
      canvas.dataset.view = [view.x, view.y, view.zoom].map((one) => one.toFixed(4)).join(" ");
    }

    function paintPoints(wide, high) {
      const base = (points.n > 20000 ? 0.9 : points.n > 4000 ? 1.5 : 2.4) * Math.min(1, size() / view.zoom / 450);
      const half = Math.min(base * Math.pow(view.zoom, 0.45), 5) * unit();
      const alpha = chosen ? 0.4 : points.n > 20000 ? 0.55 : 0.75;
      if (half > 2 && points.n / view.zoom < 9000) paintDiscs(wide, high, half, alpha);
      else paintSquares(wide, high, half, alpha);
    }

    function paintDiscs(wide, high, half, alpha) {
      const scale = size(), left = wide / 2 - view.x * scale, top = high / 2 - view.y * scale, by = scale / SIDE;
      context.globalAlpha = alpha;
      for (const [number, members] of points.members) {
        context.fillStyle = tone(number);
        context.beginPath();
        for (const at of members) {
          const x = left + points.xs[at] * by, y = top + points.ys[at] * by;
          if (x < -half || y < -half || x > wide + half || y > high + half) continue;
          context.moveTo(x + half, y);
          context.arc(x, y, half, 0, 6.2832);
        }
        context.fill();
      }
      context.globalAlpha = 1;
    }

    // Many points: pixel by pixel, in a fraction of the time of as many rectangles. Where several are, it is denser.
    function paintSquares(wide, high, half, alpha) {
      const { width, height } = canvas, ratio = width / wide, side = Math.max(1, Math.round(2 * half * ratio));
      if (!image || image.width !== width || image.height !== height) image = context.createImageData(width, height);
      const pixels = new Uint32Array(image.data.buffer), scale = size() * ratio, by = scale / SIDE;
      const left = width / 2 - view.x * scale - side / 2, top = height / 2 - view.y * scale - side / 2;
      pixels.fill(0);
      for (const [number, members] of points.members) {
        const of = parseInt(tone(number).slice(1), 16), color = ((of & 255) << 16) | (of & 0xff00) | (of >> 16);
        for (const at of members) {
          const x = Math.round(left + points.xs[at] * by), y = Math.round(top + points.ys[at] * by);
          if (x < 0 || y < 0 || x + side > width || y + side > height) continue;
          for (let row = y * width + x; row < (y + side) * width + x; row += width) {
            for (let pixel = row; pixel < row + side; pixel++) {
              const before = pixels[pixel] >>> 24;
              pixels[pixel] = ((before + (255 - before) * alpha) << 24) | color;
            }
          }
        }
      }
      context.putImageData(image, 0, 0);
    }

    function paintRegions() {
      for (const region of regions) {
        const x = right(region.x), y = down(region.y), radius = Math.max(region.radius * size() * 2, 24);
        const fading = context.createRadialGradient(x, y, 0, x, y, radius);
        fading.addColorStop(0, `${tone(region.number)}cc`);
        fading.addColorStop(0.5, `${tone(region.number)}66`);
        fading.addColorStop(1, `${tone(region.number)}00`);
        context.fillStyle = fading;
        context.fillRect(x - radius, y - radius, 2 * radius, 2 * radius);
      }
    }

    function dot(one, radius, color) {
      context.beginPath();
      context.arc(right(one.x), down(one.y), radius * unit(), 0, 6.2832);
      context.fillStyle = color;
      context.fill();
      context.lineWidth = 2;
      context.strokeStyle = tones().paper;
      context.stroke();
    }

    function paintChosen() {
      const most = Math.max(...lines.map((one) => one.similarity), 1e-9);
      context.strokeStyle = tones().accent;
      context.lineCap = "round";
      for (const one of [...lines].reverse()) {
        const part = one.similarity / most;
        context.globalAlpha = 0.3 + 0.7 * part;
        context.lineWidth = (0.8 + 4.2 * part * part) * unit();
        context.beginPath();
        context.moveTo(right(chosen.x), down(chosen.y));
        context.lineTo(right(one.x), down(one.y));
        context.stroke();
      }
      context.globalAlpha = 1;
      for (const one of lines) dot(one, 4.5, tones().accent);
      dot(chosen, 7, tones().ink);
    }

    // Where a region is named: in its middle, of a part that is seen closely in the middle of the people there.
    function middle(region, wide, high) {
      const members = view.zoom > 2 && points ? points.members.get(region.number) || [] : [];
      const scale = size(), left = wide / 2 - view.x * scale, top = high / 2 - view.y * scale, by = scale / SIDE;
      let n = 0, xs = 0, ys = 0;
      for (const at of members) {
        const x = left + points.xs[at] * by, y = top + points.ys[at] * by;
        if (x > 0 && y > 0 && x < wide && y < high) { n += 1; xs += x; ys += y; }
      }
      return n ? { x: xs / n, y: ys / n } : { x: right(region.x), y: down(region.y) };
    }

    // Every region has its number; its name stands beside it where nothing else does.
    function paintNames(wide, high) {
      const taken = [], free = (box) => !taken.some(
        (one) => one.left < box.right && one.right > box.left && one.top < box.bottom && one.bottom > box.top);
      context.textBaseline = "middle";
      context.lineJoin = "round";
      const px = unit();
      if (wide > 480 * px) taken.push({ left: wide - 150 * px, right: wide, top: high - 52 * px, bottom: high }); // the buttons
      if (chosen) {
        const x = right(chosen.x), y = down(chosen.y), high = y < 34 * px ? y + 20 * px : y - 20 * px;
        const half = boxOf(chosen.name, 0, 0, 14).right;
        const box = boxOf(chosen.name, Math.min(Math.max(x, half), wide - half), high, 14);
        write(chosen.name, box, 14);
        taken.push(box);
      }
      const seen = regions.map((one) => ({ ...one, ...middle(one, wide, high) }))
        .filter((one) => one.x > 0 && one.y > 0 && one.x < wide && one.y < high)
        .filter((one) => {
          const box = { left: one.x - 10 * px, right: one.x + 10 * px, top: one.y - 10 * px, bottom: one.y + 10 * px };
          return free(box) && taken.push(box);
        });
      for (const one of seen) badge(one);
      for (const one of seen) {
        for (let many = Math.min(view.zoom < 2 ? 1 : 2, one.names.length); many > 0; many--) {
          const text = one.names.slice(0, many).map(shortened).join(" · "), half = boxOf(text, 0, 0, 13).right;
          const [beside, under] = [12 * px + half, 20 * px];
          const spots = [[one.x + beside, one.y], [one.x - beside, one.y], [one.x, one.y + under], [one.x, one.y - under]];
          const box = spots.map(([x, y]) => boxOf(text, x, y, 13))
            .find((spot) => spot.left > 0 && spot.right < wide && spot.top > 0 && spot.bottom < high && free(spot));
          if (!box) continue;
          taken.push(box);
          write(text, box, 13);
          break;
        }
      }
    }
    const shortened = (text) => (text.length > 26 ? `${text.slice(0, 25).trimEnd()}…` : text);

    function boxOf(text, x, y, height) {
      context.font = `600 ${height * unit()}px system-ui, sans-serif`;
      const half = context.measureText(text).width / 2 + 4, tall = height * unit() * 0.7;
      return { left: x - half, right: x + half, top: y - tall, bottom: y + tall };
    }

    function write(text, box, height) {
      const [x, y] = [(box.left + box.right) / 2, (box.top + box.bottom) / 2];
      context.font = `600 ${height * unit()}px system-ui, sans-serif`;
      context.textAlign = "center";
      context.lineWidth = 4;
      context.strokeStyle = tones().paper;
      context.strokeText(text, x, y);
      context.fillStyle = tones().ink;
      context.fillText(text, x, y);
    }

    function badge(region) {
      context.beginPath();
      context.arc(region.x, region.y, 9.5 * unit(), 0, 6.2832);
      context.fillStyle = tones().paper;
      context.fill();
      context.lineWidth = 2;
      context.strokeStyle = tone(region.number);
      context.stroke();
      context.font = `600 ${11 * unit()}px system-ui, sans-serif`;
      context.textAlign = "center";
      context.fillStyle = tones().ink;
      context.fillText(region.number, region.x, region.y + 0.5);
    }

    // ---- what it is drawn from ----
    function readChosen() {
      const card = document.getElementById("chosen");
      chosen = card && card.dataset.x ? { ...place(card), name: card.dataset.name } : null;
      lines = chosen === null ? [] : [...card.querySelectorAll("tr[data-x]")].map((row) => ({
        ...place(row), user: row.dataset.user, similarity: Number(row.dataset.similarity),
      }));
      if (chosen) showChosen();
      draw();
    }

    async function load(address) {
      state.textContent = "Loading the points …";
      try {
        const answer = await fetch(address);
        if (!answer.ok) throw new Error(answer.status);
        const bytes = await answer.arrayBuffer(), n = bytes.byteLength / 5, members = new Map();
        points = { n, xs: new Uint16Array(bytes, 0, n), ys: new Uint16Array(bytes, 2 * n, n), members };
        const of = new Uint8Array(bytes, 4 * n, n);
        for (let at = 0; at < n; at++) {
          if (points.xs[at] === NOWHERE) continue;
          if (!members.has(of[at])) members.set(of[at], []);
          members.get(of[at]).push(at);
        }
        state.textContent = "";
        canvas.dataset.drawn = n;
      } catch {
        state.textContent = "The points could not be loaded: the service does not answer, or you have to sign in again. Load this page again.";
      }
      draw();
    }

    function choose(x, y) {
      if (!points) return;
      let best = -1, least = NEAR * NEAR;
      for (let at = 0; at < points.n; at++) {
        if (points.xs[at] === NOWHERE) continue;
        const [wide, high] = [right(points.xs[at] / SIDE) - x, down(points.ys[at] / SIDE) - y];
        if (wide * wide + high * high < least) { least = wide * wide + high * high; best = at; }
      }
      if (best < 0) return;
      const address = `${canvas.dataset.address}?point=${best}`;
      if (window.htmx) htmx.ajax("GET", address, { target: "#chosen", select: "#chosen", swap: "outerHTML" });
      else location.assign(address);
    }

    // ---- mouse, fingers, keys ----
    const at = (event) => { const box = canvas.getBoundingClientRect(); return { x: event.clientX - box.left, y: event.clientY - box.top }; };
    const apart = () => { const [a, b] = [...pointers.values()]; return Math.hypot(a.x - b.x, a.y - b.y); };
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const here = at(event);
      zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.06 : 0.002)), here.x, here.y);
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, at(event));
      if (pointers.size === 1) moved = 0;
      if (pointers.size === 2) spread = apart();
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!pointers.has(event.pointerId)) return;
      const before = pointers.get(event.pointerId), now = at(event);
      pointers.set(event.pointerId, now);
      moved += Math.hypot(now.x - before.x, now.y - before.y);
      const part = pointers.size;
      move((before.x - now.x) / size() / part, (before.y - now.y) / size() / part);
      if (part !== 2) return;
      const [a, b] = [...pointers.values()], wide = apart();
      if (spread > 0 && wide > 0) zoom(wide / spread, (a.x + b.x) / 2, (a.y + b.y) / 2);
      spread = wide;
      moved = 99;
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (event) => {
      const here = pointers.get(event.pointerId);
      pointers.delete(event.pointerId);
      if (end === "pointerup" && here && moved < 6 && !pointers.size) choose(here.x, here.y);
    });
    canvas.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const far = 0.12 * canvas.clientHeight / size();
      const act = {
        ArrowLeft: () => move(-far, 0), ArrowRight: () => move(far, 0), ArrowUp: () => move(0, -far), ArrowDown: () => move(0, far),
        "+": () => zoom(STEP), "=": () => zoom(STEP), "-": () => zoom(1 / STEP), 0: showWhole, Home: showWhole,
      }[event.key];
      if (act) { event.preventDefault(); act(); }
    });
    document.getElementById("closer").addEventListener("click", () => zoom(STEP));
    document.getElementById("farther").addEventListener("click", () => zoom(1 / STEP));
    document.getElementById("whole").addEventListener("click", showWhole);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { colors = null; draw(); });
    document.addEventListener("htmx:afterSettle", (event) => {
      if (!canvas.isConnected || event.target.id !== "chosen") return;
      if (document.activeElement === document.body) document.getElementById("chosen-name").focus({ preventScroll: true });
      readChosen();
    });

    canvas.parentElement.hidden = document.getElementById("map-help").hidden = false;
    document.getElementById("undrawn").hidden = true;
    new ResizeObserver(() => { clearTimeout(timer); timer = setTimeout(() => { colors = null; draw(); }, 30); }).observe(canvas);
    readChosen();
    if (canvas.dataset.points) load(canvas.dataset.points);
  }

  function begin() {
    const canvas = document.getElementById("map");
    if (canvas && !canvas.dataset.begun) { canvas.dataset.begun = "yes"; start(canvas); }
  }
  begin();
  document.addEventListener("htmx:afterSettle", begin);
})();
