// One linked view of a clip: waveform, map of relevance, pitch, spectrogram, regions, and a cursor on the audio's clock.
// Python sends the data; the view sends back one value, `selection`: a region's rank, or the reader's own stretch of
// seconds, which is a box where it has a band of Hz, too.

const TOP = 18; // space above each lane for its name
const BESIDE_CURSOR = 4; // so that the names stay clear of the cursor at the start
const TAG = 16; // height of a name on the picture
const ASIDE = [0, -1, 1, -2, 2, -3, 3]; // where a name goes whose place another has, in heights of a name
const MIN_OWN_S = 0.05;
const MIN_OWN_PX = 10; // a lower box is meant as a stretch of every frequency
const views = new WeakMap();

export default function (component) {
  const { data, parentElement, setStateValue } = component;
  let view = views.get(parentElement);
  if (!view) {
    view = new View(parentElement.querySelector(".viewer"));
    views.set(parentElement, view);
  }
  const turn = (view.turn += 1);
  view.update(data, (value) => setStateValue("selection", value));
  return () => {
    // Streamlit cleans up after a drawing that another has overtaken once that one has drawn: the view is its by then.
    if (turn !== view.turn) return;
    view.close();
    views.delete(parentElement);
  };
}

// ---------------------------------------------------------------- numbers and colours

const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const signed = (text) => new Int8Array(bytes(text).buffer);
const clamp = (x, low, high) => Math.min(high, Math.max(low, x));
const mel = (hz) => Math.log10(1 + hz / 700);
const sorted = (a, b) => (a < b ? [a, b] : [b, a]);
const hertz = (mel) => 700 * (10 ** mel - 1);
// A tie goes to the even digit, as it does in the tables.
const seconds = (s) => ((s * 8) % 1 === 0 && (s * 100) % 1 === 0.5 ? Math.round(s * 50) / 50 : s).toFixed(2);

function oklch(lightness, chroma, hue) {
  // Björn Ottosson's OKLab: equal steps of lightness look equal.
  const a = chroma * Math.cos((hue * Math.PI) / 180);
  const b = chroma * Math.sin((hue * Math.PI) / 180);
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ].map((c) => 255 * clamp(c <= 0.0031308 ? 12.92 * c : 1.055 * c ** (1 / 2.4) - 0.055, 0, 1));
}

function palette(dark) {
  const hue = (v) => (v < 0 ? 250 : 55);
  const relevance = (v) =>
    dark ? oklch(0.3 + 0.5 * Math.abs(v), 0.16 * Math.abs(v), hue(v)) : oklch(0.95 - 0.35 * Math.abs(v), 0.17 * Math.abs(v), hue(v));
  const loudness = (v) => (dark ? oklch(0.2 + 0.7 * v, 0, 0) : oklch(0.985 - 0.65 * v, 0, 0));
  return dark
    ? { relevance, loudness, ink: "#e4ebef", soft: "#a9b8c1", grid: "#35454f", wave: "#8fb7c4", silence: "#18232b",
        pitch: "#7fd6c2", box: "#ffffff", halo: "#000000", cursor: "#ffe08a" }
    : { relevance, loudness, ink: "#16222b", soft: "#4c5d68", grid: "#d5dde2", wave: "#41707d", silence: "#eef3f5",
        pitch: "#00695c", box: "#101418", halo: "#ffffff", cursor: "#a3004f" };
}

const rgb = (c) => `rgb(${c.map(Math.round).join(" ")})`;

// ---------------------------------------------------------------- the view

class View {
  constructor(root) {
    this.root = root;
    this.turn = 0;
    const find = (selector) => root.querySelector(selector);
    Object.assign(this, {
      figure: find(".figure"), canvas: find("canvas"), cursor: find(".cursor"), own: find(".own"), audio: find("audio"),
      playButton: find(".play"), clock: find(".clock"), readout: find(".readout"), legend: find(".legend"),
      buttons: find(".regions"), stretch: find(".stretch"),
    });
    this.options = { map: true, opacity: 0.75, regions: true, pitch: true, formants: true };
    this.selection = null;
    this.stopAt = null;
    this.listen();
    this.letGo = playAlone(this.audio);
    this.sizes = new ResizeObserver(() => this.draw());
    this.sizes.observe(this.figure);
    this.frame = requestAnimationFrame(() => this.tick());
  }

  close() {
    cancelAnimationFrame(this.frame);
    this.sizes.disconnect();
    this.audio.pause();
    this.letGo();
    if (this.url) URL.revokeObjectURL(this.url);
  }

  update(data, send) {
    this.send = send;
    if (this.data?.id !== data.id) {
      this.data = data;
      this.spectrogram = { ...data.spectrogram, values: bytes(data.spectrogram.data) };
      this.map = data.map && { ...data.map, values: signed(data.map.data) };
      this.pooling = data.pooling && { ...data.pooling, values: bytes(data.pooling.data) };
      this.wave = signed(data.wave);
      this.images = {};
      this.load(data);
      this.words();
      this.selection = data.selection;
      this.fill();
    }
    this.mark();
    this.draw();
  }

  load(data) {
    if (this.clip === data.clip) return;
    this.clip = data.clip;
    this.stopAt = null;
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = URL.createObjectURL(new Blob([bytes(data.audio)], { type: "audio/wav" }));
    this.audio.src = this.url;
  }

  words() {
    const { data } = this;
    const show = (selector, shown) => this.root.querySelectorAll(selector).forEach((e) => (e.hidden = !shown, e.style.display = shown ? "" : "none"));
    show(".for-map", Boolean(data.map));
    show(".for-regions", data.regions.length > 0);
    this.figure.setAttribute("aria-label", data.label);
    this.figure.setAttribute("aria-valuemax", data.duration_s.toFixed(2));
    const fields = this.stretch.elements;
    fields.from.max = fields.to.max = data.duration_s.toFixed(2);
    fields.low.max = fields.high.max = fields.high.placeholder = data.max_hz;
    this.buttons.replaceChildren(
      ...data.regions.map((region) => {
        const button = document.createElement("button");
        button.type = "button";
        button.dataset.rank = region.rank;
        const rank = document.createElement("b");
        rank.textContent = region.rank;
        const where = document.createElement("small");
        where.textContent = (region.band ? region.band + " · " : "") + region.weight;
        button.append(rank, ` ${seconds(region.start_s)}–${seconds(region.end_s)} s`, where);
        button.setAttribute("aria-label", region.label);
        button.onclick = () => this.pick({ rank: region.rank }, true);
        return button;
      }),
    );
  }

  listen() {
    const { figure, audio } = this;
    this.playButton.onclick = () => this.toggle();
    audio.onplay = audio.onpause = () => {
      this.playButton.classList.toggle("on", !audio.paused);
      this.playButton.setAttribute("aria-label", audio.paused ? "Play the clip" : "Pause");
    };
    audio.ontimeupdate = () => this.endStretch(); // for a page that is hidden, where no frames are drawn
    this.root.querySelectorAll(".layers input").forEach((input) => {
      input.oninput = () => {
        this.options[input.name] = input.type === "range" ? input.value / 100 : input.checked;
        this.draw();
      };
    });
    this.stretch.onsubmit = (event) => {
      event.preventDefault();
      const read = (name, top, empty) => {
        const { value } = this.stretch.elements[name];
        return value === "" ? empty : clamp(Number(value), 0, top);
      };
      const { duration_s, max_hz } = this.data;
      const times = sorted(read("from", duration_s, 0), read("to", duration_s, duration_s));
      const band = sorted(read("low", max_hz, 0), read("high", max_hz, max_hz));
      if (times[1] - times[0] < MIN_OWN_S) this.readout.textContent = `An own stretch needs at least ${MIN_OWN_S} s.`;
      else if (band[0] === band[1]) this.readout.textContent = "The two frequencies must differ.";
      else this.pick(this.ownPart(times, band), true);
    };
    figure.onkeydown = (event) => this.key(event);
    figure.onpointerdown = (event) => {
      if (!event.isPrimary || event.button !== 0 || !this.inPlot(event)) return;
      figure.setPointerCapture(event.pointerId);
      this.drag = { from: this.timeAt(event), hz: this.hertzAt(event), x: event.clientX, y: event.clientY, moved: false };
    };
    figure.onpointermove = (event) => {
      if (!event.isPrimary) return;
      this.say(event);
      if (!this.drag) return;
      this.drag.moved ||= Math.abs(event.clientX - this.drag.x) > 5;
      if (this.drag.moved) this.frameOwn(this.dragged(event));
    };
    figure.onpointerup = (event) => {
      if (!event.isPrimary) return;
      const drag = this.drag;
      this.drag = null;
      if (!drag) return;
      const to = this.timeAt(event);
      if (drag.moved && Math.abs(to - drag.from) >= MIN_OWN_S) return this.pick(this.dragged(event, drag), true);
      this.mark();
      const region = this.regionAt(event);
      if (region) return this.pick({ rank: region.rank }, true);
      this.seek(to);
    };
    figure.onpointercancel = () => { this.drag = null; this.mark(); };
    figure.onpointerleave = () => { if (!this.drag) this.readout.textContent = ""; };
  }

  // -------------------------------------------------------------- sound

  toggle() {
    if (this.audio.paused) {
      this.stopAt = null;
      if (this.audio.currentTime >= this.data.duration_s - 0.02) this.audio.currentTime = 0;
      this.audio.play();
    } else this.audio.pause();
  }

  playStretch(start, end) {
    this.audio.currentTime = start;
    this.stopAt = end;
    this.audio.play();
  }

  seek(time) {
    this.stopAt = null;
    this.audio.currentTime = clamp(time, 0, this.data.duration_s);
  }

  endStretch() {
    if (this.stopAt === null || this.audio.paused || this.audio.currentTime < this.stopAt) return;
    this.audio.pause();
    this.audio.currentTime = this.stopAt;
    this.stopAt = null;
  }

  tick() {
    this.endStretch();
    const time = this.audio.currentTime;
    if (this.plot && this.shown !== time) {
      this.shown = time;
      this.cursor.style.transform = `translateX(${this.x(time)}px)`;
      this.clock.textContent = `${seconds(time)} / ${seconds(this.data.duration_s)} s`;
    }
    // A screen reader says a position as it changes: over the voice that plays it would be in the way.
    if (this.audio.paused && this.told !== time) {
      this.told = time;
      this.figure.setAttribute("aria-valuenow", time.toFixed(2));
      this.figure.setAttribute("aria-valuetext", `${seconds(time)} seconds`);
    }
    if (this.plot && this.isDark() !== this.dark) this.draw();
    this.frame = requestAnimationFrame(() => this.tick());
  }

  key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return; // the browser's own: back, the page's top …
    const step = event.shiftKey ? 0.5 : 0.05;
    const [back, on] = [-step, step].map((by) => () => this.seek(this.audio.currentTime + by));
    const act = {
      " ": () => this.toggle(),
      ArrowLeft: back,
      ArrowDown: back,
      ArrowRight: on,
      ArrowUp: on,
      Home: () => this.seek(0),
      End: () => this.seek(this.data.duration_s),
      Escape: () => this.pick(null, false),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  }

  // -------------------------------------------------------------- selection

  pick(selection, play) {
    this.selection = selection;
    this.fill();
    this.mark();
    this.draw();
    const part = this.part();
    if (part && play) this.playStretch(part.start_s, part.end_s);
    this.send(selection);
  }

  part() {
    if (!this.selection) return null;
    return this.selection.rank ? this.data.regions.find((r) => r.rank === this.selection.rank) : this.selection;
  }

  mark() {
    for (const button of this.buttons.children)
      button.setAttribute("aria-pressed", String(this.selection?.rank === Number(button.dataset.rank)));
    const own = this.chosenOwn();
    if (own) this.frameOwn(own);
    else this.own.hidden = true;
  }

  chosenOwn() {
    return this.selection && !this.selection.rank ? this.selection : null;
  }

  // Only where a stretch is chosen, not whenever the view is drawn: the reader may be typing the next one.
  fill() {
    const own = this.chosenOwn();
    if (!own) return;
    this.stretch.elements.from.value = seconds(own.start_s);
    this.stretch.elements.to.value = seconds(own.end_s);
    this.stretch.elements.low.value = own.low_hz === undefined ? "" : Math.round(own.low_hz);
    this.stretch.elements.high.value = own.high_hz === undefined ? "" : Math.round(own.high_hz);
  }

  // What a drag from the spectrogram spans is a box; a flat one, or one from another lane, has every frequency.
  dragged(event, drag = this.drag) {
    const band = drag.hz === null || Math.abs(event.clientY - drag.y) < MIN_OWN_PX ? [0, this.data.max_hz] : sorted(drag.hz, this.hertzAt(event, true));
    return this.ownPart(sorted(drag.from, this.timeAt(event)), band);
  }

  ownPart([start_s, end_s], [low_hz, high_hz]) {
    return low_hz > 0 || high_hz < this.data.max_hz ? { start_s, end_s, low_hz, high_hz } : { start_s, end_s };
  }

  frameOwn(own) {
    if (!this.plot) return;
    const [left, right] = [this.x(own.start_s), this.x(own.end_s)];
    const [top, bottom] = this.band({ low_hz: own.low_hz ?? null, high_hz: own.high_hz ?? null });
    Object.assign(this.own.style, { left: `${left}px`, width: `${right - left}px`, top: `${top}px`, height: `${bottom - top}px` });
    this.own.hidden = false;
  }

  regionAt(event) {
    if (!this.options.regions) return null;
    const time = this.timeAt(event);
    const y = event.clientY - this.figure.getBoundingClientRect().top;
    const inside = this.data.regions.filter((r) => {
      const [top, bottom] = this.band(r);
      return time >= r.start_s && time <= r.end_s && y >= top && y <= bottom;
    });
    return inside.sort((a, b) => a.end_s - a.start_s - (b.end_s - b.start_s))[0] ?? null;
  }

  say(event) {
    if (!this.inPlot(event)) return;
    const time = this.timeAt(event);
    const parts = [`${seconds(time)} s`];
    const hz = this.hertzAt(event);
    if (hz !== null) parts.push(`${Math.round(hz)} Hz`);
    const { pitch } = this.data;
    const f0 = pitch.values[Math.round((time - pitch.first_s) / pitch.step_s)];
    parts.push(f0 ? `pitch ${Math.round(f0)} Hz` : "no pitch");
    this.readout.textContent = parts.join(" · ");
  }

  // -------------------------------------------------------------- geometry

  x(time) {
    return this.plot.left + (time / this.data.duration_s) * this.plot.width;
  }

  timeAt(event) {
    const x = event.clientX - this.figure.getBoundingClientRect().left;
    return clamp(((x - this.plot.left) / this.plot.width) * this.data.duration_s, 0, this.data.duration_s);
  }

  // The frequency under a pointer; beyond the spectrogram null, or its nearest edge.
  hertzAt(event, nearest = false) {
    const { spec } = this.plot;
    const y = event.clientY - this.figure.getBoundingClientRect().top;
    if (!nearest && (y < spec.top || y > spec.bottom)) return null;
    return hertz(clamp((spec.bottom - y) / (spec.bottom - spec.top), 0, 1) * mel(this.data.max_hz));
  }

  inPlot(event) {
    const x = event.clientX - this.figure.getBoundingClientRect().left;
    return this.plot && x >= this.plot.left - 4 && x <= this.plot.left + this.plot.width + 4;
  }

  hz(value) {
    const { spec } = this.plot;
    return spec.bottom - (mel(value) / mel(this.data.max_hz)) * (spec.bottom - spec.top);
  }

  band(region) {
    if (region.low_hz === null) return [TOP, this.plot.bottom];
    return [this.hz(region.high_hz), this.hz(region.low_hz)];
  }

  isDark() {
    const [r, g, b] = getComputedStyle(this.root).color.match(/[\d.]+/g).map(Number);
    return r + g + b > 384;
  }

  // -------------------------------------------------------------- drawing

  draw() {
    const width = this.figure.clientWidth;
    if (!this.data || width < 50) return;
    const narrow = width < 560;
    const left = narrow ? 34 : 46;
    const lanes = {};
    let y = 0;
    const lane = (name, height) => {
      lanes[name] = { top: y + TOP, bottom: y + TOP + height };
      y += TOP + height + 6;
    };
    lane("wave", narrow ? 48 : 60);
    if (this.map?.axes === "time") lane("strip", 28);
    if (this.options.pitch) lane("pitch", narrow ? 70 : 84);
    lane("spec", narrow ? 190 : 250);
    if (this.pooling) lane("pool", 26);
    const bottom = (lanes.pool ?? lanes.spec).bottom;
    this.plot = { ...lanes, left, width: width - left - 10, bottom };
    const height = bottom + 24;
    const scale = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(width * scale);
    this.canvas.height = Math.round(height * scale);
    this.canvas.style.height = `${height}px`;
    this.dark = this.isDark();
    this.ink = palette(this.dark);
    if (this.images.dark !== this.dark) this.images = { dark: this.dark };
    this.root.style.setProperty("--cursor", this.ink.cursor);
    this.root.style.setProperty("--halo", this.ink.halo);
    this.root.style.setProperty("--pitch", this.ink.pitch);
    Object.assign(this.cursor.style, { top: `${TOP}px`, height: `${this.plot.bottom - TOP}px` });
    const pen = this.canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    this.tags = [];
    pen.font = `${narrow ? 11 : 12}px ${getComputedStyle(this.root).fontFamily}`;
    this.drawWave(pen);
    if (lanes.strip) this.drawStrip(pen);
    if (lanes.pool) this.drawPooling(pen);
    if (lanes.pitch) this.drawPitch(pen);
    this.drawSpectrogram(pen);
    this.drawTime(pen);
    if (this.options.regions) this.drawRegions(pen);
    this.drawLegend();
    this.shown = null;
    this.mark();
  }

  name(pen, lane, text) {
    pen.fillStyle = this.ink.soft;
    pen.textAlign = "left";
    pen.textBaseline = "alphabetic";
    let shown = text;
    const room = this.plot.width - BESIDE_CURSOR;
    while (pen.measureText(shown).width > room && shown.length > 4) shown = shown.slice(0, -2) + "…";
    pen.fillText(shown, this.plot.left + BESIDE_CURSOR, lane.top - 5);
  }

  frameLane(pen, lane) {
    pen.strokeStyle = this.ink.grid;
    pen.lineWidth = 1;
    pen.strokeRect(this.plot.left + 0.5, lane.top + 0.5, this.plot.width - 1, lane.bottom - lane.top - 1);
  }

  drawWave(pen) {
    const { wave: lane, left, width } = this.plot;
    this.name(pen, lane, "Waveform; shaded where nobody speaks");
    pen.fillStyle = this.ink.silence;
    pen.fillRect(left, lane.top, width, lane.bottom - lane.top);
    for (const [start, end] of this.data.speech) {
      pen.clearRect(this.x(start), lane.top, this.x(end) - this.x(start), lane.bottom - lane.top);
    }
    const middle = (lane.top + lane.bottom) / 2;
    const half = (lane.bottom - lane.top) / 2 - 1;
    const columns = this.wave.length / 2;
    pen.fillStyle = this.ink.wave;
    for (let i = 0; i < columns; i++) {
      const low = this.wave[2 * i] / 127;
      const high = this.wave[2 * i + 1] / 127;
      pen.fillRect(left + (i / columns) * width, middle - high * half, Math.max(width / columns, 0.6), Math.max((high - low) * half, 0.8));
    }
    this.frameLane(pen, lane);
  }

  drawStrip(pen) {
    const { strip: lane } = this.plot;
    this.name(pen, lane, this.data.words.map);
    if (this.options.map) this.picture(pen, this.mapImage(), this.map, lane);
    this.frameLane(pen, lane);
  }

  drawPooling(pen) {
    const { pool: lane } = this.plot;
    this.name(pen, lane, this.data.words.pooling);
    const { start_s, end_s, columns, values } = this.pooling;
    const step = (end_s - start_s) / columns;
    pen.strokeStyle = this.ink.ink;
    pen.lineWidth = 1.25;
    pen.beginPath();
    values.forEach((weight, i) => {
      const point = [this.x(start_s + (i + 0.5) * step), lane.bottom - 2 - (weight / 255) * (lane.bottom - lane.top - 4)];
      pen[i ? "lineTo" : "moveTo"](...point);
    });
    pen.stroke();
    this.frameLane(pen, lane);
  }

  drawPitch(pen) {
    const { pitch: lane, left, width } = this.plot;
    const { pitch } = this.data;
    this.name(pen, lane, pitch.low_hz ? "Pitch (Hz)" : "Pitch: no voiced speech found");
    if (pitch.low_hz) {
      const [low, high] = [Math.log2(pitch.low_hz), Math.log2(pitch.high_hz)];
      const y = (hz) => lane.bottom - 3 - ((Math.log2(hz) - low) / (high - low)) * (lane.bottom - lane.top - 6);
      pen.textAlign = "right";
      pen.textBaseline = "middle";
      for (const hz of pitch.ticks_hz) {
        pen.fillStyle = this.ink.soft;
        pen.fillText(hz, left - 5, y(hz));
        pen.fillStyle = this.ink.grid;
        pen.fillRect(left, y(hz), width, 1);
      }
      pen.strokeStyle = this.ink.pitch;
      pen.lineWidth = 2.5;
      pen.lineJoin = "round";
      pen.beginPath();
      let open = false;
      pitch.values.forEach((hz, i) => {
        if (!hz) return (open = false);
        const point = [this.x(pitch.first_s + i * pitch.step_s), y(hz)];
        if (open) pen.lineTo(...point);
        else { pen.moveTo(...point); pen.lineTo(point[0] + 0.01, point[1]); }
        open = true;
      });
      pen.stroke();
    }
    this.frameLane(pen, lane);
  }

  drawSpectrogram(pen) {
    const { spec: lane, left } = this.plot;
    const mapped = this.map?.axes === "time_frequency";
    this.name(pen, lane, mapped ? this.data.words.map : "Spectrogram (kHz)");
    this.images.spectrogram ??= this.image(this.spectrogram, (v) => [...this.ink.loudness(v / 255), 255]);
    pen.fillStyle = rgb(this.ink.loudness(0));
    pen.fillRect(left, lane.top, this.plot.width, lane.bottom - lane.top);
    this.picture(pen, this.images.spectrogram, this.spectrogram, lane);
    if (mapped && this.options.map) {
      pen.globalAlpha = this.options.opacity;
      this.picture(pen, this.mapImage(), this.map, lane);
      pen.globalAlpha = 1;
    }
    pen.textAlign = "right";
    pen.textBaseline = "middle";
    for (const hz of [250, 500, 1000, 2000, 4000, 8000].filter((f) => f <= this.data.max_hz)) {
      pen.fillStyle = this.ink.soft;
      pen.fillText(hz / 1000, left - 5, hz === this.data.max_hz ? lane.top + 5 : this.hz(hz));
      pen.fillRect(left - 3, this.hz(hz), 3, 1);
    }
    if (this.options.formants) this.drawFormants(pen);
    this.frameLane(pen, lane);
  }

  drawFormants(pen) {
    const radius = 1.6;
    const every = Math.max(1, Math.round(5 / ((this.plot.width / this.data.duration_s) * this.data.formants.step_s)));
    this.data.formants.values.forEach((track, k) => {
      let named = false;
      track.forEach((hz, i) => {
        if (!hz || hz > this.data.max_hz || i % every) return;
        const [x, y] = [this.x(this.data.formants.first_s + i * this.data.formants.step_s), this.hz(hz)];
        pen.beginPath();
        pen.arc(x, y, radius + 1, 0, 7);
        pen.fillStyle = "#000000";
        pen.fill();
        pen.beginPath();
        pen.arc(x, y, radius, 0, 7);
        pen.fillStyle = "#ffffff";
        pen.fill();
        if (!named) this.tag(pen, `F${k + 1}`, x - 22, y - 8);
        named = true;
      });
    });
  }

  tag(pen, text, x, y) {
    const width = pen.measureText(text).width + 8;
    const place = clamp(x, this.plot.left + 1, this.plot.left + this.plot.width - width - 1);
    const free = (at) => !this.tags.some((t) => Math.abs(t.y - at) < TAG && place < t.x + t.width && place + width > t.x);
    const step = ASIDE.find((by) => y + by * TAG >= TOP && free(y + by * TAG)) ?? 0;
    y += step * TAG;
    this.tags.push({ x: place, y, width });
    pen.fillStyle = this.ink.halo;
    pen.globalAlpha = 0.85;
    pen.fillRect(place, y, width, TAG);
    pen.globalAlpha = 1;
    pen.fillStyle = this.ink.box;
    pen.textAlign = "left";
    pen.textBaseline = "middle";
    pen.fillText(text, place + 4, y + 8.5);
  }

  drawRegions(pen) {
    for (const region of [...this.data.regions].reverse()) {
      const [top, bottom] = this.band(region);
      const [left, right] = [this.x(region.start_s), this.x(region.end_s)];
      const picked = this.selection?.rank === region.rank;
      for (const [colour, extra] of [[this.ink.halo, 2.5], [this.ink.box, 0]]) {
        pen.strokeStyle = colour;
        pen.lineWidth = (picked ? 3.5 : 1.75) + extra;
        pen.strokeRect(left, top, Math.max(right - left, 2), Math.max(bottom - top, 2));
      }
    }
    for (const region of this.data.regions) {
      const [top] = this.band(region);
      const y = region.low_hz === null ? top : Math.max(top - TAG, this.plot.spec.top);
      this.tag(pen, String(region.rank), this.x(region.start_s), y);
    }
  }

  drawTime(pen) {
    const { left, width, bottom } = this.plot;
    const wanted = this.data.duration_s / Math.max(3, width / 80);
    const step = [0.05, 0.1, 0.2, 0.25, 0.5, 1, 2, 5, 10, 15, 20, 30].find((s) => s >= wanted) ?? 60;
    pen.textBaseline = "top";
    pen.fillStyle = this.ink.soft;
    for (let k = 0; k * step <= this.data.duration_s + 1e-9; k++) {
      const x = this.x(k * step);
      pen.fillRect(x, bottom, 1, 4);
      pen.textAlign = k === 0 ? "left" : x > left + width - 14 ? "right" : "center";
      pen.fillText(`${Number((k * step).toFixed(2))}${k === 0 ? " s" : ""}`, x, bottom + 7);
    }
  }

  drawLegend() {
    const { words } = this.data;
    const item = (sample, text, style) => {
      const span = document.createElement("span");
      const swatch = document.createElement("i");
      swatch.className = sample;
      if (style) swatch.style.background = style;
      span.append(swatch, text);
      return span;
    };
    const ramp = (low, high) =>
      `linear-gradient(90deg, ${Array.from({ length: 9 }, (_, i) => rgb(this.ink.relevance(low + ((high - low) * i) / 8))).join(",")})`;
    const parts = [];
    if (this.map) {
      const scale = item("ramp", words.for, ramp(this.map.signed ? -1 : 0, 1));
      if (this.map.signed) scale.prepend(words.against);
      parts.push(scale);
    }
    if (this.data.regions.length && this.options.regions) parts.push(item("box", "salient region, ranked"));
    if (this.options.pitch) parts.push(item("stroke", "pitch"));
    if (this.options.formants) parts.push(item("ring", "formants F1–F3"));
    this.legend.replaceChildren(...parts);
  }

  // -------------------------------------------------------------- images

  mapImage() {
    this.images.map ??= this.image(this.map, (v) => [...this.ink.relevance(v / 127), 255 * (Math.abs(v) / 127) ** 0.75]);
    return this.images.map;
  }

  image(grid, colour) {
    const canvas = document.createElement("canvas");
    canvas.width = grid.columns;
    canvas.height = grid.rows;
    const pen = canvas.getContext("2d");
    const picture = pen.createImageData(grid.columns, grid.rows);
    const table = new Map();
    grid.values.forEach((value, i) => {
      if (!table.has(value)) table.set(value, colour(value));
      picture.data.set(table.get(value), 4 * i);
    });
    pen.putImageData(picture, 0, 0);
    return canvas;
  }

  picture(pen, image, grid, lane) {
    pen.save();
    pen.beginPath();
    pen.rect(this.plot.left, lane.top, this.plot.width, lane.bottom - lane.top);
    pen.clip();
    // Wide cells keep their edges: to blur them would claim a finer map than there is.
    pen.imageSmoothingEnabled = grid.columns > this.plot.width / 5;
    pen.drawImage(image, this.x(grid.start_s), lane.top, this.x(grid.end_s) - this.x(grid.start_s), lane.bottom - lane.top);
    pen.restore();
  }
}
