// Short tones that the page makes itself. A screen that may not sound, or cannot, still shows everything.

const VOLUME = Number(document.documentElement.dataset.volume) / 100;
// Hertz and milliseconds, one tone after another.
const TONES = {
  opened: [[660, 120], [990, 220]],
  refused: [[300, 150], [200, 300]],
  close: [[1200, 150], [1, 80], [1200, 150]],
};
// The same is not said over itself, for several doors at once.
const PAUSE = 300;

let audio = null;
const last = new Map();

// Browsers keep a page silent until somebody touches it or presses a key.
export function touch() {
  if (!(VOLUME > 0)) return;
  try {
    audio ??= new AudioContext();
    if (audio.state === "suspended") audio.resume().catch(() => {});
  } catch {
    audio = null;
  }
}

// Nothing is kept for later: a tone that may sound only after its door is shut would be about nothing.
export function sound(name) {
  if (audio?.state !== "running") return;
  if (performance.now() - (last.get(name) ?? -PAUSE) < PAUSE) return;
  last.set(name, performance.now());
  try {
    let at = audio.currentTime;
    for (const [hertz, millis] of TONES[name]) {
      tone(hertz, at, at + millis / 1000);
      at += millis / 1000;
    }
  } catch {
    // The loudspeaker was taken away.
  }
}

function tone(hertz, from, to) {
  const source = audio.createOscillator();
  const gain = audio.createGain();
  source.frequency.value = hertz;
  gain.gain.value = hertz > 20 ? VOLUME : 0;
  source.connect(gain).connect(audio.destination);
  source.start(from);
  source.stop(to);
}
