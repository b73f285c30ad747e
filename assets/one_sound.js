// Part of the script of every player: two sounds at once cannot be told apart, so what begins to play stops the rest.

const BEGINS = "serscope-plays";

// Returns what lets the audio go again. Players in a shadow tell each other; the browser's own players are in the page.
function playAlone(audio) {
  const hush = (event) => {
    if (event.detail !== audio) audio.pause();
  };
  const begin = () => {
    document.querySelectorAll("audio").forEach((other) => other.pause());
    document.dispatchEvent(new CustomEvent(BEGINS, { detail: audio }));
  };
  audio.addEventListener("play", begin);
  document.addEventListener(BEGINS, hush);
  document.addEventListener("play", hush, true);
  return () => {
    document.removeEventListener(BEGINS, hush);
    document.removeEventListener("play", hush, true);
  };
}
