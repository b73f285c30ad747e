// Several takes of one clip under one cursor: switching goes on from the same position.
const players = new WeakMap();

export default function (component) {
  const { data, parentElement } = component;
  const root = parentElement.querySelector(".switch");
  let player = players.get(parentElement);
  if (!player || player.id !== data.id) {
    player?.close();
    player = new Player(root, data);
    players.set(parentElement, player);
  }
  const turn = (player.turn += 1);
  return () => {
    // Streamlit cleans up after a drawing that another has overtaken once that one has drawn: the player is its by then.
    if (turn !== player.turn) return;
    player.close();
    players.delete(parentElement);
  };
}

const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

class Player {
  constructor(root, data) {
    this.id = data.id;
    this.turn = 0;
    this.duration = data.duration_s;
    [this.playButton, this.seek, this.clock, this.group] = [".play", ".seek", ".clock", ".takes"].map((name) =>
      root.querySelector(name),
    );
    this.seek.max = this.duration;
    this.urls = data.takes.map((take) => URL.createObjectURL(new Blob([bytes(take.audio)], { type: "audio/wav" })));
    this.audios = this.urls.map((url) => new Audio(url));
    this.letGo = this.audios.map(playAlone);
    this.buttons = data.takes.map((take, place) => this.button(take, place));
    this.group.replaceChildren(...this.buttons);
    this.playButton.onclick = () => this.toggle();
    this.seek.oninput = () => (this.audio.currentTime = Number(this.seek.value));
    this.group.onkeydown = (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      this.choose((this.place + step + this.audios.length) % this.audios.length);
      this.buttons[this.place].focus();
    };
    this.choose(0);
    const draw = () => {
      this.draw();
      this.frame = requestAnimationFrame(draw);
    };
    draw();
  }

  get audio() {
    return this.audios[this.place];
  }

  button(take, place) {
    const made = document.createElement("button");
    made.type = "button";
    made.setAttribute("role", "radio");
    const [name, words] = [document.createElement("b"), document.createElement("small")];
    name.textContent = take.label;
    words.textContent = take.words;
    made.append(name, words);
    made.onclick = () => this.choose(place);
    return made;
  }

  choose(place) {
    const before = this.place === undefined ? null : this.audio;
    const playing = before !== null && !before.paused;
    before?.pause();
    this.place = place;
    if (before && before !== this.audio) this.audio.currentTime = before.currentTime;
    if (playing) this.audio.play();
    this.buttons.forEach((button, k) => {
      button.setAttribute("aria-checked", k === place);
      button.tabIndex = k === place ? 0 : -1;
    });
  }

  toggle() {
    if (!this.audio.paused) return this.audio.pause();
    if (this.audio.currentTime >= this.duration - 0.02) this.audio.currentTime = 0;
    this.audio.play();
  }

  draw() {
    const { audio, duration } = this;
    this.playButton.classList.toggle("on", !audio.paused);
    this.playButton.setAttribute("aria-label", audio.paused ? "Play" : "Pause");
    if (document.activeElement !== this.seek || !audio.paused) this.seek.value = audio.currentTime;
    this.clock.textContent = `${audio.currentTime.toFixed(2)} / ${duration.toFixed(2)} s`;
  }

  close() {
    cancelAnimationFrame(this.frame);
    this.audios.forEach((audio) => audio.pause());
    this.letGo.forEach((letGo) => letGo());
    this.urls.forEach((url) => URL.revokeObjectURL(url));
  }
}
